// What a server's own WAL summaries say (17 and later, summarize_wal): the list by which it takes incremental base backups.
// Source: src/backend/backup/walsummaryfuncs.c, postmaster/walsummarizer.c.
#pragma once

#include "postgres/connection.h"
#include "postgres/history.h"
#include "postgres/wal_summary.h"

namespace pgmint::postgres {

/// Why a server of this major has none; nullopt: it may.
std::optional<std::string> version_lacks_summaries(const Connection& connection);
/// Why this server cannot take an incremental base backup from `from` on `timeline`, as far as can be told before it is asked for one;
/// nullopt: it may. @errors Postgres, Cancelled
Result<std::optional<std::string>> why_no_summaries(Connection& connection, TimelineId timeline, Lsn from);

/// How much WAL waits to be summarised. @errors Postgres, Cancelled
struct SummarizerState {
  Lsn summarized;  ///< as far as it has read
  Lsn written;     ///< as far as there is WAL: insert position, or what a standby has replayed
};
Result<SummarizerState> summarizer_state(Connection& connection);

/// Blocks of main and init forks that changed from `from` to `to` along `history`, in the server's own words: at least those, since a
/// summary may begin before. A summary that is missing makes it void. @errors Postgres (malformed, gone), ResourceLimit, Cancelled
Result<ChangeSet> server_changes(Connection& connection, const TimelineHistory& history, Lsn from, Lsn to);

}  // namespace pgmint::postgres
