#include "storage/block_cache.h"

namespace pgmint::storage {

BlockCache::Shared BlockCache::find(const std::string& name, std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  const auto place = places_.find({name, index});
  if (place == places_.end()) return nullptr;
  blocks_.splice(blocks_.begin(), blocks_, place->second);
  return place->second->second;
}

void BlockCache::add(const std::string& name, std::uint64_t index, Shared block) {
  const std::lock_guard lock(mutex_);
  const Key key{name, index};
  if (places_.contains(key)) return;
  blocks_.emplace_front(key, std::move(block));
  places_.emplace(key, blocks_.begin());
  if (blocks_.size() > blocks_max_) {
    places_.erase(blocks_.back().first);
    blocks_.pop_back();
  }
}

void BlockCache::forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  for (auto it = places_.lower_bound({name, 0}); it != places_.end() && it->first.first == name;) {
    blocks_.erase(it->second);
    it = places_.erase(it);
  }
}

}  // namespace pgmint::storage
