// What `expire` writes: FORGET for backups, FLOOR for WAL; nothing is removed here (collect.h). What goes is decided elsewhere
// (policy), and decided again on the log as it is right before each entry.
#pragma once

#include <functional>

#include "repository/clocks.h"
#include "repository/repository.h"

namespace pgmint::repository {

/// The time by which ages are judged: the lowest of the local clock, the store's, and the last entry of the log that is not the
/// work of expire, collect and verify. So a clock that runs ahead lets nothing go, nor does a log in which no backup has been written since.
/// @errors Precondition: local clock and store's are further apart than kClocksApartMax, or the log is so far ahead of them
Result<TimePoint> expire_time(Cluster& cluster);

/// Has the log been ahead of the clock that wrote this snapshot by more than that? Then its time may be wrong.
bool clock_was_behind(const LiveSnapshot& snapshot);

/// Those of `wanted` that still go, as the log is now.
using StillGoes = std::function<std::set<SessionId>(const LogState& state)>;
/// One FORGET for each snapshot of `going` that `still` names, on the log as it is right before it. What has been forgotten, held
/// or retained meanwhile is passed over. @return the forgotten ones, in order @errors as Log::append
Result<std::vector<SessionId>> forget(Cluster& cluster, const std::vector<SessionId>& going, const StillGoes& still);

/// Writes what `make` says of the newest log, unless that is nothing. @return the lines written @errors as Log::append
Result<FloorEntry> raise_floors(Cluster& cluster, const std::function<FloorEntry(const LogState& state)>& make);

/// How `state`, such as that of the cluster, would stand after these entries. @errors Precondition: a rule forbids one
Result<LogState> as_if(Cluster& cluster, LogState state, const std::vector<EntryContent>& entries);

}  // namespace pgmint::repository
