#include "backup/mapped_file.h"

#include <algorithm>

namespace pgmint::backup {

Result<SourceFile*> MappedFile::open(Source& source) {
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
      extents_.resize((wanted_ + extent_size_ - 1) / extent_size_);
    }
  }
  if (open_error_) return *open_error_;
  return file_.get();
}

void MappedFile::saw_end(std::uint64_t length) {
  std::lock_guard lock(mutex_);
  end_ = std::min(end_, length);
}

std::optional<repository::SegmentMap> MappedFile::describe() {
  std::lock_guard lock(mutex_);
  if (!file_) return std::nullopt;
  file_.reset();
  repository::SegmentMap map;
  map.page_size = page_size_;
  map.extent_size = extent_size_;
  map.file_length = end_;
  map.extents = std::move(extents_);
  map.extents.resize(map.extent_count());
  return map;
}

}  // namespace pgmint::backup
