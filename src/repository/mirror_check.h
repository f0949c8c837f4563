// Whether a mirror holds what its source holds: names and sizes of everything, and its bytes if asked. Needs no key, writes nothing.
#pragma once

#include "repository/replicate.h"

namespace pgmint::repository {

struct MirrorCheck {
  std::optional<TimePoint> as_of;
  ObjectCount compared;
  std::vector<std::string> missing;    ///< in the mirror: not copied yet, or lost
  std::vector<std::string> lost;       ///< among them log entries that the mirror's mark counts
  std::vector<std::string> differing;  ///< in size, or in bytes
  ObjectCount vanished;                ///< at the source, and still here
  bool read_data = false;
};

/// @param read_data  compare all bytes, which reads both stores whole
/// @errors Precondition (the mirror is none, or of another repository), Storage, Key, Cancelled, Corruption (a mark is damaged)
Result<MirrorCheck> check_mirror(storage::BlobStore& source, storage::BlobStore& mirror, bool read_data, const ReplicateOptions& options);

}  // namespace pgmint::repository
