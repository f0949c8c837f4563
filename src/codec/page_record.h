// A record whose pages were taken apart: groups of up to 32 pages, each of them three streams, two of which zstd or lz4 then
// compress. Format: docs/format/page-codec.md.
#pragma once

#include <functional>

#include "codec/block_codec.h"
#include "codec/page_encoder.h"

namespace pgmint::codec {

/// Whether the streams are to be trusted with the group that they were made from. One per worker.
using GroupCheck = std::function<bool(const PageStreams& streams, ByteView group)>;
/// Puts the group together again and compares. A difference is a defect of ours: said in the log.
GroupCheck decode_and_compare();

/// Not thread-safe: one per worker.
class PageRecordWriter {
 public:
  /// @param check  asked before anything is stored; empty: the encoder is trusted
  PageRecordWriter(BlockCodec codec, int level, GroupCheck check);
  PageRecordWriter(BlockCompressor compressor, GroupCheck check);
  PageRecordWriter(PageRecordWriter&&) noexcept;
  ~PageRecordWriter();
  /// Bytes written to `out`; 0 when no page fits a model or passes the check, or when it would not be shorter than `plain` or fit into
  /// `out`: then `plain` is to be stored some other way.
  std::size_t write(ByteView plain, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Not thread-safe: one per worker.
class PageRecordReader {
 public:
  PageRecordReader();
  PageRecordReader(PageRecordReader&&) noexcept;
  ~PageRecordReader();
  /// Fills exactly `out`; undefined after an error. Memory does not depend on what the record claims. @errors Corruption
  Status read(BlockCodec codec, ByteView stored, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::codec
