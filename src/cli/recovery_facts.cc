#include "cli/recovery_facts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace pgmint::cli {
namespace {

/// What recovery from this backup reaches when nothing is asked for: along the newest timeline that descends from it.
Result<std::optional<Window>> window_of(repository::WalArchive& archive, const repository::WalInventory& inventory,
                                        const BackupFacts& backup) {
  const postgres::Lsn start(backup.snap.start_lsn), stop(backup.snap.stop_lsn);
  if (!postgres::is_valid(stop)) return std::optional<Window>();  // dumps and configurations have no WAL
  const auto timeline = inventory.newest_descendant(postgres::TimelineId(backup.snap.timeline), stop);
  const auto history =
      inventory.history_of(timeline).value_or(postgres::TimelineHistory(postgres::TimelineId(backup.snap.timeline)));
  const auto reachable = TRY(repository::recovery_window(archive, inventory, history, start, stop));
  // A backup from a standby may carry the WAL that it needs: then its end can be reached, and nothing after it.
  if (!reachable.complete_to_from && !(backup.root && backup.root->from_standby)) return std::optional<Window>();
  const TimePoint finished = backup.root ? backup.root->finished : backup.committed;
  Window window;
  window.from = finished;
  window.to = reachable.last_commit ? std::max(finished, reachable.last_commit->time) : finished;
  window.timeline = reachable.timeline;
  window.end = reachable.end;
  window.last_commit = reachable.last_commit;
  return std::optional(window);
}

/// Of what the backup itself needs to become consistent; below a floor that is no gap of the window's.
void add_missing(const BackupFacts& backup, RecoveryFacts& facts) {
  if (backup.snap.stop_lsn == 0 || (backup.root && backup.root->from_standby)) return;  // the latter may carry its own
  const postgres::TimelineId timeline(backup.snap.timeline);
  const auto history = facts.inventory.history_of(timeline).value_or(postgres::TimelineHistory(timeline));
  for (const auto& range :
       facts.inventory.missing(history, postgres::Lsn(backup.snap.start_lsn), postgres::Lsn(backup.snap.stop_lsn))) {
    const bool known = std::ranges::any_of(facts.gaps, [&](const repository::WalRange& gap) {
      return gap.timeline == range.timeline && gap.first <= range.first && range.last <= gap.last;
    });
    if (!known) facts.gaps.push_back(range);
  }
}

/// What the names alone tell a maintenance key, which opens neither history files nor summaries.
Result<RecoveryFacts> facts_from_names(repository::WalArchive& archive) {
  RecoveryFacts facts;
  for (const auto& listed : TRY(archive.list_all())) {
    if (listed.file_name.size() != 24) continue;
    if (!facts.min || listed.file_name < *facts.min) facts.min = listed.file_name;
    if (!facts.max || listed.file_name > *facts.max) facts.max = listed.file_name;
  }
  return facts;
}

}  // namespace

Result<RecoveryFacts> recovery_facts(repository::Cluster& cluster, const std::vector<BackupFacts>& backups,
                                     std::vector<repository::WalArchive::Listed>* listed) {
  const auto identity = repository::current_identity(cluster.state());
  repository::WalArchive archive(cluster, identity);
  if (cluster.keys().map_key.is_zero()) return facts_from_names(archive);
  RecoveryFacts facts;
  facts.inventory = TRY(repository::load_wal_inventory(archive, std::nullopt, listed));
  facts.gaps = facts.inventory.gaps(repository::floors_of(cluster.state(), identity));
  for (const auto& range : facts.inventory.ranges()) {
    const auto size = facts.inventory.segment_size();
    const auto first = postgres::segment_file_name(range.timeline, range.first, size);
    const auto last = postgres::segment_file_name(range.timeline, range.last, size);
    if (!facts.min || first < *facts.min) facts.min = first;
    if (!facts.max || last > *facts.max) facts.max = last;
  }
  for (const auto& backup : backups) {
    if (backup.snap.system_id != identity.system_id || backup.snap.incarnation != identity.incarnation) continue;
    add_missing(backup, facts);
    const auto window = TRY(window_of(archive, facts.inventory, backup));
    if (!window) continue;
    // An older backup whose WAL leads to the same end is the beginning of one window.
    auto same = std::ranges::find_if(
        facts.windows, [&](const Window& w) { return w.timeline == window->timeline && w.end == window->end; });
    if (same == facts.windows.end()) {
      facts.windows.push_back(*window);
      continue;
    }
    same->from = std::min(same->from, window->from);
    same->to = std::max(same->to, window->to);
  }
  std::ranges::sort(facts.windows, {}, &Window::to);
  return facts;
}

Json gaps_json(const RecoveryFacts& facts) {
  Json gaps = Json::array();
  const auto size = facts.inventory.segment_size();
  for (const auto& gap : facts.gaps)
    gaps.push_back({{"timeline", gap.timeline.value()},
                    {"from", postgres::segment_file_name(gap.timeline, gap.first, size)},
                    {"to", postgres::segment_file_name(gap.timeline, gap.last, size)},
                    {"count", gap.count()}});
  return gaps;
}

Json wal_json(const RecoveryFacts& facts) {
  return {{"min", facts.min ? Json(*facts.min) : Json(nullptr)},
          {"max", facts.max ? Json(*facts.max) : Json(nullptr)},
          {"gaps", gaps_json(facts)}};
}

WindowText window_text(const Window& window) {
  // The newest commit itself is no moment to stop at: PostgreSQL stops when it meets a later one.
  const auto end = window.from < window.to ? window.to - std::chrono::microseconds(1) : window.to;
  const auto first = std::chrono::ceil<std::chrono::seconds>(window.from), last = std::chrono::floor<std::chrono::seconds>(end);
  if (first > last) return {format_postgres(window.from), format_postgres(end)};
  return {format_postgres(first), format_postgres(last)};
}

Json window_json(const Window& window) {
  return {
      {"from", format_rfc3339(window.from)}, {"to", format_rfc3339(window.to)}, {"timeline", window.timeline.value()}};
}

}  // namespace pgmint::cli
