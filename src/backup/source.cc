#include "backup/source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace pgmint::backup {
namespace {

constexpr std::uint64_t kReadAhead = 2U << 20;

std::uint64_t page_size() {
  static const auto size = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

/// The parts of a stretch that the page cache does not hold, as (offset, length) in whole pages.
///
/// POSIX_FADV_DONTNEED drops a page whoever brought it in, so a reader that calls it blindly empties PostgreSQL's
/// cache. mincore(2) tells before the first read which pages are there. It tells only the file's owner; to others (a
/// reader by group access) every page looks cached, and nothing is dropped: the harmless side.
using Holes = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
Holes uncached(const Fd& fd, std::uint64_t offset, std::uint64_t length) {
  Holes holes;
  if (length == 0) return holes;
  const std::uint64_t page = page_size();
  const std::uint64_t from = offset / page * page;
  const std::uint64_t pages = (offset + length - from + page - 1) / page;
  void* map = ::mmap(nullptr, pages * page, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(from));
  if (map == MAP_FAILED) return holes;
  std::vector<unsigned char> present(pages);
  if (::mincore(map, pages * page, present.data()) == 0) {
    for (std::uint64_t i = 0; i < pages; ++i) {
      if ((present[i] & 1U) != 0) continue;
      const std::uint64_t at = from + i * page;
      if (!holes.empty() && holes.back().first + holes.back().second == at)
        holes.back().second += page;
      else
        holes.emplace_back(at, page);
    }
  }
  ::munmap(map, pages * page);
  return holes;
}

class CacheNeutralRange final : public SourceRange {
 public:
  CacheNeutralRange(const Fd& fd, const std::string& path, std::uint64_t offset, std::uint64_t length)
      : fd_(fd), path_(path), holes_(uncached(fd, offset, length)) {}

  ~CacheNeutralRange() override {
    for (const auto& [offset, length] : holes_)
      ::posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_DONTNEED);
  }

  Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override {
    read_ahead(offset + out.size() + kReadAhead);
    return read_at(fd_, out, offset, path_);
  }

 private:
  /// The kernel's own read-ahead is switched off (it does not stop at the end of a range, and what it brings in would
  /// look cached to the next range's reader); this one asks for the holes of this range only.
  void read_ahead(std::uint64_t until) {
    while (next_hole_ < holes_.size() && holes_[next_hole_].first < until) {
      const auto [start, length] = holes_[next_hole_];
      const std::uint64_t from = std::max(start, asked_until_);
      const std::uint64_t to = std::min(start + length, until);
      if (from < to)
        ::posix_fadvise(fd_.get(), static_cast<off_t>(from), static_cast<off_t>(to - from), POSIX_FADV_WILLNEED);
      asked_until_ = std::max(asked_until_, to);
      if (to < start + length) return;
      ++next_hole_;
    }
  }

  const Fd& fd_;
  const std::string& path_;
  Holes holes_;
  std::size_t next_hole_ = 0;
  std::uint64_t asked_until_ = 0;
};

class DirectoryFile final : public SourceFile {
 public:
  DirectoryFile(Fd fd, std::string path, std::uint64_t size)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size) {}
  std::uint64_t size() const override { return size_; }
  std::unique_ptr<SourceRange> range(std::uint64_t offset, std::uint64_t length) override {
    return std::make_unique<CacheNeutralRange>(fd_, path_, offset, length);
  }

 private:
  Fd fd_;
  std::string path_;
  std::uint64_t size_;
};

class DirectorySource final : public Source {
 public:
  explicit DirectorySource(fs::path root) : root_(std::move(root)) {}

  Result<std::unique_ptr<SourceFile>> open(const std::string& path) override {
    const auto full = root_ / path;
    // NOFOLLOW and NONBLOCK: a name that has become a link or a pipe since the scan must neither lead elsewhere nor
    // block.
    auto fd = TRY(open_if_exists(full, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    if (!fd) return std::unique_ptr<SourceFile>();
    struct stat status {};
    if (::fstat(fd->get(), &status) != 0) return errno_error(errno, fmt::format("stat {}", full.string()));
    if (!S_ISREG(status.st_mode))
      return Error(Errc::Precondition, fmt::format("{} is no longer an ordinary file", full.string()));
    ::posix_fadvise(fd->get(), 0, 0, POSIX_FADV_RANDOM);
    return std::unique_ptr<SourceFile>(
        std::make_unique<DirectoryFile>(std::move(*fd), full.string(), static_cast<std::uint64_t>(status.st_size)));
  }

  Result<bool> exists(const std::string& path) override { return TRY(stat_if_exists(root_ / path)).has_value(); }

 private:
  fs::path root_;
};

}  // namespace

std::unique_ptr<Source> open_source(fs::path data_directory) {
  return std::make_unique<DirectorySource>(std::move(data_directory));
}

}  // namespace pgmint::backup
