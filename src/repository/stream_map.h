// Where the chunks of a stream are: its index, and the parts that the index refers to. Format: docs/format/stream.md.
#pragma once

#include <functional>
#include <vector>

#include "repository/pack_use.h"
#include "repository/record.h"
#include "storage/blob_store.h"

namespace pgmint::repository {

using ChunkSum = ByteArray<16>;

inline constexpr std::size_t kChunkBasesMax = 3;

/// A chunk of a stream, at most kDataRecordMax bytes.
struct StreamChunk {
  std::uint32_t length = 0;
  ChunkSum sum{};
  std::uint64_t anchor = 0;           ///< of the writer's rolling hash, before the first byte
  RecordLocation record;              ///< type StreamChunk, or StreamDelta where there are bases
  std::vector<RecordLocation> bases{};  ///< type StreamChunk: one after the other the prefix of the delta's frame
  bool operator==(const StreamChunk&) const = default;
};

Bytes encode_stream_part(const std::vector<StreamChunk>& chunks);
/// Never reserves more than the input could hold. @errors Corruption
Result<std::vector<StreamChunk>> parse_stream_part(ByteView data);

struct StreamPart {
  RecordLocation location;
  std::uint64_t length = 0;       ///< bytes of the stream
  std::uint64_t chunk_count = 0;
  ByteArray<16> fingerprint{};    ///< GMAC of the part's plaintext
};

struct StreamIndex {
  std::uint64_t length = 0, chunk_count = 0;
  std::vector<StreamPart> parts;
};
Bytes encode_stream_index(const StreamIndex& index);
/// @errors Corruption, also where the parts do not add up
Result<StreamIndex> parse_stream_index(ByteView data);

/// Whether a part ends behind this chunk.
bool ends_stream_part(const ChunkSum& sum, std::size_t chunks_in_part);

/// Makes the sums of chunks. Not thread-safe.
class ChunkSummer {
 public:
  /// @param mac_key  the cluster's
  explicit ChunkSummer(const crypto::Key256& mac_key);
  ChunkSum sum(ByteView chunk) const;

 private:
  crypto::Key256 key_;
};

/// @errors as read_record; Corruption
Result<StreamIndex> read_stream_index(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const RecordLocation& location);
/// Every chunk in the order of the stream, after the part that it is in. @errors as read_record; what a visitor returns
Status walk_stream(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const StreamIndex& index,
                   const std::function<Status(const StreamPart&)>& visit_part, const std::function<Status(const StreamChunk&)>& visit);

/// Adds every record that the stream refers to, its parts included. @errors as walk_stream
Status note_stream(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const StreamIndex& index, DistinctRecords& records);

}  // namespace pgmint::repository
