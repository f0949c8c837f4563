// The WAL codec's two halves against each other, on WAL that PostgreSQL might write, damaged WAL, and bytes that are none.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "codec/compression.h"
#include "codec/testing_wal_pieces.h"
#include "codec/wal_decoder.h"
#include "codec/wal_encoder.h"
#include "codec/wal_kind.h"
#include "codec/wal_piece.h"

namespace pgmint::codec {
namespace {

struct Streams {
  Bytes control, raw, remainder, images;
  bool operator==(const Streams&) const = default;
  std::size_t size() const { return control.size() + raw.size() + remainder.size() + images.size(); }
};

std::optional<Streams> encode(WalEncoder& encoder, ByteView piece, WalSums sums = WalSums::Verify) {
  const auto streams = encoder.encode(piece, sums);
  if (!streams) return std::nullopt;
  // Copies of the exact size, so that a sanitizer sees a read past the end.
  return Streams{to_bytes(streams->control), to_bytes(streams->raw), to_bytes(streams->remainder), to_bytes(streams->images)};
}

Status decode(WalDecoder& decoder, const Streams& s, MutableByteView out) {
  return decoder.decode(s.control, s.raw, s.remainder, s.images, out);
}

void expect_comes_back(WalDecoder& decoder, const Streams& streams, ByteView piece) {
  Bytes out(piece.size(), std::byte{0xA5});
  const auto decoded = decode(decoder, streams, out);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().describe();
  const auto differing = std::ranges::mismatch(out, piece).in1 - out.begin();
  ASSERT_TRUE(std::ranges::equal(out, piece)) << "page " << differing / 8192 << " byte " << differing % 8192;
}

class WalCodec : public ::testing::Test {
 protected:
  WalCodec() : random_(seed_), maker_(random_) {}

  Bytes any_piece() {
    maker_.magic = random_.below(2) == 0 ? 0xD110 : 0xD106;
    // Every so often hundreds of each of a few kinds, so that planes are long enough to be found random.
    maker_.weights = random_.below(4) == 0 ? decltype(maker_.weights){0, 1, 2} : WalMaker(random_).weights;
    const auto pages = 1 + static_cast<std::uint32_t>(random_.below(4) == 0 ? random_.below(kWalPagesMax) : kWalPagesMax - 1);
    if (random_.below(5) == 0) return maker_.ending_piece(pages, static_cast<std::uint32_t>(random_.below(300)));
    return maker_.piece(pages);
  }

  /// Changes a few bytes where it matters: page headers, what may be a record header, or anywhere.
  void damage(MutableByteView piece) {
    std::size_t at = random_.below(piece.size());
    if (random_.below(3) == 0) at = at / kWalPageSize * kWalPageSize + random_.below(kWalLongPageHeader);
    if (random_.below(3) == 0) at = at / 8 * 8 + random_.below(24);
    const auto n = std::min<std::size_t>(1 + random_.below(8), piece.size() - std::min(at, piece.size()));
    for (std::size_t i = 0; i < n; ++i)
      piece[at + i] = random_.below(2) == 0 ? piece[at + i] ^ static_cast<std::byte>(1U << random_.below(8)) : static_cast<std::byte>(random_.below(256));
  }

  std::uint64_t seed_ = test_seed();
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed_)};
  SeededRandom random_;
  WalMaker maker_;
};

TEST_F(WalCodec, BringsBackWhateverWalHolds) {
  WalEncoder encoder;
  WalDecoder decoder;
  int taken_apart = 0, with_images = 0, with_raw = 0, damaged = 0;
  for (int round = 0; round < 600; ++round) {
    Bytes piece = any_piece();
    for (auto n = random_.below(3) == 0 ? 1 + random_.below(12) : 0; n > 0; --n, ++damaged) damage(piece);
    const auto streams = encode(encoder, piece);
    if (!streams) continue;
    ++taken_apart;
    with_images += streams->images.empty() ? 0 : 1;
    with_raw += streams->raw.empty() ? 0 : 1;
    expect_comes_back(decoder, *streams, piece);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(taken_apart, 400);
  EXPECT_GT(with_images, 200);
  EXPECT_GT(with_raw, 20);
  EXPECT_GT(damaged, 300);
}

TEST_F(WalCodec, EveryCpuPathWritesTheSameStreamsAndReadsTheOthers) {
  if (best_cpu_path() == CpuPath::Baseline) GTEST_SKIP() << "this CPU has one path only";
  WalEncoder fast(CpuPath::Avx2), portable(CpuPath::Baseline);
  WalDecoder fast_decoder(CpuPath::Avx2), portable_decoder(CpuPath::Baseline);
  for (int round = 0; round < 100; ++round) {
    const Bytes piece = any_piece();
    const auto streams = encode(fast, piece);
    ASSERT_EQ(streams, encode(portable, piece));
    if (!streams) continue;
    expect_comes_back(fast_decoder, *streams, piece);
    expect_comes_back(portable_decoder, *streams, piece);
  }
}

// An encoder keeps memory from piece to piece: nothing of it may show.
TEST_F(WalCodec, StreamsDoNotDependOnWhatWasEncodedBefore) {
  WalEncoder used;
  for (int round = 0; round < 60; ++round) {
    const Bytes piece = any_piece();
    WalEncoder fresh;
    ASSERT_EQ(encode(used, piece), encode(fresh, piece));
  }
}

TEST_F(WalCodec, HeadersChecksumsAndRegularDataCostNextToNothing) {
  maker_.weights = {0, 1};
  WalEncoder encoder;
  for (int round = 0; round < 20; ++round) {
    const Bytes piece = maker_.piece(kWalPagesMax);
    const auto streams = encode(encoder, piece);
    if (!streams) continue;  // the rest of a record, and nothing else
    WalDecoder decoder;
    expect_comes_back(decoder, *streams, piece);
    // Index inserts of 63 bytes, padded to 64.
    EXPECT_LT(streams->control.size() + streams->raw.size(), piece.size() / 5);
  }
}

TEST_F(WalCodec, TakesTheRowsOfMultiInsertsApart) {
  WalEncoder encoder;
  WalDecoder decoder;
  int rounds = 0;
  while (rounds < 20) {
    maker_.weights = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    const Bytes piece = maker_.piece(kWalPagesMax);
    const auto streams = encode(encoder, piece);
    if (!streams || load32(as_u8(ByteView(piece)) + kXlpRemainingAt) > 500) continue;  // the rest of a long record
    ++rounds;
    expect_comes_back(decoder, *streams, piece);
    // Rows of 51 bytes on average, 30 of them text, 4 a number that follows from the one before.
    EXPECT_LT(streams->size(), piece.size() * 9 / 10);
  }
}

TEST_F(WalCodec, FindsRecordsUpToTheFirstWrongChecksum) {
  WalEncoder encoder;
  WalDecoder decoder;
  for (int round = 0; round < 50; ++round) {
    maker_.weights = {1, 1, 1, 1};
    Bytes piece = maker_.piece(kWalPagesMax);
    const auto whole = encode(encoder, piece);
    if (!whole || whole->remainder.size() > piece.size() / 2) continue;  // most of it is the rest of a long record
    piece[piece.size() / 2 + 2 * kWalPageHeader + random_.below(1000)] ^= std::byte{0x10};
    const auto verified = encode(encoder, piece);
    ASSERT_TRUE(verified);
    expect_comes_back(decoder, *verified, piece);
    EXPECT_GT(verified->remainder.size(), whole->remainder.size());
  }
}

TEST_F(WalCodec, TakesNothingApartThatIsNoWal) {
  WalEncoder encoder;
  EXPECT_FALSE(encoder.encode({}, WalSums::Verify));
  EXPECT_FALSE(encoder.encode(Bytes(kWalPageSize), WalSums::Verify));
  EXPECT_FALSE(encoder.encode(random_bytes(random_, kWalPieceMax), WalSums::Verify));
  maker_.weights = {1, 1, 1, 1};
  Bytes piece = maker_.piece(kWalPagesMax);
  EXPECT_FALSE(encoder.encode(ByteView(piece).first(piece.size() - 8), WalSums::Verify));  // no whole number of pages
  piece.resize(piece.size() + kWalPageSize);
  EXPECT_FALSE(encoder.encode(piece, WalSums::Verify));  // larger than a piece
}

// Bytes from outside: any answer is right, but for a crash, a read past the end, or bytes that nobody wrote.
TEST_F(WalCodec, DamagedStreamsAreRefusedOrDecodedAlike) {
  WalEncoder encoder;
  WalDecoder best, portable(CpuPath::Baseline);
  int refused = 0, decoded = 0;
  for (int round = 0; round < 150; ++round) {
    const Bytes piece = any_piece();
    const auto streams = encode(encoder, piece);
    if (!streams) continue;
    for (int n = 0; n < 12; ++n) {
      Streams damaged = *streams;
      Bytes& victim = random_.below(3) == 0 && !damaged.remainder.empty() ? damaged.remainder
                      : random_.below(6) == 0 && !damaged.images.empty()  ? damaged.images
                                                                          : damaged.control;
      switch (random_.below(4)) {
        case 0:
          victim.resize(random_.below(victim.size()));
          break;
        case 1:
          victim.insert(victim.begin() + static_cast<std::ptrdiff_t>(random_.below(victim.size())), static_cast<std::byte>(random_.below(256)));
          break;
        default: {
          const std::size_t reach = random_.below(2) == 0 ? std::min<std::size_t>(victim.size(), 300) : victim.size();
          for (auto k = 1 + random_.below(4); k > 0; --k) victim[random_.below(reach)] = static_cast<std::byte>(random_.below(256));
        }
      }
      Bytes first(piece.size(), std::byte{0x11}), second(piece.size(), std::byte{0x22});
      const auto one = decode(best, damaged, first), other = decode(portable, damaged, second);
      ASSERT_EQ(one.has_value(), other.has_value());
      if (!one) {
        ASSERT_EQ(one.error().code(), Errc::Corruption);
        ++refused;
      } else {
        ASSERT_TRUE(first == second);
        ++decoded;
      }
    }
  }
  EXPECT_GT(refused, 200);
  EXPECT_GT(decoded, 50);
}

class WalPiece : public WalCodec {};

TEST_F(WalPiece, ComesBackByEitherCodecAtAnyLevel) {
  for (const auto& [codec, level] : {std::pair(BlockCodec::Zstd, 1), std::pair(BlockCodec::Zstd, 5), std::pair(BlockCodec::Lz4, 0)}) {
    WalPieceWriter writer(codec, level, decode_and_compare_wal());
    WalPieceReader reader;
    int stored = 0;
    for (int round = 0; round < 60; ++round) {
      Bytes piece = any_piece();
      if (random_.below(3) == 0) damage(piece);
      Bytes out(piece.size() + 1000), again(piece.size());
      const auto size = writer.write(piece, out);
      if (size == 0) continue;
      ++stored;
      ASSERT_LT(size, piece.size());
      out.resize(size);
      const auto read = reader.read(codec, out, again);
      ASSERT_TRUE(read) << read.error().describe();
      ASSERT_TRUE(again == piece);
    }
    EXPECT_GT(stored, 30);
  }
}

TEST_F(WalPiece, IsRefusedWhereItIsCutAndWhereSomethingFollows) {
  WalPieceWriter writer(BlockCodec::Lz4, 0, decode_and_compare_wal());
  WalPieceReader reader;
  maker_.weights = {30, 20, 10, 10, 4, 2, 0, 0, 0, 0, 0, 2};
  Bytes piece, out;
  std::size_t size = 0;
  while (size == 0) {
    piece = maker_.piece(8);
    out.resize(piece.size());
    size = writer.write(piece, out);
  }
  Bytes again(piece.size());
  for (std::size_t n = 0; n < size; n += n < 200 ? 1 : 37) {
    const Bytes cut(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n));
    ASSERT_FALSE(reader.read(BlockCodec::Lz4, cut, again)) << n;
  }
  ASSERT_TRUE(reader.read(BlockCodec::Lz4, ByteView(out).first(size), again));
  out.resize(size + 1);
  EXPECT_FALSE(reader.read(BlockCodec::Lz4, out, again));
  out.resize(size);
  Bytes shorter(piece.size() - kWalPageSize), longer(piece.size() + kWalPageSize);
  EXPECT_FALSE(reader.read(BlockCodec::Lz4, out, shorter));
  EXPECT_FALSE(reader.read(BlockCodec::Lz4, out, longer));
}

TEST_F(WalPiece, EveryChangedByteOfItsHeaderIsRefusedOrReadsSomething) {
  WalPieceWriter writer(BlockCodec::Zstd, 1, {});
  WalPieceReader reader;
  maker_.weights = {30, 20, 10, 10, 4, 2, 0, 0, 0, 0, 0, 2};
  Bytes piece, out;
  std::size_t size = 0;
  while (size == 0) {
    piece = maker_.piece(8);
    out.resize(piece.size());
    size = writer.write(piece, out);
  }
  out.resize(size);
  Bytes again(piece.size());
  for (std::size_t at = 0; at < 22; ++at) {
    for (unsigned value = 0; value < 256; ++value) {
      Bytes damaged = out;
      damaged[at] = static_cast<std::byte>(value);
      const auto read = reader.read(BlockCodec::Zstd, damaged, again);
      ASSERT_TRUE(damaged != out || read);
      ASSERT_TRUE(read || read.error().code() == Errc::Corruption);
    }
  }
}

// A defect of the transform must cost a piece's ratio, not its content.
TEST_F(WalPiece, IsNotStoredWhenTheCheckFails) {
  int asked = 0;
  WalPieceWriter writer(BlockCodec::Zstd, 1, [&](const WalStreams&, ByteView) { return ++asked < 0; });
  maker_.weights = {1, 1, 1, 1};
  Bytes piece = maker_.ending_piece(kWalPagesMax, 5000), out(piece.size());
  EXPECT_EQ(writer.write(piece, out), 0u);
  EXPECT_LE(asked, 2);
}

TEST_F(WalPiece, IsStoredInFullWhereAChecksumIsWrong) {
  maker_.weights = {1, 1, 1, 1};
  WalPieceWriter writer(BlockCodec::Zstd, 1, decode_and_compare_wal());
  WalPieceReader reader;
  int stored = 0;
  for (int round = 0; round < 20; ++round) {
    Bytes piece = maker_.piece(kWalPagesMax), out(piece.size()), again(piece.size());
    piece[piece.size() - 9000] ^= std::byte{1};
    const auto size = writer.write(piece, out);
    if (size == 0) continue;
    ++stored;
    ASSERT_TRUE(reader.read(BlockCodec::Zstd, ByteView(out).first(size), again));
    ASSERT_TRUE(again == piece);
  }
  EXPECT_GT(stored, 10);
}

TEST_F(WalPiece, ProvesTheRecordsBeforeAWrongChecksumAndNoMore) {
  maker_.weights = {1, 1, 1, 1};
  for (const auto& check : {decode_and_compare_wal(), WalCheck()}) {
    WalPieceWriter writer(BlockCodec::Zstd, 1, check);
    int damaged = 0;
    for (int round = 0; round < 20; ++round) {
      Bytes piece = maker_.piece(kWalPagesMax), out(piece.size());
      const auto start = load64(as_u8(ByteView(piece)) + kXlpAddressAt);
      writer.write(piece, out);
      const auto whole = writer.proven();
      if (whole.to < start + piece.size() / 2 || whole.from > start + piece.size() / 4) continue;  // hardly a record in it
      EXPECT_LE(whole.to, start + piece.size() + kWalPageHeader);
      const auto at = whole.from + (whole.to - whole.from) / 2;
      const auto in_page = std::max<std::uint64_t>(at % kWalPageSize, kWalPageHeader);
      piece[at / kWalPageSize * kWalPageSize + in_page - start] ^= std::byte{1};
      writer.write(piece, out);
      EXPECT_EQ(writer.proven().from, whole.from);
      EXPECT_LE(writer.proven().to, at / kWalPageSize * kWalPageSize + in_page);
      ++damaged;
    }
    EXPECT_GT(damaged, 5);
    Bytes out(kWalPageSize);
    EXPECT_EQ(writer.write(Bytes(kWalPageSize), out), 0U);
    EXPECT_EQ(writer.proven().to, 0U) << "of another piece";
  }
}

TEST_F(WalPiece, IsSmallerThanWhatZstdMakesOfIt) {
  maker_.weights = {30, 20, 10, 10};
  Compressor plain({CodecId::Zstd, 1}), wal({CodecId::WalZstd, 1});
  std::size_t plain_sum = 0, wal_sum = 0;
  for (int round = 0; round < 20; ++round) {
    const Bytes piece = maker_.ending_piece(kWalPagesMax, 100'000);
    Bytes out(Compressor::bound(piece.size()));
    const auto stored = wal.compress(piece, out);
    if (stored.codec != CodecId::WalZstd) continue;
    wal_sum += stored.size;
    plain_sum += plain.compress(piece, out).size;
  }
  EXPECT_LT(wal_sum * 10, plain_sum * 8);
}

TEST(WalCodecChoice, FollowsThePagesMode) {
  const auto of = [](std::string_view text, bool trusted = false) {
    auto choice = parse_codec(text).value();
    choice.trusted = trusted;
    return wal_codec(choice);
  };
  EXPECT_EQ(of("balanced"), (CodecChoice{CodecId::WalZstd, 1}));
  EXPECT_EQ(of("small"), (CodecChoice{CodecId::WalZstd, 1}));  // level 5 is slower, and no smaller
  EXPECT_EQ(of("small:16"), (CodecChoice{CodecId::WalZstd, 16}));
  EXPECT_EQ(of("fast").id, CodecId::Lz4);
  EXPECT_EQ(of("fast", true).id, CodecId::WalLz4);
  EXPECT_EQ(of("zstd:3"), (CodecChoice{CodecId::Zstd, 3}));
  EXPECT_EQ(of("none").id, CodecId::None);
  EXPECT_EQ(plain_codec(of("balanced")).id, CodecId::Zstd);
}

TEST(WalCodecChoice, LeavesWhatIsNoWalToThePlainCodec) {
  Compressor compressor({CodecId::WalZstd, 1});
  const Bytes text = to_bytes(as_bytes(std::string_view("1\t0/3000000\tno recovery target specified\n1\t0/3000000\tno recovery target\n")));
  Bytes out(Compressor::bound(kWalPieceMax));
  EXPECT_EQ(compressor.compress(text, out).codec, CodecId::Zstd);
  EXPECT_EQ(compressor.compress(Bytes(kWalPieceMax), out).codec, CodecId::Zstd);
}

}  // namespace
}  // namespace pgmint::codec
