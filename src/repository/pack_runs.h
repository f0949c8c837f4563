// Many packs in few bytes: those of one session that follow one another are one run. Format: docs/format/log.md, "pack runs".
#pragma once

#include <vector>

#include "codec/binary.h"
#include "repository/ids.h"

namespace pgmint::repository {

/// The packs `first` to `last` of one session.
struct PackRun {
  SessionId session;
  std::uint32_t first = 0, last = 0;
  auto operator<=>(const PackRun&) const = default;
};

/// So many in one list.
inline constexpr std::size_t kPackRunsMax = std::size_t{1} << 20;

/// The fewest runs, in order. @param packs  in any order
std::vector<PackRun> runs_of(std::vector<PackId> packs);
/// @param runs  as runs_of() gives them, at most kPackRunsMax
void write_pack_runs(codec::BinaryWriter& out, const std::vector<PackRun>& runs);
/// @errors Corruption (also for what runs_of() would have put otherwise)
Result<std::vector<PackRun>> read_pack_runs(codec::BinaryReader& in);

}  // namespace pgmint::repository
