// Per-record compression. Codec ids stand in stored records: never reuse one.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/block_codec.h"
#include "codec/wal_chain.h"

namespace pgmint::codec {

enum class CodecId : std::uint8_t { None = 0, Zstd = 1, Lz4 = 2, PageZstd = 3, PageLz4 = 4, WalZstd = 5, WalLz4 = 6 };
inline constexpr CodecId kPackCodecIdLast = CodecId::PageLz4;  ///< of records in packs

/// Whether a record of a WAL object may have it.
constexpr bool is_wal_codec(std::uint8_t id) {
  const auto codec = static_cast<CodecId>(id);
  return codec == CodecId::WalZstd || codec == CodecId::WalLz4 || id <= static_cast<std::uint8_t>(CodecId::Lz4);
}

/// What a repository is configured to write; readers need only the id. A page codec leaves what holds no pages to the plain codec
/// behind it.
struct CodecChoice {
  CodecId id = CodecId::PageZstd;
  int level = 1;
  bool trusted = false;  ///< the page or WAL codec's output is not decoded and compared before it is stored
  bool operator==(const CodecChoice&) const = default;
};
/// "balanced", "fast", "small", "small:16", "none"; "zstd", "zstd:3", "lz4". @errors Configuration
Result<CodecChoice> parse_codec(std::string_view text);
/// The plain codec behind a page codec, for what never holds pages.
CodecChoice plain_codec(CodecChoice choice);
/// The codec for pieces of WAL where pages have `choice`. "fast" gets the WAL codec only without its check, with which it is slower than
/// lz4 alone (docs/adr/0014-wal-codec.md).
CodecChoice wal_codec(CodecChoice choice);

/// Compresses records; keeps its context between calls. Not thread-safe: one per worker.
class Compressor {
 public:
  explicit Compressor(CodecChoice choice);
  Compressor(Compressor&&) noexcept;
  ~Compressor();
  /// Upper bound of compressed size for `plain_size` bytes.
  static std::size_t bound(std::size_t plain_size);
  struct Output {
    CodecId codec;     ///< None when compression did not pay: the caller stores `plain` itself
    std::size_t size;  ///< bytes written to `out`; 0 when None
    WalChain proven{};  ///< of a piece of WAL, where the codec looked: records whose checksums fit
  };
  /// Compresses into `out` (at least bound(plain.size()) bytes).
  Output compress(ByteView plain, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Decompresses records of any known codec into exactly `out.size()` bytes. Not thread-safe: one per worker.
class Decompressor {
 public:
  Decompressor();
  Decompressor(Decompressor&&) noexcept;
  ~Decompressor();
  /// @errors Corruption: unknown codec, malformed data, or another size than out.size()
  Status decompress(CodecId codec, ByteView stored, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::codec
