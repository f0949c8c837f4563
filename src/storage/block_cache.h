// Blocks of objects that never change, kept in memory: many short reads of one object become few requests.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"

namespace pgmint::storage {

/// The least recently used go first. Thread-safe.
class BlockCache {
 public:
  struct Block {
    Bytes bytes;                    ///< kBlockSize of them, fewer at the end of the object
    std::uint64_t object_size = 0;  ///< of the whole object
  };
  using Shared = std::shared_ptr<const Block>;
  static constexpr std::uint64_t kBlockSize = 64 << 10;

  explicit BlockCache(std::size_t blocks_max) : blocks_max_(blocks_max) {}
  Shared find(const std::string& name, std::uint64_t index);
  void add(const std::string& name, std::uint64_t index, Shared block);
  /// The object is gone.
  void forget(const std::string& name);

 private:
  using Key = std::pair<std::string, std::uint64_t>;
  const std::size_t blocks_max_;
  std::mutex mutex_;
  std::list<std::pair<Key, Shared>> blocks_;  ///< the most recently used first
  std::map<Key, std::list<std::pair<Key, Shared>>::iterator> places_;
};

}  // namespace pgmint::storage
