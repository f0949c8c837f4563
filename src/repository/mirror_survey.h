// What stands in a source and in its mirror: listings, and where logs end. Needs no key.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "repository/mirror_mark.h"

namespace pgmint::repository {

/// How many entries of each generation there are, gapless from 0.
struct LogHeads {
  std::map<std::uint32_t, std::uint64_t> entries;
  std::string gap;  ///< the first entry behind one that is missing; empty: none
  bool operator==(const LogHeads&) const = default;
};
/// As far as `bounds` lets entries count; nullptr: whatever there is. @errors Storage
Result<LogHeads> log_heads(storage::BlobStore& store, const ClusterId& cluster, const LogBounds* bounds);

/// Entries of a log below `heads`, in order. @errors Storage
Result<std::vector<storage::BlobInfo>> log_entries(storage::BlobStore& store, const ClusterId& cluster, const LogHeads& heads);

/// Objects of a cluster beside its log, each kind in order of names.
struct ClusterObjects {
  std::vector<storage::BlobInfo> rings, packs, wal, roots;
};
/// @param tell  called now and then with what is being listed. @errors Storage; what `tell` returns
Result<ClusterObjects> cluster_objects(storage::BlobStore& store, const ClusterId& cluster, const std::function<Status(const std::string&)>& tell);

/// Two listings held against each other; both in order of names.
struct Comparison {
  std::vector<storage::BlobInfo> missing;    ///< in the mirror
  std::vector<storage::BlobInfo> vanished;   ///< at the source
  std::vector<std::string> differing;        ///< in size
};
Comparison compare(const std::vector<storage::BlobInfo>& source, const std::vector<storage::BlobInfo>& mirror);

}  // namespace pgmint::repository
