// [health]: from when on status, doctor, metrics and alerts call something a problem.
#pragma once

#include <chrono>
#include <optional>

#include "base/file.h"
#include "base/strong.h"

namespace pgmint::cli {

/// Free space below which a file system is nearly full: a share, or a size.
struct SpaceLimit {
  std::uint32_t share = 100'000;     ///< millionths
  std::optional<ByteCount> size{};  ///< in place of the share
};

struct HealthLimits {
  std::chrono::hours key_age{365 * 24};
  std::chrono::hours verify_age{40 * 24};
  std::optional<std::chrono::hours> logical_age, config_age;  ///< of the newest dump and configuration backup; absent: none is expected
  SpaceLimit disk_free;
  std::chrono::seconds look_time{120};  ///< of alert check
};

enum class Fullness { Fine, Low, Critical };

struct Space {
  std::uint64_t free = 0, total = 0;  ///< for an ordinary user
};
/// Of the file system of `path`, or of its nearest parent that is there. @errors Key, Io
Result<Space> space_of(const fs::path& path);
/// Low: less is free than `limit` says, a share being of at most 1 TiB, or less than 1 GiB. Critical: not a third of that.
Fullness fullness(const Space& space, const SpaceLimit& limit);

}  // namespace pgmint::cli
