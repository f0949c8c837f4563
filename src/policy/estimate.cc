#include "policy/estimate.h"

#include <algorithm>
#include <cmath>

namespace pgmint::policy {
namespace {

constexpr std::size_t kNewest = 5;
constexpr std::chrono::microseconds kLongEnough = std::chrono::seconds(5);
constexpr double kLikeEnough = 0.1;
constexpr double kLongest = 1e15;  ///< microseconds: thirty years

struct Guess {
  std::optional<std::chrono::microseconds> took;
  std::size_t measured = 0;
  std::optional<double> rate{};  ///< bytes a second
};

Guess guess(std::uint64_t work, const std::vector<Measure>& measures) {
  std::vector<double> costs;  // microseconds a byte
  for (auto at = measures.rbegin(); at != measures.rend() && costs.size() < kNewest; ++at) {
    if (at->bytes == 0) continue;
    const bool counts = at->took >= kLongEnough || static_cast<double>(at->bytes) >= kLikeEnough * static_cast<double>(work);
    if (counts) costs.push_back(static_cast<double>(std::max<std::int64_t>(1, at->took.count())) / static_cast<double>(at->bytes));
  }
  if (costs.empty()) return work == 0 ? Guess{std::chrono::microseconds(0)} : Guess{};
  std::ranges::sort(costs);
  // Of an even number the slower one of the middle: an objective is better missed on paper than in the night.
  const auto cost = costs[costs.size() / 2];
  const auto micros = std::min(kLongest, cost * static_cast<double>(work));
  return {std::chrono::microseconds(std::llround(micros)), costs.size(), 1e6 / cost};
}

}  // namespace

std::optional<std::chrono::microseconds> Estimate::total() const {
  if (!copy) return std::nullopt;  // replay alone says nothing of a restore
  return *copy + replay.value_or(std::chrono::microseconds(0));
}

Estimate estimate_restore(std::uint64_t file_bytes, std::uint64_t wal_bytes, const Measures& measures) {
  const auto copy = guess(file_bytes, measures.copies), replay = guess(wal_bytes, measures.replays);
  return {copy.took, replay.took, copy.rate, replay.rate, copy.measured, replay.measured};
}

}  // namespace pgmint::policy
