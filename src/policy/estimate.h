// How long a restore would take, from how long others took. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace pgmint::policy {

/// So many bytes took so long.
struct Measure {
  std::uint64_t bytes = 0;
  std::chrono::microseconds took{};
  bool operator==(const Measure&) const = default;
};

/// What was measured of restores into the same repository's clusters, oldest first.
struct Measures {
  std::vector<Measure> copies;   ///< bytes of files
  std::vector<Measure> replays;  ///< bytes of WAL
};

struct Estimate {
  std::optional<std::chrono::microseconds> copy, replay;  ///< nullopt: nothing was measured that would tell
  std::optional<double> copy_rate, replay_rate;           ///< bytes a second, that they rest on
  std::size_t copies_measured = 0, replays_measured = 0;  ///< that it rests on

  /// What is known of the whole; nullopt: nothing.
  std::optional<std::chrono::microseconds> total() const;
  /// The whole takes at least total(), and a part is not known.
  bool is_partial() const { return !copy || !replay; }
};

/// A measure counts when it took long enough that starting and ending are not most of it, or when it was of a tenth of the work at least:
/// of a gigabyte in half a second nothing follows for a terabyte. The median of the newest rates is taken. Work of nothing takes no time.
Estimate estimate_restore(std::uint64_t file_bytes, std::uint64_t wal_bytes, const Measures& measures);

}  // namespace pgmint::policy
