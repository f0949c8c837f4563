// What has vanished at a mirror's source, and since when: noted in the mirror itself, so that it stays for a while whoever copies next.
// Format: docs/format/mirror.md
#pragma once

#include "repository/replicate.h"

namespace pgmint::repository {

/// Objects that were not at the source any more at that time.
struct AbsenceNote {
  TimePoint since{};
  std::vector<std::string> objects;
};
Bytes encode_absence(const AbsenceNote& note, const RepositoryId& repository, const ClusterId& cluster);
/// @errors Corruption, Precondition (a newer format version)
Result<AbsenceNote> parse_absence(ByteView object, const RepositoryId& repository, const ClusterId& cluster);

/// What a mirror's cluster still has and its source has no more, and how much it has in all.
struct Vanished {
  std::vector<storage::BlobInfo> objects;  ///< in order of names
  ObjectCount all;                         ///< of the cluster's objects in the mirror that may ever go
};

/// Notes what vanished since the last time, takes back the note of what is there again, and removes what vanished at least
/// `options.keep_removed` ago. Never more than half of what the cluster has there, unless `options.remove_many`. Fills `vanished`,
/// `removed`, `held_back` and `next_removal` of `report`. @errors Storage, Key, Cancelled, Corruption (a note is damaged)
Status tidy_vanished(storage::BlobStore& mirror, const RepositoryId& repository, const Vanished& vanished, Clock& clock, RandomSource& random,
                     const ReplicateOptions& options, ReplicatedCluster& report);

}  // namespace pgmint::repository
