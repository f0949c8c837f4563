// Which blocks of which forks WAL names, gathered one by one.
#pragma once

#include <array>
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
  void sort_unique(std::vector<BlockNumber>& blocks);
  void mark_places(std::vector<BlockNumber>& blocks, BlockNumber low, BlockNumber high);
  void sort_by_digits(std::vector<BlockNumber>& blocks);

  std::unordered_map<RelationFork, Gathered, Hash> forks_;
  /// Forks that were named last: WAL goes back and forth between a table and its indexes.
  struct Recent {
    RelationFork where;
    Gathered* gathered = nullptr;  ///< in forks_, whose elements do not move
  };
  std::array<Recent, 4> recent_{};
  std::size_t oldest_ = 0;
  std::vector<BlockNumber> room_;      ///< of sort_by_digits
  std::vector<std::uint64_t> places_;  ///< of mark_places
};

}  // namespace pgmint::postgres
