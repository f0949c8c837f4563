#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/audit_text.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"

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

Result<int> run_verify(Context& context) {
  auto clusters = TRY(clusters_to_show(context, context.arguments().position("CLUSTER")));
  Json voids = Json::array();
  std::uint64_t entries = 0;
  for (const auto& cluster : clusters) {
    // The log was folded when it was opened: chain, signatures and rules are checked there.
    const auto& state = cluster->state();
    entries += state.next_seq();
    for (const auto& bad : state.void_entries()) {
      voids.push_back({{"cluster", state.cluster_name()}, {"seq", bad.seq}, {"reason", bad.reason}});
      context.output().line(fmt::format("cluster {}: entry {} is void: {}", state.cluster_name(), bad.seq, bad.reason));
    }
    context.output().line(fmt::format("cluster {}: {}, {} void; head {}", state.cluster_name(),
                                      counted(state.next_seq(), "entry"), state.void_entries().size(),
                                      to_hex(state.head())));
  }
  const bool good = voids.empty();
  context.output().document({{"ok", good}, {"entries", entries}, {"void", std::move(voids)}});
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
      .run = run_verify,
  };
  return command;
}

}  // namespace pgmint::cli
