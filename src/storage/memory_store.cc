#include "storage/memory_store.h"

#include <fmt/format.h>

#include <cstring>
#include <mutex>
#include <set>

#include "storage/blob_name.h"

namespace pgmint::storage {

std::unique_ptr<MemoryStore> make_memory_store() { return std::make_unique<MemoryStore>(); }

std::shared_ptr<const Bytes> MemoryStore::find(const std::string& name) const {
  std::shared_lock lock(mutex_);
  auto it = objects_.find(name);
  return it == objects_.end() ? nullptr : it->second;
}

Result<Created> MemoryStore::create(const std::string& name, ByteView data) {
  TRY(check_blob_name(name));
  auto bytes = std::make_shared<const Bytes>(to_bytes(data));
  std::unique_lock lock(mutex_);
  for (auto parent = parent_of(name); !parent.empty(); parent = parent_of(parent))
    if (objects_.contains(parent))
      return Error(Errc::Storage, fmt::format("create {}: {} is an object, not a directory", name, parent));
  auto below = objects_.lower_bound(name + "/");
  if (below != objects_.end() && below->first.starts_with(name + "/"))
    return Error(Errc::Storage, fmt::format("create {}: a directory of that name exists", name));
  return objects_.emplace(name, std::move(bytes)).second ? Created::Yes : Created::AlreadyExists;
}

Result<std::optional<Bytes>> MemoryStore::read(const std::string& name, std::uint64_t limit) {
  TRY(check_blob_name(name));
  auto bytes = find(name);
  if (!bytes) return std::optional<Bytes>();
  if (bytes->size() > limit)
    return Error(Errc::ResourceLimit, fmt::format("{} is {} bytes, more than {}", name, bytes->size(), limit));
  return std::optional<Bytes>(*bytes);
}

Status MemoryStore::read_range(const std::string& name, std::uint64_t offset, MutableByteView out) {
  TRY(check_blob_name(name));
  auto bytes = find(name);
  if (!bytes) return Error(Errc::NotFound, fmt::format("{}: no such object", name));
  if (offset > bytes->size() || out.size() > bytes->size() - offset)
    return Error(Errc::Corruption, fmt::format("{} ends at {} bytes, before {} + {}", name, bytes->size(), offset, out.size()));
  if (!out.empty()) std::memcpy(out.data(), bytes->data() + offset, out.size());
  return ok();
}

Result<std::optional<BlobInfo>> MemoryStore::stat(const std::string& name) {
  TRY(check_blob_name(name));
  auto bytes = find(name);
  if (!bytes) return std::optional<BlobInfo>();
  return std::optional(BlobInfo{name, bytes->size()});
}

Status MemoryStore::list(const std::string& prefix, const std::string& after,
                         const std::function<Status(const BlobInfo&)>& visit) {
  TRY(check_blob_prefix(prefix));
  std::string last = after;
  bool first = true;
  for (;;) {  // one object at a time: the visitor may call this store
    BlobInfo info;
    {
      std::shared_lock lock(mutex_);
      auto it = first && last < prefix ? objects_.lower_bound(prefix) : objects_.upper_bound(last);
      if (it == objects_.end() || !it->first.starts_with(prefix)) return ok();
      info = {it->first, it->second->size()};
    }
    first = false;
    last = info.name;
    TRY(visit(info));
  }
}

Result<std::vector<std::string>> MemoryStore::list_parts(const std::string& prefix) {
  TRY(check_parts_prefix(prefix));
  std::set<std::string> parts;  // not in map order: "a-b" sorts before "a/b", but part "a" before part "a-b"
  std::shared_lock lock(mutex_);
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it)
    parts.insert(it->first.substr(prefix.size(), it->first.find('/', prefix.size()) - prefix.size()));
  return std::vector<std::string>(parts.begin(), parts.end());
}

Status MemoryStore::remove(const std::string& name) {
  TRY(check_blob_name(name));
  std::unique_lock lock(mutex_);
  objects_.erase(name);
  return ok();
}

BlobSnapshot MemoryStore::snapshot() const {
  std::shared_lock lock(mutex_);
  return objects_;
}

void MemoryStore::restore(BlobSnapshot objects) {
  std::unique_lock lock(mutex_);
  objects_ = std::move(objects);
}

void MemoryStore::replace(const std::string& name, Bytes data) {
  auto bytes = std::make_shared<const Bytes>(std::move(data));
  std::unique_lock lock(mutex_);
  objects_[name] = std::move(bytes);
}

}  // namespace pgmint::storage
