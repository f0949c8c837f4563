// A stored piece of WAL whose records were taken apart: four streams, compressed by zstd or lz4, and page images, which are a page
// record of their own. Format: docs/format/wal-codec.md.
#pragma once

#include <functional>
#include <memory>

#include "codec/block_codec.h"
#include "codec/wal_encoder.h"

namespace pgmint::codec {

/// Whether the streams are to be trusted with the piece that they were made from. One per worker.
using WalCheck = std::function<bool(const WalStreams& streams, ByteView piece)>;
/// Puts the piece together again and compares.
WalCheck decode_and_compare_wal();

/// Not thread-safe: one per worker.
class WalPieceWriter {
 public:
  /// @param level  of zstd; 1 is for_residue()
  /// @param check  asked before anything is stored; empty: the encoder is trusted
  WalPieceWriter(BlockCodec codec, int level, WalCheck check);
  WalPieceWriter(WalPieceWriter&&) noexcept;
  ~WalPieceWriter();
  /// Bytes written to `out`; 0 when it holds no records, does not pass the check, or would not be shorter than `piece` or fit into
  /// `out`: then `piece` is to be stored some other way.
  std::size_t write(ByteView piece, MutableByteView out);
  /// Of the piece that was asked for last: its records whose checksums were found to fit, whether or not it was written.
  const WalChain& proven() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Not thread-safe: one per worker.
class WalPieceReader {
 public:
  WalPieceReader();
  WalPieceReader(WalPieceReader&&) noexcept;
  ~WalPieceReader();
  /// Fills exactly `out`; undefined after an error. Memory does not depend on what is stored. @errors Corruption
  Status read(BlockCodec codec, ByteView stored, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::codec
