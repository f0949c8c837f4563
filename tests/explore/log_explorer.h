// Every interleaving of a few actors over the production fold: what the rules of the log are worth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pgmint::explore {

/// One rule that the actors, or the fold that they share, live without.
enum class LeftOut {
  Nothing,
  BeginPins,             ///< PURGE looks at live snapshots only
  PinsAreFrozen,         ///< pins end with the parent's life
  SnapNeedsOpenSession,
  ParentIsLive,
  SessionBeginsOnce,
  AbortOnlyWhatIsOpen,
  PurgeOnlyWhatIsClosed,
  PurgeNothingNeeded,
  HoldBlocksForget,
  RetainBlocksForget,
  NameIsUnused,
  SnapAboveFloor,
  FloorBelowSnapshots,
  FloorBelowReaders,
  RevalidateAfterRace,   ///< the entry that lost a race is put into the next slot as it is
  SlotsAreImmutable,     ///< two may win one slot: the later replaces the earlier
  AbortBeforeSweep,      ///< the collector deletes packs of open sessions whose lease has passed, without ABORT
  PurgeBeforeDelete,     ///< the collector deletes what its fold does not need any more, without PURGE
  UnknownSessionsStay,   ///< the collector deletes packs of sessions that its fold does not know
  PutsAreAcknowledged,   ///< SNAP although a put's outcome is unknown
  AbortBeforeCleanUp,    ///< a writer that gives up deletes its packs without ABORT
};
const char* name_of(LeftOut rule);

struct Writer {
  bool has_parent = false;    ///< builds on the base snapshot: keeps its pack 0, drops its pack 1
  bool shares_name = false;   ///< its backup has the name of the other such writers'
};

/// Who takes part. There is always one base snapshot with two packs.
struct Configuration {
  std::string name;
  std::vector<Writer> writers;
  int readers = 0;              ///< each pins the base snapshot, and ENDs
  int collectors = 0;
  int collector_rounds = 1;     ///< listings that each collector makes
  bool aborts_unknown = false;  ///< somebody may ABORT the first writer's session before it begins
  bool forget_base = false, forget_others = false;
  bool hold_base = false;       ///< HOLD and RELEASE by somebody else than who forgets
  bool retain_base = false;     ///< the base is kept until the clock has moved on
  bool floor = false;           ///< somebody raises the WAL floor and deletes WAL below
  bool window_floor = false;    ///< the same with the window floor, below which live backups keep their own
};

struct Exploration {
  std::size_t states = 0;
  std::string violation;             ///< empty: none in any state
  std::vector<std::string> history;  ///< a shortest way there
};

/// Breadth first over all reachable states. A crash needs no step of its own: an actor that has crashed is one that is not
/// scheduled any more; collectors also start again, and requests of actors that gave up may land later.
Exploration explore(const Configuration& configuration, LeftOut rule, std::size_t states_max = 3'000'000);

}  // namespace pgmint::explore
