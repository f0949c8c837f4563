#include "repository/wal_choice.h"

#include <algorithm>
#include <tuple>

#include "repository/clocks.h"

namespace pgmint::repository {
namespace {

/// What a share takes first has the lowest of all three.
struct Ranked {
  std::uint64_t newest, newest_of_any;  ///< proof of this object, of any of its name; 0: none
  const ListedSegment* listed;
};

}  // namespace

void EarlierWal::add(const ListedSegment& segment, std::optional<TimePoint> read, bool damaged) {
  if (damaged || !read) {
    if (damaged) ++damaged_segments;
    ++unproven_segments;
    unproven_bytes += segment.bytes;
    const auto& written = segment.segment.written;
    if (!damaged && written) unproven_since = std::min(unproven_since.value_or(*written), *written);
    return;
  }
  ++segments;
  bytes += segment.bytes;
  oldest = std::min(oldest.value_or(*read), *read);
  newest = std::max(newest.value_or(*read), *read);
}

void EarlierWal::add(const EarlierWal& other) {
  segments += other.segments;
  bytes += other.bytes;
  unproven_segments += other.unproven_segments;
  unproven_bytes += other.unproven_bytes;
  damaged_segments += other.damaged_segments;
  if (other.unproven_since) unproven_since = std::min(unproven_since.value_or(*other.unproven_since), *other.unproven_since);
  if (other.oldest) oldest = std::min(oldest.value_or(*other.oldest), *other.oldest);
  if (other.newest) newest = std::max(newest.value_or(*other.newest), *other.newest);
}

std::optional<TimePoint> wal_proven_at(const WalHistory& history, const StoredSegment& segment, ProofDepth at_least, const ProofClock& clock) {
  const auto read = history.read(at_least, segment.written);
  return read && !is_ahead_of(*read, clock.earliest) ? read : std::nullopt;
}

ChosenWal choose_wal(std::vector<ListedSegment> wal, const WalProofs& proofs, ProofDepth at_least, const ProofClock& clock, const VerifyChoice& choice) {
  ChosenWal chosen;
  std::uint64_t bytes = 0;
  for (const auto& one : wal) bytes += one.bytes;
  const auto leave = [&](const ListedSegment& one) {
    chosen.left.add(one, wal_proven_at(proofs.of(one.segment.id), one.segment, at_least, clock));
  };

  std::erase_if(wal, [&](const ListedSegment& one) {
    const auto& history = proofs.of(one.segment.id);
    if (history.damaged) {
      chosen.read.push_back(one);
      return true;
    }
    if (!choice.older_than) return false;
    const auto read = wal_proven_at(history, one.segment, at_least, clock);
    if (!read || clock.latest - *read > *choice.older_than) return false;
    leave(one);
    return true;
  });
  if (!choice.share) {
    chosen.read.insert(chosen.read.end(), wal.begin(), wal.end());
    return chosen;
  }
  // The order is worked out once a segment: of a million there are twenty million comparisons.
  std::vector<Ranked> ranked;
  ranked.reserve(wal.size());
  for (const auto& one : wal) {
    const auto& history = proofs.of(one.segment.id);
    ranked.push_back({history.newest(at_least, one.segment.written), history.newest_of_any(at_least), &one});
  }
  std::ranges::sort(ranked, {}, [](const Ranked& one) { return std::tie(one.newest, one.newest_of_any, one.listed->segment.id); });
  const auto wanted = share_of(bytes, *choice.share);
  std::uint64_t taken = 0;
  for (const auto& one : ranked) {
    if (taken >= wanted) {
      leave(*one.listed);
      continue;
    }
    taken += one.listed->bytes;
    chosen.read.push_back(*one.listed);
  }
  return chosen;
}

EarlierWal what_wal_is_proven(const std::vector<ListedSegment>& wal, const WalProofs& proofs, const ProofClock& clock) {
  EarlierWal proven;
  for (const auto& one : wal) {
    const auto& history = proofs.of(one.segment.id);
    proven.add(one, wal_proven_at(history, one.segment, ProofDepth::Hashed, clock), history.damaged.has_value());
  }
  return proven;
}

}  // namespace pgmint::repository
