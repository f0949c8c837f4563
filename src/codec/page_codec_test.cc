// The page codec's two halves against each other, on pages that PostgreSQL might leave, damaged ones, and bytes that are none.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>

#include "codec/page_decoder.h"
#include "codec/page_encoder.h"
#include "codec/page_inspector.h"
#include "codec/page_record.h"
#include "codec/testing_pages.h"

namespace pgmint::codec {
namespace {

struct Streams {
  Bytes control, raw, remainder;
  bool operator==(const Streams&) const = default;
};

std::optional<Streams> encode(PageEncoder& encoder, ByteView group) {
  const auto streams = encoder.encode(group);
  if (!streams) return std::nullopt;
  // Copies of the exact size, so that a sanitizer sees a read past the end.
  return Streams{to_bytes(streams->control), to_bytes(streams->raw), to_bytes(streams->remainder)};
}

void expect_comes_back(PageDecoder& decoder, const Streams& streams, ByteView group) {
  Bytes out(group.size(), std::byte{0xA5});
  const auto decoded = decoder.decode(streams.control, streams.raw, streams.remainder, out);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().describe();
  const auto differing = std::ranges::mismatch(out, group).in1 - out.begin();
  ASSERT_TRUE(std::ranges::equal(out, group)) << "page " << differing / 8192 << " byte " << differing % 8192;
}

class PageCodec : public ::testing::Test {
 protected:
  PageCodec() : random_(seed_), maker_(random_) {}
  std::uint64_t seed_ = test_seed();
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed_)};
  SeededRandom random_;
  PageMaker maker_;
};

TEST_F(PageCodec, BringsBackWhateverPagesHold) {
  PageEncoder encoder;
  PageDecoder decoder;
  std::map<PageModel, int> models;
  for (int round = 0; round < 1500; ++round) {
    const auto pages = 1 + static_cast<std::uint32_t>(random_.below(kGroupPagesMax));
    Bytes group = maker_.group(pages);
    for (auto n = random_.below(3) == 0 ? random_.below(20) : 0; n > 0; --n) maker_.damage(group);
    if (pages < kGroupPagesMax && random_.below(4) == 0) append(group, random_bytes(random_, random_.below(kPageSize)));
    const auto streams = encode(encoder, group);
    if (!streams) continue;
    expect_comes_back(decoder, *streams, group);
    if (HasFatalFailure()) return;
    for (std::uint32_t i = 0; i < pages; ++i) ++models[static_cast<PageModel>(std::to_integer<std::uint32_t>(streams->control[1 + i]) & 3)];
  }
  for (const auto model : {PageModel::Raw, PageModel::Zero, PageModel::Heap, PageModel::Index}) EXPECT_GT(models[model], 500);
}

TEST_F(PageCodec, EveryCpuPathWritesTheSameStreamsAndReadsTheOthers) {
  if (best_cpu_path() == CpuPath::Baseline) GTEST_SKIP() << "this CPU has one path only";
  PageEncoder fast(CpuPath::Avx2), portable(CpuPath::Baseline);
  PageDecoder fast_decoder(CpuPath::Avx2), portable_decoder(CpuPath::Baseline);
  for (int round = 0; round < 300; ++round) {
    Bytes group = maker_.group(1 + static_cast<std::uint32_t>(random_.below(kGroupPagesMax)));
    for (auto n = random_.below(5); n > 0; --n) maker_.damage(group);
    const auto streams = encode(fast, group);
    ASSERT_EQ(streams, encode(portable, group));
    if (!streams) continue;
    expect_comes_back(fast_decoder, *streams, group);
    expect_comes_back(portable_decoder, *streams, group);
  }
}

// Heap pages of a table as it was loaded: what is regular must not reach the streams.
TEST_F(PageCodec, RegularFieldsCostNextToNothing) {
  Bytes group;
  for (std::uint32_t block = 0; block < kGroupPagesMax; ++block) {
    Bytes page(kPageSize);
    unsigned char* p = as_u8(MutableByteView(page));
    constexpr std::uint32_t kTuples = 180;
    store16(p + kLowerAt, kPageHeaderSize + 4 * kTuples);
    store16(p + kUpperAt, kPageSize - 40 * kTuples);
    store16(p + kSpecialAt, kPageSize);
    for (std::uint32_t i = 0; i < kTuples; ++i) {
      const std::uint32_t offset = kPageSize - 40 * (i + 1);
      store32(p + kPageHeaderSize + 4 * i, offset | 1U << 15 | 36U << 17);
      unsigned char* tuple = p + offset;
      store32(tuple, 777);
      store_block(tuple + 12, 5000 + block);
      store16(tuple + 16, i + 1);
      store32(tuple + 18, 0x0902'0003);
      tuple[kHoffAt] = 24;
      store32(tuple + 24, block * kTuples + i);
      store32(tuple + 28, 0);
      store32(tuple + 32, 1'000'000 + 60 * (block * kTuples + i));
    }
    append(group, page);
  }
  PageEncoder encoder;
  const auto streams = encode(encoder, group);
  ASSERT_TRUE(streams);
  EXPECT_LT(streams->control.size(), 800u);  // 5,760 tuples: all planes are constant
  EXPECT_TRUE(streams->raw.empty());
  EXPECT_TRUE(streams->remainder.empty());
  PageDecoder decoder;
  expect_comes_back(decoder, *streams, group);
}

// A box of one point: x and y twice. Apart from each other, in planes, no compressor would see that.
TEST_F(PageCodec, WordsThatRepeatWithinATupleAreStoredOnce) {
  Bytes group;
  std::vector<std::uint32_t> points;
  for (std::uint32_t block = 0; block < kGroupPagesMax; ++block) {
    Bytes page(kPageSize);
    unsigned char* p = as_u8(MutableByteView(page));
    constexpr std::uint32_t kTuples = 150;
    store16(p + kLowerAt, kPageHeaderSize + 4 * kTuples);
    store16(p + kUpperAt, kPageSize - 16 - 40 * kTuples);
    store16(p + kSpecialAt, kPageSize - 16);
    for (std::uint32_t i = 0; i < kTuples; ++i) {
      const std::uint32_t offset = kPageSize - 16 - 40 * (i + 1);
      store32(p + kPageHeaderSize + 4 * i, offset | 1U << 15 | 40U << 17);
      unsigned char* tuple = p + offset;
      store16(tuple + 6, 40);
      store64(tuple + 8, random_.u64());
      store64(tuple + 16, random_.u64());
      std::memcpy(tuple + 24, tuple + 8, 16);
    }
    append(group, page);
  }
  PageEncoder encoder;
  const auto streams = encode(encoder, group);
  ASSERT_TRUE(streams);
  EXPECT_LT(streams->raw.size() + streams->control.size() + streams->remainder.size(), std::size_t{kGroupPagesMax} * 150 * 18);
  PageDecoder decoder;
  expect_comes_back(decoder, *streams, group);
}

// Whatever stands in the streams, the decoder ends in pages or in Corruption, and never outside its buffers (asan looks on).
TEST_F(PageCodec, DamagedStreamsAreRefusedOrGiveSomePages) {
  PageEncoder encoder;
  PageDecoder decoder;
  int refused = 0;
  for (int round = 0; round < 150; ++round) {
    const Bytes group = maker_.group(1 + static_cast<std::uint32_t>(random_.below(4)));
    const auto streams = encode(encoder, group);
    if (!streams) continue;
    for (int i = 0; i < 100; ++i) {
      Streams damaged = *streams;
      Bytes& which = random_.below(4) != 0 ? damaged.control : random_.below(2) == 0 ? damaged.raw : damaged.remainder;
      if (which.empty()) continue;
      const auto limit = random_.below(2) == 0 ? std::min<std::size_t>(which.size(), 300) : which.size();
      switch (random_.below(3)) {
        case 0:
          which.resize(random_.below(which.size()));
          break;
        case 1:
          which.push_back(std::byte{1});
          break;
        default:
          which[random_.below(limit)] = static_cast<std::byte>(random_.below(256));
      }
      Bytes out(group.size());
      const auto decoded = decoder.decode(damaged.control, damaged.raw, damaged.remainder, out);
      if (decoded) continue;
      ASSERT_EQ(decoded.error().code(), Errc::Corruption);
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

/// The columns that the planes of these streams hold.
bool merge(ByteView control, ByteView raw, std::size_t size, Columns& columns) {
  const std::size_t in_front = 1 + size / kPageSize;
  if (control.size() < in_front) return false;
  PlaneSource planes{control.subspan(in_front), raw};
  return merge_columns(planes, columns, best_cpu_path()).has_value();
}

// What the check says of streams and a group is what decoding says, whatever was in the output's memory before: of columns that are in the planes,
// and of those that the encoder made them of, where a word may have bits that no decoder looks at.
TEST_F(PageCodec, WhatIsSaidToBeReproducedIs) {
  PageEncoder encoder;
  PageDecoder decoder;
  Columns columns;
  int same = 0, different = 0;
  for (int round = 0; round < 300; ++round) {
    Bytes group = maker_.group(1 + static_cast<std::uint32_t>(random_.below(4)));
    for (auto n = random_.below(4); n > 0; --n) maker_.damage(group);
    group.resize(group.size() - random_.below(kPageSize - 1));
    const auto streams = encode(encoder, group);
    if (!streams) continue;
    const Columns& made = *encoder.encode(group)->columns;
    for (const auto path : {best_cpu_path(), CpuPath::Baseline})
      EXPECT_TRUE(reproduces(streams->control, streams->raw, streams->remainder, made, group, path));
    for (int i = 0; i < 50; ++i) {
      Streams damaged = *streams;
      Bytes& which = random_.below(2) != 0 ? damaged.control : random_.below(2) == 0 ? damaged.raw : damaged.remainder;
      if (which.empty()) continue;
      which[random_.below(which.size())] ^= static_cast<std::byte>(1U << random_.below(8));
      const auto said = [&](const Columns& of) { return reproduces(damaged.control, damaged.raw, damaged.remainder, of, group); };
      const bool reproduced = merge(damaged.control, damaged.raw, group.size(), columns) && said(columns);
      bool decoded = true;
      for (const auto before : {std::byte{0x00}, std::byte{0xA5}}) {
        Bytes out(group.size(), before);
        decoded = decoded && decoder.decode(damaged.control, damaged.raw, damaged.remainder, out) && out == group;
      }
      ASSERT_EQ(reproduced, decoded);
      ASSERT_TRUE(decoded || !said(made));
      ++(reproduced ? same : different);
    }
  }
  EXPECT_GT(same, 100) << "some bits mean nothing to anybody";
  EXPECT_GT(different, 1000);
}

// Bytes that no stream speaks of would come back as whatever the memory held: in a check as zeros, in a restore as something else.
TEST_F(PageCodec, PagesWithBytesThatNobodyWritesAreRefused) {
  Bytes page(kPageSize);
  unsigned char* p = as_u8(MutableByteView(page));
  constexpr std::uint32_t kTuples = 20, kLower = kPageHeaderSize + 4 * kTuples;
  for (const std::uint32_t special : {kPageSize, kPageSize - 16}) {
    std::ranges::fill(page, std::byte{});
    const std::uint32_t upper = special - 40 * kTuples;
    store16(p + kLowerAt, kLower);
    store16(p + kUpperAt, upper);
    store16(p + kSpecialAt, special);
    for (std::uint32_t i = 0; i < kTuples; ++i) {
      const std::uint32_t offset = special - 40 * (i + 1);
      store32(p + kPageHeaderSize + 4 * i, offset | 1U << 15 | 40U << 17);
      store32(p + offset, 700 + i);
    }
    PageEncoder encoder;
    auto streams = encode(encoder, page);
    ASSERT_TRUE(streams);
    // The header's words stand in the descriptors as they are: pd_upper moves down, into what was the hole.
    ByteArray<4> word{}, lower_word{};
    store32(as_u8(MutableByteView(word)), kLower | upper << 16);
    store32(as_u8(MutableByteView(lower_word)), kLower | (upper - 8) << 16);
    const auto found = std::ranges::search(streams->control, word);
    ASSERT_FALSE(found.empty());
    std::ranges::copy(lower_word, found.begin());
    store16(p + kUpperAt, upper - 8);
    PageDecoder decoder;
    Bytes out(kPageSize);
    EXPECT_FALSE(decoder.decode(streams->control, streams->raw, streams->remainder, out).has_value());
    Columns columns;
    ASSERT_TRUE(merge(streams->control, streams->raw, page.size(), columns));
    EXPECT_FALSE(decode_and_compare()({streams->control, streams->raw, streams->remainder, &columns}, page));
  }
}

TEST_F(PageCodec, StreamsOfAnotherSizeAreRefused) {
  PageEncoder encoder;
  PageDecoder decoder;
  Bytes group;
  while (!encode(encoder, group = maker_.group(3))) continue;
  const auto streams = *encode(encoder, group);
  for (const std::size_t size : {std::size_t{1}, std::size_t{kPageSize}, group.size() - 1, group.size() + 1, group.size() + kPageSize}) {
    Bytes out(size);
    EXPECT_FALSE(decoder.decode(streams.control, streams.raw, streams.remainder, out).has_value()) << size;
  }
}

/// Bytes that end where memory does: a read behind them ends the program, also without a sanitizer.
class AtTheEnd {
 public:
  explicit AtTheEnd(ByteView held) : size_(held.size()) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    room_ = (size_ + page - 1) / page * page;
    map_ = ::mmap(nullptr, room_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    PGMINT_ASSERT(map_ != MAP_FAILED && ::mprotect(static_cast<std::byte*>(map_) + room_, page, PROT_NONE) == 0);
    mapped_ = room_ + page;
    std::ranges::copy(held, bytes().begin());
  }
  AtTheEnd(const AtTheEnd&) = delete;
  ~AtTheEnd() { ::munmap(map_, mapped_); }
  ByteView view() const { return bytes(); }
  MutableByteView bytes() const { return {static_cast<std::byte*>(map_) + room_ - size_, size_}; }

 private:
  void* map_;
  std::size_t size_, room_, mapped_;
};

// Words and remainders are moved 16 and 32 bytes at once: nothing behind the last page may be read, however little follows it.
TEST_F(PageCodec, NothingBehindAGroupOrItsStreamsIsRead) {
  std::size_t taken_apart = 0;
  for (std::size_t rest = 0; rest <= 40; ++rest) {
    for (int round = 0; round < 40; ++round) {
      Bytes group = maker_.group(1 + static_cast<std::uint32_t>(random_.below(3)));
      append(group, random_bytes(random_, rest));
      const AtTheEnd pages(group);
      for (const auto path : {best_cpu_path(), CpuPath::Baseline}) {
        PageEncoder encoder(path);
        PageDecoder decoder(path);
        const auto streams = encoder.encode(pages.view());
        if (!streams) continue;
        ++taken_apart;
        const AtTheEnd control(streams->control), raw(streams->raw), remainder(streams->remainder);
        ASSERT_TRUE(reproduces(control.view(), raw.view(), remainder.view(), *streams->columns, pages.view(), path));
        const AtTheEnd out(Bytes(group.size(), std::byte{0xA5}));
        ASSERT_TRUE(decoder.decode(control.view(), raw.view(), remainder.view(), out.bytes()).has_value());
        ASSERT_TRUE(std::ranges::equal(out.view(), group));
      }
    }
  }
  EXPECT_GT(taken_apart, 1000U);
}

/// Whether the tuples share [upper, special) among them, told byte by byte.
bool tuples_share_their_room(PagePointer page, const PageShape& shape) {
  const bool index = shape.model == PageModel::Index;
  std::vector<int> owners(kPageSize, 0);
  for (std::uint32_t i = 0; i < shape.items(); ++i) {
    const LinePointer item = line_pointer(page, i);
    if (item.length() == 0) continue;
    if (item.length() < (index ? kIndexHeaderSize : kHeapHeaderSize) || item.offset() % 8 != 0 || (index && item.length() % 8 != 0) ||
        item.offset() + align8(item.length()) > kPageSize)
      return false;
    for (std::uint32_t at = item.offset(); at < item.offset() + align8(item.length()); ++at) ++owners[at];
  }
  for (std::uint32_t at = 0; at < kPageSize; ++at)
    if (owners[at] != (at >= shape.upper && at < shape.special ? 1 : 0)) return false;
  return true;
}

// What the encoder relies on: a page that passes has no byte without an owner, and none with two.
TEST_F(PageCodec, APageFitsExactlyIfItsTuplesShareItsRoom) {
  ShapeInspector inspector;
  int fitting = 0, unfit = 0;
  for (int round = 0; round < 30000; ++round) {
    Bytes page = maker_.page(2 + random_.below(3));
    unsigned char* bytes = as_u8(MutableByteView(page));
    const PageShape guess = guess_shape(bytes);
    ASSERT_NE(guess.model, PageModel::Raw);
    for (auto n = random_.below(3); n > 0 && guess.items() > 1; --n) {
      // A tuple that begins or ends with another one, or is as long; or a shorter one.
      const auto from = static_cast<std::uint32_t>(random_.below(guess.items())), to = static_cast<std::uint32_t>(random_.below(guess.items()));
      const LinePointer a = line_pointer(bytes, from), b = line_pointer(bytes, to);
      const std::uint32_t ends_with = (a.offset() + align8(a.length()) - align8(b.length())) & 0x7FFF;
      const std::uint32_t shorter = b.length() - static_cast<std::uint32_t>(random_.below(std::min(b.length() + 1, 8U)));
      const std::array<std::uint32_t, 4> others{b.length() << 17 | a.place(), b.length() << 17 | LinePointer::kNormal << 15 | ends_with,
                                                a.length() << 17 | b.place(), shorter << 17 | b.place()};
      store32(bytes + kPageHeaderSize + 4 * to, others[random_.below(others.size())]);
    }
    const bool fits = tuples_share_their_room(bytes, guess);
    ASSERT_EQ(inspector.inspect(bytes).model == guess.model, fits) << "round " << round;
    ++(fits ? fitting : unfit);
  }
  EXPECT_GT(fitting, 3000);
  EXPECT_GT(unfit, 3000);
}

TEST_F(PageCodec, NothingIsTakenApartWhereNoPageFits) {
  PageEncoder encoder;
  EXPECT_FALSE(encoder.encode(Bytes(1)));
  EXPECT_FALSE(encoder.encode(Bytes(kGroupSize)));
  EXPECT_FALSE(encoder.encode(random_bytes(random_, kGroupSize)));
  EXPECT_FALSE(encoder.encode(Bytes(kPageSize - 1)));
}

// A page of a big-endian server: the same fields, each the other way round.
TEST_F(PageCodec, BigEndianPagesFitNoModel) {
  PageEncoder encoder;
  for (int i = 0; i < 50; ++i) {
    Bytes page = maker_.page(2);
    for (std::size_t at = 8; at < 20; at += 2) std::swap(page[at], page[at + 1]);
    EXPECT_FALSE(encoder.encode(page));
  }
}

// -- records ------------------------------------------------------------------------------------------------------------

struct Record {
  BlockCodec codec;
  Bytes stored;
};

std::optional<Record> write(BlockCodec codec, ByteView plain) {
  PageRecordWriter writer(codec, 1, decode_and_compare());
  Bytes out(BlockCompressor::bound(plain.size()));
  const auto size = writer.write(plain, out);
  if (size == 0) return std::nullopt;
  out.resize(size);
  return Record{codec, std::move(out)};
}

Status read(const Record& record, MutableByteView out) {
  PageRecordReader reader;
  return reader.read(record.codec, record.stored, out);
}

TEST_F(PageCodec, RecordsOfManyGroupsComeBack) {
  int written = 0;
  for (int round = 0; round < 60; ++round) {
    Bytes plain;
    for (auto groups = 1 + random_.below(4); groups > 0; --groups)
      append(plain, random_.below(4) == 0 ? Bytes(kGroupSize, std::byte{0x33}) : maker_.group(kGroupPagesMax));
    plain.resize(plain.size() - random_.below(kGroupSize - 1));
    for (const auto codec : {BlockCodec::Zstd, BlockCodec::Lz4}) {
      const auto record = write(codec, plain);
      if (!record) continue;
      ++written;
      ASSERT_LT(record->stored.size(), plain.size());
      Bytes out(plain.size());
      const auto back = read(*record, out);
      ASSERT_TRUE(back.has_value()) << back.error().describe();
      ASSERT_EQ(out, plain);
    }
  }
  EXPECT_GT(written, 50);
}

TEST_F(PageCodec, RecordsEndWhereTheyEnd) {
  const Bytes plain = [&] {
    for (;;)
      if (auto group = maker_.group(8); write(BlockCodec::Zstd, group)) return group;
  }();
  const auto record = *write(BlockCodec::Zstd, plain);
  Bytes out(plain.size());
  ASSERT_TRUE(read(record, out).has_value());
  for (std::size_t size = 0; size < record.stored.size(); size += 1 + record.stored.size() / 200) {
    Record shorter = record;
    shorter.stored.resize(size);
    EXPECT_FALSE(read(shorter, out).has_value()) << size;
  }
  Record longer = record;
  longer.stored.push_back(std::byte{0});
  EXPECT_FALSE(read(longer, out).has_value());
  Bytes more(plain.size() + kPageSize);
  EXPECT_FALSE(read(record, more).has_value());
  Record other{BlockCodec::Lz4, record.stored};
  EXPECT_FALSE(read(other, out).has_value());
}

TEST_F(PageCodec, RecordsThatClaimMuchAreRefusedBeforeMemoryIsTaken) {
  for (const std::uint32_t claimed : {0x7FFF'FFFFU, 1U << 24}) {
    Bytes stored;
    for (std::uint32_t v = claimed; v != 0; v >>= 7) stored.push_back(static_cast<std::byte>((v & 127) | (v > 127 ? 128 : 0)));
    stored.resize(stored.size() + 100);
    Bytes out(kGroupSize);
    const auto status = read({BlockCodec::Zstd, stored}, out);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code(), Errc::Corruption);
  }
}

TEST_F(PageCodec, WhatDoesNotComeBackIsNotStored) {
  Bytes group;
  while (!write(BlockCodec::Zstd, group = maker_.group(16))) continue;
  Bytes out(BlockCompressor::bound(group.size()));
  int asked = 0;
  PageRecordWriter distrusting(BlockCodec::Zstd, 1, [&](const PageStreams&, ByteView) { return ++asked == 0; });
  EXPECT_EQ(distrusting.write(group, out), 0u);
  EXPECT_EQ(asked, 1);
  PageEncoder encoder;
  const auto check = decode_and_compare();
  const auto streams = *encoder.encode(group);
  EXPECT_TRUE(check(streams, group));
  for (int i = 0; i < 200; ++i) {
    Bytes other = group;
    other[random_.below(other.size())] ^= std::byte{1};
    EXPECT_FALSE(check(streams, other));
  }
}

TEST_F(PageCodec, RecordsWithoutRoomAreNotWritten) {
  Bytes group;
  while (!write(BlockCodec::Zstd, group = maker_.group(16))) continue;
  const auto needed = write(BlockCodec::Zstd, group)->stored.size();
  PageRecordWriter writer(BlockCodec::Zstd, 1, {});
  for (const std::size_t room : {std::size_t{0}, std::size_t{5}, needed / 2, needed - 1}) {
    Bytes out(room);
    EXPECT_EQ(writer.write(group, out), 0u) << room;
  }
  Bytes out(BlockCompressor::bound(group.size()));
  EXPECT_EQ(writer.write(group, out), needed);
}

}  // namespace
}  // namespace pgmint::codec
