#include "storage/open_file_cache.h"

namespace pgmint::storage {

std::shared_ptr<const OpenFile> OpenFileCache::find(const std::string& name) {
  std::lock_guard lock(mutex_);
  auto it = by_name_.find(name);
  if (it == by_name_.end()) return nullptr;
  newest_first_.splice(newest_first_.begin(), newest_first_, it->second);
  return it->second->second;
}

void OpenFileCache::insert(const std::string& name, std::shared_ptr<const OpenFile> file) {
  std::lock_guard lock(mutex_);
  if (capacity_ == 0) return;
  if (auto it = by_name_.find(name); it != by_name_.end()) {
    it->second->second = std::move(file);
    return;
  }
  newest_first_.emplace_front(name, std::move(file));
  by_name_[name] = newest_first_.begin();
  if (newest_first_.size() > capacity_) {
    by_name_.erase(newest_first_.back().first);
    newest_first_.pop_back();
  }
}

void OpenFileCache::forget(const std::string& name) {
  std::lock_guard lock(mutex_);
  auto it = by_name_.find(name);
  if (it == by_name_.end()) return;
  newest_first_.erase(it->second);
  by_name_.erase(it);
}

}  // namespace pgmint::storage
