#include "repository/mirror_survey.h"

#include <fmt/format.h>

#include "repository/layout.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kToldEvery = 1000;

}  // namespace

Result<LogHeads> log_heads(storage::BlobStore& store, const ClusterId& cluster, const LogBounds* bounds) {
  LogHeads heads;
  TRY(store.list(log_prefix(cluster), "", [&](const storage::BlobInfo& info) -> Status {
    const auto slot = parse_log_entry_name(info.name);
    if (!slot || (bounds != nullptr && slot->seq >= bounds->end_of(slot->generation))) return ok();
    auto& next = heads.entries[slot->generation];
    if (slot->seq == next) ++next;
    else if (heads.gap.empty()) heads.gap = info.name;
    return ok();
  }));
  std::erase_if(heads.entries, [](const auto& entry) { return entry.second == 0; });
  return heads;
}

Result<std::vector<storage::BlobInfo>> log_entries(storage::BlobStore& store, const ClusterId& cluster, const LogHeads& heads) {
  std::vector<storage::BlobInfo> entries;
  TRY(store.list(log_prefix(cluster), "", [&](const storage::BlobInfo& info) -> Status {
    const auto slot = parse_log_entry_name(info.name);
    if (!slot) return ok();
    const auto end = heads.entries.find(slot->generation);
    if (end != heads.entries.end() && slot->seq < end->second) entries.push_back(info);
    return ok();
  }));
  return entries;
}

Result<ClusterObjects> cluster_objects(storage::BlobStore& store, const ClusterId& cluster, const std::function<Status(const std::string&)>& tell) {
  ClusterObjects objects;
  const auto list = [&](const std::string& prefix, std::vector<storage::BlobInfo>& into) -> Status {
    TRY(tell(prefix));
    return store.list(prefix, "", [&](const storage::BlobInfo& info) -> Status {
      into.push_back(info);
      return into.size() % kToldEvery == 0 ? tell(fmt::format("{} objects below {}", into.size(), prefix)) : ok();
    });
  };
  TRY(list(cluster_prefix(cluster) + "keyring/", objects.rings));
  TRY(list(packs_prefix(cluster), objects.packs));
  TRY(list(wal_prefix(cluster), objects.wal));
  TRY(list(manifests_prefix(cluster), objects.roots));
  return objects;
}

Comparison compare(const std::vector<storage::BlobInfo>& source, const std::vector<storage::BlobInfo>& mirror) {
  Comparison found;
  auto there = mirror.begin();
  for (const auto& info : source) {
    for (; there != mirror.end() && there->name < info.name; ++there) found.vanished.push_back(*there);
    if (there == mirror.end() || there->name != info.name) {
      found.missing.push_back(info);
      continue;
    }
    if (there->size != info.size) found.differing.push_back(info.name);
    ++there;
  }
  found.vanished.insert(found.vanished.end(), there, mirror.end());
  return found;
}

}  // namespace pgmint::repository
