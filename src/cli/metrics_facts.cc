#include "cli/metrics_facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>
#include <map>

#include "cli/alert_look.h"
#include "cli/health.h"
#include "cli/run_key.h"
#include "cli/slots_json.h"
#include "repository/clocks.h"
#include "service/metrics.h"

namespace pgmint::cli {
namespace {

using service::Labels;
using service::MetricsText;

double seconds_of(std::chrono::microseconds duration) { return std::chrono::duration<double>(duration).count(); }

std::string_view severity_of(const Problem& problem) { return problem.breach || problem.urgent ? "problem" : "warning"; }

/// The newest backup of each type, by cluster.
struct NewestBackup {
  Labels labels;
  const BackupFacts* facts;
};

std::vector<NewestBackup> newest_backups(const std::vector<ClusterHealth>& all) {
  std::vector<NewestBackup> newest;
  for (const auto& health : all) {
    std::map<repository::BackupType, const BackupFacts*> by_type;
    for (const auto& backup : health.backups)
      // One that lies ahead would look new until then.
      if (!repository::is_ahead_of(backup.started(), system_clock().now())) by_type[backup.snap.type] = &backup;
    for (const auto& [type, facts] : by_type)
      newest.push_back({{{"cluster", health.name}, {"type", std::string(repository::backup_type_name(type))}}, facts});
  }
  return newest;
}

void tell_backups(MetricsText& metrics, const std::vector<ClusterHealth>& all) {
  const auto newest = newest_backups(all);
  metrics.family("pgmint_last_backup_start_timestamp_seconds", "When the newest backup began: a restore of it alone brings back that moment, or a little later.");
  for (const auto& one : newest) metrics.sample(one.labels, one.facts->started());
  metrics.family("pgmint_last_backup_timestamp_seconds", "When the newest backup was complete.");
  for (const auto& one : newest) metrics.sample(one.labels, one.facts->committed);
  metrics.family("pgmint_last_backup_duration_seconds", "How long the newest backup took.");
  for (const auto& one : newest)
    if (const auto took = one.facts->took()) metrics.sample(one.labels, seconds_of(*took));
  metrics.family("pgmint_last_backup_size_bytes", "What a restore of the newest backup writes.");
  for (const auto& one : newest)
    if (one.facts->root) metrics.sample(one.labels, static_cast<double>(one.facts->root->total_bytes));
  metrics.family("pgmint_last_backup_stored_bytes", "What the newest backup added to the repository.");
  for (const auto& one : newest)
    if (one.facts->root) metrics.sample(one.labels, static_cast<double>(one.facts->root->stored_bytes));
  metrics.family("pgmint_backups", "Backups that the repository lists.");
  for (const auto& health : all) {
    std::map<std::string_view, unsigned> count;
    for (const auto& backup : health.backups) ++count[repository::backup_type_name(backup.snap.type)];
    for (const auto& [type, number] : count) metrics.sample({{"cluster", health.name}, {"type", std::string(type)}}, number);
  }
}

void tell_recovery(MetricsText& metrics, const std::vector<ClusterHealth>& all) {
  metrics.family("pgmint_recovery_window_start_timestamp_seconds", "From when on every moment up to the end of the window can be recovered.");
  for (const auto& health : all)
    if (const auto window = health.recovery.newest()) metrics.sample({{"cluster", health.name}}, window->from);
  metrics.family("pgmint_recovery_window_end_timestamp_seconds", "Up to when every moment can be recovered.");
  for (const auto& health : all)
    if (const auto window = health.recovery.newest()) metrics.sample({{"cluster", health.name}}, window->to);
  metrics.family("pgmint_rpo_objective_seconds", "How much may be lost, by the cluster's environment.");
  for (const auto& health : all) metrics.sample({{"cluster", health.name}}, static_cast<double>(health.objectives.rpo.count()));
  metrics.family("pgmint_rpo_exposure_seconds", "How much would be lost if the host went now; +Inf: everything.");
  for (const auto& health : all)
    metrics.sample({{"cluster", health.name}}, health.exposure ? static_cast<double>(health.exposure->count()) : std::numeric_limits<double>::infinity());
  metrics.family("pgmint_wal_gaps", "Stretches of WAL that are missing.");
  for (const auto& health : all) metrics.sample({{"cluster", health.name}}, static_cast<double>(health.recovery.gaps.size()));
  metrics.family("pgmint_server_up", "1: the server could be asked.");
  for (const auto& health : all)
    if (health.settings != nullptr) metrics.sample({{"cluster", health.name}}, health.archiver_failing ? 1 : 0);
  metrics.family("pgmint_archiver_failing", "1: the server's newest attempt to archive failed. Absent while the server cannot be asked.");
  for (const auto& health : all)
    if (health.archiver_failing) metrics.sample({{"cluster", health.name}}, *health.archiver_failing ? 1 : 0);
}

void tell_proofs(MetricsText& metrics, const std::vector<ClusterHealth>& all) {
  metrics.family("pgmint_verified_oldest_timestamp_seconds", "When that was read and found sound which was so the longest ago, of what backups refer to.");
  for (const auto& health : all)
    if (health.proofs.oldest) metrics.sample({{"cluster", health.name}}, *health.proofs.oldest);
  metrics.family("pgmint_verified_newest_timestamp_seconds", "When anything was last read and found sound.");
  for (const auto& health : all)
    if (health.proofs.newest) metrics.sample({{"cluster", health.name}}, *health.proofs.newest);
  metrics.family("pgmint_verified_bytes", "What was read and found sound, of what backups refer to.");
  for (const auto& health : all) metrics.sample({{"cluster", health.name}}, static_cast<double>(health.proofs.bytes));
  metrics.family("pgmint_unverified_bytes", "What was not, since it was stored.");
  for (const auto& health : all) metrics.sample({{"cluster", health.name}}, static_cast<double>(health.proofs.unproven_bytes));
  metrics.family("pgmint_unverified_since_timestamp_seconds", "Since when there is what was never read, of what backups refer to. Absent where there is none.");
  for (const auto& health : all)
    if (health.proofs.unproven_since) metrics.sample({{"cluster", health.name}}, *health.proofs.unproven_since);
  metrics.family("pgmint_damaged_packs", "What verify found damaged, and not sound since.");
  for (const auto& health : all) metrics.sample({{"cluster", health.name}}, static_cast<double>(health.proofs.damaged_packs));
}

/// Absent where this key cannot open WAL.
void tell_wal_proofs(MetricsText& metrics, const std::vector<ClusterHealth>& all) {
  const auto tell = [&](std::string_view name, std::string_view text, const auto& value_of) {
    metrics.family(name, text);
    for (const auto& health : all)
      if (const auto value = health.wal_proofs ? value_of(*health.wal_proofs) : std::nullopt) metrics.sample({{"cluster", health.name}}, *value);
  };
  using repository::EarlierWal;
  tell("pgmint_wal_verified_oldest_timestamp_seconds", "When that WAL was read and found sound which was so the longest ago.", [](const EarlierWal& wal) { return wal.oldest; });
  tell("pgmint_wal_verified_newest_timestamp_seconds", "When any WAL was last read and found sound.", [](const EarlierWal& wal) { return wal.newest; });
  tell("pgmint_wal_verified_bytes", "WAL that was read and found sound.", [](const EarlierWal& wal) { return std::optional(static_cast<double>(wal.bytes)); });
  tell("pgmint_wal_unverified_bytes", "WAL that was not, since it was stored.", [](const EarlierWal& wal) { return std::optional(static_cast<double>(wal.unproven_bytes)); });
  tell("pgmint_wal_unverified_since_timestamp_seconds", "Since when there is WAL that was never read. Absent where there is none.", [](const EarlierWal& wal) { return wal.unproven_since; });
  tell("pgmint_damaged_wal_segments", "What verify found damaged of WAL, and not sound since.", [](const EarlierWal& wal) { return std::optional(static_cast<double>(wal.damaged_segments)); });
}

void tell_problems(MetricsText& metrics, const std::vector<ClusterHealth>& all, const std::vector<Problem>& warnings) {
  std::map<std::tuple<std::string, std::string, std::string>, unsigned> count;
  for (const auto& health : all)
    for (const auto& problem : health.problems) ++count[{health.name, problem.code, std::string(severity_of(problem))}];
  for (const auto& problem : warnings) ++count[{"", problem.code, std::string(severity_of(problem))}];
  metrics.family("pgmint_problems", "What status and doctor complain of; an empty cluster is the repository.");
  for (const auto& [key, number] : count) {
    const auto& [cluster, code, severity] = key;
    metrics.sample({{"cluster", cluster}, {"code", code}, {"severity", severity}}, number);
  }
}

Status tell_space(MetricsText& metrics, Context& context, const std::vector<ClusterHealth>& all) {
  metrics.family("pgmint_repository_stored_bytes", "Backups and WAL of a cluster in the repository.");
  for (const auto& health : all) {
    metrics.sample({{"cluster", health.name}, {"kind", "backups"}}, static_cast<double>(health.proofs.bytes + health.proofs.unproven_bytes));
    metrics.sample({{"cluster", health.name}, {"kind", "wal"}}, static_cast<double>(health.recovery.inventory.stored_bytes()));
  }
  if (const auto directory = TRY(context.place())->settings.directory()) {
    const auto space = TRY(space_of(*directory));
    metrics.family("pgmint_repository_free_bytes", "Free space of the repository's file system.");
    metrics.sample({}, static_cast<double>(space.free));
    metrics.family("pgmint_repository_size_bytes", "Size of the repository's file system.");
    metrics.sample({}, static_cast<double>(space.total));
  }
  metrics.family("pgmint_data_free_bytes", "Free space of the file system of a data directory, or of its WAL where that has less.");
  for (const auto& health : all)
    if (health.data_space) metrics.sample({{"cluster", health.name}}, static_cast<double>(health.data_space->free));
  metrics.family("pgmint_data_size_bytes", "Size of that file system.");
  for (const auto& health : all)
    if (health.data_space) metrics.sample({{"cluster", health.name}}, static_cast<double>(health.data_space->total));
  return ok();
}

Status tell_keys(MetricsText& metrics, repository::Repository& repository) {
  metrics.family("pgmint_key_created_timestamp_seconds", "When a key slot was made.");
  for (const auto& slot : TRY(repository.slots()))
    if (!slot.unreadable())
      metrics.sample({{"slot", slot.name}, {"kind", std::string(slot_kind(slot.provider))}, {"role", std::string(repository::role_name(slot.role))}}, slot.created);
  return ok();
}

/// @param unread  what went wrong with a cluster of which nothing is told
Status tell_repository(MetricsText& metrics, Context& context, std::optional<Error>& unread) {
  auto* repository = TRY(context.repository());
  auto all = TRY(health_of_all(context, std::nullopt));
  const auto warnings = TRY(repository_warnings(context));
  metrics.family("pgmint_cluster_up", "1: the cluster's log and backups could be read. 0: nothing else is told of it but pgmint_problems.");
  for (const auto& health : all) metrics.sample({{"cluster", health.name}}, health.unreadable ? 0 : 1);
  tell_problems(metrics, all, warnings);
  for (const auto& health : all)
    if (health.unreadable) unread = health.unreadable;
  std::erase_if(all, [](const ClusterHealth& health) { return health.unreadable.has_value(); });
  tell_backups(metrics, all);
  tell_recovery(metrics, all);
  tell_proofs(metrics, all);
  tell_wal_proofs(metrics, all);
  TRY(tell_space(metrics, context, all));
  return tell_keys(metrics, *repository);
}

Status tell_runs(MetricsText& metrics, Context& context) {
  std::vector<std::string> unreadable;
  const auto notes = TRY(service::RunNotes(run_notes_directory(TRY(context.state_directory())), system_clock()).all(&unreadable));
  const auto labels = [](const service::RunNote& note) -> Labels {
    return {{"verb", note.key.verb}, {"cluster", note.key.cluster}, {"part", note.key.part}};
  };
  metrics.family("pgmint_last_run_timestamp_seconds", "When the last run of a command ended on this host; an empty cluster is all of them.");
  for (const auto& note : notes)
    if (note.ended) metrics.sample(labels(note), *note.ended);
  metrics.family("pgmint_last_run_success_timestamp_seconds", "When a run of it last ended well.");
  for (const auto& note : notes)
    if (note.succeeded) metrics.sample(labels(note), *note.succeeded);
  metrics.family("pgmint_last_run_exit_code", "How its last run ended (docs/manual/exit-codes.md); 137: it was killed.");
  for (const auto& note : notes)
    if (note.lost || note.ended) metrics.sample(labels(note), note.lost ? 137 : note.exit);
  metrics.family("pgmint_run_failed", "1: its last run failed, and nothing that covers it went well since.");
  const auto open = service::open_failures(notes, system_clock().now());
  for (const auto& note : notes)
    metrics.sample(labels(note), std::ranges::any_of(open, [&](const auto& one) { return one.key == note.key; }) ? 1 : 0);
  metrics.family("pgmint_run_notes_unreadable", "Notes of runs that cannot be read: a failure among them is not seen above.");
  metrics.sample({}, static_cast<double>(unreadable.size()));
  if (unreadable.empty()) return ok();
  return Error(Errc::Io, fmt::format("how the last run of a command ended cannot be read: {}", fmt::join(unreadable, ", ")),
               Hint{"remove it; the next run of its command writes it anew"});
}

Status tell_alerts(MetricsText& metrics, Context& context) {
  const auto& configuration = *TRY(context.configuration());
  if (configuration.alerts.empty()) return ok();
  std::vector<std::string> unreadable;
  const auto book = TRY(newest_alert_book(context, &unreadable));
  std::map<service::Severity, unsigned> count{{service::Severity::Warning, 0}, {service::Severity::Problem, 0}};
  for (const auto& problem : book.open()) ++count[problem.finding.severity];
  metrics.family("pgmint_alerts_open", "What was wrong at the last alert check. Absent where none is known of.");
  for (const auto& [severity, number] : book.saved() != TimePoint{} ? count : std::map<service::Severity, unsigned>()) metrics.sample({{"severity", std::string(service::severity_name(severity))}}, number);
  metrics.family("pgmint_alert_check_timestamp_seconds", "When alert check last looked.");
  if (book.saved() != TimePoint{}) metrics.sample({}, book.saved());
  metrics.family("pgmint_alert_channel_failing", "1: the last message could not be delivered through this channel.");
  for (const auto& channel : configuration.alerts) {
    const auto known = book.channels().find(channel.rules.name);
    metrics.sample({{"channel", channel.rules.name}}, known != book.channels().end() && known->second.failing_since ? 1 : 0);
  }
  metrics.family("pgmint_alert_channel_delivered_timestamp_seconds", "When a message was last delivered through this channel.");
  for (const auto& [name, channel] : book.channels())
    if (channel.delivered) metrics.sample({{"channel", name}}, *channel.delivered);
  if (unreadable.empty()) return ok();
  return alert_book_unreadable(unreadable);
}

void tell_ourselves(MetricsText& metrics) {
  metrics.family("pgmint_build_info", "The version that wrote this.");
  metrics.sample({{"version", PGMINT_VERSION}}, 1);
  metrics.family("pgmint_metrics_timestamp_seconds", "When this was written.");
  metrics.sample({}, system_clock().now());
}

void tell_up(MetricsText& metrics, bool is_up) {
  metrics.family("pgmint_repository_up", "1: the repository could be opened and read.");
  metrics.sample({}, is_up ? 1 : 0);
}

/// @param labels  of each of its samples; none where there is only one
Status add_repository(MetricsText& own, MetricsText& told, Context& context, std::vector<std::pair<std::string, std::string>> labels) {
  MetricsText repository;
  repository.set_common(labels);
  std::optional<Error> unread;
  auto outcome = tell_repository(repository, context, unread);
  TRY(context.cancel().check());
  own.set_common(std::move(labels));
  tell_up(own, outcome.has_value());
  if (!outcome) return outcome;  // half of what the repository tells would look like all of it
  told.add(repository);
  if (unread) return std::move(*unread);
  return ok();
}

}  // namespace

std::string metrics_of_nothing() {
  MetricsText own;
  tell_ourselves(own);
  tell_up(own, false);
  return own.text();
}

Result<GatheredMetrics> gather_metrics(Context& context) {
  const auto& repositories = TRY(context.configuration())->repositories;
  MetricsText own, told;
  tell_ourselves(own);
  Status outcome = ok();
  if (repositories.size() < 2) {
    outcome = add_repository(own, told, context, {});
  } else {
    // One that cannot be read hides no other.
    for (const auto& repository : repositories) {
      auto arguments = context.arguments();
      arguments.set("--repository", repository.name);
      arguments.one_of_several = true;
      Context its(std::move(arguments), context.cancel());
      its.stop_at_next_request();
      auto added = add_repository(own, told, its, {{"repository", repository.name}});
      if (outcome && !added) outcome = std::move(added).failure().with_context(fmt::format("repository {}", repository.name));
    }
  }
  TRY(context.cancel().check());
  own.set_common({});
  auto runs = tell_runs(own, context);
  auto alerts = tell_alerts(own, context);
  if (runs) runs = std::move(alerts);
  GatheredMetrics gathered{own.text() + told.text(), std::move(outcome)};
  if (gathered.outcome && !runs) gathered.outcome = std::move(runs);
  return gathered;
}

}  // namespace pgmint::cli
