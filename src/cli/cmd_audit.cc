#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/units.h"
#include "cli/anchor.h"
#include "cli/audit_text.h"
#include "cli/audit_trail.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/nearest.h"
#include "repository/layout.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kAnchorFileMax = 16U << 20;

struct Wanted {
  std::optional<TimePoint> since;
  std::vector<std::string> operations;

  bool takes(const repository::LogEntry& entry, const std::string& operation) const {
    return (!since || entry.time >= *since) && (operations.empty() || std::ranges::find(operations, operation) != operations.end());
  }
};

/// @errors Usage: a malformed time, or no command of ours
Result<Wanted> wanted_of(const Arguments& arguments) {
  Wanted wanted;
  if (const auto text = arguments.get("--since")) wanted.since = TRY(parse_time(*text).context("--since"));
  wanted.operations = arguments.all("--operation");
  for (const auto& operation : wanted.operations)
    if (std::ranges::find(all_commands(), operation, &CommandSpec::verb) == all_commands().end()) {
      std::vector<std::string> verbs;
      for (const auto* command : all_commands()) verbs.emplace_back(command->verb);
      const auto meant = nearest(operation, verbs);
      return Error(Errc::Usage, fmt::format("--operation {}: there is no such command{}", operation, meant ? fmt::format("; the nearest is \"{}\"", *meant) : ""),
                   Hint{"pgmint --help lists them"});
    }
  return wanted;
}

Json entry_json(const std::string& cluster, const repository::LogEntry& entry, std::uint64_t seq, const std::string& operation, const BackupNames& backups) {
  Json json = {{"cluster", cluster},
               {"seq", seq},
               {"time", format_rfc3339(entry.time)},
               {"kind", entry_kind_text(entry.content)},
               {"actor", entry.actor_label},
               {"operation", operation.empty() ? Json(nullptr) : Json(operation)},
               {"command", entry.command},
               {"detail", entry_detail(entry.content, backups)},
               {"origin", nullptr},
               {"exit_code", nullptr}};
  if (const auto* audit = std::get_if<repository::AuditEntry>(&entry.content); audit != nullptr && audit->run) {
    json["origin"] = audit->run->origin;
    json["exit_code"] = audit->run->exit_code;
    json["event"] = audit->event;
    json["began"] = format_rfc3339(audit->run->began);
  }
  return json;
}

Result<int> run_list(Context& context) {
  const auto wanted = TRY(wanted_of(context.arguments()));
  auto clusters = TRY(clusters_to_show(context, context.arguments().position("CLUSTER")));
  Json entries = Json::array();
  bool first = true;
  for (const auto& cluster : clusters) {
    std::vector<std::vector<std::string>> rows;
    const auto& name = cluster->state().cluster_name();
    const BackupNames backups = backup_names(cluster->state());
    TRY(cluster->log().for_each([&](std::uint64_t seq, const Result<repository::LogEntry>& entry) -> Status {
      if (!entry) {  // shown whatever was asked for: nobody knows what it would have said
        const auto why = entry.error().describe();
        entries.push_back({{"cluster", name}, {"seq", seq}, {"time", nullptr}, {"kind", "void"}, {"actor", nullptr}, {"operation", nullptr},
                           {"command", nullptr}, {"detail", why}, {"origin", nullptr}, {"exit_code", nullptr}});
        rows.push_back({std::to_string(seq), "", "void", "", why});
        return ok();
      }
      const auto operation = operation_of(*entry);
      if (!wanted.takes(*entry, operation)) return ok();
      entries.push_back(entry_json(name, *entry, seq, operation, backups));
      rows.push_back({std::to_string(seq), format_postgres(std::chrono::floor<std::chrono::seconds>(entry->time)), entry_kind_text(entry->content),
                      entry->actor_label, entry_detail(entry->content, backups)});
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
  std::uint64_t entries = 0, anchors = 0;
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

/// Holds what an anchor file says against the store: a log whose tail was cut off is whole in itself, and only somebody outside can tell.
/// @errors Usage (no anchor file), NotFound, Storage
Status judge_anchors(Context& context, repository::Repository& repository, const std::string& file, Audit& audit) {
  const auto text = TRY(read_text_file(file, kAnchorFileMax));
  const auto anchors = TRY(parse_anchors(text, file));
  for (const auto& anchor : anchors) {
    const auto why = TRY(disagreement(repository, anchor));
    if (why.empty()) {
      ++audit.anchors;
      continue;
    }
    audit.broken.push_back({{"cluster", anchor.name}, {"seq", anchor.seq}, {"reason", why}});
    context.output().line(fmt::format("cluster {}: the anchor of {} does NOT fit: {}", anchor.name, format_postgres(anchor.time), why));
  }
  if (audit.anchors > 0) context.output().line(fmt::format("{} of {} fit: what they knew is still there, unchanged", audit.anchors, counted(anchors.size(), "anchor")));
  return ok();
}

Result<int> run_anchor(Context& context) {
  context.look_past_copies();
  auto clusters = TRY(clusters_to_show(context, context.arguments().position("CLUSTER")));
  auto& repository = *TRY(context.repository());
  std::string lines;
  Json json = Json::array();
  for (const auto& cluster : clusters) {
    const auto anchor = anchor_of(repository, *cluster);
    lines += format(anchor) + "\n";
    json.push_back({{"cluster", anchor.name}, {"generation", anchor.generation}, {"seq", anchor.seq}, {"hash", to_hex(anchor.hash)}, {"time", format_rfc3339(anchor.time)}});
  }
  if (const auto file = context.arguments().get("--append")) {
    const auto to = TRY(open_file(*file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    TRY(write_all(to, as_bytes(lines), *file));
    TRY(sync_file(to, *file));
    context.output().line(fmt::format("{} written to {}", counted(json.size(), "anchor"), *file));
  } else if (!lines.empty()) {
    context.output().line(std::string_view(lines).substr(0, lines.size() - 1));
  }
  context.output().document({{"anchors", std::move(json)}});
  return 0;
}

/// Every log by itself, and also those that no other command opens: a broken chain is what this one looks for.
Result<int> run_verify(Context& context) {
  context.look_past_copies();
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
  if (const auto file = context.arguments().get("--anchor")) TRY(judge_anchors(context, repository, *file, audit));
  const bool good = audit.voids.empty() && audit.broken.empty();
  context.output().document({{"ok", good},
                             {"entries", audit.entries},
                             {"anchors", audit.anchors},
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
                      "carries the hash of the one before, so that nobody can change or remove one unnoticed.",
                      "Every command that has opened the repository leaves an entry when it ends: who ran it, from where, how it ended. So does a change of the "
                      "configuration. Not those that PostgreSQL and monitoring run all day: wal, status, doctor. Commands that only read, and succeed, leave one an hour for the same "
                      "user and origin."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {{.name = "--since", .value = "T", .text = "Only entries from this moment on."},
                  {.name = "--operation", .value = "COMMAND", .text = "Only what this command wrote, such as restore or \"key add\".", .repeatable = true}},
      .exits = {},
      .examples = {{"pgmint audit list main", "Who backed up, held, released, collected."},
                   {"pgmint audit list --operation restore --operation export --since 2026-11-01", "Who took data out this month, or tried to."}},
      .see_also = {"audit verify", "audit anchor"},
      .only_reads = true,
      .repositories = Repositories::Each,
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
                      "before is refused; one that is behind what another host or an auditor has seen is found with --anchor."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {{.name = "--anchor", .value = "FILE", .text = "What audit anchor wrote earlier, kept elsewhere: each entry that it names must still be there, the same.", .completes = Completes::File}},
      .exits = {{8, "There are void entries, the chain is broken, or an anchor does not fit."}},
      .examples = {{"pgmint audit verify", "As an auditor would run it."}, {"pgmint audit verify --anchor /mnt/audit/anchors", "Nothing that was there then is missing now."}},
      .see_also = {"audit list", "audit anchor", "verify"},
      .only_reads = true,
      .repositories = Repositories::Each,
      .run = run_verify,
  };
  return command;
}

const CommandSpec& audit_anchor_command() {
  static const CommandSpec command = {
      .verb = "audit anchor",
      .summary = "print where each log ends, to be kept outside of the repository",
      .description = {"A chain shows that nothing in it was changed; it cannot show that its end was not cut off. One line for each cluster names the newest entry and its hash. "
                      "Kept where nobody who can write to the repository can write, it lets audit verify --anchor find a log that has become shorter, or another one.",
                      "The lines hold nothing secret."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {{.name = "--append", .value = "FILE", .text = "To the end of this file instead of to standard output.", .completes = Completes::File}},
      .exits = {},
      .examples = {{"pgmint audit anchor --append /mnt/audit/anchors", "Each day, onto another machine's disk."}},
      .see_also = {"audit verify", "audit list"},
      .only_reads = true,
      .run = run_anchor,
  };
  return command;
}

}  // namespace pgmint::cli
