#include "codec/block_codec.h"

#include <fmt/format.h>
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <limits>

namespace pgmint::codec {
namespace {

struct CctxFree {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct DctxFree {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

/// One frame of the current format and nothing behind it: the library would also take skippable frames, several frames,
/// and on some builds the formats of before 2016.
bool is_one_zstd_frame(ByteView stored) {
  std::uint32_t magic = 0;
  if (stored.size() >= 4) {
    for (std::size_t i = 4; i-- > 0;) magic = magic << 8 | std::to_integer<std::uint32_t>(stored[i]);
  }
  return magic == ZSTD_MAGICNUMBER && ZSTD_findFrameCompressedSize(stored.data(), stored.size()) == stored.size();
}

Status decompress_zstd(ZSTD_DCtx* context, ByteView stored, MutableByteView out) {
  if (!is_one_zstd_frame(stored)) return Error(Errc::Corruption, "compressed record is not one zstd frame");
  const std::size_t size = ZSTD_decompressDCtx(context, out.data(), out.size(), stored.data(), stored.size());
  if (ZSTD_isError(size) != 0) {
    return Error(Errc::Corruption, fmt::format("compressed record is damaged: zstd: {}", ZSTD_getErrorName(size)));
  }
  if (size != out.size()) {
    return Error(Errc::Corruption, fmt::format("compressed record holds {} bytes instead of {}", size, out.size()));
  }
  return ok();
}

Status decompress_lz4(ByteView stored, MutableByteView out) {
  if (stored.size() > LZ4_MAX_INPUT_SIZE || out.size() > LZ4_MAX_INPUT_SIZE) {
    return Error(Errc::Corruption, "compressed record is larger than lz4 allows");
  }
  const int size =
      LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(out.data()),
                          static_cast<int>(stored.size()), static_cast<int>(out.size()));
  if (size < 0) return Error(Errc::Corruption, "compressed record is damaged: lz4");
  if (static_cast<std::size_t>(size) != out.size()) {
    return Error(Errc::Corruption, fmt::format("compressed record holds {} bytes instead of {}", size, out.size()));
  }
  return ok();
}

}  // namespace

struct BlockCompressor::State {
  BlockCodec codec;
  std::unique_ptr<ZSTD_CCtx, CctxFree> zstd;
  std::vector<std::uint64_t> lz4;  // LZ4's state wants eight-byte alignment
};

BlockCompressor::BlockCompressor(BlockCodec codec, int level, int hash_log, int min_match) : state_(std::make_unique<State>()) {
  state_->codec = codec;
  if (codec == BlockCodec::Lz4) {
    state_->lz4.resize((static_cast<std::size_t>(LZ4_sizeofState()) + 7) / 8);
    return;
  }
  PGMINT_ASSERT(level >= 1 && level <= kZstdLevelMax);
  state_->zstd.reset(ZSTD_createCCtx());
  ZSTD_CCtx* context = state_->zstd.get();
  PGMINT_ASSERT(context != nullptr);
  for (const auto& [parameter, value] : {std::pair(ZSTD_c_compressionLevel, level), std::pair(ZSTD_c_checksumFlag, 0),
                                         std::pair(ZSTD_c_contentSizeFlag, 0), std::pair(ZSTD_c_dictIDFlag, 0),
                                         std::pair(ZSTD_c_hashLog, hash_log), std::pair(ZSTD_c_minMatch, min_match)}) {
    PGMINT_ASSERT(ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)) == 0);
  }
}
BlockCompressor::BlockCompressor(BlockCompressor&&) noexcept = default;
BlockCompressor::~BlockCompressor() = default;

BlockCompressor BlockCompressor::for_residue() {
  return {BlockCodec::Zstd, 1, 12, 6};
}

BlockCompressor BlockCompressor::for_deltas() {
  constexpr int kLevel = 3, kWindowLog = 22;
  BlockCompressor compressor(BlockCodec::Zstd, kLevel);
  PGMINT_ASSERT(ZSTD_isError(ZSTD_CCtx_setParameter(compressor.state_->zstd.get(), ZSTD_c_windowLog, kWindowLog)) == 0);
  return compressor;
}

std::size_t BlockCompressor::bound(std::size_t plain_size) {
  PGMINT_ASSERT(plain_size <= LZ4_MAX_INPUT_SIZE);
  return std::max(ZSTD_compressBound(plain_size),
                  static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(plain_size))));
}

std::size_t BlockCompressor::compress(ByteView plain, MutableByteView out) {
  if (plain.empty()) return 0;
  std::size_t size = 0;
  if (state_->codec == BlockCodec::Zstd) {
    size = ZSTD_compress2(state_->zstd.get(), out.data(), out.size(), plain.data(), plain.size());
    if (ZSTD_isError(size) != 0) {
      PGMINT_ASSERT(out.size() < bound(plain.size()));
      return 0;
    }
  } else {
    PGMINT_ASSERT(plain.size() <= LZ4_MAX_INPUT_SIZE);
    const auto capacity = static_cast<int>(std::min<std::size_t>(out.size(), std::numeric_limits<int>::max()));
    size = static_cast<std::size_t>(
        LZ4_compress_fast_extState(state_->lz4.data(), reinterpret_cast<const char*>(plain.data()),
                                   reinterpret_cast<char*>(out.data()), static_cast<int>(plain.size()), capacity, 1));
  }
  return size < plain.size() ? size : 0;
}

std::size_t BlockCompressor::compress_against(ByteView prefix, ByteView plain, MutableByteView out) {
  PGMINT_ASSERT(state_->codec == BlockCodec::Zstd);
  // Of one frame's life only.
  PGMINT_ASSERT(ZSTD_isError(ZSTD_CCtx_refPrefix(state_->zstd.get(), prefix.data(), prefix.size())) == 0);
  return compress(plain, out);
}

struct BlockDecompressor::State {
  std::unique_ptr<ZSTD_DCtx, DctxFree> zstd;  // made by the first block that needs it

  ZSTD_DCtx* context() {
    if (zstd == nullptr) zstd.reset(ZSTD_createDCtx());
    PGMINT_ASSERT(zstd != nullptr);
    return zstd.get();
  }
};

BlockDecompressor::BlockDecompressor() : state_(std::make_unique<State>()) {}
BlockDecompressor::BlockDecompressor(BlockDecompressor&&) noexcept = default;
BlockDecompressor::~BlockDecompressor() = default;

Status BlockDecompressor::decompress(BlockCodec codec, ByteView stored, MutableByteView out) {
  // A compressor stores nothing empty, so nothing of ours leads here; and the libraries dislike null pointers.
  if (out.empty() || stored.empty()) return Error(Errc::Corruption, "compressed record is empty");
  if (codec == BlockCodec::Lz4) return decompress_lz4(stored, out);
  return decompress_zstd(state_->context(), stored, out);
}

Status BlockDecompressor::decompress_against(ByteView prefix, ByteView frame, MutableByteView out) {
  if (out.empty() || frame.empty()) return Error(Errc::Corruption, "compressed record is empty");
  PGMINT_ASSERT(ZSTD_isError(ZSTD_DCtx_refPrefix(state_->context(), prefix.data(), prefix.size())) == 0);
  return decompress_zstd(state_->context(), frame, out);
}

Bytes compress_sized(ByteView plain, int level) {
  PGMINT_ASSERT(level >= 1 && level <= kZstdLevelMax);
  const std::unique_ptr<ZSTD_CCtx, CctxFree> context(ZSTD_createCCtx());
  PGMINT_ASSERT(context != nullptr);
  PGMINT_ASSERT(ZSTD_isError(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level)) == 0);
  Bytes frame(ZSTD_compressBound(plain.size()));
  const std::size_t size = ZSTD_compress2(context.get(), frame.data(), frame.size(), plain.data(), plain.size());
  PGMINT_ASSERT(ZSTD_isError(size) == 0);
  frame.resize(size);
  return frame;
}

Result<Bytes> decompress_sized(ByteView frame, std::size_t limit) {
  const unsigned long long size =
      is_one_zstd_frame(frame) ? ZSTD_getFrameContentSize(frame.data(), frame.size()) : ZSTD_CONTENTSIZE_ERROR;
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN) {
    return Error(Errc::Corruption, "compressed object is not one zstd frame with its size");
  }
  if (size > limit)
    return Error(Errc::Corruption,
                 fmt::format("compressed object claims {} bytes, at most {} are allowed", size, limit));
  const std::unique_ptr<ZSTD_DCtx, DctxFree> context(ZSTD_createDCtx());
  PGMINT_ASSERT(context != nullptr);
  Bytes plain(static_cast<std::size_t>(size));
  TRY(decompress_zstd(context.get(), frame, plain));
  return plain;
}

}  // namespace pgmint::codec
