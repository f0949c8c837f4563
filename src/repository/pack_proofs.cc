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
    pieces_[run.session].change(run.first, run.last, [&](PackHistory& history) {
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
    pieces.change_all([&](PackHistory& history) {
      for (auto& proof : history.proofs) {
        if (is_ahead_of(proof.read, time)) proof.read = {};
        latest_ = std::max(latest_, proof.read);
      }
    });
}

void PackProofs::forget(const PackId& pack) {
  const auto found = pieces_.find(pack.session);
  if (found == pieces_.end()) return;
  found->second.erase(pack.number, pack.number);
  if (found->second.empty()) pieces_.erase(found);
}

const PackHistory& PackProofs::of(const PackId& pack) const {
  static const PackHistory nothing;
  const auto found = pieces_.find(pack.session);
  const auto* history = found == pieces_.end() ? nullptr : found->second.find(pack.number);
  return history == nullptr ? nothing : *history;
}

}  // namespace pgmint::repository
