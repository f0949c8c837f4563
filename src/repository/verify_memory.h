// What a verification found of packs, as the log remembers it. Private to verify.cc.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "repository/verify_log.h"

namespace pgmint::repository {

class VerifyMemory {
 public:
  /// Borrows the cluster, whose own log stays as it was read: a verification goes by one state from beginning to end.
  /// @param runs_max  of packs in one entry
  explicit VerifyMemory(Cluster& cluster, std::size_t runs_max = kPackRunsMax) : cluster_(cluster), runs_max_(runs_max), log_(cluster) {}

  void sound(const PackId& pack, ProofDepth depth) { sound_[pack] = depth; }
  /// Not sound after all. Nothing is noted where it is known already.
  void damaged(const PackId& pack, ProofDepth depth);
  bool was_damaged(const PackId& pack) const { return all_damaged_.contains(pack); }
  bool has_sound() const { return !sound_.empty(); }
  void drop_sound() { sound_.clear(); }
  /// Writes what was noted since the last time, if anything, and forgets it. @param read  when the reading of these began
  /// @errors as Log::append: this key may not write, the store is read-only
  Status write(TimePoint read);

 private:
  Status append(std::vector<PacksRead> packs);

  Cluster& cluster_;
  const std::size_t runs_max_;
  VerifyLog log_;
  std::map<PackId, ProofDepth> sound_, damaged_;  ///< since the last write()
  std::set<PackId> all_damaged_;
};

}  // namespace pgmint::repository
