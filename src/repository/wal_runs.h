// Much WAL in few bytes: segments that follow one another are one run. Format: docs/format/log.md, "WAL runs".
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "codec/binary.h"
#include "postgres/wal_name.h"
#include "repository/ids.h"
#include "repository/wal_identity.h"

namespace pgmint::repository {

/// Where segments have numbers: one timeline of what a cluster was at a time, at one segment size, whole or partial ones.
struct WalPlace {
  std::uint64_t system_id = 0;
  Incarnation incarnation{};
  std::uint32_t timeline = 0;
  std::uint32_t segment_size = 0;  ///< bytes
  bool partial = false;
  auto operator<=>(const WalPlace&) const = default;
};

/// One segment, or partial one, as a name means it.
struct WalSegmentId {
  WalPlace place;
  std::uint64_t number = 0;  ///< of those of its size before it
  auto operator<=>(const WalSegmentId&) const = default;
};
/// nullopt: the name of something else (history and backup files), or none that PostgreSQL would write at this size.
std::optional<WalSegmentId> wal_segment_of(const WalIdentity& identity, postgres::WalSegmentSize size, std::string_view file_name);

/// One that is stored.
struct StoredSegment {
  WalSegmentId id;
  std::optional<TimePoint> written = {};  ///< as storage::BlobInfo has it
};

/// The segments `first` to `last` of a place. Their objects were written from `oldest` to `newest`, by the store's clock.
struct WalRun {
  WalPlace place;
  std::uint64_t first = 0, last = 0;
  TimePoint oldest{}, newest{};
  bool operator==(const WalRun&) const = default;
};

/// So many in one list.
inline constexpr std::size_t kWalRunsMax = std::size_t{1} << 20;

/// The fewest runs, in order. @param segments  in any order, each once
std::vector<WalRun> wal_runs_of(std::vector<StoredSegment> segments);
/// @param runs  as wal_runs_of() gives them, at most kWalRunsMax
void write_wal_runs(codec::BinaryWriter& out, const std::vector<WalRun>& runs);
/// @errors Corruption (also for what wal_runs_of() would have put otherwise)
Result<std::vector<WalRun>> read_wal_runs(codec::BinaryReader& in);

}  // namespace pgmint::repository
