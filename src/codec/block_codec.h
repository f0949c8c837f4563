// One block of bytes through zstd or lz4: the libraries' own frames, nothing of ours around them.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/error.h"

namespace pgmint::codec {

enum class BlockCodec : std::uint8_t { Zstd, Lz4 };
/// Above 19 zstd needs windows of up to 128 MiB, which records of 256 KiB never use.
inline constexpr int kZstdLevelMax = 19;

/// Keeps its context between calls. Not thread-safe: one per worker.
class BlockCompressor {
 public:
  /// @param level  1 to kZstdLevelMax; of no meaning for lz4
  /// @param hash_log   zstd's match table has two to this power of entries of four bytes; 0: as the level says
  /// @param min_match  how many bytes zstd's search holds against each other, 3 to 7; 0: as the level says
  BlockCompressor(BlockCodec codec, int level, int hash_log = 0, int min_match = 0);
  /// For compress_against(): a window that holds prefix and block.
  static BlockCompressor for_deltas();
  /// zstd level 1 with a hash table that stays in a core's first cache, for streams whose repetitions were taken out before: a fifth
  /// faster there, and as small. Its frames are like any.
  static BlockCompressor for_residue();
  BlockCompressor(BlockCompressor&&) noexcept;
  ~BlockCompressor();
  static std::size_t bound(std::size_t plain_size);
  /// Bytes written to `out`; 0 when it does not fit there, or is no shorter than `plain`. zstd frames carry neither content
  /// size nor checksum: records know their size and are authenticated.
  std::size_t compress(ByteView plain, MutableByteView out);
  /// zstd only: says `plain` by what it has in common with `prefix`, together at most 4 MiB. As compress() otherwise.
  std::size_t compress_against(ByteView prefix, ByteView plain, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Not thread-safe: one per worker.
class BlockDecompressor {
 public:
  BlockDecompressor();
  BlockDecompressor(BlockDecompressor&&) noexcept;
  ~BlockDecompressor();
  /// Fills exactly `out`, which needs no memory beside it whatever the frame asks for. @errors Corruption
  Status decompress(BlockCodec codec, ByteView stored, MutableByteView out);
  /// What compress_against() made. @errors Corruption
  Status decompress_against(ByteView prefix, ByteView frame, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One zstd frame that carries its plain size, for objects whose size stands nowhere else (manifests). Any size, also
/// empty; always a frame, even where it does not shrink.
Bytes compress_sized(ByteView plain, int level = 1);
/// The inverse. The size is held against `limit` before memory is reserved. @errors Corruption (also: size absent or above
/// `limit`)
Result<Bytes> decompress_sized(ByteView frame, std::size_t limit);

}  // namespace pgmint::codec
