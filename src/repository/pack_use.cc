#include "repository/pack_use.h"

#include <algorithm>

namespace pgmint::repository {

void PackUse::change(const RecordLocation& record, std::int64_t sign) {
  bytes_[record.pack] += sign * static_cast<std::int64_t>(record.stored_length);
}

void PackUse::change(const SegmentMap& map, std::int64_t sign) {
  // Neighbours stand in one pack, most often: a map of 1 GiB has thousands of records in a dozen packs.
  const RecordLocation* run = nullptr;
  std::int64_t bytes = 0;
  const auto take = [&](const RecordLocation* record) {
    if (run != nullptr && (record == nullptr || record->pack != run->pack)) {
      bytes_[run->pack] += sign * bytes;
      bytes = 0;
    }
    run = record;
    if (record != nullptr) bytes += record->stored_length;
  };
  for (const auto& extent : map.extents)
    if (extent.location) take(&*extent.location);
  for (const auto& delta : map.deltas) take(&delta.location);
  take(nullptr);
}

void PackUse::add(const PackUse& other) {
  for (const auto& [pack, bytes] : other.bytes_) bytes_[pack] += bytes;
}

void PackUse::set(const PackId& pack, std::uint64_t bytes) { bytes_[pack] = static_cast<std::int64_t>(bytes); }

std::uint64_t PackUse::of(const PackId& pack) const {
  const auto found = bytes_.find(pack);
  return found == bytes_.end() || found->second < 0 ? 0 : static_cast<std::uint64_t>(found->second);
}

bool PackUse::is_sound() const {
  return std::ranges::none_of(bytes_, [](const auto& entry) { return entry.second < 0; });
}

bool PackUse::covers(const PackUse& other) const {
  return std::ranges::all_of(other.bytes_, [&](const auto& entry) { return other.of(entry.first) <= of(entry.first); });
}

std::map<PackId, std::uint64_t> PackUse::packs() const {
  std::map<PackId, std::uint64_t> used;
  for (const auto& [pack, bytes] : bytes_)
    if (bytes > 0) used.emplace(pack, static_cast<std::uint64_t>(bytes));
  return used;
}

void DistinctRecords::add(const RecordLocation& record) {
  const auto [found, added] = index_.try_emplace(record.pack, static_cast<std::uint32_t>(packs_.size()));
  if (added) packs_.push_back(record.pack);
  references_.push_back({found->second, record.stored_length, record.offset});
}

PackUse DistinctRecords::settle() && {
  std::ranges::sort(references_);
  references_.erase(std::ranges::unique(references_).begin(), references_.end());
  std::vector<std::uint64_t> bytes(packs_.size());
  for (const auto& reference : references_) bytes[reference.pack] += reference.stored_length;
  PackUse use;
  for (std::size_t i = 0; i < packs_.size(); ++i) use.set(packs_[i], bytes[i]);
  return use;
}

}  // namespace pgmint::repository
