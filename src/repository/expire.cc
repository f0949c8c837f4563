#include "repository/expire.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgmint::repository {
namespace {

/// Stops an append whose reason has gone; never leaves this file.
constexpr auto kNoReason = Errc::NotFound;

Hint clock_hint() {
  return Hint{"set the clock right (timedatectl). If it is right and another host's was wrong, any entry with the right time ends that: "
              "pgmint backup, then pgmint expire again"};
}

std::string apart(std::chrono::microseconds by) {
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(by).count();
  return minutes < 2 * 24 * 60 ? fmt::format("{} h {} min", minutes / 60, minutes % 60) : fmt::format("{} days", minutes / (24 * 60));
}

bool is_nothing(const FloorEntry& entry) { return entry.lines.empty() && entry.window_lines.empty(); }

}  // namespace

Result<TimePoint> expire_time(Cluster& cluster) {
  TRY(cluster.log().refresh());
  const auto local = cluster.repository().environment().clock.now();
  const auto store = cluster.store().store_time().value_or(local);
  const auto last = cluster.state().last_activity();
  if (std::max(local, store) - std::min(local, store) > kClocksApartMax)
    return Error(Errc::Precondition,
                 fmt::format("this host's clock says {} and the store's {}, {} apart: nothing goes by clocks that disagree", format_rfc3339(local),
                             format_rfc3339(store), apart(std::max(local, store) - std::min(local, store))),
                 clock_hint());
  if (last - std::min(local, store) > kClocksApartMax)
    return Error(Errc::Precondition,
                 fmt::format("the log's last entry is of {}, and the clock says {}, {} before it: nothing goes by clocks that disagree",
                             format_rfc3339(last), format_rfc3339(std::min(local, store)), apart(last - std::min(local, store))),
                 clock_hint());
  return std::min({local, store, last});
}

bool clock_was_behind(const LiveSnapshot& snapshot) {
  return snapshot.seq != 0 && snapshot.log_time - snapshot.committed > kClocksApartMax;
}

Result<std::vector<SessionId>> forget(Cluster& cluster, const std::vector<SessionId>& going, const StillGoes& still) {
  std::vector<SessionId> forgotten;
  std::optional<std::uint64_t> judged;  ///< the log's length for which `goes` holds
  std::set<SessionId> goes;
  for (const auto& id : going) {
    bool passed_over = false;
    auto written = cluster.log().append(cluster.actor(), [&](const LogState& state) -> Result<EntryContent> {
      if (judged != state.next_seq()) goes = still(state);
      judged = state.next_seq();
      const auto found = state.snapshots().find(id);
      passed_over = found == state.snapshots().end() || (found->second.hold && !found->second.hold->is_over(cluster.repository().environment().clock.now())) || !goes.contains(id);
      if (passed_over) return Error(kNoReason, "it stays now");
      return ForgetEntry{id};
    });
    if (!written && passed_over) continue;
    const auto seq = TRY(std::move(written));
    // Our own entry changes nothing for the others: what goes is wanted by no rule, with or without it.
    if (judged == seq) judged = seq + 1;
    forgotten.push_back(id);
  }
  return forgotten;
}

Result<FloorEntry> raise_floors(Cluster& cluster, const std::function<FloorEntry(const LogState& state)>& make) {
  FloorEntry entry;
  auto written = cluster.log().append(cluster.actor(), [&](const LogState& state) -> Result<EntryContent> {
    entry = make(state);
    if (is_nothing(entry)) return Error(kNoReason, "no floor rises");
    return entry;
  });
  if (!written && is_nothing(entry)) return FloorEntry{};
  TRY(std::move(written));
  return entry;
}

Result<LogState> as_if(Cluster& cluster, LogState state, const std::vector<EntryContent>& entries) {
  for (const auto& content : entries) {
    LogEntry entry;
    entry.generation = state.generation();
    entry.seq = state.next_seq();
    entry.previous = state.head();
    entry.actor = cluster.actor().key->public_key();
    entry.time = cluster.repository().environment().clock.now();
    entry.content = content;
    TRY(state.apply(entry));
    state.advance(entry.seq, state.head());
  }
  return state;
}

}  // namespace pgmint::repository
