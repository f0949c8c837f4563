#include "repository/pack_proofs.h"

#include <algorithm>

#include "repository/clocks.h"

namespace pgmint::repository {
namespace {

std::size_t index_of(ProofDepth depth) { return static_cast<std::size_t>(depth) - 1; }

}  // namespace

std::string_view proof_depth_name(ProofDepth depth) {
  switch (depth) {
    case ProofDepth::Hashed: return "hashed";
    case ProofDepth::Opened: return "opened";
    case ProofDepth::Decompressed: return "decompressed";
  }
  return "?";
}

std::uint64_t PackHistory::newest(ProofDepth at_least) const {
  std::uint64_t seq = 0;
  for (auto i = index_of(at_least); i < proofs.size(); ++i) seq = std::max(seq, proofs[i].seq);
  return seq;
}

std::optional<TimePoint> PackHistory::read(ProofDepth at_least) const {
  TimePoint time{};
  for (auto i = index_of(at_least); i < proofs.size(); ++i) time = std::max(time, proofs[i].read);
  return time == TimePoint{} ? std::nullopt : std::optional(time);
}

void PackProofs::note(const PacksRead& packs, std::uint64_t seq, TimePoint time) {
  // What an entry says was done by then; before 1970 is no time at all.
  const auto read = std::max(std::min(packs.read, time), TimePoint{});
  latest_ = std::max(latest_, read);
  for (const auto& run : packs.packs)
    change(pieces_[run.session], run, [&](PackHistory& history) {
      if (packs.damaged) {
        history.proofs = {};
        history.damaged = {history.damaged ? std::max(history.damaged->depth, packs.depth) : packs.depth, seq};
        return;
      }
      // Who did not know of the damage may have read the pack before it happened.
      if (history.damaged && packs.seen <= history.damaged->seq) return;
      history.proofs[index_of(packs.depth)] = {seq, read};
      if (history.damaged && history.damaged->depth <= packs.depth) history.damaged.reset();
    });
}

void PackProofs::note_time(TimePoint time) {
  if (!is_ahead_of(latest_, time)) return;
  latest_ = {};
  for (auto& [session, pieces] : pieces_)
    for (auto& [first, piece] : pieces)
      for (auto& proof : piece.history.proofs) {
        if (is_ahead_of(proof.read, time)) proof.read = {};
        latest_ = std::max(latest_, proof.read);
      }
}

void PackProofs::forget(const PackId& pack) {
  const auto found = pieces_.find(pack.session);
  if (found == pieces_.end()) return;
  auto& pieces = found->second;
  split_before(pieces, pack.number);
  split_before(pieces, std::uint64_t{pack.number} + 1);
  pieces.erase(pack.number);
  if (pieces.empty()) pieces_.erase(found);
}

const PackHistory& PackProofs::of(const PackId& pack) const {
  static const PackHistory nothing;
  const auto found = pieces_.find(pack.session);
  if (found == pieces_.end()) return nothing;
  auto piece = found->second.upper_bound(pack.number);
  if (piece == found->second.begin()) return nothing;
  --piece;
  return piece->second.last < pack.number ? nothing : piece->second.history;
}

/// No piece covers both `number` and what is before it.
void PackProofs::split_before(Pieces& pieces, std::uint64_t number) {
  if (number == 0 || number > UINT32_MAX) return;
  const auto at = static_cast<std::uint32_t>(number);
  auto piece = pieces.lower_bound(at);
  if (piece == pieces.begin()) return;
  --piece;
  if (piece->second.last < at) return;
  pieces.emplace_hint(std::next(piece), at, piece->second);
  piece->second.last = at - 1;
}

/// Every pack of the run is in a piece, whose history changes; neighbours that are alike become one.
template <class F>
void PackProofs::change(Pieces& pieces, const PackRun& run, F change_history) {
  const auto end = std::uint64_t{run.last} + 1;
  split_before(pieces, run.first);
  split_before(pieces, end);
  for (std::uint64_t at = run.first; at < end;) {
    auto piece = pieces.lower_bound(static_cast<std::uint32_t>(at));
    if (piece == pieces.end() || piece->first > at) {
      const auto last = piece == pieces.end() ? run.last : std::min(run.last, piece->first - 1);
      piece = pieces.emplace_hint(piece, static_cast<std::uint32_t>(at), Piece{last, {}});
    }
    change_history(piece->second.history);
    at = std::uint64_t{piece->second.last} + 1;
  }
  auto piece = pieces.lower_bound(run.first);
  if (piece != pieces.begin()) --piece;
  for (auto next = std::next(piece); next != pieces.end() && next->first <= end; next = std::next(piece)) {
    if (std::uint64_t{piece->second.last} + 1 == next->first && piece->second.history == next->second.history) {
      piece->second.last = next->second.last;
      pieces.erase(next);
    } else {
      piece = next;
    }
  }
}

}  // namespace pgmint::repository
