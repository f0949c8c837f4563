// What the WAL says has changed since the parent: the summaries of its segments, joined.
#pragma once

#include "postgres/control_file.h"
#include "postgres/history.h"
#include "postgres/wal_summary.h"
#include "repository/wal_coverage.h"

namespace pgmint::backup {

struct ChangeSources {
  repository::WalArchive& archive;
  /// Its pg_wal has what is not archived yet: after the start of a backup that is the segment before, most often.
  fs::path data_directory;  ///< empty: out of reach
  const postgres::ControlFile& control;
};

/// History of `timeline` by the server's own file, else the archive's. @errors NotFound, Corruption, Storage, Key, Io
Result<postgres::TimelineHistory> history_of(const ChangeSources& sources, postgres::TimelineId timeline);

/// Blocks that changed from `from` to `to` along `history`. What cannot be had (a summary missing or damaged, a chain that
/// breaks) makes it void, with the reason. @param damage  gets a line for each stored object that is damaged, whether or not the
/// server's own copy served. @errors Storage, Key, Io, Cancelled
Result<postgres::ChangeSet> changes_between(const ChangeSources& sources, const postgres::TimelineHistory& history,
                                            postgres::Lsn from, postgres::Lsn to, std::vector<std::string>& damage,
                                            const CancelToken* cancel);

}  // namespace pgmint::backup
