// What single WAL records change, gathered: shared by the summary of a segment and by the joining of summaries.
#pragma once

#include <map>

#include "postgres/block_collector.h"

namespace pgmint::postgres {

/// Lowest limit per fork.
class LimitCollector {
 public:
  void add(const RelationFork& where, BlockNumber limit);
  std::vector<LimitBlock> take() const;

 private:
  std::map<RelationFork, BlockNumber> limits_;
};

/// Interprets whole records. Not thread-safe.
class ChangeCollector {
 public:
  explicit ChangeCollector(const VersionEntry& version) : version_(version) {}
  /// @param record  `main_data` may be missing (too long, or kept in part): what depends on it makes the result void,
  /// or,
  ///                for a commit's drop list, is counted as omitted
  void add(const WalRecord& record);
  /// The first reason stays.
  void set_void(std::string reason);

  BlockCollector blocks;
  LimitCollector limits;
  std::optional<CommitPoint> first_commit, last_commit;
  std::optional<TransactionId> last_xid;
  std::vector<RestorePoint> restore_points;
  std::vector<RelationEvent> events;
  std::uint64_t events_omitted = 0;
  std::optional<std::string> void_reason;

  void add_commit(const CommitPoint& commit);
  void add_event(RelationEvent event);

 private:
  void add_smgr(const WalRecord& record);
  void add_database(const WalRecord& record);
  void add_transaction(const WalRecord& record);
  void add_xlog(const WalRecord& record);
  void check_wal_level(const WalRecord& record, std::size_t offset);
  void not_understood(const WalRecord& record, std::string_view why);

  const VersionEntry& version_;
};

}  // namespace pgmint::postgres
