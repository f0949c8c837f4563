// Several databases of one server as they were at one moment: a session in each, whose snapshots show the same transactions as committed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "postgres/connection.h"

namespace pgmint::postgres {

/// Snapshots of several databases that show one moment.
///
/// PostgreSQL exports a snapshot to sessions of its own database only. But transaction ids are the server's, not a database's: two
/// snapshots with the same xmin, xmax and ids between them that were running (pg_current_snapshot()) show the same transactions as
/// committed, whatever their databases. So every database's session takes one at the same time, and when they differ, all do so again.
///
/// Why equal texts are enough on a primary (procarray.c, GetSnapshotData; PostgreSQL 13 to 18): the ids in progress are those of all
/// backends and prepared transactions, of every database; left out are lazy VACUUM, whose id stands on no row that anybody reads, and
/// logical decoding, which writes none. Ids of subtransactions are not in the text, and need not be: one that is below xmax had its
/// place beside its parent before any later id was given away (GetNewTransactionId), so that it is in progress for both sessions or,
/// where the cache of them has overflowed, is looked up by its parent, which is in the text; rolled back, neither shows it.
///
/// On a standby the ids in progress are kept apart from those that the text shows (KnownAssignedXids become `subxip`): equal texts prove
/// nothing. There replay is stopped while the snapshots are taken; nothing can commit meanwhile.
///
/// Not thread-safe. Each session is idle in a transaction until it is released; destroying this ends them.
class OneMoment {
 public:
  struct Settings {
    ConnectOptions connect;
    std::vector<std::string> databases;
    const CancelToken* cancel = nullptr;                             ///< borrowed
    std::chrono::milliseconds patience = std::chrono::seconds(60);   ///< of all attempts together
    std::function<void()> between{};  ///< tests: called when a session has its snapshot and the next has not
  };
  /// Opens the sessions. @errors Postgres, Cancelled; Precondition: replay of this standby cannot be stopped
  static Result<OneMoment> open(Settings settings);

  /// New snapshots, exported; earlier ones are gone. @errors Precondition: none in all of that time (what would work is told); Postgres, Cancelled
  Status take();
  /// What pg_dump takes as --snapshot, of each database in turn.
  const std::vector<std::string>& ids() const { return ids_; }
  /// The server's clock when the last of them had been taken, RFC 3339.
  const std::string& time() const { return time_; }
  std::size_t attempts() const { return attempts_; }
  bool on_standby() const { return on_standby_; }
  bool out_of_patience() const;

  /// Tables that a snapshot shows and that have been truncated, rewritten or dropped since, as "DATABASE: SCHEMA.TABLE". Snapshots do not
  /// hold on to what TRUNCATE takes away, only locks do: whoever reads by these snapshots asks when he has his locks.
  /// @errors Postgres, Cancelled
  Result<std::vector<std::string>> rewritten();
  /// When everything has been read by the snapshot of that database: whether it was held up to now, and so what was read is whole. Ends it.
  ///
  /// Who has taken over a snapshot is not enough on a standby. Replay that removes rows waits for the sessions that it found when it came to
  /// them; one that takes over the snapshot of such a session later is not among them, and sees rows vanish, without an error, when the
  /// first one has ended (procarray.c GetConflictingVirtualXIDs, standby.c ResolveRecoveryConflictWithVirtualXIDs, 13 to 18).
  /// @errors Postgres: its session was ended before, as replay does when it has waited for max_standby_streaming_delay
  Status release(std::size_t database);

 private:
  explicit OneMoment(Settings settings) : settings_(std::move(settings)) {}
  Status check_replay_can_stop();
  Status all(const std::string& sql);
  Result<std::vector<std::string>> snapshots();
  Result<bool> exported_whole(const std::string& text);
  Result<bool> try_once();

  Settings settings_;
  std::vector<Connection> sessions_;  ///< of each database in turn
  std::chrono::steady_clock::time_point until_{};
  bool on_standby_ = false, in_transactions_ = false;
  std::vector<std::string> ids_;
  std::string snapshot_;  ///< as they all say it
  std::string time_;
  std::size_t attempts_ = 0;
};

}  // namespace pgmint::postgres
