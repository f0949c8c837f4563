#include "logical/predecessor.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace pgmint::logical {

using repository::ChunkSum;
using repository::StreamChunk;

std::size_t Predecessor::SumHash::operator()(const ChunkSum& sum) const {
  std::size_t hash = 0;  // the sum is as good as random
  std::memcpy(&hash, sum.data(), sizeof hash);
  return hash;
}

Result<Predecessor> Predecessor::load(storage::BlobStore& store, const repository::RecordContext& context, repository::RecordOpener& opener,
                                      const repository::RecordLocation& location, const std::set<repository::PackId>& leaving) {
  Predecessor loaded;
  loaded.leaving_ = leaving;
  const auto index = TRY(repository::read_stream_index(store, context, opener, location));
  if (index.chunk_count > kChunksMax)
    log_info("the dump before has {} chunks: only the first {} are compared with", index.chunk_count, kChunksMax);
  const repository::StreamPart* part = nullptr;
  std::uint64_t at = 0;
  TRY(repository::walk_stream(
      store, context, opener, index,
      [&](const repository::StreamPart& next) -> Status {
        part = loaded.leaves(next.location) ? nullptr : &next;
        return ok();
      },
      [&](const StreamChunk& chunk) -> Status {
        if (loaded.chunks_.size() == kChunksMax) return ok();
        if (part != nullptr) loaded.parts_.emplace(chunk.sum, *std::exchange(part, nullptr));
        const auto place = loaded.chunks_.size();
        const bool stays = !loaded.leaves(chunk.record) && std::ranges::none_of(chunk.bases, [&](const auto& base) { return loaded.leaves(base); });
        if (stays) loaded.by_sum_.emplace(chunk.sum, place);
        loaded.by_anchor_.emplace(chunk.anchor, at);
        loaded.starts_.push_back(at);
        at += chunk.length;
        loaded.chunks_.push_back(chunk);
        return ok();
      }));
  return loaded;
}

const StreamChunk* Predecessor::same(const ChunkSum& sum) const {
  const auto found = by_sum_.find(sum);
  return found == by_sum_.end() ? nullptr : &chunks_[found->second];
}

std::optional<std::uint64_t> Predecessor::following(std::uint64_t anchor) const {
  const auto found = by_anchor_.find(anchor);
  return found == by_anchor_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<repository::RecordLocation> Predecessor::bases_at(std::uint64_t offset, std::uint64_t length) const {
  struct Candidate {
    repository::RecordLocation base;
    std::uint64_t in_common = 0;
  };
  std::vector<Candidate> candidates;  // in the stream's order
  const auto note = [&](const repository::RecordLocation& base, std::uint64_t in_common) {
    if (leaves(base)) return;
    const auto known = std::ranges::find(candidates, base, &Candidate::base);
    if (known == candidates.end()) candidates.push_back({base, in_common});
    else known->in_common += in_common;
  };
  const auto after = std::ranges::upper_bound(starts_, offset);
  for (auto place = static_cast<std::size_t>(after - starts_.begin()) - (after == starts_.begin() ? 0 : 1); place < chunks_.size() && starts_[place] < offset + length; ++place) {
    const auto from = std::max(starts_[place], offset), to = std::min(starts_[place] + chunks_[place].length, offset + length);
    if (to <= from) continue;
    if (chunks_[place].bases.empty()) note(chunks_[place].record, to - from);
    // Which of its bases has what is not known.
    for (const auto& base : chunks_[place].bases) note(base, (to - from) / chunks_[place].bases.size());
  }
  while (candidates.size() > repository::kChunkBasesMax) candidates.erase(std::ranges::min_element(candidates, {}, &Candidate::in_common));
  std::vector<repository::RecordLocation> bases;
  for (auto& candidate : candidates) bases.push_back(candidate.base);
  return bases;
}

const repository::StreamPart* Predecessor::part_starting(const ChunkSum& sum) const {
  const auto found = parts_.find(sum);
  return found == parts_.end() ? nullptr : &found->second;
}

}  // namespace pgmint::logical
