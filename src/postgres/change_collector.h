// What single WAL records change, gathered: shared by the summary of a segment and by the joining of summaries.
#pragma once

#include <array>
#include <map>
#include <unordered_map>

#include "postgres/wal_summary.h"

namespace pgmint::postgres {

/// Blocks of many forks; a block that is named often costs little. Not thread-safe.
class BlockCollector {
 public:
  BlockCollector() = default;
  BlockCollector(const BlockCollector&) = delete;
  BlockCollector& operator=(const BlockCollector&) = delete;
  void add(const RelationFork& where, BlockNumber block);
  void add(const ForkBlocks& blocks);
  /// Sorted by fork, blocks sorted and unique.
  std::vector<ForkBlocks> take();

 private:
  struct Gathered {
    std::vector<BlockNumber> blocks;
    std::size_t compacted = 0;  ///< how many of them were sorted and unique at last sight
  };
  struct Hash {
    std::size_t operator()(const RelationFork& fork) const;
  };
  Gathered& gathered_of(const RelationFork& where);

  std::unordered_map<RelationFork, Gathered, Hash> forks_;
  /// Forks that were named last: WAL goes back and forth between a table and its indexes.
  struct Recent {
    RelationFork where;
    Gathered* gathered = nullptr;  ///< in forks_, whose elements do not move
  };
  std::array<Recent, 4> recent_{};
  std::size_t oldest_ = 0;
};

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
