// Per-record compression. Codec ids stand in stored records: never reuse one.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/error.h"

namespace pgmint::codec {

enum class CodecId : std::uint8_t { None = 0, Zstd = 1, Lz4 = 2 };

/// What a repository is configured to write; readers need only the id.
struct CodecChoice {
  CodecId id = CodecId::Zstd;
  int level = 1;
};
/// "zstd", "zstd:3", "lz4", "none". @errors Configuration
Result<CodecChoice> parse_codec(std::string_view text);

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

/// One zstd frame that carries its plain size, for objects whose size stands nowhere else (manifests). Any size, also
/// empty; always a frame, even where it does not shrink.
Bytes compress_sized(ByteView plain, int level = 1);
/// The inverse. The size is held against `limit` before memory is reserved. @errors Corruption (also: size absent or above
/// `limit`)
Result<Bytes> decompress_sized(ByteView frame, std::size_t limit);

}  // namespace pgmint::codec
