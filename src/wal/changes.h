// `wal show`: what a stretch of archived WAL changed, by the summaries that stand beside its segments.
#pragma once

#include "repository/wal_coverage.h"

namespace pgmint::wal {

struct ArchivedChanges {
  postgres::WalSegmentSize segment_size = postgres::WalSegmentSize::default_size();
  std::vector<repository::WalRange> segments;  ///< in the order of the WAL; more than one where the timeline changes
  postgres::ChangeSet changes;                 ///< may be void, and says why
};

/// @param first, last  names of segments, both included; `first` is on the history of the timeline of `last`
/// @errors Usage (no such names, `last` lies before `first`), NotFound (a segment or its summary is not stored), Precondition
/// (`first` is not on the way to `last`), Corruption, Storage, Key, Cancelled
Result<ArchivedChanges> archived_changes(repository::WalArchive& archive, const std::string& first, const std::string& last,
                                         const CancelToken* cancel = nullptr);

}  // namespace pgmint::wal
