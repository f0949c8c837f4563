#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/audit_text.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "repository/layout.h"

namespace pgmint::cli {
namespace {

Result<int> run_list(Context& context) {
  auto clusters = TRY(clusters_to_show(context, context.arguments().position("CLUSTER")));
  Json entries = Json::array();
  bool first = true;
  for (const auto& cluster : clusters) {
    std::vector<std::vector<std::string>> rows;
    const auto& name = cluster->state().cluster_name();
    const BackupNames backups = backup_names(cluster->state());
    TRY(cluster->log().for_each([&](std::uint64_t seq, const Result<repository::LogEntry>& entry) -> Status {
      if (!entry) {
        entries.push_back({{"cluster", name},
                           {"seq", seq},
                           {"time", nullptr},
                           {"kind", "void"},
                           {"actor", nullptr},
                           {"command", nullptr},
                           {"detail", entry.error().describe()}});
        rows.push_back({std::to_string(seq), "", "void", "", entry.error().describe()});
        return ok();
      }
      const auto kind = entry_kind_text(entry->content);
      const auto detail = entry_detail(entry->content, backups);
      entries.push_back({{"cluster", name},
                         {"seq", seq},
                         {"time", format_rfc3339(entry->time)},
                         {"kind", kind},
                         {"actor", entry->actor_label},
                         {"command", entry->command},
                         {"detail", detail}});
      rows.push_back({std::to_string(seq), format_postgres(std::chrono::floor<std::chrono::seconds>(entry->time)), kind,
                      entry->actor_label, detail});
      return ok();
    }));
    if (!first) context.output().line("");
    first = false;
    if (clusters.size() > 1) context.output().line(fmt::format("cluster {}", name));
    context.output().line(text_table({">SEQ", "TIME", "KIND", "ACTOR", "DETAIL"}, rows));
  }
  context.output().document({{"entries", std::move(entries)}});
  return 0;
}

struct Audit {
  std::uint64_t entries = 0;
  Json voids = Json::array(), broken = Json::array();
};

void judge(Output& out, const std::string& name, const repository::LogState& state, const Status& read, Audit& audit) {
  audit.entries += state.next_seq();
  for (const auto& bad : state.void_entries()) {
    audit.voids.push_back({{"cluster", name}, {"seq", bad.seq}, {"reason", bad.reason}});
    out.line(fmt::format("cluster {}: entry {} is void: {}", name, bad.seq, bad.reason));
  }
  if (!read) {
    audit.broken.push_back({{"cluster", name}, {"seq", state.next_seq()}, {"reason", read.error().describe()}});
    out.line(fmt::format("cluster {}: BROKEN after {}: {}", name, counted(state.next_seq(), "entry"),
                         read.error().describe()));
    return;
  }
  out.line(fmt::format("cluster {}: {}, {} void; head {}", name, counted(state.next_seq(), "entry"),
                       state.void_entries().size(), to_hex(state.head())));
}

/// Every log by itself, and also those that no other command opens: a broken chain is what this one looks for.
Result<int> run_verify(Context& context) {
  const auto wanted = context.arguments().position("CLUSTER");
  auto& repository = *TRY(context.repository());
  Audit audit;
  std::size_t judged = 0;
  for (const auto& id : TRY(repository.environment().store.list_parts(std::string(repository::kClustersPrefix)))) {
    const auto parsed = repository::ClusterId::parse(id);
    if (!parsed) continue;
    auto opened = repository.open_cluster(*parsed);
    if (!opened && opened.error().code() == Errc::Key) continue;  // another host's
    const auto cluster = TRY(std::move(opened).context(fmt::format("cluster {}", id)));
    auto& log = cluster->log();
    auto read = log.refresh();
    if (!read && read.error().code() != Errc::Corruption)
      return std::move(read.error()).with_context(fmt::format("cluster {}", id));
    const auto state = read ? log.state() : TRY(log.salvage()).state;
    if (read && !state.has_genesis()) continue;  // a creation that was cut off: it holds nothing
    const auto name = state.has_genesis() ? state.cluster_name() : id;
    if (wanted && *wanted != name && *wanted != id) continue;
    ++judged;
    judge(context.output(), name, state, read, audit);
  }
  if (wanted && judged == 0) TRY(existing_cluster(context, wanted));  // says what there is instead
  const bool good = audit.voids.empty() && audit.broken.empty();
  context.output().document({{"ok", good},
                             {"entries", audit.entries},
                             {"void", std::move(audit.voids)},
                             {"broken", std::move(audit.broken)}});
  return good ? 0 : exit_code(Errc::Corruption);
}

}  // namespace

const CommandSpec& audit_list_command() {
  static const CommandSpec command = {
      .verb = "audit list",
      .summary = "list what was done to the repository, by whom and when",
      .description = {"Shows the entries of each cluster's log, oldest first. The log is what decides which backups "
                      "there are; every entry is signed by who wrote it and "
                      "carries the hash of the one before, so that nobody can change or remove one unnoticed."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {},
      .exits = {},
      .examples = {{"pgmint audit list main", "Who backed up, held, released, collected."}},
      .see_also = {"audit verify"},
      .only_reads = true,
      .run = run_list,
  };
  return command;
}

const CommandSpec& audit_verify_command() {
  static const CommandSpec command = {
      .verb = "audit verify",
      .summary = "check the log's chain, signatures and rules",
      .description = {"Reads every log entry and checks that it follows from the one before, is signed by an actor who "
                      "was allowed to write it, and obeyed the rules. Entries that do not "
                      "are void: they had no effect, and are named. A log that is behind what this host has seen "
                      "before is refused."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {},
      .exits = {{8, "There are void entries, or the chain is broken."}},
      .examples = {{"pgmint audit verify", "As an auditor would run it."}},
      .see_also = {"audit list", "verify"},
      .only_reads = true,
      .run = run_verify,
  };
  return command;
}

}  // namespace pgmint::cli
