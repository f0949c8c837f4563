// For tests: short names for WAL that stands nowhere.
#pragma once

#include "repository/log_fixture.h"
#include "repository/wal_choice.h"

namespace pgmint::repository {

inline constexpr std::uint32_t kMiB16 = 16 << 20;

/// As snap_of()'s backups have it.
inline WalPlace wal_place(std::uint32_t timeline = 1, std::uint32_t segment_size = kMiB16, bool partial = false) {
  return {7, Incarnation(1), timeline, segment_size, partial};
}
inline StoredSegment stored(std::uint64_t number, std::optional<TimePoint> written, WalPlace place = wal_place()) { return {{place, number}, written}; }

}  // namespace pgmint::repository
