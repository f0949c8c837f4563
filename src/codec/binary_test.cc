#include "codec/binary.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/test_seed.h"

namespace pgmint::codec {
namespace {

Bytes hex(std::string_view text) {
  return *from_hex(text);
}

void expect_corrupt(const auto& result, std::string_view part) {
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), Errc::Corruption);
  EXPECT_NE(result.error().describe().find(part), std::string::npos) << result.error().describe();
}

TEST(BinaryWriter, WritesLittleEndianFields) {
  BinaryWriter writer;
  writer.u8(0x01);
  writer.u16(0x0203);
  writer.u32(0x04050607);
  writer.u64(0x08090a0b0c0d0e0f);
  writer.text("hi");
  writer.bytes({});
  writer.raw(hex("ffee"));
  EXPECT_EQ(to_hex(writer.view()),
            "01"
            "0302"
            "07060504"
            "0f0e0d0c0b0a0908"
            "026869"
            "00"
            "ffee");
  EXPECT_EQ(writer.size(), 21u);
}

TEST(BinaryReader, ReadsWhatTheWriterWrote) {
  BinaryWriter writer;
  writer.u8(0xff);
  writer.u16(0xfffe);
  writer.u32(0xfffefdfc);
  writer.u64(0xfffefdfcfbfaf9f8);
  writer.text("public.transactions");
  writer.bytes(hex("00ff"));
  const Bytes data = writer.take();
  BinaryReader reader(data, "map");
  EXPECT_EQ(*reader.u8(), 0xff);
  EXPECT_EQ(*reader.u16(), 0xfffe);
  EXPECT_EQ(*reader.u32(), 0xfffefdfc);
  EXPECT_EQ(*reader.u64(), 0xfffefdfcfbfaf9f8);
  EXPECT_EQ(*reader.text(19), "public.transactions");
  EXPECT_EQ(to_hex(*reader.bytes(2)), "00ff");
  EXPECT_TRUE(reader.at_end());
  EXPECT_TRUE(reader.expect_end().has_value());
}

TEST(BinaryReader, EveryFieldRefusesToReadPastTheEnd) {
  for (std::size_t n = 0; n < 8; ++n) {
    const Bytes data(n);
    if (n < 1) expect_corrupt(BinaryReader(data, "x").u8(), "1 bytes wanted, 0 left");
    if (n < 2) expect_corrupt(BinaryReader(data, "x").u16(), "2 bytes wanted");
    if (n < 4) expect_corrupt(BinaryReader(data, "x").u32(), "4 bytes wanted");
    expect_corrupt(BinaryReader(data, "x").u64(), "8 bytes wanted");
    expect_corrupt(BinaryReader(data, "x").array<8>(), "8 bytes wanted");
    expect_corrupt(BinaryReader(data, "x").raw(std::numeric_limits<std::size_t>::max()), "wanted");
  }
}

TEST(BinaryReader, NamesWhatAndWhere) {
  const Bytes data(3);
  BinaryReader reader(data, "pack footer");
  ASSERT_TRUE(reader.u16().has_value());
  expect_corrupt(reader.u64(), "pack footer: 8 bytes wanted, 1 left (at byte 2)");
  expect_corrupt(reader.expect_end(), "pack footer: 1 bytes follow the end (at byte 2)");
}

TEST(Varint, HasOneByteForEverySevenBits) {
  const std::pair<std::uint64_t, std::string_view> examples[] = {
      {0, "00"},
      {1, "01"},
      {127, "7f"},
      {128, "8001"},
      {300, "ac02"},
      {16383, "ff7f"},
      {16384, "808001"},
      {std::uint64_t{1} << 63, "80808080808080808001"},
      {std::numeric_limits<std::uint64_t>::max(), "ffffffffffffffffff01"},
  };
  for (const auto& [value, encoded] : examples) {
    BinaryWriter writer;
    writer.varint(value);
    EXPECT_EQ(to_hex(writer.view()), encoded);
    BinaryReader reader(writer.view(), "x");
    EXPECT_EQ(*reader.varint(), value);
    EXPECT_TRUE(reader.at_end());
  }
}

TEST(SignedVarint, KeepsSmallMagnitudesShort) {
  const std::pair<std::int64_t, std::string_view> examples[] = {
      {0, "00"},
      {-1, "01"},
      {1, "02"},
      {-64, "7f"},
      {64, "8001"},
      {std::numeric_limits<std::int64_t>::max(), "feffffffffffffffff01"},
      {std::numeric_limits<std::int64_t>::min(), "ffffffffffffffffff01"},
  };
  for (const auto& [value, encoded] : examples) {
    BinaryWriter writer;
    writer.signed_varint(value);
    EXPECT_EQ(to_hex(writer.view()), encoded) << value;
    EXPECT_EQ(*BinaryReader(writer.view(), "x").signed_varint(), value);
  }
}

TEST(Varint, RefusesWhatIsCutOff) {
  for (const auto value : {std::uint64_t{128}, std::uint64_t{1} << 35, std::numeric_limits<std::uint64_t>::max()}) {
    BinaryWriter writer;
    writer.varint(value);
    for (std::size_t n = 0; n < writer.size(); ++n) {
      expect_corrupt(BinaryReader(writer.view().first(n), "x").varint(), "cut off");
    }
  }
}

TEST(Varint, RefusesMoreThan64Bits) {
  expect_corrupt(BinaryReader(hex("ffffffffffffffffff02"), "x").varint(), "exceeds 64 bits");
  expect_corrupt(BinaryReader(hex("ffffffffffffffffff7f"), "x").varint(), "exceeds 64 bits");
  expect_corrupt(BinaryReader(hex("ffffffffffffffffff8001"), "x").varint(), "exceeds 64 bits");
  expect_corrupt(BinaryReader(hex("8080808080808080808001"), "x").varint(), "exceeds 64 bits");
}

TEST(Varint, RefusesEncodingsThatAreNotShortest) {
  for (const std::string_view encoded : {"8000", "ff00", "808000", "80808080808080808000", "ffffffffffffffffff00"}) {
    const Bytes data = hex(encoded);
    expect_corrupt(BinaryReader(data, "x").varint(), "shortest");
    expect_corrupt(BinaryReader(data, "x").signed_varint(), "shortest");
  }
}

TEST(Count, RefusesMoreElementsThanCouldFollow) {
  BinaryWriter writer;
  writer.varint(3);
  writer.raw(Bytes(11));
  EXPECT_EQ(*BinaryReader(writer.view(), "x").count(1), 3u);
  EXPECT_EQ(*BinaryReader(writer.view(), "x").count(3), 3u);
  expect_corrupt(BinaryReader(writer.view(), "x").count(4), "3 elements cannot fit in 11 bytes");
  for (const auto hostile : {std::uint64_t{12}, std::uint64_t{1} << 32, std::numeric_limits<std::uint64_t>::max()}) {
    BinaryWriter other;
    other.varint(hostile);
    other.raw(Bytes(11));
    expect_corrupt(BinaryReader(other.view(), "x").count(1), "cannot fit");
    expect_corrupt(BinaryReader(other.view(), "x").count(std::numeric_limits<std::size_t>::max()), "cannot fit");
  }
}

TEST(LengthPrefixed, RefusesAboveItsLimitAndPastTheEnd) {
  BinaryWriter writer;
  writer.text("abcd");
  expect_corrupt(BinaryReader(writer.view(), "x").text(3), "exceeds its limit of 3");
  expect_corrupt(BinaryReader(writer.view().first(4), "x").bytes(100), "4 bytes wanted, 3 left");
  expect_corrupt(BinaryReader(hex("ffffffffffffffffff01"), "x").bytes(std::numeric_limits<std::size_t>::max()),
                 "wanted");
}

enum class Kind { U8, U16, U32, U64, Varint, Signed, Text, KindCount };

TEST(Binary, AnySequenceOfFieldsRoundTripsAndNoPrefixOfItDoes) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::pair<Kind, std::uint64_t>> fields;
    BinaryWriter writer;
    const std::size_t count = 1 + random.below(12);
    for (std::size_t i = 0; i < count; ++i) {
      const auto kind = static_cast<Kind>(random.below(static_cast<std::uint64_t>(Kind::KindCount)));
      const std::uint64_t v = random.next() >> random.below(64);
      fields.emplace_back(kind, v);
      switch (kind) {
        case Kind::U8:
          writer.u8(static_cast<std::uint8_t>(v));
          break;
        case Kind::U16:
          writer.u16(static_cast<std::uint16_t>(v));
          break;
        case Kind::U32:
          writer.u32(static_cast<std::uint32_t>(v));
          break;
        case Kind::U64:
          writer.u64(v);
          break;
        case Kind::Varint:
          writer.varint(v);
          break;
        case Kind::Signed:
          writer.signed_varint(static_cast<std::int64_t>(v));
          break;
        default:
          writer.text(std::string(v % 200, 't'));
          break;
      }
    }
    const auto read_all = [&](BinaryReader reader) -> Status {
      for (const auto& [kind, v] : fields) {
        switch (kind) {
          case Kind::U8:
            EXPECT_EQ(TRY(reader.u8()), static_cast<std::uint8_t>(v));
            break;
          case Kind::U16:
            EXPECT_EQ(TRY(reader.u16()), static_cast<std::uint16_t>(v));
            break;
          case Kind::U32:
            EXPECT_EQ(TRY(reader.u32()), static_cast<std::uint32_t>(v));
            break;
          case Kind::U64:
            EXPECT_EQ(TRY(reader.u64()), v);
            break;
          case Kind::Varint:
            EXPECT_EQ(TRY(reader.varint()), v);
            break;
          case Kind::Signed:
            EXPECT_EQ(TRY(reader.signed_varint()), static_cast<std::int64_t>(v));
            break;
          default:
            EXPECT_EQ(TRY(reader.text(200)), std::string(v % 200, 't'));
            break;
        }
      }
      return reader.expect_end();
    };
    const Status whole = read_all(BinaryReader(writer.view(), "x"));
    ASSERT_TRUE(whole.has_value()) << whole.error().describe();
    for (std::size_t n = 0; n < writer.size(); ++n) {
      ASSERT_FALSE(read_all(BinaryReader(writer.view().first(n), "x")).has_value())
          << "round " << round << " prefix " << n;
    }
  }
}

TEST(Binary, WhatReadsAsAVarintWritesBackTheSame) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    Bytes data = random_bytes(random, random.below(13));
    if (random.below(2) == 0) {  // long encodings are rare in plain noise
      for (auto& b : data) b |= std::byte{0x80};
      if (!data.empty()) data.back() &= std::byte{0x7f};
    }
    BinaryReader reader(data, "x");
    const auto value = reader.varint();
    if (!value) continue;
    ++accepted;
    BinaryWriter writer;
    writer.varint(*value);
    ASSERT_TRUE(std::ranges::equal(writer.view(), ByteView(data).first(reader.position())));
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace pgmint::codec
