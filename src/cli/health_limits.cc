#include "cli/health_limits.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

namespace pgmint::cli {
namespace {

/// A tenth of a file system of 100 TB is not nearly nothing.
constexpr std::uint64_t kShareOfAtMost = std::uint64_t{1} << 40;
constexpr std::uint64_t kLeast = std::uint64_t{1} << 30;

}  // namespace

Result<Space> space_of(const fs::path& path) {
  fs::path existing = path;
  for (;;) {
    struct statvfs found {};
    if (::statvfs(existing.c_str(), &found) == 0)
      return Space{std::uint64_t{found.f_bavail} * found.f_frsize, std::uint64_t{found.f_blocks} * found.f_frsize};
    if (errno == EINTR) continue;
    if (errno != ENOENT || !existing.has_relative_path()) return errno_error(errno, fmt::format("free space of {}", existing.string()));
    existing = existing.parent_path();
  }
}

Fullness fullness(const Space& space, const SpaceLimit& limit) {
  const std::uint64_t low = limit.size ? limit.size->value() : std::max(kLeast, std::min(space.total, kShareOfAtMost) / 1'000'000 * limit.share);
  if (space.free >= low) return Fullness::Fine;
  return space.free < low / 3 ? Fullness::Critical : Fullness::Low;
}

}  // namespace pgmint::cli
