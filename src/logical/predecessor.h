// The stream of the dump before, as far as a new one can share it: chunks by what they are, and by what they follow.
#pragma once

#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "repository/stream_map.h"

namespace pgmint::logical {

/// Constant once it is loaded; may be shared by workers.
class Predecessor {
 public:
  /// Chunks of which more are not looked at: 256 GiB of stream, 200 MB of memory.
  static constexpr std::size_t kChunksMax = std::size_t{1} << 20;

  /// Reads the stream's map. @param leaving  packs that are to be emptied: what stands there is not shared
  /// @errors as repository::walk_stream
  static Result<Predecessor> load(storage::BlobStore& store, const repository::RecordContext& context, repository::RecordOpener& opener,
                                  const repository::RecordLocation& index, const std::set<repository::PackId>& leaving);

  /// The chunk with these bytes; null: there is none.
  const repository::StreamChunk* same(const repository::ChunkSum& sum) const;
  /// Where in the stream a chunk starts behind the same bytes; nullopt: nowhere.
  std::optional<std::uint64_t> following(std::uint64_t anchor) const;
  /// What a chunk of that length at that place of the stream can be said against: the bases of the chunks that have most of it, in the
  /// stream's order. Empty: nothing.
  std::vector<repository::RecordLocation> bases_at(std::uint64_t offset, std::uint64_t length) const;
  /// A part that starts with this chunk; null: there is none.
  const repository::StreamPart* part_starting(const repository::ChunkSum& sum) const;

 private:
  struct SumHash {
    std::size_t operator()(const repository::ChunkSum& sum) const;
  };
  bool leaves(const repository::RecordLocation& record) const { return leaving_.contains(record.pack); }

  std::vector<repository::StreamChunk> chunks_;
  std::vector<std::uint64_t> starts_;  ///< of the chunks in the stream
  std::set<repository::PackId> leaving_;
  std::unordered_map<repository::ChunkSum, std::size_t, SumHash> by_sum_;
  std::unordered_map<std::uint64_t, std::uint64_t> by_anchor_;
  std::unordered_map<repository::ChunkSum, repository::StreamPart, SumHash> parts_;
};

}  // namespace pgmint::logical
