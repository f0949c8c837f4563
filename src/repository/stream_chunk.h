// The chunks of streams as bytes: cut by content, and read back. Format: docs/format/stream.md.
#pragma once

#include <deque>

#include "codec/block_codec.h"
#include "repository/stream_map.h"

namespace pgmint::repository {

inline constexpr std::size_t kChunkMin = 64 << 10, kChunkUsual = 256 << 10, kChunkMax = kDataRecordMax;

/// Finds where chunks end. A value; takes the stream's bytes in pieces of any size, which do not change what it finds.
class ChunkCutter {
 public:
  /// Takes bytes off the front of `data` until a chunk ends or there are none left. True: it ended behind the last one taken.
  bool take(ByteView& data);
  /// Of the rolling hash now: between chunks, the next one's anchor.
  std::uint64_t anchor() const { return hash_; }

 private:
  std::uint64_t hash_ = 0;
  std::size_t length_ = 0;  ///< of the chunk so far
};

/// Reads chunks. Not thread-safe: one per worker.
class StreamChunkReader {
 public:
  /// Borrows `store` and `keys`.
  StreamChunkReader(storage::BlobStore& store, RecordContext context, const ClusterKeys& keys);
  /// The chunk's bytes, whose sum fits. Borrowed until the next call. @errors NotFound, Corruption, Storage, Key
  Result<ByteView> read(const StreamChunk& chunk);
  /// The plaintexts of bases, one after the other; those of the last few calls are remembered. Borrowed until the next call. @errors likewise
  Result<ByteView> read_bases(const std::vector<RecordLocation>& bases);

 private:
  storage::BlobStore& store_;
  RecordContext context_;
  RecordOpener opener_;
  ChunkSummer summer_;
  codec::BlockDecompressor decompressor_;
  struct Remembered {
    RecordLocation location;
    Bytes bytes;
  };
  std::deque<Remembered> bases_;  ///< the last used at the end
  Bytes prefix_, chunk_;
};

}  // namespace pgmint::repository
