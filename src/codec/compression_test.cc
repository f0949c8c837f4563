#include "codec/compression.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include "codec/testing_pages.h"

namespace pgmint::codec {
namespace {

const CodecChoice kChoices[] = {{CodecId::PageZstd, 1}, {CodecId::PageLz4, 0},
    {CodecId::None, 0}, {CodecId::Zstd, 1}, {CodecId::Zstd, 3}, {CodecId::Zstd, 19}, {CodecId::Lz4, 0}};

/// Rows of a table: repeated structure, changing numbers.
Bytes rows(SeededRandom& random, std::size_t size) {
  std::string text;
  while (text.size() < size)
    text += fmt::format("account {:08} balance {:>10}.00 EUR status open;", random.below(5000), random.below(100000));
  text.resize(size);
  return to_bytes(as_bytes(text));
}

struct Stored {
  CodecId codec;
  Bytes bytes;
};

Stored store(Compressor& compressor, ByteView plain) {
  Bytes out(Compressor::bound(plain.size()));
  const auto output = compressor.compress(plain, out);
  if (output.codec == CodecId::None) {
    EXPECT_EQ(output.size, 0u);
    return {CodecId::None, to_bytes(plain)};
  }
  out.resize(output.size);
  return {output.codec, std::move(out)};
}

void expect_corrupt(CodecId codec, ByteView stored, std::size_t plain_size) {
  Bytes out(plain_size);
  Decompressor decompressor;
  const Status status = decompressor.decompress(codec, stored, out);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code(), Errc::Corruption);
}

TEST(Compression, RoundTripsEveryKindOfContentAtEveryLevel) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  std::vector<Bytes> contents = {
      {}, Bytes(1, std::byte{9}), Bytes(1 << 20), random_bytes(random, 1 << 20), rows(random, 1 << 20)};
  for (int i = 0; i < 60; ++i) contents.push_back(rows(random, random.below(20'000)));
  for (int i = 0; i < 20; ++i) contents.push_back(random_bytes(random, random.below(300)));
  Decompressor decompressor;
  for (const auto& choice : kChoices) {
    Compressor compressor(choice);
    for (const auto& plain : contents) {
      const Stored stored = store(compressor, plain);
      ASSERT_LE(stored.bytes.size(), plain.size());
      // Nothing here is a page: a page codec leaves it to the plain one.
      ASSERT_TRUE(stored.codec == plain_codec(choice).id || stored.codec == CodecId::None);
      Bytes out(plain.size(), std::byte{0xee});
      const Status status = decompressor.decompress(stored.codec, stored.bytes, out);
      ASSERT_TRUE(status.has_value()) << status.error().describe();
      ASSERT_EQ(out, plain);
    }
  }
}

TEST(Compressor, StoresPlainWhatDoesNotShrink) {
  SeededRandom random(1);
  for (const auto& choice : kChoices) {
    Compressor compressor(choice);
    for (const std::size_t size : {0u, 1u, 10u, 8192u, 262'144u}) {
      EXPECT_EQ(store(compressor, random_bytes(random, size)).codec, CodecId::None) << size;
    }
  }
}

TEST(Compressor, ShrinksWhatRepeats) {
  SeededRandom random(2);
  const Bytes table = rows(random, 262'144);
  for (const CodecChoice choice : {CodecChoice{CodecId::Zstd, 1}, CodecChoice{CodecId::Lz4, 0}}) {
    Compressor compressor(choice);
    EXPECT_LT(store(compressor, table).bytes.size(), table.size() / 2);
    EXPECT_LT(store(compressor, Bytes(262'144)).bytes.size(), 2000u);
  }
}

// The same record gives the same bytes whatever the context compressed before: nothing leaks from record to record.
TEST(Compressor, RecordsAreIndependentOfEachOther) {
  SeededRandom random(3);
  const Bytes first = rows(random, 50'000), second = rows(random, 70'000);
  for (const auto& choice : kChoices) {
    Compressor reused(choice), fresh(choice);
    store(reused, first);
    EXPECT_EQ(store(reused, second).bytes, store(fresh, second).bytes);
  }
}

// docs/adr/0003: size and checksum are the record's own business.
TEST(Compressor, ZstdFramesCarryNeitherSizeNorChecksum) {
  SeededRandom random(4);
  Compressor compressor({CodecId::Zstd, 1});
  const Stored stored = store(compressor, rows(random, 100'000));
  EXPECT_EQ(ZSTD_getFrameContentSize(stored.bytes.data(), stored.bytes.size()), ZSTD_CONTENTSIZE_UNKNOWN);
  EXPECT_EQ(stored.bytes[4] & std::byte{0x04}, std::byte{});  // RFC 8878, 3.1.1.1.1: Content_Checksum_flag
}

TEST(CompressorDeathTest, RefusesLevelsOutOfRangeAndSmallOutput) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Compressor({CodecId::Zstd, 0}), "level");
  EXPECT_DEATH(Compressor({CodecId::Zstd, 20}), "level");
  Compressor compressor({CodecId::Zstd, 1});
  Bytes out(10);
  EXPECT_DEATH(compressor.compress(Bytes(100), out), "bound");
}

TEST(Decompressor, RefusesAnySizeButTheTrueOne) {
  SeededRandom random(5);
  const Bytes plain = rows(random, 9000);
  for (const auto& choice : kChoices) {
    Compressor compressor(choice);
    const Stored stored = store(compressor, plain);
    for (const std::size_t wrong : {0u, 1u, 8999u, 9001u, 100'000u}) expect_corrupt(stored.codec, stored.bytes, wrong);
  }
}

TEST(Decompressor, RefusesUnknownCodecs) {
  for (int id = 3; id < 256; ++id) expect_corrupt(static_cast<CodecId>(id), Bytes(10), 10);
}

TEST(Decompressor, RefusesTruncatedAndPaddedRecords) {
  SeededRandom random(6);
  const Bytes plain = rows(random, 3000);
  for (const CodecChoice choice : {CodecChoice{CodecId::Zstd, 1}, CodecChoice{CodecId::Lz4, 0}}) {
    Compressor compressor(choice);
    Stored stored = store(compressor, plain);
    ASSERT_EQ(stored.codec, choice.id);
    for (std::size_t n = 0; n < stored.bytes.size(); ++n)
      expect_corrupt(stored.codec, ByteView(stored.bytes).first(n), 3000);
    stored.bytes.push_back(std::byte{});
    expect_corrupt(stored.codec, stored.bytes, 3000);
  }
}

TEST(Decompressor, RefusesSeveralOrSkippableZstdFrames) {
  SeededRandom random(7);
  const Bytes plain = rows(random, 3000);
  Compressor compressor({CodecId::Zstd, 1});
  const Stored stored = store(compressor, plain);
  Bytes twice = stored.bytes;
  append(twice, stored.bytes);
  expect_corrupt(CodecId::Zstd, twice, 6000);
  const Bytes skippable = *from_hex("502a4d1804000000deadbeef");  // RFC 8878, 3.1.2
  Bytes led = skippable, followed = stored.bytes;
  append(led, stored.bytes);
  append(followed, skippable);
  expect_corrupt(CodecId::Zstd, led, 3000);
  expect_corrupt(CodecId::Zstd, followed, 3000);
  expect_corrupt(CodecId::Zstd, skippable, 0);
}

// Chance may decode to something of the right size, so this asks for no crash, no overrun (asan), no lost context.
TEST(Decompressor, SurvivesNoiseAndDamage) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  Decompressor decompressor;
  const Bytes plain = rows(random, 5000);
  for (const CodecChoice choice : {CodecChoice{CodecId::Zstd, 1}, CodecChoice{CodecId::Lz4, 0}}) {
    Compressor compressor(choice);
    const Stored good = store(compressor, plain);
    for (int i = 0; i < 3000; ++i) {
      Bytes bad;
      if (i % 2 == 0) {
        bad = random_bytes(random, random.below(200));
        if (i % 4 == 0 && bad.size() >= 4) std::ranges::copy(ByteView(good.bytes).first(4), bad.begin());
      } else {
        bad = good.bytes;
        for (std::uint64_t n = 1 + random.below(4); n > 0; --n)
          bad[random.below(bad.size())] = static_cast<std::byte>(random.next());
      }
      Bytes out(random.below(2) == 0 ? plain.size() : random.below(10'000));
      const Status status = decompressor.decompress(choice.id, bad, out);
      ASSERT_TRUE(status.has_value() || status.error().code() == Errc::Corruption);
    }
    Bytes out(plain.size());
    ASSERT_TRUE(decompressor.decompress(good.codec, good.bytes, out).has_value());
    EXPECT_EQ(out, plain);
  }
}

TEST(SizedFrame, RoundTripsAnySizeAndStatesIt) {
  SeededRandom random(8);
  for (const Bytes& plain : {Bytes{}, Bytes(1), random_bytes(random, 1000), rows(random, 1 << 20)}) {
    const Bytes frame = compress_sized(plain);
    EXPECT_EQ(ZSTD_getFrameContentSize(frame.data(), frame.size()), plain.size());
    const auto again = decompress_sized(frame, plain.size());
    ASSERT_TRUE(again.has_value()) << again.error().describe();
    EXPECT_EQ(*again, plain);
    EXPECT_EQ(decompress_sized(frame, plain.size() / 2).has_value(), plain.empty());
    for (std::size_t n = 0; n < std::min<std::size_t>(frame.size(), 500); ++n) {
      EXPECT_FALSE(decompress_sized(ByteView(frame).first(n), 1 << 21).has_value()) << n;
    }
  }
}

TEST(SizedFrame, RefusesAClaimAboveTheLimitBeforeReservingMemory) {
  // Single segment, eight-byte content size of 2^62, then an empty last block (RFC 8878, 3.1.1).
  const Bytes hostile = *from_hex("28b52ffde00000000000000040010000");
  const auto result = decompress_sized(hostile, 64 << 20);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), Errc::Corruption);
  EXPECT_NE(result.error().describe().find("claims 4611686018427387904 bytes"), std::string::npos)
      << result.error().describe();
}

TEST(SizedFrame, RefusesRecordsThatKeepTheirSizeElsewhere) {
  SeededRandom random(9);
  Compressor compressor({CodecId::Zstd, 1});
  EXPECT_FALSE(decompress_sized(store(compressor, rows(random, 5000)).bytes, 1 << 20).has_value());
}

TEST(ParseCodec, TakesTheDocumentedForms) {
  const std::tuple<std::string_view, CodecId, int> forms[] = {{"balanced", CodecId::PageZstd, 1},
                                                              {"fast", CodecId::PageLz4, 0},
                                                              {"small", CodecId::PageZstd, 5},
                                                              {"small:16", CodecId::PageZstd, 16},
                                                              {"none", CodecId::None, 0},
                                                              {"lz4", CodecId::Lz4, 0},
                                                              {"zstd", CodecId::Zstd, 1},
                                                              {"zstd:1", CodecId::Zstd, 1},
                                                              {"zstd:19", CodecId::Zstd, 19}};
  for (const auto& [text, id, level] : forms) {
    const auto choice = parse_codec(text);
    ASSERT_TRUE(choice.has_value()) << text;
    EXPECT_EQ(choice->id, id) << text;
    EXPECT_EQ(choice->level, level) << text;
    EXPECT_FALSE(choice->trusted) << text;
  }
  EXPECT_EQ(CodecChoice{}, *parse_codec("balanced"));
}

TEST(Compressor, TakesPagesApartAndLeavesTheRestToThePlainCodec) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  PageMaker maker(random);
  for (const std::string_view mode : {"balanced", "fast", "small"}) {
    const auto choice = *parse_codec(mode);
    auto trusting_choice = choice;
    trusting_choice.trusted = true;
    Compressor compressor(choice), trusting(trusting_choice), plain(plain_codec(choice));
    Decompressor decompressor;
    int pages = 0;
    for (int round = 0; round < 40; ++round) {
      const Bytes group = maker.group(kGroupPagesMax);
      const Stored stored = store(compressor, group);
      EXPECT_EQ(store(trusting, group).bytes, stored.bytes);
      if (stored.codec == choice.id) ++pages;
      Bytes out(group.size());
      ASSERT_TRUE(decompressor.decompress(stored.codec, stored.bytes, out).has_value());
      ASSERT_EQ(out, group);
    }
    EXPECT_GT(pages, 10) << mode;
    const Bytes text = rows(random, 100'000);
    EXPECT_EQ(store(compressor, text).codec, plain_codec(choice).id) << mode;
    EXPECT_EQ(store(compressor, text).bytes, store(plain, text).bytes) << mode;
  }
}

TEST(ParseCodec, RefusesEverythingElseWithAHint) {
  for (const std::string_view text : {"", "gzip", "ZSTD", "zstd:", "zstd:0", "zstd:20", "zstd:-1", "zstd:+1", "zstd: 1",
                                      "zstd:1 ", "zstd:1x", "zstd:99999999999999999999", "lz4:1", "none:1", "zstd1", "small:0", "small:20", "balanced:1", "fast:2"}) {
    const auto choice = parse_codec(text);
    ASSERT_FALSE(choice.has_value()) << text;
    EXPECT_EQ(choice.failure().code(), Errc::Configuration);
    EXPECT_NE(choice.failure().hint().find("zstd:19"), std::string::npos);
  }
}

}  // namespace
}  // namespace pgmint::codec
