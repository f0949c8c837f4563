// How much of a cluster's log counts: all of it, but in a mirror, and in what was one. Format: docs/format/mirror.md.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>

namespace pgmint::repository {

/// A mirror's log is what its mark says, whatever stands behind: that was put there by a copy that was cut off, or by one under way.
struct LogBounds {
  static constexpr std::uint64_t kWhole = std::numeric_limits<std::uint64_t>::max();

  std::map<std::uint32_t, std::uint64_t> entries;     ///< by generation: so many count
  std::optional<std::uint32_t> goes_on_from;          ///< the generation that a promotion has opened: it and those above count whole

  /// So many entries of `generation` count; 0: it does not count at all; kWhole: what there is.
  std::uint64_t end_of(std::uint32_t generation) const {
    if (const auto found = entries.find(generation); found != entries.end()) return found->second;
    return goes_on_from && generation >= *goes_on_from ? kWhole : 0;
  }
  /// Nobody writes here.
  bool is_frozen() const { return !goes_on_from; }
};

}  // namespace pgmint::repository
