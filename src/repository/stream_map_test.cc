#include "repository/stream_map.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::repository {
namespace {

RecordLocation location(SeededRandom& random, RecordType type, std::uint32_t raw) {
  RecordLocation l;
  l.pack.session.bytes[0] = static_cast<std::byte>(random.below(3));
  l.pack.number = static_cast<std::uint32_t>(random.below(4));
  l.offset = 72 + random.below(1 << 24);
  l.raw_length = raw;
  l.stored_length = static_cast<std::uint32_t>(crypto::kSealOverhead + random.below(raw + 1));
  l.type = type;
  l.codec = type == RecordType::StreamDelta ? codec::CodecId::None : codec::CodecId::Zstd;
  if (type == RecordType::StreamDelta) l.stored_length = static_cast<std::uint32_t>(raw + crypto::kSealOverhead);
  l.epoch = is_map_type(type) ? Epoch(0) : Epoch(1);
  random.fill(l.nonce);
  return l;
}

StreamChunk chunk(SeededRandom& random) {
  StreamChunk c;
  c.length = static_cast<std::uint32_t>(1 + random.below(kDataRecordMax));
  random.fill(c.sum);
  c.anchor = random.next();
  c.bases.resize(random.below(kChunkBasesMax + 1));
  for (auto& base : c.bases) base = location(random, RecordType::StreamChunk, static_cast<std::uint32_t>(1 + random.below(kDataRecordMax)));
  c.record = c.bases.empty() ? location(random, RecordType::StreamChunk, c.length)
                             : location(random, RecordType::StreamDelta, static_cast<std::uint32_t>(1 + random.below(100'000)));
  return c;
}

TEST(StreamMap, PartsAndIndexesComeBackAsTheyWere) {
  const auto seed = test_seed();
  SCOPED_TRACE("PGMINT_TEST_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  for (int round = 0; round < 100; ++round) {
    std::vector<StreamChunk> chunks(1 + random.below(60));
    for (auto& c : chunks) c = chunk(random);
    const auto parsed = parse_stream_part(encode_stream_part(chunks));
    ASSERT_TRUE(parsed) << parsed.failure().describe();
    EXPECT_EQ(*parsed, chunks);

    StreamIndex index;
    index.parts.resize(random.below(10));
    for (auto& part : index.parts) {
      part.location = location(random, RecordType::StreamPart, 4000);
      part.chunk_count = 1 + random.below(4096);
      part.length = part.chunk_count + random.below(part.chunk_count * (kDataRecordMax - 1));
      random.fill(part.fingerprint);
      index.length += part.length;
      index.chunk_count += part.chunk_count;
    }
    const auto read = parse_stream_index(encode_stream_index(index));
    ASSERT_TRUE(read) << read.failure().describe();
    EXPECT_EQ(read->length, index.length);
    ASSERT_EQ(read->parts.size(), index.parts.size());
    for (std::size_t i = 0; i < index.parts.size(); ++i) EXPECT_EQ(read->parts[i].location, index.parts[i].location);
  }
}

TEST(StreamMap, WhatIsCutOffOrDoesNotAddUpIsRefused) {
  SeededRandom random(1);
  const std::vector<StreamChunk> chunks{chunk(random), chunk(random), chunk(random)};
  const auto part = encode_stream_part(chunks);
  for (std::size_t n = 0; n < part.size(); ++n) EXPECT_EQ(parse_stream_part(ByteView(part).first(n)).failure().code(), Errc::Corruption) << n;
  auto longer = part;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(parse_stream_part(longer));
  EXPECT_FALSE(parse_stream_part(encode_stream_part({})));

  StreamIndex index;
  index.parts.resize(2);
  for (auto& one : index.parts) {
    one.location = location(random, RecordType::StreamPart, 4000);
    one.chunk_count = 2;
    one.length = 1000;
  }
  index.length = 2000;
  index.chunk_count = 4;
  EXPECT_TRUE(parse_stream_index(encode_stream_index(index)));
  for (auto* field : {&index.length, &index.chunk_count, &index.parts[0].length, &index.parts[1].chunk_count}) {
    ++*field;
    EXPECT_FALSE(parse_stream_index(encode_stream_index(index)));
    --*field;
  }
  index.parts[0].location.type = RecordType::SegmentMap;
  EXPECT_FALSE(parse_stream_index(encode_stream_index(index)));
}

TEST(StreamMap, WhateverTheBytesTheReaderAnswers) {
  const auto seed = test_seed();
  SCOPED_TRACE("PGMINT_TEST_SEED=" + std::to_string(seed));
  SeededRandom random(seed);
  const auto part = encode_stream_part({chunk(random), chunk(random)});
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = part;
    for (std::uint64_t n = 1 + random.below(4); n-- > 0;) bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    if (const auto parsed = parse_stream_part(bytes); !parsed) {
      EXPECT_EQ(parsed.failure().code(), Errc::Corruption);
    }
  }
}

TEST(DistinctRecords, CountEachPlaceOnce) {
  SeededRandom random(3);
  DistinctRecords records;
  PackUse expected;
  for (int i = 0; i < 50; ++i) {
    auto l = location(random, RecordType::StreamChunk, 5000);
    l.offset = 100'000U * static_cast<unsigned>(i);
    expected.add(l);
    for (std::uint64_t n = 1 + random.below(3); n-- > 0;) records.add(l);
  }
  EXPECT_EQ(std::move(records).settle(), expected);
}

}  // namespace
}  // namespace pgmint::repository
