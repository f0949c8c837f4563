#include "codec/page_record.h"

#include <algorithm>

#include "base/log.h"
#include "codec/binary.h"
#include "codec/page_decoder.h"

namespace pgmint::codec {
namespace {

// Group header: varint control size (0: not taken apart, the remainder is the group); then, if not 0, varint stored size of
// control, varint size of the raw planes, varint size of the remainder; always varint stored size of the remainder. Stored size 0:
// as it is. Then raw planes, control, remainder.

/// What a reader gives room to: descriptors, planes and flags.
constexpr std::size_t kControlSizeMax = 2 + kGroupPagesMax + kDescriptorsMax + kPlanesMax + kColumnCapacity;

ByteView next_group(ByteView& rest) {
  const auto group = rest.first(std::min<std::size_t>(rest.size(), kGroupSize));
  rest = rest.subspan(group.size());
  return group;
}

/// The end of the record being written; refuses what does not fit.
class Tail {
 public:
  explicit Tail(MutableByteView out) : out_(out) {}
  bool put(ByteView bytes) {
    if (bytes.size() > room().size()) return false;
    std::ranges::copy(bytes, room().begin());
    size_ += bytes.size();
    return true;
  }
  MutableByteView room() const { return out_.subspan(size_); }
  void skip(std::size_t n) { size_ += n; }
  std::size_t size() const { return size_; }

 private:
  MutableByteView out_;
  std::size_t size_ = 0;
};

/// A stream as it will be stored: compressed in the buffer, or as it is where that is no gain.
struct Packed {
  std::size_t stored = 0;  ///< 0: as it is
  ByteView bytes;
};
Packed pack(BlockCompressor& compressor, ByteView stream, Bytes& buffer) {
  if (buffer.size() < BlockCompressor::bound(stream.size())) buffer.resize(BlockCompressor::bound(stream.size()));
  const auto size = compressor.compress(stream, buffer);
  return {size, size == 0 ? stream : ByteView(buffer).first(size)};
}

}  // namespace

GroupCheck decode_and_compare() {
  struct Checker {
    PageDecoder decoder;
    Bytes again = Bytes(kGroupSize);
  };
  return [checker = std::make_shared<Checker>()](const PageStreams& streams, ByteView group) {
    const auto out = MutableByteView(checker->again).first(group.size());
    const auto decoded = checker->decoder.decode(streams.control, streams.raw, streams.remainder, out);
    if (decoded && std::memcmp(out.data(), group.data(), group.size()) == 0) return true;
    log_error("the page codec did not reproduce a group of pages, which is stored without it; please report this");
    return false;
  };
}

struct PageRecordWriter::State {
  BlockCompressor compressor;
  GroupCheck check;
  PageEncoder encoder{};
  Bytes control{}, remainder{};

  /// False when the group does not fit into what is left of the record.
  bool put_transformed(const PageStreams& streams, Tail& out) {
    const auto first = pack(compressor, streams.control, control);
    const auto second = pack(compressor, streams.remainder, remainder);
    BinaryWriter header;
    header.varint(streams.control.size());
    header.varint(first.stored);
    header.varint(streams.raw.size());
    header.varint(streams.remainder.size());
    header.varint(second.stored);
    return out.put(header.view()) && out.put(streams.raw) && out.put(first.bytes) && out.put(second.bytes);
  }

  bool put_plain(ByteView group, Tail& out) {
    const auto packed = pack(compressor, group, remainder);
    BinaryWriter header;
    header.varint(0);
    header.varint(packed.stored);
    return out.put(header.view()) && out.put(packed.bytes);
  }
};

PageRecordWriter::PageRecordWriter(BlockCodec codec, int level, GroupCheck check)
    : state_(new State{BlockCompressor(codec, level), std::move(check)}) {}
PageRecordWriter::PageRecordWriter(PageRecordWriter&&) noexcept = default;
PageRecordWriter::~PageRecordWriter() = default;

std::size_t PageRecordWriter::write(ByteView plain, MutableByteView out) {
  Tail tail(out);
  bool transformed = false;
  for (ByteView rest = plain; !rest.empty();) {
    const auto group = next_group(rest);
    const auto streams = state_->encoder.encode(group);
    const bool taken_apart = streams && (!state_->check || state_->check(*streams, group));
    transformed |= taken_apart;
    // One group alone gains nothing from being wrapped; what is left of a longer one may.
    if (!transformed && rest.empty()) return 0;
    if (!(taken_apart ? state_->put_transformed(*streams, tail) : state_->put_plain(group, tail))) return 0;
  }
  return tail.size() < plain.size() ? tail.size() : 0;
}

struct PageRecordReader::State {
  BlockDecompressor decompressor;
  PageDecoder decoder;
  Bytes control, remainder;

  Result<std::size_t> size(BinaryReader& in, std::size_t limit) {
    const auto n = TRY(in.varint());
    if (n > limit) return in.corrupt("impossible stream size");
    return static_cast<std::size_t>(n);
  }

  /// `stored` bytes of the record become `plain` bytes; a view of the record or of the buffer.
  Result<ByteView> unpack(BinaryReader& in, BlockCodec codec, std::size_t stored, std::size_t plain, Bytes& buffer) {
    if (stored == 0) return in.raw(plain);
    const auto packed = TRY(in.raw(stored));
    if (buffer.size() < plain) buffer.resize(plain);
    const auto out = MutableByteView(buffer).first(plain);
    TRY(decompressor.decompress(codec, packed, out));
    return ByteView(out);
  }

  Status read_group(BinaryReader& in, BlockCodec codec, MutableByteView out) {
    const auto control_size = TRY(size(in, kControlSizeMax));
    if (control_size == 0) {
      const auto stored = TRY(size(in, out.size()));
      if (stored != 0) return decompressor.decompress(codec, TRY(in.raw(stored)), out);
      std::ranges::copy(TRY(in.raw(out.size())), out.begin());
      return ok();
    }
    const auto control_stored = TRY(size(in, control_size));
    const auto raw_size = TRY(size(in, kPlanesMax));
    const auto remainder_size = TRY(size(in, out.size()));
    const auto remainder_stored = TRY(size(in, remainder_size));
    const auto raw = TRY(in.raw(raw_size));
    const auto first = TRY(unpack(in, codec, control_stored, control_size, control));
    const auto second = TRY(unpack(in, codec, remainder_stored, remainder_size, remainder));
    return decoder.decode(first, raw, second, out);
  }
};

PageRecordReader::PageRecordReader() : state_(std::make_unique<State>()) {}
PageRecordReader::PageRecordReader(PageRecordReader&&) noexcept = default;
PageRecordReader::~PageRecordReader() = default;

Status PageRecordReader::read(BlockCodec codec, ByteView stored, MutableByteView out) {
  BinaryReader in(stored, "page record");
  while (!out.empty()) {
    const auto group = out.first(std::min<std::size_t>(out.size(), kGroupSize));
    TRY(state_->read_group(in, codec, group));
    out = out.subspan(group.size());
  }
  return in.expect_end();
}

}  // namespace pgmint::codec
