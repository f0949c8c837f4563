// The last WAL record that a standby's backup needs: where recovery with --immediate ends.
#pragma once

#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/wal_name.h"

namespace pgmint::backup {

/// Gives a WAL segment's bytes in order, until `take` answers false. False: there is no such segment.
using SegmentReader = std::function<Result<bool>(const std::string& name, const std::function<Result<bool>(ByteView)>& take)>;
/// Of the standby's own pg_wal.
SegmentReader segments_of(fs::path data_directory);

/// Start of the record whose end is `stop`, from the standby's own WAL. nullopt: no record behind `start` ends there
/// (the checkpoint that the backup starts from is all there is), or the file is gone. PostgreSQL looks at
/// recovery_target = 'immediate' when it reads the next record, or after a commit or abort (xlogrecovery.c,
/// recoveryStopsBefore and recoveryStopsAfter, 13 to 18): where the primary is idle there is neither, and recovery
/// fails although it is consistent. A target LSN is looked at after every record.
/// @errors Io, Corruption, Precondition (not this segment), as WalSegmentReader
Result<std::optional<postgres::Lsn>> last_needed_record(const SegmentReader& segments, postgres::TimelineId timeline,
                                                        postgres::Lsn start, postgres::Lsn stop,
                                                        postgres::WalSegmentSize size);

}  // namespace pgmint::backup
