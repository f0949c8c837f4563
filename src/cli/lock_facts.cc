#include "cli/lock_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/backup_facts.h"
#include "cli/retention_facts.h"
#include "crypto/hash.h"
#include "repository/expire.h"

namespace pgmint::cli {
namespace {

constexpr auto kLookMayBeLate = std::chrono::hours(12);
constexpr auto kLockNotice = std::chrono::days(7);
constexpr std::size_t kPlaceBytes = 8;
constexpr mode_t kLookMode = 0600;

/// Its time is what it says.
fs::path look_file(fs::path memory) { return memory += ".looked"; }

/// The time by which expire judges: while no backups come it stands still, and lets nothing go.
TimePoint time_of_expiry(repository::Cluster& cluster, TimePoint now) {
  return std::min({now, cluster.repository().environment().clock.now(), cluster.state().last_activity()});
}

Result<std::vector<policy::WalOfIdentity>> wal_of(repository::Cluster& cluster) {
  std::vector<policy::WalOfIdentity> all;
  for (const auto& [system_id, incarnation] : cluster.state().identities()) {
    const repository::WalIdentity identity{system_id, incarnation};
    repository::WalArchive archive(cluster, identity);
    all.push_back({identity, TRY(repository::load_wal_inventory(archive).context("WAL"))});
  }
  return all;
}

}  // namespace

Result<policy::LockPlan> lock_plan(repository::Cluster& cluster, const RetentionSettings& retention, std::chrono::days renewed, TimePoint now) {
  const auto zone = retention.timezone ? TRY(TimeZone::named(*retention.timezone).context("[retention] timezone")) : TimeZone::of_system();
  TRY(cluster.log().refresh());
  ManifestFacts manifests;
  TRY(for_each_backup(cluster, [&](const BackupFacts& backup) { manifests.note(backup); }));
  const auto& state = cluster.state();
  const auto facts = retention_facts(state, manifests);
  const auto then = time_of_expiry(cluster, now);
  const auto verdicts = policy::decide(facts.backups, retention.rules, then, zone);
  std::map<repository::SessionId, policy::LockPlan::Backup> backups;
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    auto until = policy::lock_backup(verdicts[i], now, renewed);
    if (!until) continue;
    // Expire is behind by so much, and lets it go no sooner than its next look at a newer time.
    *until = std::max(*until, std::min(*until + (now - then), now + renewed));
    const auto& id = facts.sessions[i];
    backups[id] = {*until, verdicts[i].firmly_until, {facts.backups[i].time, facts.backups[i].sound && !facts.backups[i].clock_was_behind}};
  }
  const auto wal = TRY(wal_of(cluster));
  return policy::LockPlan(state, cluster.id(), backups, wal, {retention.wal, renewed, now - then}, now);
}

fs::path lock_memory_file(const fs::path& state_directory, const repository::Cluster& cluster, const std::string& place) {
  auto name = fmt::format("{}-{}", cluster.repository().format().repository.hex(), cluster.id().hex());
  // Copies have the ids of what they are copied from.
  if (cluster.repository().is_mirror()) name += '-' + to_hex(ByteView(crypto::sha256(as_bytes(place))).first(kPlaceBytes));
  return state_directory / "locks" / name;
}

Status note_lock_look(const fs::path& memory) { return write_file_durably(look_file(memory), {}, kLookMode); }

std::optional<TimePoint> last_lock_look(const repository::Cluster& cluster, const fs::path& memory) {
  if (cluster.repository().is_mirror()) {
    const auto file = stat_if_exists(look_file(memory));
    return file && *file ? std::optional(TimePoint(std::chrono::seconds((*file)->st_mtime))) : std::nullopt;
  }
  const auto looks = cluster.state().recent_audits(kLockEvent);
  return looks.empty() ? std::nullopt : std::optional(looks.back().time);
}

std::optional<Problem> lock_problem(const repository::LogState& state, std::optional<TimePoint> looked, std::chrono::days renewed, TimePoint now) {
  if (state.snapshots().empty()) return std::nullopt;
  // After a look, as after its creation, whatever is needed is locked for so long.
  auto since = TimePoint::max();
  for (const auto& [id, snapshot] : state.snapshots()) since = std::min(since, snapshot.committed);
  if (looked) since = std::max(since, *looked);
  if (now - since < policy::kLocksLookedAtEvery + kLookMayBeLate) return std::nullopt;
  const auto end = since + renewed - std::chrono::days(1);
  if (end - now >= kLockNotice) return std::nullopt;
  const auto last = !looked ? std::string("pgmint lock has never run") : fmt::format("pgmint lock last ran {}", readable_time(*looked));
  const auto what = now < end ? fmt::format("locks of objects that backups need end from {} on", readable_time(end)) : fmt::format("objects that backups need may not be locked any more, since {}", readable_time(end));
  const std::string hint = fmt::format("pgmint lock {}; then see why the schedule did not run it: pgmint schedule show", state.cluster_name());
  return Problem{.code = "locks-ending", .message = fmt::format("{}: {}", what, last), .hint = hint, .breach = false, .urgent = now >= end};
}

}  // namespace pgmint::cli
