// Until when each object of a cluster is to be locked in a bucket with object lock. Pure: log, listings of WAL, retention and a time in, times out.
// Decision: docs/adr/0039-object-lock.md
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "policy/retention.h"
#include "policy/wal_floors.h"
#include "repository/log_state.h"
#include "repository/pack_set.h"

namespace pgmint::policy {

/// How far looks at the locks are apart.
inline constexpr std::chrono::days kLocksLookedAtEvery{31};

/// Until when a backup's objects are to be locked; nullopt: no rule keeps it. Until then what keeps it has no known end, `renewed` from `now` on: the next look extends it.
std::optional<TimePoint> lock_backup(const Verdict& verdict, TimePoint now, std::chrono::days renewed);

/// A lock that ends then does for now, though it is to reach `wanted`: what was created in the last day is left alone, and whatever is needed is locked so long after each look.
TimePoint lock_at_least(TimePoint wanted, TimePoint now, std::chrono::days renewed);

struct LockRules {
  Period wal_window;             ///< how far back any moment can be recovered
  std::chrono::days renewed{};   ///< what has no known end is locked so long; longer than looks are apart
  /// How far behind `now` the time is by which expire judges, such as while no backups come: it lets WAL go so much later.
  std::chrono::microseconds expire_behind{};
};

/// Of one cluster. A value that borrows nothing but the state's table of packs: the log outlives it.
class LockPlan {
 public:
  struct Backup {
    TimePoint until{};         ///< of lock_backup()
    TimePoint firmly_until{};  ///< of its verdict
    WalBackup facts{};
  };
  /// @param backups  the live ones that rules keep
  LockPlan(const repository::LogState& state, const repository::ClusterId& cluster, const std::map<repository::SessionId, Backup>& backups, const std::vector<WalOfIdentity>& wal,
           const LockRules& rules, TimePoint now);

  /// By the object's name; nullopt: nothing needs it, or it is none of this cluster's nor of the whole repository's.
  std::optional<TimePoint> until(const std::string& name) const;
  /// The latest of all: format, keys, rings and the log are needed so long.
  TimePoint longest() const { return longest_; }

 private:
  /// A stretch of WAL that a backup needs to become consistent.
  struct Stretch {
    std::uint64_t first = 0, last = 0;
    TimePoint until{};
  };
  /// Behind a backup that starts at `start` WAL is in the window until then.
  struct Passed {
    std::uint64_t start = 0;
    TimePoint until{};
  };
  struct Timeline {
    std::uint64_t floor = 0, window_floor = 0;
    std::vector<Passed> passed;  ///< by start; `until` never falls
  };
  struct Identity {
    std::string directory;  ///< "c/<id>/wal/<system id>-<incarnation>/"
    postgres::WalSegmentSize size;
    std::vector<Stretch> needed;
    std::map<std::uint32_t, Timeline> timelines;
  };
  Identity identity_of(const repository::LogState& state, const std::map<repository::SessionId, Backup>& backups, const WalOfIdentity& wal, const LockRules& rules) const;
  std::optional<TimePoint> until_of_wal(const std::string& name) const;

  const repository::ClusterId cluster_;
  const std::string prefix_, packs_, manifests_, wal_;
  TimePoint longest_{}, window_open_{};
  std::map<repository::SessionId, TimePoint> roots_;
  std::map<repository::PackId, TimePoint> pack_until_;
  std::vector<Identity> identities_;
};

}  // namespace pgmint::policy
