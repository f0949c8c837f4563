#include "repository/verify_choice.h"

#include <algorithm>

#include "repository/clocks.h"

namespace pgmint::repository {

namespace {
constexpr std::uint64_t kWhole = 1'000'000;
}  // namespace

std::uint64_t share_of(std::uint64_t bytes, std::uint64_t share) {
  // Without overflow: the whole millionths, then the rest.
  return bytes / kWhole * share + (bytes % kWhole * share + kWhole - 1) / kWhole;
}

ProofClock ProofClock::of(TimePoint local, std::optional<TimePoint> store, const LogState& state) {
  const auto other = store.value_or(local);
  return {std::min(local, other), std::max({local, other, state.last_activity()})};
}

void EarlierProofs::add(const PackSummary& pack, std::optional<TimePoint> read, bool damaged) {
  if (damaged || !read) {
    if (damaged) ++damaged_packs;
    ++unproven_packs;
    unproven_bytes += pack.size;
    return;
  }
  ++packs;
  bytes += pack.size;
  oldest = std::min(oldest.value_or(*read), *read);
  newest = std::max(newest.value_or(*read), *read);
}

void EarlierProofs::add(const EarlierProofs& other) {
  packs += other.packs;
  bytes += other.bytes;
  unproven_packs += other.unproven_packs;
  unproven_bytes += other.unproven_bytes;
  damaged_packs += other.damaged_packs;
  if (other.unproven_since) unproven_since = std::min(unproven_since.value_or(*other.unproven_since), *other.unproven_since);
  if (other.oldest) oldest = std::min(oldest.value_or(*other.oldest), *other.oldest);
  if (other.newest) newest = std::max(newest.value_or(*other.newest), *other.newest);
}

std::optional<TimePoint> proven_at(const PackHistory& history, ProofDepth at_least, const ProofClock& clock) {
  const auto read = history.read(at_least);
  return read && !is_ahead_of(*read, clock.earliest) ? read : std::nullopt;
}

ChosenPacks choose_packs(std::vector<PackSummary> packs, const PackProofs& proofs, ProofDepth at_least,
                         const ProofClock& clock, const VerifyChoice& choice) {
  ChosenPacks chosen;
  std::uint64_t bytes = 0;
  for (const auto& pack : packs) bytes += pack.size;
  const auto leave = [&](const PackSummary& pack) { chosen.left.add(pack, proven_at(proofs.of(pack.id), at_least, clock)); };

  std::erase_if(packs, [&](const PackSummary& pack) {
    const auto& history = proofs.of(pack.id);
    if (history.damaged) {
      chosen.read.push_back(pack);
      return true;
    }
    if (!choice.older_than) return false;
    const auto read = proven_at(history, at_least, clock);
    if (!read || clock.latest - *read > *choice.older_than) return false;
    leave(pack);
    return true;
  });
  if (!choice.share) {
    chosen.read.insert(chosen.read.end(), packs.begin(), packs.end());
    return chosen;
  }
  std::ranges::sort(packs, {}, [&](const PackSummary& pack) { return std::pair(proofs.of(pack.id).newest(at_least), pack.id); });
  const auto wanted = share_of(bytes, *choice.share);
  std::uint64_t taken = 0;
  for (const auto& pack : packs) {
    if (taken >= wanted) {
      leave(pack);
      continue;
    }
    taken += pack.size;
    chosen.read.push_back(pack);
  }
  return chosen;
}

EarlierProofs what_is_proven(const LogState& state, const std::optional<SessionId>& only, const ProofClock& clock) {
  EarlierProofs proven;
  const auto snapshot = only ? state.snapshots().find(*only) : state.snapshots().end();
  if (only && snapshot == state.snapshots().end()) return proven;
  for (const auto& pack : only ? state.packs_of(snapshot->second) : state.live_packs()) {
    const auto& history = state.pack_proofs().of(pack.id);
    proven.add(pack, proven_at(history, ProofDepth::Hashed, clock), history.damaged.has_value());
  }
  if (proven.unproven_packs == proven.damaged_packs) return proven;
  std::vector<const LiveSnapshot*> oldest_first;
  for (const auto& [id, one] : state.snapshots())
    if (!only || id == *only) oldest_first.push_back(&one);
  std::ranges::sort(oldest_first, {}, &LiveSnapshot::committed);
  for (const auto* one : oldest_first)
    for (const auto& pack : state.packs_of(*one)) {
      const auto& history = state.pack_proofs().of(pack.id);
      if (history.damaged || proven_at(history, ProofDepth::Hashed, clock)) continue;
      proven.unproven_since = one->committed;
      return proven;
    }
  return proven;
}

}  // namespace pgmint::repository
