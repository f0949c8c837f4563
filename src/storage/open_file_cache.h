// Open descriptors of objects that are read in many ranges.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/file.h"

namespace pgmint::storage {

struct OpenFile {
  Fd fd;
  std::uint64_t size = 0;
  mutable std::atomic<bool> sequential{false};  ///< the kernel has been told
};

/// The most recently used `capacity` files. Thread-safe; an evicted file stays open while somebody reads from it.
class OpenFileCache {
 public:
  explicit OpenFileCache(std::size_t capacity) : capacity_(capacity) {}
  /// nullptr when not held.
  std::shared_ptr<const OpenFile> find(const std::string& name);
  void insert(const std::string& name, std::shared_ptr<const OpenFile> file);
  void forget(const std::string& name);

 private:
  using Order = std::list<std::pair<std::string, std::shared_ptr<const OpenFile>>>;
  const std::size_t capacity_;
  std::mutex mutex_;
  Order newest_first_;
  std::unordered_map<std::string, Order::iterator> by_name_;
};

}  // namespace pgmint::storage
