#include "postgres/block_collector.h"

#include <algorithm>
#include <bit>

namespace pgmint::postgres {
namespace {

/// Fewer are not worth looking through for what is named twice.
constexpr std::size_t kCompactMin = 32768;
/// From here on digits are faster than comparisons.
constexpr std::size_t kDigitsMin = 512;
constexpr unsigned kDigitBits = 11;
constexpr std::size_t kDigits = 1U << kDigitBits;
/// Up to this many places for each block a bit for every place is faster still.
constexpr std::size_t kPlacesMax = 32;
constexpr unsigned kWordBits = 64;

}  // namespace

std::size_t BlockCollector::Hash::operator()(const RelationFork& fork) const {
  std::uint64_t mixed = std::uint64_t{fork.locator.tablespace.value()} << 32 | fork.locator.relation.value();
  mixed ^=
      (std::uint64_t{fork.locator.database.value()} << 8 | static_cast<std::uint64_t>(fork.fork)) * 0x9E3779B97F4A7C15U;
  mixed ^= mixed >> 29;
  return mixed * 0xBF58476D1CE4E5B9U;
}

BlockCollector::Gathered& BlockCollector::gathered_of(const RelationFork& where) {
  for (const auto& recent : recent_)
    if (recent.where.locator.relation == where.locator.relation && recent.where == where && recent.gathered != nullptr)
      return *recent.gathered;
  auto& gathered = forks_[where];
  recent_[oldest_] = {where, &gathered};
  oldest_ = (oldest_ + 1) % recent_.size();
  return gathered;
}

void BlockCollector::add(const RelationFork& where, BlockNumber block) {
  auto& gathered = gathered_of(where);
  if (!gathered.blocks.empty() && gathered.blocks.back() == block) return;
  gathered.blocks.push_back(block);
  if (gathered.blocks.size() > std::max(kCompactMin, 2 * gathered.compacted)) {
    sort_unique(gathered.blocks);
    gathered.compacted = gathered.blocks.size();
  }
}

void BlockCollector::add(const ForkBlocks& blocks) {
  auto& gathered = gathered_of(blocks.where);
  gathered.blocks.insert(gathered.blocks.end(), blocks.blocks.begin(), blocks.blocks.end());
  if (gathered.blocks.size() > 2 * gathered.compacted + kCompactMin) {
    sort_unique(gathered.blocks);
    gathered.compacted = gathered.blocks.size();
  }
}

std::vector<ForkBlocks> BlockCollector::take() {
  std::vector<ForkBlocks> result;
  result.reserve(forks_.size());
  for (auto& [where, gathered] : forks_) {
    sort_unique(gathered.blocks);
    gathered.blocks.shrink_to_fit();
    result.push_back({where, std::move(gathered.blocks)});
  }
  forks_.clear();
  recent_ = {};
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.where < b.where; });
  return result;
}

void BlockCollector::sort_unique(std::vector<BlockNumber>& blocks) {
  if (blocks.size() < kDigitsMin) {
    std::sort(blocks.begin(), blocks.end());
  } else if (const auto [low, high] = std::ranges::minmax(blocks); (high - low) / kPlacesMax < blocks.size()) {
    return mark_places(blocks, low, high);
  } else {
    sort_by_digits(blocks);
  }
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
}

/// What updates of one table name, in any order and many of them twice, is seldom far apart: then nothing is compared or moved.
void BlockCollector::mark_places(std::vector<BlockNumber>& blocks, BlockNumber low, BlockNumber high) {
  places_.assign((high - low) / kWordBits + 1, 0);
  for (const auto block : blocks) places_[(block - low) / kWordBits] |= std::uint64_t{1} << (block - low) % kWordBits;
  blocks.clear();
  for (std::size_t word = 0; word < places_.size(); ++word)
    for (auto bits = places_[word]; bits != 0; bits &= bits - 1)
      blocks.push_back(low + static_cast<BlockNumber>(word * kWordBits) + static_cast<BlockNumber>(std::countr_zero(bits)));
}

/// Random updates name tens of thousands of blocks in a segment; comparing them was a third of what a summary cost.
void BlockCollector::sort_by_digits(std::vector<BlockNumber>& blocks) {
  room_.resize(blocks.size());
  for (unsigned shift = 0; shift < 32; shift += kDigitBits) {
    const auto digit = [&](BlockNumber block) { return block >> shift & (kDigits - 1); };
    std::array<std::size_t, kDigits> ends{};
    for (const auto block : blocks) ++ends[digit(block)];
    if (ends[digit(blocks[0])] == blocks.size()) continue;  // all alike
    std::size_t before = 0;
    for (auto& end : ends) before += std::exchange(end, before);
    for (const auto block : blocks) room_[ends[digit(block)]++] = block;
    blocks.swap(room_);
  }
}

}  // namespace pgmint::postgres
