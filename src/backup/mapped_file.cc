#include "backup/mapped_file.h"

#include <algorithm>

#include "codec/crc32c.h"

namespace pgmint::backup {
namespace {

using repository::MapDelta;
using repository::SegmentMap;

std::uint64_t stored_bytes(const std::vector<MapDelta>& deltas) {
  std::uint64_t bytes = 0;
  for (const auto& delta : deltas) bytes += delta.location.stored_length;
  return bytes;
}

/// A restore reads at most 1.3 times what a full's would. Files reach their limits at different times, lest all be written anew
/// by one backup: between 0.2 and 0.3 of the base.
bool too_dear(const SegmentMap& map, std::string_view path) {
  std::uint64_t base = 0;
  for (const auto& extent : map.extents)
    if (extent.location) base += extent.location->stored_length;
  const auto percent = 20 + codec::crc32c(as_bytes(path)) % 11;
  return stored_bytes(map.deltas) * 100 > base * percent;
}

}  // namespace

Result<SourceFile*> MappedFile::open(Source& source, const ReadMap& read_map) {
  std::lock_guard lock(mutex_);
  if (!opened_) {
    opened_ = true;
    auto file = source.open(entry_.path);
    if (!file) {
      open_error_ = std::move(file).failure();
    } else if (*file) {
      file_ = std::move(*file);
      wanted_ = entry_.relation ? entry_.size : file_->size();
      end_ = wanted_;
      extents_.resize((wanted_ + shape_.extent_size - 1) / shape_.extent_size);
      set_.resize(extents_.size());
      if (auto taken = take_parent(read_map); !taken) open_error_ = std::move(taken).failure();
    }
  }
  if (open_error_) return *open_error_;
  return file_.get();
}

Status MappedFile::take_parent(const ReadMap& read_map) {
  if (plan_.parent == nullptr || plan_.parent->kind != repository::FileKind::Mapped) return ok();
  auto map = TRY(read_map(*plan_.parent->content.map()));
  if (map.file_length != plan_.parent->size) return Error(Errc::Corruption, "the parent's map has another length than its entry");
  // Of another shape (a relation was another kind of file then): as if there were none.
  if (map.extent_size != shape_.extent_size || map.page_size != shape_.page_size) return ok();
  for (const auto& delta : map.deltas)
    for (std::size_t i = 0; i < delta.blocks.size(); ++i)
      if (delta.is_live(i)) parent_delta_blocks_.push_back(delta.blocks[i]);
  std::ranges::sort(parent_delta_blocks_);
  deltas_are_dear_ = too_dear(map, entry_.path);
  parent_map_ = std::move(map);
  for (std::uint64_t i = 0; i < extents_.size(); ++i)
    if (parent_has(i)) extents_[i] = parent_map_->extents[i];
  return ok();
}

std::uint32_t MappedFile::extent_length(std::uint64_t extent) const {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(shape_.extent_size, wanted_ - extent * shape_.extent_size));
}

bool MappedFile::parent_has(std::uint64_t extent) const {
  return parent_map_ && extent < parent_map_->extents.size() && parent_map_->extent_length(extent) == extent_length(extent);
}

std::size_t MappedFile::parent_delta_pages(std::uint64_t from, std::uint64_t to) const {
  const auto wide = [](std::uint32_t block) { return std::uint64_t{block}; };
  const auto begin = std::ranges::lower_bound(parent_delta_blocks_, from, {}, wide);
  const auto end = std::ranges::lower_bound(parent_delta_blocks_, to, {}, wide);
  return static_cast<std::size_t>(end - begin);
}

void MappedFile::set(std::uint64_t extent, repository::MapExtent what) {
  extents_[extent] = std::move(what);
  set_[extent] = 1;
}

void MappedFile::add_delta(MapDelta delta) {
  std::lock_guard lock(mutex_);
  delta_blocks_.insert(delta_blocks_.end(), delta.blocks.begin(), delta.blocks.end());
  deltas_.push_back(std::move(delta));
}

void MappedFile::saw_end(std::uint64_t length) {
  std::lock_guard lock(mutex_);
  end_ = std::min(end_, length);
}

bool MappedFile::renewed(std::uint64_t block) const {
  const auto extent = block / pages_per_extent();
  if (extent < set_.size() && set_[extent] != 0) return true;
  return block <= UINT32_MAX && std::ranges::binary_search(delta_blocks_, static_cast<std::uint32_t>(block));
}

void MappedFile::release() {
  std::lock_guard lock(mutex_);
  parent_map_.reset();
  for (auto* blocks : {&parent_delta_blocks_, &delta_blocks_}) std::vector<std::uint32_t>().swap(*blocks);
  std::vector<std::uint8_t>().swap(set_);
  std::vector<repository::MapDelta>().swap(deltas_);
}

/// The parent's deltas without those of which nothing lives on.
std::vector<MapDelta> MappedFile::remaining_deltas(std::uint64_t length) const {
  std::vector<MapDelta> remaining;
  if (!parent_map_) return remaining;
  for (auto delta : parent_map_->deltas) {
    delta.dead.resize(delta.blocks.size());
    for (std::size_t i = 0; i < delta.blocks.size(); ++i)
      if (renewed(delta.blocks[i]) || (std::uint64_t{delta.blocks[i]} + 1) * shape_.page_size > length) delta.dead[i] = true;
    if (delta.live_count() > 0) remaining.push_back(std::move(delta));
  }
  return remaining;
}

std::optional<MappedFile::Description> MappedFile::describe() {
  std::lock_guard lock(mutex_);
  if (!file_) return std::nullopt;
  file_.reset();
  std::ranges::sort(delta_blocks_);
  Description result;
  auto& map = result.map;
  map.page_size = shape_.page_size;
  map.extent_size = shape_.extent_size;
  map.file_length = end_;
  result.is_parents = parent_map_ && parent_map_->file_length == end_ && deltas_.empty() &&
                      std::ranges::find(set_, 1) == set_.end();
  if (shape_.page_size != 0) {
    map.deltas = remaining_deltas(end_);
    std::ranges::sort(deltas_, {}, [](const MapDelta& delta) { return delta.blocks.front(); });
    for (auto& delta : deltas_) {
      // Of a file that ended early the pages behind its end are nobody's.
      delta.dead.resize(delta.blocks.size());
      for (std::size_t i = 0; i < delta.blocks.size(); ++i)
        delta.dead[i] = (std::uint64_t{delta.blocks[i]} + 1) * shape_.page_size > end_;
      if (delta.live_count() > 0) map.deltas.push_back(std::move(delta));
    }
  }
  map.extents = std::move(extents_);
  map.extents.resize(map.extent_count());
  return result;
}

}  // namespace pgmint::backup
