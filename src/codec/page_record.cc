#include "codec/page_record.h"

#include <algorithm>

#include "base/log.h"
#include "codec/binary.h"
#include "codec/page_decoder.h"
#include "codec/record_streams.h"

namespace pgmint::codec {
namespace {

// Group header, five sizes of three bytes: control (0: not taken apart, the remainder is the group), stored control, raw planes, remainder,
// stored remainder. Stored size 0: as it is. Then raw planes, control, remainder.
constexpr std::size_t kGroupHeaderSize = 15;
struct GroupHeader {
  std::size_t control = 0, control_stored = 0, raw = 0, remainder = 0, remainder_stored = 0;
};

/// Level 1 takes 14 for what is as long as a group: 64 KiB, more than the core's first cache. With 13 the streams of pages compress 4 to 12 %
/// faster and to the same size; with 12 some tables lose a fifth of their ratio (docs/performance.md).
constexpr int kFastHashLog = 13;
/// Planes repeat themselves sooner than rows: with 12 the relations of docs/performance.md are larger by 0.3 % at most, and most are not.
constexpr int kFastControlHashLog = 12;
/// What is left of index tuples repeats itself at length or not at all: up to a third faster than with 6, and as small. Rows lose up to 2 % by it.
constexpr int kIndexMinMatch = 7;
/// And so with their planes, where they are many: 5 to 20 % faster with 7 and a table of 11. At worst 4 % larger, most often as small.
constexpr int kIndexControlHashLog = 11;
constexpr std::size_t kLargeControl = std::size_t{64} << 10;

/// What a reader gives room to: descriptors, planes and flags.
constexpr std::size_t kControlSizeMax = 2 + kGroupPagesMax + kDescriptorsMax + kPlanesMax + kColumnCapacity;

ByteView next_group(ByteView& rest) {
  const auto group = rest.first(std::min<std::size_t>(rest.size(), kGroupSize));
  rest = rest.subspan(group.size());
  return group;
}

void write_header(MutableByteView to, const GroupHeader& header) {
  write_sizes(to, {header.control, header.control_stored, header.raw, header.remainder, header.remainder_stored});
}

}  // namespace

GroupCheck decode_and_compare() {
  return [](const PageStreams& streams, ByteView group) {
    if (reproduces(streams.control, streams.raw, streams.remainder, *streams.columns, group)) return true;
    log_error("the page codec did not reproduce a group of pages, which is stored without it; please report this");
    return false;
  };
}

struct PageRecordWriter::State {
  BlockCompressor compressor;
  // None: the same.
  std::optional<BlockCompressor> control_compressor, index_compressor, index_control_compressor;
  GroupCheck check;
  PageEncoder encoder{};

  BlockCompressor& for_control(const PageStreams& streams) {
    if (streams.of_index && streams.control.size() > kLargeControl && index_control_compressor) return *index_control_compressor;
    return control_compressor ? *control_compressor : compressor;
  }
  BlockCompressor& for_remainder(const PageStreams& streams) { return streams.of_index && index_compressor ? *index_compressor : compressor; }

  void put_transformed(const PageStreams& streams, RecordTail& out) {
    GroupHeader header{streams.control.size(), 0, streams.raw.size(), streams.remainder.size(), 0};
    const auto place = out.reserve(kGroupHeaderSize);
    out.put(streams.raw);
    header.control_stored = out.put_compressed(for_control(streams), streams.control);
    header.remainder_stored = out.put_compressed(for_remainder(streams), streams.remainder);
    write_header(place, header);
  }

  void put_plain(ByteView group, RecordTail& out) {
    GroupHeader header{0, 0, 0, group.size(), 0};
    const auto place = out.reserve(kGroupHeaderSize);
    header.remainder_stored = out.put_compressed(compressor, group);
    write_header(place, header);
  }
};

PageRecordWriter::PageRecordWriter(BlockCodec codec, int level, GroupCheck check)
    : PageRecordWriter(BlockCompressor(codec, level, level == 1 ? kFastHashLog : 0), std::move(check)) {
  if (codec != BlockCodec::Zstd || level != 1) return;
  state_->control_compressor.emplace(codec, level, kFastControlHashLog);
  state_->index_compressor.emplace(codec, level, kFastHashLog, kIndexMinMatch);
  state_->index_control_compressor.emplace(codec, level, kIndexControlHashLog, kIndexMinMatch);
}
PageRecordWriter::PageRecordWriter(BlockCompressor compressor, GroupCheck check)
    : state_(new State{std::move(compressor), {}, {}, {}, std::move(check)}) {}
PageRecordWriter::PageRecordWriter(PageRecordWriter&&) noexcept = default;
PageRecordWriter::~PageRecordWriter() = default;

std::size_t PageRecordWriter::write(ByteView plain, MutableByteView out) {
  RecordTail tail(out);
  bool transformed = false;
  for (ByteView rest = plain; !rest.empty();) {
    const auto group = next_group(rest);
    const auto streams = state_->encoder.encode(group);
    const bool taken_apart = streams && (!state_->check || state_->check(*streams, group));
    transformed |= taken_apart;
    // One group alone gains nothing from being wrapped; what is left of a longer one may.
    if (!transformed && rest.empty()) return 0;
    if (taken_apart)
      state_->put_transformed(*streams, tail);
    else
      state_->put_plain(group, tail);
    if (!tail.fits()) return 0;
  }
  return tail.size() < plain.size() ? tail.size() : 0;
}

struct PageRecordReader::State {
  BlockDecompressor decompressor;
  PageDecoder decoder;
  Bytes control, remainder;

  static Result<GroupHeader> read_header(BinaryReader& in, std::size_t group_size) {
    const auto bytes = TRY(in.raw(kGroupHeaderSize));
    const auto size = [&](std::size_t i) { return read_size(bytes, i); };
    const GroupHeader header{size(0), size(1), size(2), size(3), size(4)};
    const bool plain = header.control == 0;
    if (header.control > kControlSizeMax || header.control_stored > header.control || header.raw > kPlanesMax || header.remainder > group_size ||
        header.remainder_stored > header.remainder || (plain && (header.raw != 0 || header.remainder != group_size)))
      return in.corrupt("impossible stream sizes");
    return header;
  }

  Status read_group(BinaryReader& in, BlockCodec codec, MutableByteView out) {
    const auto header = TRY(read_header(in, out.size()));
    if (header.control == 0) {
      if (header.remainder_stored != 0) return decompressor.decompress(codec, TRY(in.raw(header.remainder_stored)), out);
      std::ranges::copy(TRY(in.raw(out.size())), out.begin());
      return ok();
    }
    const auto raw = TRY(in.raw(header.raw));
    const auto first = TRY(unpack(decompressor, in, codec, header.control_stored, header.control, control));
    const auto second = TRY(unpack(decompressor, in, codec, header.remainder_stored, header.remainder, remainder));
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
