#include "repository/wal_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace pgmint::repository {
namespace {

constexpr std::string_view kEvent = "WAL verified";

/// "opened: 120 WAL segments sound"
std::string detail_of(const WalRead& wal) {
  std::uint64_t count = 0;
  for (const auto& run : wal.runs) count += run.last - run.first + 1;
  return fmt::format("{}: {} WAL segments {}", proof_depth_name(wal.depth), count, wal.damaged ? "damaged" : "sound");
}

}  // namespace

void WalMemory::sound(const StoredSegment& segment, ProofDepth depth) {
  if (segment.written && *segment.written >= TimePoint{}) noted_[{depth, false}].push_back(segment);
}

void WalMemory::damaged(const StoredSegment& segment, ProofDepth depth) {
  const auto& history = cluster_.state().wal_proofs().of(segment.id);
  const bool known = history.damaged && history.damaged->depth >= depth && history.newest_of_any(ProofDepth::Hashed) == 0;
  if (!known) noted_[{depth, true}].push_back(segment);
}

Status WalMemory::write(TimePoint read) {
  std::vector<WalRead> one;
  std::size_t runs = 0;
  for (auto& [what, segments] : std::exchange(noted_, {})) {
    const auto all = wal_runs_of(std::move(segments));
    // An entry holds so many runs; more of them are several entries.
    for (auto from = all.begin(); from != all.end();) {
      const auto to = from + static_cast<std::ptrdiff_t>(std::min<std::size_t>(runs_max_ - runs, static_cast<std::size_t>(all.end() - from)));
      one.push_back({what.first, what.second, read, cluster_.state().next_seq(), {from, to}});
      runs += static_cast<std::size_t>(to - from);
      from = to;
      if (runs < runs_max_) continue;
      TRY(append(std::exchange(one, {})));
      runs = 0;
    }
  }
  return one.empty() ? ok() : append(std::move(one));
}

Status WalMemory::append(std::vector<WalRead> wal) {
  std::vector<std::string> details;
  for (const auto& part : wal) details.push_back(detail_of(part));
  AuditEntry entry{std::string(kEvent), fmt::format("{}", fmt::join(details, "; "))};
  // Of no pack: readers that do not know of WAL see by it that this is the work of a verification, which says nothing about the time.
  entry.packs.push_back({ProofDepth::Opened, false, wal.front().read, wal.front().seen, {}});
  entry.wal = std::move(wal);
  return log_.append(std::move(entry));
}

}  // namespace pgmint::repository
