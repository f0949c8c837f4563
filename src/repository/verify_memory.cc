#include "repository/verify_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace pgmint::repository {
namespace {

constexpr std::string_view kEvent = "packs verified";

/// "opened: 120 packs sound, 1 damaged"
std::string detail_of(const PacksRead& packs) {
  std::uint64_t count = 0;
  for (const auto& run : packs.packs) count += std::uint64_t{run.last} - run.first + 1;
  return fmt::format("{}: {} packs {}", proof_depth_name(packs.depth), count, packs.damaged ? "damaged" : "sound");
}

}  // namespace

void VerifyMemory::damaged(const PackId& pack, ProofDepth depth) {
  const auto& history = cluster_.state().pack_proofs().of(pack);
  const bool known = history.damaged && history.damaged->depth >= depth && history.newest(ProofDepth::Hashed) == 0;
  sound_.erase(pack);
  all_damaged_.insert(pack);
  if (!known) damaged_[pack] = depth;
}

Status VerifyMemory::write(TimePoint read) {
  std::map<std::pair<ProofDepth, bool>, std::vector<PackId>> noted;
  for (const auto& [pack, depth] : std::exchange(sound_, {})) noted[{depth, false}].push_back(pack);
  for (const auto& [pack, depth] : std::exchange(damaged_, {})) noted[{depth, true}].push_back(pack);
  std::vector<PacksRead> all;
  for (auto& [what, packs] : noted) all.push_back({what.first, what.second, read, cluster_.state().next_seq(), runs_of(std::move(packs))});
  // An entry holds so many runs; more of them are several entries.
  std::vector<PacksRead> one;
  std::size_t runs = 0;
  for (auto& packs : all)
    for (auto from = packs.packs.begin(); from != packs.packs.end();) {
      const auto to = from + static_cast<std::ptrdiff_t>(std::min<std::size_t>(runs_max_ - runs, static_cast<std::size_t>(packs.packs.end() - from)));
      one.push_back({packs.depth, packs.damaged, packs.read, packs.seen, {from, to}});
      runs += static_cast<std::size_t>(to - from);
      from = to;
      if (runs < runs_max_) continue;
      TRY(append(std::exchange(one, {})));
      runs = 0;
    }
  return one.empty() ? ok() : append(std::move(one));
}

Status VerifyMemory::append(std::vector<PacksRead> packs) {
  std::vector<std::string> details;
  for (const auto& part : packs) details.push_back(detail_of(part));
  return log_.append(AuditEntry{std::string(kEvent), fmt::format("{}", fmt::join(details, "; ")), std::move(packs)});
}

}  // namespace pgmint::repository
