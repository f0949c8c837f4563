// Records of several streams, each of them compressed or as it is: what writing and reading them have in common. Sizes take three bytes.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "codec/binary.h"
#include "codec/block_codec.h"

namespace pgmint::codec {

inline constexpr std::size_t kSizeBytes = 3;

/// The end of the record being written, straight into the caller's memory. Once something did not fit, nothing more is written.
class RecordTail {
 public:
  explicit RecordTail(MutableByteView out) : out_(out) {}

  /// Room for a header that is known later.
  MutableByteView reserve(std::size_t n) {
    if (n > out_.size() - size_) fits_ = false;
    if (!fits_) return {};
    return out_.subspan(std::exchange(size_, size_ + n), n);
  }
  void put(ByteView bytes) { std::ranges::copy(fits_ ? bytes : ByteView(), reserve(bytes.size()).begin()); }
  /// Returns the stored size; 0: as it is, since compressing was no gain.
  std::size_t put_compressed(BlockCompressor& compressor, ByteView stream) {
    const std::size_t stored = fits_ ? compressor.compress(stream, out_.subspan(size_)) : 0;
    if (stored == 0)
      put(stream);
    else
      size_ += stored;
    return stored;
  }
  /// What is left of the caller's memory, for whoever writes there by himself and then says how much.
  MutableByteView rest() const { return fits_ ? out_.subspan(size_) : MutableByteView(); }
  void advance(std::size_t n) { size_ += n; }
  bool fits() const { return fits_; }
  std::size_t size() const { return size_; }

 private:
  MutableByteView out_;
  std::size_t size_ = 0;
  bool fits_ = true;
};

/// Nothing, if `to` is empty: there was no room for it.
inline void write_sizes(MutableByteView to, std::initializer_list<std::size_t> sizes) {
  if (to.empty()) return;
  std::size_t at = 0;
  for (const auto size : sizes)
    for (std::size_t k = 0; k < kSizeBytes; ++k) to[at++] = static_cast<std::byte>(size >> (8 * k));
}
inline std::size_t read_size(ByteView sizes, std::size_t i) {
  const auto byte = [&](std::size_t k) { return std::to_integer<std::size_t>(sizes[kSizeBytes * i + k]) << (8 * k); };
  return byte(0) | byte(1) | byte(2);
}

/// `stored` bytes of the record, 0 for as they are, become `plain` bytes; a view of the record or of the buffer. @errors Corruption
inline Result<ByteView> unpack(BlockDecompressor& decompressor, BinaryReader& in, BlockCodec codec, std::size_t stored, std::size_t plain,
                               Bytes& buffer) {
  if (stored == 0) return in.raw(plain);
  if (buffer.size() < plain) buffer.resize(plain);
  const auto out = MutableByteView(buffer).first(plain);
  TRY(decompressor.decompress(codec, TRY(in.raw(stored)), out));
  return ByteView(out);
}

}  // namespace pgmint::codec
