#include "cli/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/units.h"
#include "cli/opened_slots.h"
#include "cli/restore_estimate.h"

namespace pgmint::cli {
namespace {

using std::chrono::seconds;

/// Backups are for weeks, WAL for minutes: a newest backup older than this makes every restore long.
constexpr auto kBackupAgeMax = std::chrono::hours(8 * 24);
constexpr std::size_t kSegmentNameSize = 24;

seconds age(TimePoint then) {
  return std::max(seconds(0), std::chrono::duration_cast<seconds>(system_clock().now() - then));
}

/// Nothing was committed since what the archive holds: then nothing would be lost, however long ago that was.
bool nothing_since(const AskedServer& server, const std::optional<postgres::CommitPoint>& commit) {
  return server.next_xid && commit && commit->xid.value() + 1 == *server.next_xid;
}

std::optional<seconds> exposure_of(const RecoveryFacts& facts, const AskedServer& server) {
  const auto window = facts.newest();
  if (!window) return std::nullopt;
  if (server.wal && server.wal->current <= window->end) return seconds(0);
  if (nothing_since(server, window->last_commit)) return seconds(0);
  seconds lost = age(window->to);
  // All complete segments are archived: what is missing was written since the last of them was.
  if (server.wal && !server.wal->failing() && server.wal->last_archived_time &&
      postgres::segment_of(server.wal->current, facts.inventory.segment_size()) <=
          postgres::segment_of(window->end, facts.inventory.segment_size()))
    lost = std::min(lost, age(*server.wal->last_archived_time));
  return lost;
}

void judge_backups(ClusterHealth& health) {
  // Dumps alone bring nothing back to a moment.
  const auto physical = [](const BackupFacts& backup) { return needs_wal(backup); };
  if (std::ranges::none_of(health.backups, physical)) {
    health.problems.push_back({"no-backup", fmt::format("cluster {} has no {}", health.name, health.backups.empty() ? "backup" : "backup but dumps"),
                               fmt::format("pgmint backup {}", health.name)});
    return;
  }
  const auto newest = age(std::ranges::find_if(health.backups.rbegin(), health.backups.rend(), physical)->started());
  if (newest > kBackupAgeMax)
    health.problems.push_back({"backup-old", fmt::format("the newest backup began {} ago", human(newest)),
                               fmt::format("pgmint backup {}", health.name), false});
  for (const auto& backup : health.backups)
    if (!backup.problem.empty())
      health.problems.push_back(
          {"manifest-damaged", fmt::format("{}: {}", backup.snap.name, backup.problem), "pgmint verify --read-data", true, backup.snap.name});
  if (health.proofs.damaged_packs > 0)
    health.problems.push_back({"damage-found", fmt::format("verify found {} damaged", counted(health.proofs.damaged_packs, "pack")),
                               fmt::format("pgmint verify {} --read-data --older-than 30d names the backups, and looks again", health.name), false});
  if (!health.recovery.newest())
    health.problems.push_back(
        {"not-recoverable", "no backup has the WAL that it needs", fmt::format("pgmint wal status {}", health.name)});
}

void judge_wal(ClusterHealth& health, const AskedServer& server) {
  for (const auto& gap : health.recovery.gaps)
    health.problems.push_back(
        {"wal-gap",
         fmt::format("WAL is missing: {}", repository::describe(gap, health.recovery.inventory.segment_size())),
         fmt::format("take a backup, so that a new recovery window begins: pgmint backup {}", health.name), true,
         repository::describe(gap, health.recovery.inventory.segment_size()).substr(0, kSegmentNameSize)});
  if (server.wal) health.archiver_failing = server.wal->failing();
  if (server.wal && server.wal->failing())
    health.problems.push_back({"archiver-failing",
                               fmt::format("the server's archiver fails on {}", server.wal->last_failed),
                               "look into the server's log for the words of wal push"});
  if (server.wal && server.wal->archive_mode == "off")
    health.problems.push_back({"archive-mode-off", "archive_mode is off: no WAL is archived",
                               "set archive_mode = on and restart the server"});
  if (!server.problem.empty())
    health.problems.push_back({"server-unreachable", server.problem, "pgmint doctor", false});
  if (health.exposure && *health.exposure > health.objectives.rpo)
    health.problems.push_back(
        {"rpo-breached",
         fmt::format("changes of the last {} could be lost; the objective is {}", human(*health.exposure),
                     human(health.objectives.rpo)),
         server.wal ? "set archive_timeout = 60 on the server, and look after its archiver" : "pgmint doctor"});
}

std::string space_text(const Space& space) {
  return fmt::format("{} of {} are free ({:.1f} %)", human(ByteCount(space.free)), human(ByteCount(space.total)),
                     space.total == 0 ? 0.0 : 100.0 * static_cast<double>(space.free) / static_cast<double>(space.total));
}

/// WAL that cannot be archived piles up there, until the server stops.
void judge_space(ClusterHealth& health, const SpaceLimit& limit) {
  for (const auto& path : {health.settings->data_directory, health.settings->data_directory / "pg_wal"}) {
    const auto space = space_of(path);
    if (!space) {
      health.unjudged.emplace_back("data-space");
      continue;
    }
    if (!health.data_space || space->free < health.data_space->free) health.data_space = *space;
  }
  if (!health.data_space) return;
  if (const auto full = fullness(*health.data_space, limit); full != Fullness::Fine)
    health.problems.push_back({"data-space", fmt::format("the file system of {} is nearly full: {}", health.settings->data_directory.string(), space_text(*health.data_space)),
                               "make room; when WAL piles up in pg_wal: pgmint doctor says why", false, "", full == Fullness::Critical});
}

void judge_proofs(ClusterHealth& health, std::chrono::hours limit) {
  const auto& proofs = health.proofs;
  if (proofs.packs + proofs.unproven_packs == 0 || health.backups.empty()) return;
  const std::string hint = fmt::format("pgmint verify {} --read-data --older-than 30d", health.name);
  if (proofs.oldest && age(*proofs.oldest) > limit)
    health.problems.push_back({"verify-old", fmt::format("some of what backups refer to was last read {}", ago(*proofs.oldest)), hint, false});
  else if (proofs.unproven_packs > 0 && age(health.backups.front().started()) > limit && (!proofs.newest || age(*proofs.newest) > limit))
    health.problems.push_back({"verify-old", proofs.newest ? fmt::format("backups were last verified {}", ago(*proofs.newest)) : "no backup was ever verified", hint, false});
}

void judge_kind(ClusterHealth& health, repository::BackupType type, std::string_view code, const std::optional<std::chrono::hours>& limit) {
  if (!limit || health.settings == nullptr) return;
  const auto newest = std::ranges::find_if(health.backups.rbegin(), health.backups.rend(), [&](const BackupFacts& backup) { return backup.snap.type == type; });
  const auto name = repository::backup_type_name(type);
  const auto hint = fmt::format("pgmint backup {} --type {}", health.name, name);
  if (newest == health.backups.rend())
    health.problems.push_back({std::string(code), fmt::format("there is no {} backup", name), hint, false});
  else if (age(newest->started()) > *limit)
    health.problems.push_back({std::string(code), fmt::format("the newest {} backup began {}", name, ago(newest->started())), hint, false});
}

policy::Estimate estimate_of(const ClusterHealth& health, const repository::LogState& state) {
  const auto window = health.recovery.newest();
  const auto newest = std::ranges::find_if(health.backups.rbegin(), health.backups.rend(), [](const BackupFacts& backup) { return needs_wal(backup) && backup.root; });
  if (!window || newest == health.backups.rend()) return {};
  const auto wal = std::max(window->end.value(), newest->snap.start_lsn) - newest->snap.start_lsn;
  return policy::estimate_restore(newest->root->total_bytes, wal, measures_of(state));
}

void judge_restore(ClusterHealth& health) {
  const auto takes = health.restore.total();
  if (!takes || *takes <= health.objectives.rto) return;
  health.problems.push_back({"rto-breached",
                             fmt::format("a restore would take {}{} by what was measured; the objective is {}", health.restore.is_partial() ? "at least " : "about ", human(*takes),
                                         human(health.objectives.rto)),
                             fmt::format("pgmint plan {} says of what; a newer backup has less WAL behind it", health.name)});
}

}  // namespace

std::string_view ClusterHealth::state() const {
  if (std::ranges::any_of(problems, &Problem::breach)) return "breached";
  return problems.empty() ? "ok" : "warning";
}

AskedServer ask_server(Context& context, const ClusterSettings& settings) {
  AskedServer asked;
  postgres::ConnectOptions options;
  options.conninfo = settings.connection;
  options.connect_timeout = seconds(5);
  auto connection = postgres::Connection::open(options, &context.cancel());
  if (!connection) {
    asked.problem = fmt::format("the server cannot be asked: {}", connection.error().describe());
    return asked;
  }
  auto answer = wal::ask_server(*connection);
  if (!answer) {
    asked.problem = answer.error().describe();
    return asked;
  }
  asked.wal = std::move(*answer);
  if (asked.wal->in_recovery) return asked;
  if (const auto text = connection->value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")) {
    std::uint64_t full_xid = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), full_xid);
    if (error == std::errc()) asked.next_xid = static_cast<std::uint32_t>(full_xid);
  }
  return asked;
}

Result<ClusterHealth> health_of(Context& context, const std::string& name, repository::Cluster* cluster) {
  ClusterHealth health;
  health.name = name;
  health.settings = TRY(context.configuration())->find_cluster(name);
  health.objectives = objectives_of(health.settings);
  AskedServer server;
  if (health.settings != nullptr) server = ask_server(context, *health.settings);
  TRY(context.cancel().check());
  if (cluster != nullptr) {
    health.backups = TRY(backups_of(*cluster));
    health.recovery = TRY(recovery_facts(*cluster, health.backups));
    health.exposure = exposure_of(health.recovery, server);
    health.proofs = proofs_of(*cluster);
    health.restore = estimate_of(health, cluster->state());
    health.proof = restore::last_proof(cluster->state());
  }
  judge_backups(health);
  judge_wal(health, server);
  const auto& limits = TRY(context.configuration())->health;
  judge_proofs(health, limits.verify_age);
  judge_kind(health, repository::BackupType::Logical, "logical-old", limits.logical_age);
  judge_kind(health, repository::BackupType::Config, "config-old", limits.config_age);
  if (health.settings != nullptr) {
    judge_space(health, limits.disk_free);
    if (!server.wal) health.unjudged.insert(health.unjudged.end(), {"archiver-failing", "archive-mode-off"});
  }
  judge_restore(health);
  return health;
}

Result<std::vector<ClusterHealth>> health_of_all(Context& context, const std::optional<std::string>& name) {
  auto& repository = *TRY(context.repository());
  std::vector<ClusterHealth> all;
  if (name) {
    auto cluster = existing_cluster(context, name);
    if (!cluster && cluster.error().code() != Errc::Precondition) return std::move(cluster.error());
    all.push_back(TRY(health_of(context, *name, cluster ? cluster->get() : nullptr)));
    return all;
  }
  auto clusters = TRY(repository.clusters());
  for (const auto& cluster : clusters)
    all.push_back(TRY(health_of(context, cluster->state().cluster_name(), cluster.get())));
  for (const auto& settings : TRY(context.configuration())->clusters)
    if (std::ranges::none_of(clusters,
                             [&](const auto& cluster) { return cluster->state().cluster_name() == settings.name; }))
      all.push_back(TRY(health_of(context, settings.name, nullptr)));
  return all;
}

Result<std::vector<Problem>> repository_warnings(Context& context) {
  auto& repository = *TRY(context.repository());
  const auto slots = TRY(repository.slots());
  const auto clusters = TRY(repository.clusters());
  const auto opened = TRY(opened_slots(repository, clusters, TRY(context.state_directory())));
  const auto off_host = [](const repository::SlotInfo& slot) {
    return slot.provider != repository::KeyProvider::KeyFile;
  };
  std::vector<Problem> warnings;
  if (std::ranges::none_of(slots, off_host))
    warnings.push_back({"no-recovery-key", "every key slot is a key file: losing the files would lose the backups",
                        "pgmint key add --recovery", false});
  else if (std::ranges::none_of(slots, [&](const auto& slot) { return off_host(slot) && opened.contains(slot.name); }))
    warnings.push_back({"recovery-key-untested", "no key that lives off this host has ever been tried",
                        "PGMINT_RECOVERY_KEY_FILE=FILE pgmint key check", false});
  const auto& limits = TRY(context.configuration())->health;
  for (const auto& slot : slots)
    if (!slot.unreadable() && age(slot.created) > limits.key_age)
      warnings.push_back({"key-old", fmt::format("key slot {} was made {}", slot.name, ago(slot.created)),
                          "add a new one (pgmint key add --help), try it, then: pgmint key remove " + slot.name, false, slot.name});
  const auto directory = TRY(context.place())->settings.directory();
  if (!directory) return warnings;
  const auto space = TRY(space_of(*directory));
  if (const auto full = fullness(space, limits.disk_free); full != Fullness::Fine)
    warnings.push_back({"repository-space", fmt::format("the repository's file system is nearly full: {}", space_text(space)),
                        "make room, or a larger file system; what retention lets go: pgmint expire --dry-run", false, "", full == Fullness::Critical});
  return warnings;
}

}  // namespace pgmint::cli
