#include "repository/wal_proofs.h"

#include <algorithm>

#include "repository/clocks.h"

namespace pgmint::repository {
namespace {

std::size_t index_of(ProofDepth depth) { return static_cast<std::size_t>(depth) - 1; }

}  // namespace

std::uint64_t WalHistory::newest(ProofDepth at_least, const std::optional<TimePoint>& written) const {
  std::uint64_t seq = 0;
  for (auto i = index_of(at_least); i < proofs.size(); ++i)
    if (proofs[i].is_of(written)) seq = std::max(seq, proofs[i].seq);
  return seq;
}

std::uint64_t WalHistory::newest_of_any(ProofDepth at_least) const {
  std::uint64_t seq = 0;
  for (auto i = index_of(at_least); i < proofs.size(); ++i) seq = std::max(seq, proofs[i].seq);
  return seq;
}

std::optional<TimePoint> WalHistory::read(ProofDepth at_least, const std::optional<TimePoint>& written) const {
  TimePoint time{};
  for (auto i = index_of(at_least); i < proofs.size(); ++i)
    if (proofs[i].is_of(written)) time = std::max(time, proofs[i].read);
  return time == TimePoint{} ? std::nullopt : std::optional(time);
}

void WalProofs::note(const WalRead& wal, std::uint64_t seq, TimePoint time) {
  if (wal.depth == ProofDepth::Hashed && !wal.damaged) return;  // no record was read
  // What an entry says was done by then; before 1970 is no time at all.
  const auto read = std::max(std::min(wal.read, time), TimePoint{});
  latest_ = std::max(latest_, read);
  for (const auto& run : wal.runs)
    places_[run.place].change(run.first, run.last, [&](WalHistory& history) {
      if (wal.damaged) {
        history.proofs = {};
        history.damaged = {history.damaged ? std::max(history.damaged->depth, wal.depth) : wal.depth, seq};
        return;
      }
      // Who did not know of the damage may have read the object before it happened.
      if (history.damaged && wal.seen <= history.damaged->seq) return;
      history.proofs[index_of(wal.depth)] = {seq, read, run.oldest, run.newest};
      if (history.damaged && history.damaged->depth <= wal.depth) history.damaged.reset();
    });
}

void WalProofs::note_time(TimePoint time) {
  if (!is_ahead_of(latest_, time)) return;
  latest_ = {};
  for (auto& [place, pieces] : places_)
    pieces.change_all([&](WalHistory& history) {
      for (auto& proof : history.proofs) {
        if (is_ahead_of(proof.read, time)) proof.read = {};
        latest_ = std::max(latest_, proof.read);
      }
    });
}

void WalProofs::forget_before(const WalIdentity& identity, std::uint32_t timeline, std::uint64_t lsn,
                              const std::vector<std::pair<std::uint64_t, std::uint64_t>>& kept) {
  for (auto at = places_.begin(); at != places_.end();) {
    const auto& place = at->first;
    const auto end = lsn / place.segment_size;  // the segment that holds it stays
    if (place.system_id == identity.system_id && place.incarnation == identity.incarnation && place.timeline == timeline && end > 0) {
      std::uint64_t from = 0;
      auto ranges = kept;
      std::ranges::sort(ranges);
      for (const auto& [first, last] : ranges) {
        const auto keep = std::min(first / place.segment_size, end);
        if (keep > from) at->second.erase(from, keep - 1);
        from = std::max(from, last / place.segment_size + 1);
      }
      if (end > from) at->second.erase(from, end - 1);
    }
    at = at->second.empty() ? places_.erase(at) : std::next(at);
  }
}

const WalHistory& WalProofs::of(const WalSegmentId& segment) const {
  static const WalHistory nothing;
  const auto found = places_.find(segment.place);
  const auto* history = found == places_.end() ? nullptr : found->second.find(segment.number);
  return history == nullptr ? nothing : *history;
}

std::size_t WalProofs::pieces() const {
  std::size_t count = 0;
  for (const auto& [place, pieces] : places_) count += pieces.size();
  return count;
}

}  // namespace pgmint::repository
