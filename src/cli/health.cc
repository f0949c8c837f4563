#include "cli/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/units.h"
#include "cli/lock_facts.h"
#include "cli/opened_slots.h"
#include "cli/restore_estimate.h"
#include "cli/s3_connection.h"
#include "cli/wal_spool.h"
#include "repository/clocks.h"
#include "service/deadline.h"

namespace pgmint::cli {
namespace {

using std::chrono::seconds;

/// Backups are for weeks, WAL for minutes: a newest backup older than this makes every restore long.
constexpr auto kBackupAgeMax = std::chrono::hours(8 * 24);
constexpr auto kHoldNotice = std::chrono::hours(7 * 24);
constexpr std::size_t kSegmentNameSize = 24;
constexpr auto kServerAnswers = std::chrono::seconds(20);

seconds age(TimePoint then) {
  return std::max(seconds(0), std::chrono::duration_cast<seconds>(system_clock().now() - then));
}

/// A clock was wrong when it was written, or is now: it tells no age.
bool is_ahead(TimePoint time) { return repository::is_ahead_of(time, system_clock().now()); }

/// Nothing was committed since what the archive holds: then nothing would be lost, however long ago that was.
bool nothing_since(const AskedServer& server, const std::optional<postgres::CommitPoint>& commit) {
  return server.next_xid && commit && commit->xid.value() + 1 == *server.next_xid;
}

std::optional<seconds> exposure_of(const RecoveryFacts& facts, const AskedServer& server) {
  const auto window = facts.newest();
  if (!window) return std::nullopt;
  if (server.wal && server.wal->current <= window->end) return seconds(0);
  if (nothing_since(server, window->last_commit)) return seconds(0);
  if (is_ahead(window->to)) return std::nullopt;
  seconds lost = age(window->to);
  // All complete segments are archived: what is missing was written since the last of them was.
  if (server.wal && !server.wal->failing() && server.wal->last_archived_time &&
      postgres::segment_of(server.wal->current, facts.inventory.segment_size()) <=
          postgres::segment_of(window->end, facts.inventory.segment_size()))
    lost = std::min(lost, age(*server.wal->last_archived_time));
  return lost;
}

/// "1 pack and 2 WAL segments"; empty: nothing.
std::string damage_text(const ClusterHealth& health) {
  const auto packs = health.proofs.damaged_packs, wal = health.wal_proofs ? health.wal_proofs->damaged_segments : 0;
  if (packs > 0 && wal > 0) return fmt::format("{} and {}", counted(packs, "pack"), counted(wal, "WAL segment"));
  if (packs + wal == 0) return "";
  return packs > 0 ? counted(packs, "pack") : counted(wal, "WAL segment");
}

void judge_backups(ClusterHealth& health) {
  // Dumps alone bring nothing back to a moment.
  const bool has_physical = std::ranges::any_of(health.backups, [](const BackupFacts& backup) { return needs_wal(backup); });
  const auto* last = health.newest_backup(needs_wal);
  if (!has_physical)
    health.problems.push_back({"no-backup", fmt::format("cluster {} has no {}", health.name, health.backups.empty() ? "backup" : "backup but dumps"),
                               fmt::format("pgmint backup {}", health.name)});
  else if (last != nullptr && age(last->started()) > kBackupAgeMax)
    health.problems.push_back({"backup-old", fmt::format("the newest backup began {} ago", human(age(last->started()))),
                               fmt::format("pgmint backup {}", health.name), false});
  for (const auto& backup : health.backups)
    if (!backup.problem.empty())
      health.problems.push_back(
          {"manifest-damaged", fmt::format("{}: {}", backup.snap.name, backup.problem), "pgmint verify --read-data", true, backup.snap.name});
  if (const auto damage = damage_text(health); !damage.empty())
    health.problems.push_back({"damage-found", fmt::format("verify found {} damaged", damage),
                               fmt::format("pgmint verify {} --read-data --older-than 30d names the backups, and looks again", health.name)});
  if (has_physical && !health.recovery.newest())
    health.problems.push_back(
        {"not-recoverable", "no backup has the WAL that it needs", fmt::format("pgmint wal status {}", health.name)});
}

/// Times that lie ahead make what is old look new, for as long as they do.
void judge_clocks(ClusterHealth& health) {
  const auto ahead = std::ranges::count_if(health.backups, [](const BackupFacts& backup) { return is_ahead(backup.started()); });
  const auto window = health.recovery.newest();
  if (ahead == 0 && !(window && is_ahead(window->to))) return;
  std::string what;
  if (ahead > 0) {
    const auto latest = std::ranges::max(health.backups, {}, &BackupFacts::started);
    what = fmt::format("{} lie{} ahead of this host's clock, {} by {}", counted(static_cast<std::size_t>(ahead), "backup"), ahead == 1 ? "s" : "", latest.snap.name,
                       human(latest.started() - system_clock().now()));
  } else {
    what = fmt::format("the newest commit in the WAL lies ahead of this host's clock: {}", readable_time(window->to));
  }
  // While there is another one to judge by, it is what an old mistake has left.
  const bool is_judged = !(window && is_ahead(window->to)) && health.newest_backup(needs_wal) != nullptr;
  health.problems.push_back({"clock-wrong", what + (is_judged ? "; it counts for no age" : "; what could be lost is not known"),
                             fmt::format("hold `date` against another host's; once it is right: pgmint backup {}", health.name), !is_judged});
  if (!is_judged) health.unjudged.insert(health.unjudged.end(), {"backup-old", "rpo-breached"});
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
  if (health.settings->is_remote()) return;  // on another machine
  for (const auto& path : {health.settings->data_directory, health.settings->data_directory / "pg_wal"}) {
    // Of one that is not there, not mounted for instance, the parent's file system says nothing.
    const auto there = stat_if_exists(path);
    const auto space = there && *there ? space_of(path) : Result<Space>(Error(Errc::NotFound, path.string()));
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
  if (health.backups.empty()) return;
  const std::string hint = fmt::format("pgmint verify {} --read-data --older-than 30d", health.name);
  const auto judge = [&](const auto& proofs, std::string_view what, std::string_view none, const std::string& subject) {
    if (proofs.oldest && age(*proofs.oldest) > limit)
      health.problems.push_back({"verify-old", fmt::format("some of {} was last read {}", what, ago(*proofs.oldest)), hint, false, subject});
    else if (proofs.unproven_since && age(*proofs.unproven_since) > limit)
      // However recently something else was read.
      health.problems.push_back({"verify-old", proofs.newest ? fmt::format("{} of {} was never read, for {}", human(ByteCount(proofs.unproven_bytes)), what, human(age(*proofs.unproven_since)))
                                                             : std::string(none), hint, false, subject});
  };
  judge(health.proofs, "what backups refer to", "no backup was ever verified", "");
  if (health.wal_proofs) judge(*health.wal_proofs, "the WAL", "no WAL was ever read back", "WAL");
}

void judge_kind(ClusterHealth& health, repository::BackupType type, std::string_view code, const std::optional<std::chrono::hours>& limit) {
  if (!limit || health.settings == nullptr) return;
  const auto is_it = [&](const BackupFacts& backup) { return backup.snap.type == type; };
  const auto* newest = health.newest_backup(is_it);
  const auto name = repository::backup_type_name(type);
  const auto hint = fmt::format("pgmint backup {} --type {}", health.name, name);
  if (newest == nullptr && std::ranges::any_of(health.backups, is_it)) return;  // clock-wrong is told
  if (newest == nullptr)
    health.problems.push_back({std::string(code), fmt::format("there is no {} backup", name), hint, false});
  else if (age(newest->started()) > *limit)
    health.problems.push_back({std::string(code), fmt::format("the newest {} backup began {}", name, ago(newest->started())), hint, false});
}

/// What somebody wanted to keep goes by the rules again: he may want to say so once more.
void judge_holds(ClusterHealth& health) {
  const auto now = system_clock().now();
  for (const auto& backup : health.backups)
    if (backup.hold && backup.hold->until && !backup.hold->is_over(now) && *backup.hold->until - now < kHoldNotice)
      health.problems.push_back({"hold-ending", fmt::format("{}: the hold ends at {}, and the rules of retention decide again: {}", backup.snap.name, readable_time(*backup.hold->until), backup.hold->reason),
                                 fmt::format("to keep it longer: pgmint release {0}, then pgmint hold {0} --until WHEN --reason TEXT", backup.snap.name), false, backup.snap.name});
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

const BackupFacts* ClusterHealth::newest_backup(const std::function<bool(const BackupFacts&)>& is_it) const {
  const auto found = std::ranges::find_if(backups.rbegin(), backups.rend(), [&](const BackupFacts& backup) { return !is_ahead(backup.started()) && is_it(backup); });
  return found == backups.rend() ? nullptr : &*found;
}

std::string_view ClusterHealth::state() const {
  if (std::ranges::any_of(problems, &Problem::breach)) return "breached";
  return problems.empty() ? "ok" : "warning";
}

AskedServer ask_server(Context& context, const ClusterSettings& settings) {
  AskedServer asked;
  postgres::ConnectOptions options;
  options.conninfo = settings.connection;
  options.connect_timeout = seconds(5);
  // A server may take a connection and never answer.
  service::Deadline deadline(kServerAnswers, &context.cancel());
  const auto words = [&](const Error& error) {
    return deadline.passed() ? fmt::format("no answer within {}", human(kServerAnswers)) : error.describe();
  };
  auto connection = postgres::Connection::open(options, &deadline.token());
  if (!connection) {
    asked.problem = fmt::format("the server cannot be asked: {}", words(connection.error()));
    return asked;
  }
  auto answer = wal::ask_server(*connection);
  if (!answer) {
    asked.problem = fmt::format("the server cannot be asked: {}", words(answer.error()));
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
    std::vector<repository::WalArchive::Listed> wal;
    health.recovery = TRY(recovery_facts(*cluster, health.backups, &wal));
    if (!cluster->keys().map_key.is_zero()) health.wal_proofs = TRY(wal_proofs_of(*cluster, health.recovery.inventory.segment_size(), wal));
    health.exposure = exposure_of(health.recovery, server);
    health.proofs = proofs_of(*cluster);
    health.restore = estimate_of(health, cluster->state());
    health.proof = restore::last_proof(cluster->state());
  }
  judge_backups(health);
  judge_clocks(health);
  judge_wal(health, server);
  const auto& limits = TRY(context.configuration())->health;
  judge_proofs(health, limits.verify_age);
  judge_holds(health);
  judge_kind(health, repository::BackupType::Logical, "logical-old", limits.logical_age);
  judge_kind(health, repository::BackupType::Config, "config-old", limits.config_age);
  if (health.settings != nullptr) {
    judge_space(health, limits.disk_free);
    if (!server.wal) health.unjudged.insert(health.unjudged.end(), {"archiver-failing", "archive-mode-off"});
  }
  judge_restore(health);
  if (const auto rule = lock_rule(TRY(context.place())->s3); rule && cluster != nullptr) {
    const auto memory = lock_memory_file(TRY(context.state_directory()), *cluster, TRY(context.place())->store->describe());
    if (auto problem = lock_problem(cluster->state(), last_lock_look(*cluster, memory), rule->period, system_clock().now())) health.problems.push_back(std::move(*problem));
  }
  return health;
}

namespace {

/// Nothing is known of it, which is told; nothing of it is over.
ClusterHealth health_of_unreadable(Context& context, std::string name, Error error) {
  ClusterHealth health;
  health.name = std::move(name);
  if (const auto configuration = context.configuration()) health.settings = (*configuration)->find_cluster(health.name);
  health.objectives = objectives_of(health.settings);
  health.problems.push_back({"cluster-unreadable", fmt::format("cluster {} cannot be read: {}", health.name, error.describe()), error.hint().empty() ? "pgmint doctor" : error.hint()});
  health.unjudged = {""};
  health.unreadable = std::move(error);
  return health;
}

/// Those of `unreadable` by their ids, but for the one that can only be the one configured cluster that is missing. Of a configured
/// cluster that may be among them nobody knows whether it has a backup.
Status add_unreadable(Context& context, std::vector<repository::UnreadableCluster> unreadable, std::vector<std::string> missing, std::vector<ClusterHealth>& all) {
  if (unreadable.size() == 1 && missing.size() == 1) {
    all.push_back(health_of_unreadable(context, missing.front(), std::move(unreadable.front().error)));
    return ok();
  }
  for (const auto& name : missing) {
    if (unreadable.empty()) all.push_back(TRY(health_of(context, name, nullptr)));
    else all.push_back(health_of_unreadable(context, name, unreadable.front().error));
  }
  for (auto& one : unreadable) all.push_back(health_of_unreadable(context, one.id, std::move(one.error)));
  return ok();
}

}  // namespace

Result<std::vector<ClusterHealth>> health_of_all(Context& context, const std::optional<std::string>& name) {
  auto& repository = *TRY(context.repository());
  std::vector<ClusterHealth> all;
  if (name) {
    auto cluster = existing_cluster(context, name);
    if (!cluster && cluster.error().code() != Errc::Precondition) return std::move(cluster.error());
    all.push_back(TRY(health_of(context, *name, cluster ? cluster->get() : nullptr)));
    return all;
  }
  std::vector<repository::UnreadableCluster> unreadable;
  const auto clusters = TRY(repository.readable_clusters(unreadable));
  for (const auto& cluster : clusters) {
    auto health = health_of(context, cluster->state().cluster_name(), cluster.get());
    if (!health && health.error().code() == Errc::Cancelled) return std::move(health.error());
    all.push_back(health ? std::move(*health) : health_of_unreadable(context, cluster->state().cluster_name(), std::move(health.error())));
  }
  std::vector<std::string> missing;
  for (const auto& settings : TRY(context.configuration())->clusters)
    if (std::ranges::none_of(all, [&](const auto& health) { return health.name == settings.name; })) missing.push_back(settings.name);
  TRY(add_unreadable(context, std::move(unreadable), std::move(missing), all));
  return all;
}

Result<std::vector<Problem>> repository_warnings(Context& context, std::vector<std::string>* unjudged) {
  auto& repository = *TRY(context.repository());
  const auto slots = TRY(repository.slots());
  std::vector<repository::UnreadableCluster> unreadable;
  const auto clusters = TRY(repository.readable_clusters(unreadable));
  const auto opened = TRY(opened_slots(repository, clusters, TRY(context.state_directory())));
  const auto off_host = [](const repository::SlotInfo& slot) {
    return slot.provider != repository::KeyProvider::KeyFile;
  };
  std::vector<Problem> warnings;
  if (auto waiting = waiting_wal(context)) warnings.push_back(std::move(*waiting));
  const bool was_tried = std::ranges::any_of(slots, [&](const auto& slot) { return off_host(slot) && opened.contains(slot.name); });
  if (std::ranges::none_of(slots, off_host))
    warnings.push_back({"no-recovery-key", "every key slot is a key file: losing the files would lose the backups",
                        "pgmint key add --recovery", false});
  else if (!was_tried && unreadable.empty())
    warnings.push_back({"recovery-key-untested", "no key that lives off this host has ever been tried",
                        "PGMINT_RECOVERY_KEY_FILE=FILE pgmint key check", false});
  else if (!was_tried && unjudged != nullptr)
    unjudged->emplace_back("recovery-key-untested");  // that it was may stand in the log that cannot be read
  const auto& limits = TRY(context.configuration())->health;
  for (const auto& slot : slots)
    if (!slot.unreadable() && is_ahead(slot.created))
      warnings.push_back({"clock-wrong", fmt::format("key slot {} was made ahead of this host's clock: how old it is, is not known", slot.name), "hold `date` against another host's", false, slot.name});
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
