#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/recall_command.h"
#include "cli/recovery_facts.h"
#include "cli/wal_spool.h"
#include "cli/wal_target.h"
#include "wal/get.h"
#include "wal/push.h"
#include "wal/status.h"

namespace pgmint::cli {
namespace {

Result<int> tell(Context& context, const std::string& file, const wal::PushReport& report, std::string_view outcome) {
  log_info("{}: {}, {} more ahead", file, outcome, report.ahead_stored);
  context.output().document({{"file", file},
                             {"outcome", outcome},
                             {"size_bytes", report.raw_bytes},
                             {"recalled", report.recalled},
                             {"ahead_stored", report.ahead_stored},
                             {"ahead_present", report.ahead_present},
                             {"ahead_failed", report.ahead_failed}});
  return 0;
}

Result<wal::PushReport> push_into_repository(Context& context, const wal::PushRequest& request) {
  const auto& source = request.source;
  // Far away, what this host has stored ahead a moment ago is not asked for: nearly all segments of a busy server.
  auto& repository = *TRY(context.repository().context(fmt::format("{} is not stored", source.file_name)));
  if (repository.environment().reads_at_once > 1) {
    const auto known = wal_target_by_memory(context, repository, source.system_identifier, source.wal_directory.parent_path());
    const auto stored = known ? wal::was_stored_ahead(*known->cluster, known->identity, request) : Result<bool>(false);
    if (stored && *stored) return wal::PushReport{.outcome = repository::WalPut::Duplicate, .raw_bytes = source.segment_size.bytes(), .recalled = true};
  }
  // PostgreSQL's log shows what archive_command says, and nobody remembers which file it was called for.
  const auto target = TRY(wal_target_for_push(context, source.system_identifier, source.wal_directory.parent_path())
                              .context(fmt::format("{} is not stored", source.file_name)));
  return wal::push(*target.cluster, target.identity, request);
}

Result<int> run_push(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  wal::PushRequest request;
  request.source = TRY(wal::inspect(*context.arguments().position("PATH")));
  request.codec = TRY(configured_codec(context));
  if (configuration.wal.batch) request.ahead_max = *configuration.wal.batch;
  request.spool_directory = TRY(context.state_directory());
  request.notes_directory = request.spool_directory / "wal-ahead";
  request.cancel = &context.cancel();
  const auto file = request.source.file_name;
  const bool may_wait = TRY(context.spool_max()).value() > 0;
  if (may_wait) context.give_up_early();
  // Behind what waits already it waits too: the repository gets no segment before those that come before it.
  if (TRY(wal_waits(context))) return tell(context, file, TRY(push_into_spool(context, std::move(request), nullptr)), "waits here");
  const auto pushed = push_into_repository(context, request);
  if (pushed) return tell(context, file, *pushed, pushed->outcome == repository::WalPut::Stored ? "stored" : "duplicate");
  const bool is_away = pushed.error().code() == Errc::Storage || pushed.error().code() == Errc::Unknown;
  if (!may_wait || !is_away) return pushed.error();
  return tell(context, file, TRY(push_into_spool(context, std::move(request), &pushed.error())), "waits here");
}

/// pg_control of the server that calls; a restore_command may also be tried by hand, anywhere.
std::optional<postgres::SystemIdentifier> identifier_here() {
  const auto image = postgres::read_control_file(".");
  return image ? std::optional(image->control.system_identifier) : std::nullopt;
}

std::vector<std::string> prefetch_words(Context& context, const WalTarget& target, unsigned count) {
  std::vector<std::string> words = {"/proc/self/exe"};
  if (const auto& file = (*context.configuration())->file; !file.empty())
    words.insert(words.end(), {"--config", fs::absolute(file).string()});
  if (const auto repository = context.arguments().get("--repository")) words.insert(words.end(), {"--repository", *repository});
  words.insert(words.end(), {"wal", "prefetch", "--cluster", target.cluster->id().hex(), "--system-identifier",
                             std::to_string(target.identity.system_id), "--count", std::to_string(count)});
  return words;
}

Result<int> run_get(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  const auto target = TRY(wal_target_for_get(context, context.arguments().get("--cluster"), identifier_here()));
  wal::GetRequest request;
  request.file_name = *context.arguments().position("NAME");
  request.destination = *context.arguments().position("DEST");
  request.until = context.arguments().get("--until");
  if (request.until && repository::wal_content_of(*request.until) != repository::WalContent::Segment)
    return Error(Errc::Usage, fmt::format("--until {}: not the name of a WAL segment", *request.until), Hint{"pgmint wal get --help"});
  if (configuration.wal.standby_retry) request.standby_retry = *configuration.wal.standby_retry;
  if (configuration.wal.on_error)
    request.on_error = *configuration.wal.on_error == "absent" ? wal::OnError::Absent : wal::OnError::Stop;
  if (configuration.wal.prefetch) request.prefetch = *configuration.wal.prefetch;
  if (request.prefetch > 0) request.prefetch_command = prefetch_words(context, target, request.prefetch);
  request.cancel = &context.cancel();
  const auto report = TRY(wal::get(*target.cluster, target.identity, request));
  log_info("{}: {}{}", request.file_name, report.delivered ? "delivered" : "absent",
           report.explanation.empty() ? "" : ", " + report.explanation);
  context.output().document({{"file", request.file_name},
                             {"delivered", report.delivered},
                             {"size_bytes", report.bytes},
                             {"from_cache", report.from_cache},
                             {"explanation", report.explanation}});
  return report.delivered ? 0 : exit_code(Errc::NotFound);
}

Result<int> run_prefetch(Context& context) {
  const auto& arguments = context.arguments();
  const postgres::SystemIdentifier identifier(
      TRY(parse_number(*arguments.get("--system-identifier"), "--system-identifier", 1, ~std::uint64_t{0})));
  const auto target = TRY(wal_target_for_get(context, arguments.get("--cluster"), identifier));
  wal::PrefetchRequest request;
  request.cache = *arguments.position("CACHE");
  request.file_name = *arguments.position("NAME");
  request.count = static_cast<unsigned>(TRY(parse_number(*arguments.get("--count"), "--count", 1, 1024)));
  request.cancel = &context.cancel();
  TRY(wal::prefetch(*target.cluster, target.identity, request));
  return 0;
}

Json timeline_json(const wal::TimelineStatus& timeline, const RecoveryFacts& facts) {
  Json gaps = Json::array();
  for (const auto& gap : gaps_json(facts))
    if (gap["timeline"] == timeline.timeline.value()) gaps.push_back(gap);
  return {{"timeline", timeline.timeline.value()},
          {"parent", timeline.parent ? Json(timeline.parent->value()) : Json(nullptr)},
          {"begin", timeline.begin ? Json(postgres::format(*timeline.begin)) : Json(nullptr)},
          {"min", timeline.oldest.empty() ? Json(nullptr) : Json(timeline.oldest)},
          {"max", timeline.newest.empty() ? Json(nullptr) : Json(timeline.newest)},
          {"segments", timeline.segments},
          {"stored_bytes", timeline.stored_bytes},
          {"history_missing", timeline.history_missing},
          {"history_damaged", timeline.history_damaged},
          {"gaps", std::move(gaps)}};
}

/// What the server says about archiving; nothing when it cannot be asked: the archive can be described without it.
std::optional<wal::ServerWal> ask(Context& context, const std::string& cluster) {
  const auto* settings = (*context.configuration())->find_cluster(cluster);
  if (settings == nullptr) return std::nullopt;
  postgres::ConnectOptions options;
  options.conninfo = settings->connection;
  auto connection = postgres::Connection::open(options, &context.cancel());
  if (!connection) {
    print_warning(fmt::format("cluster {}: the server was not asked: {}", cluster, connection.error().describe()));
    return std::nullopt;
  }
  auto answer = wal::ask_server(*connection);
  if (answer) return std::move(*answer);
  print_warning(fmt::format("cluster {}: {}", cluster, answer.error().describe()));
  return std::nullopt;
}

Json server_json(const wal::ServerWal& server) {
  return {{"archive_mode", server.archive_mode},
          {"in_recovery", server.in_recovery},
          {"timeline", server.timeline.value()},
          {"current_lsn", postgres::format(server.current)},
          {"last_archived", server.last_archived.empty() ? Json(nullptr) : Json(server.last_archived)},
          {"last_failed", server.last_failed.empty() ? Json(nullptr) : Json(server.last_failed)},
          {"failing", server.failing()}};
}

Result<int> run_status(Context& context) {
  auto clusters = TRY(clusters_to_show(context, context.arguments().position("CLUSTER")));
  Json all = Json::array();
  auto& out = context.output();
  for (const auto& cluster : clusters) {
    const auto& name = cluster->state().cluster_name();
    const auto status = TRY(wal::status(*cluster, repository::current_identity(cluster->state()), ask(context, name)));
    const auto facts = TRY(recovery_facts(*cluster, {}));
    Json timelines = Json::array(), history = Json::array(), partial = Json::array();
    out.line(fmt::format("cluster {} (system identifier {}): {}, {} stored", name, status.identity.system_id,
                         counted(status.segments, "segment"), human(ByteCount(status.stored_bytes))));
    for (const auto& timeline : status.timelines) {
      timelines.push_back(timeline_json(timeline, facts));
      for (const auto& file : timeline.partials) partial.push_back(file);
      if (timeline.timeline.value() > 1 && !timeline.history_missing)
        history.push_back(postgres::history_file_name(timeline.timeline));
      out.line(fmt::format("  timeline {}: {}{}", timeline.timeline.value(),
                           timeline.segments == 0 ? "no segments" : timeline.oldest + " to " + timeline.newest,
                           timeline.history_missing   ? "; ITS HISTORY FILE IS MISSING"
                           : timeline.history_damaged ? "; ITS HISTORY FILE IS DAMAGED"
                                                      : ""));
    }
    for (const auto& gap : facts.gaps)
      out.line(fmt::format("  MISSING: {}", repository::describe(gap, status.segment_size)));
    if (status.last_commit) out.line(fmt::format("  newest commit: {}", readable_time(status.last_commit->time)));
    if (status.server && status.server->failing())
      out.line(fmt::format("  THE SERVER'S ARCHIVER FAILS on {}", status.server->last_failed));
    if (status.segments_behind)
      out.line(fmt::format("  the archive is {} behind the server", counted(*status.segments_behind, "segment")));
    all.push_back({{"name", name},
                   {"system_identifier", std::to_string(status.identity.system_id)},
                   {"incarnation", status.identity.incarnation.value()},
                   {"segment_size", status.segment_size.bytes()},
                   {"timelines", std::move(timelines)},
                   {"history", std::move(history)},
                   {"partial", std::move(partial)},
                   {"last_commit", status.last_commit ? Json(format_rfc3339(status.last_commit->time)) : Json(nullptr)},
                   {"segments_behind", status.segments_behind ? Json(*status.segments_behind) : Json(nullptr)},
                   {"bytes_behind", status.bytes_behind ? Json(*status.bytes_behind) : Json(nullptr)},
                   {"strange", status.strange},
                   {"server", status.server ? server_json(*status.server) : Json(nullptr)}});
  }
  if (clusters.empty()) out.line("no clusters yet");
  Json waiting = nullptr;
  if (const auto problem = waiting_wal(context)) {
    out.line(problem->message);
    waiting = problem->message;
  }
  out.document({{"clusters", std::move(all)}, {"waiting", std::move(waiting)}});
  return 0;
}

const OptionSpec kClusterOption = {.name = "--cluster",
                                   .value = "NAME",
                                   .text = "Default: found by the server's data directory and system identifier.",
                                   .completes = Completes::Cluster};

}  // namespace

const CommandSpec& wal_push_command() {
  static const CommandSpec command = {
      .verb = "wal push",
      .summary = "store one file of WAL: PostgreSQL's archive_command",
      .description = {"Returns 0 only when the repository holds the file durably: stored now, or found there with the "
                      "same content; or, while the repository is away, when the file waits on this host, sealed and durable "
                      "(spool_max in [wal]). The same name with other content is refused. Segments that are ready already are "
                      "stored along with the one asked for; each still gets its own, then very short, run: it looks at "
                      "the stored object, and reads the file again unless a note in the state directory (wal-ahead) "
                      "and the file's inode and times show that it has not changed since it was stored.",
                      "Whose WAL it is follows from --cluster, else from the data directory and the system identifier. "
                      "WAL of another server is refused."},
      .positionals = {{.name = "PATH", .text = "archive_command's %p.", .completes = Completes::File}},
      .options = {kClusterOption},
      .exits = {{3, "No cluster is configured for this server."},
                {4, "WAL of another server."},
                {8, "Other content is stored under this name already."},
                {125, "Cancelled, or anything else: never more than 125, since that would end PostgreSQL's archiver."}},
      .examples = {{"archive_command = 'pgmint wal push \"%p\"'", "In postgresql.conf, with archive_mode = on."}},
      .see_also = {"wal get", "wal status", "wal drain"},
      .changes_repository = true,
      .repositories = Repositories::Each,
      .run = run_push,
  };
  return command;
}

const CommandSpec& wal_get_command() {
  static const CommandSpec command = {
      .verb = "wal get",
      .summary = "fetch one file of WAL: PostgreSQL's restore_command",
      .description =
          {"Writes the whole file, or nothing. Exit 1 means that the file is positively absent: the repository says so "
           "and nothing later exists. PostgreSQL ends its recovery there. Whatever else goes wrong exits above 125, "
           "and PostgreSQL stops instead of ending recovery early; so does a hole in the WAL.",
           "Transient errors are tried again. Segments that will be asked for next are fetched ahead. restore writes "
           "this command into postgresql.auto.conf."},
      .positionals = {{.name = "NAME", .text = "restore_command's %f."},
                      {.name = "DEST", .text = "restore_command's %p.", .completes = Completes::File}},
      .options = {kClusterOption,
                  {.name = "--until",
                   .value = "SEGMENT",
                   .text = "The last segment that recovery to its target needs, where restore knew of missing WAL behind it: "
                           "segments behind it are told as absent, and PostgreSQL, which reads ahead, goes on to its target."}},
      .exits = {{1, "The file does not exist: recovery has come to the end of WAL."},
                {200, "Anything else, whatever another command would exit with."}},
      .examples = {{"restore_command = 'pgmint wal get \"%f\" \"%p\"'", "As restore writes it."}},
      .see_also = {"wal push", "restore"},
      .repositories = Repositories::Fitting,
      .run = run_get,
  };
  return command;
}

const CommandSpec& wal_status_command() {
  static const CommandSpec command = {
      .verb = "wal status",
      .summary = "show which WAL is archived and which is missing",
      .description = {"Shows timelines, segments, gaps, and, where the server can be reached, how far the archive is "
                      "behind and whether archiving fails."},
      .positionals = {{.name = "CLUSTER",
                       .text = "Default: all clusters of the repository.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options = {},
      .exits = {},
      .examples = {{"pgmint wal status main",
                    "Missing WAL is named here; verify, status and doctor fail because of it."}},
      .see_also = {"wal push", "status", "verify"},
      .only_reads = true,
      .repositories = Repositories::Each,
      .run = run_status,
  };
  return command;
}

const CommandSpec& wal_prefetch_command() {
  static const CommandSpec command = {
      .verb = "wal prefetch",
      .summary = "keep the next segments ready; started by wal get",
      .description = {},
      .positionals = {{.name = "CACHE", .text = ""}, {.name = "NAME", .text = ""}},
      .options = {{.name = "--cluster", .value = "ID", .text = "", .required = true},
                  {.name = "--system-identifier", .value = "ID", .text = "", .required = true},
                  {.name = "--count", .value = "N", .text = "", .required = true}},
      .exits = {},
      .examples = {},
      .see_also = {},
      .run = run_prefetch,
  };
  return command;
}

}  // namespace pgmint::cli
