// Streams of dumps written by earlier versions must stay readable for ever, and be cut where they were, or no dump shares with the one before.
//
// PGMINT_WRITE_GOLDEN=stream golden_test writes tests/golden/stream, and what the fuzzers begin with, anew.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "base/test_seed.h"
#include "codec/block_codec.h"
#include "logical/dump.h"
#include "logical/testing_archive.h"
#include "repository/stream_chunk.h"

namespace pgmint::repository {
namespace {

const fs::path kFolder = "tests/golden/stream";

void write(const fs::path& path, ByteView data) {
  ASSERT_TRUE(create_directories(path.parent_path(), 0755));
  ASSERT_TRUE(write_file_durably(path, data, 0644));
}
Bytes read(const char* name) { return read_file(kFolder / name, 1 << 20).value(); }

std::string rows(std::uint64_t seed, int skipped) {
  SeededRandom random(seed);
  std::string text;
  for (int i = 0; i < 400; ++i) {
    const auto row = fmt::format("{}\t{:x}\tpayment {}\n", i, random.next(), i * 7);
    if (i % 50 != skipped) text += row;
  }
  return text;
}

RecordLocation place(unsigned n, RecordType type, std::uint32_t raw) {
  RecordLocation l;
  l.pack.session.bytes[15] = static_cast<std::byte>(n % 2 + 1);
  l.pack.number = n / 2;
  l.offset = 72 + 1000ULL * n;
  l.raw_length = raw;
  l.stored_length = static_cast<std::uint32_t>(raw / 2 + crypto::kSealOverhead);
  l.type = type;
  l.codec = type == RecordType::StreamDelta ? codec::CodecId::None : codec::CodecId::Zstd;
  l.epoch = is_map_type(type) ? Epoch(0) : Epoch(3);
  l.nonce[0] = static_cast<std::byte>(n);
  return l;
}

std::vector<StreamChunk> chunks() {
  std::vector<StreamChunk> all(4);
  for (unsigned i = 0; i < all.size(); ++i) {
    auto& chunk = all[i];
    chunk.length = 300'000 + i;
    chunk.sum[0] = static_cast<std::byte>(0x40 + i);
    chunk.anchor = 0x0123456789ABCDEFULL + i;
    for (unsigned b = 0; b < i; ++b) chunk.bases.push_back(place(10 * i + b, RecordType::StreamChunk, 299'000 + b));
    chunk.record = place(i, i == 0 ? RecordType::StreamChunk : RecordType::StreamDelta, i == 0 ? chunk.length : 700 + i);
  }
  return all;
}

StreamIndex index() {
  StreamIndex made;
  made.parts.resize(2);
  for (unsigned i = 0; i < 2; ++i) {
    made.parts[i] = {place(50 + i, RecordType::StreamPart, 900), 600'000 + i, 2, {}};
    made.parts[i].fingerprint[3] = static_cast<std::byte>(i + 1);
    made.length += made.parts[i].length;
    made.chunk_count += 2;
  }
  return made;
}

/// Where chunks of a seeded stream end.
std::string cuts() {
  SeededRandom random(20261126);
  const auto bytes = random_bytes(random, 6 << 20);
  std::string text;
  ChunkCutter cutter;
  for (ByteView rest = bytes; !rest.empty();) {
    const bool ends = cutter.take(rest);
    if (ends) text += fmt::format("{} {:016x}\n", bytes.size() - rest.size(), cutter.anchor());
  }
  return text;
}

TEST(StreamGolden, WriteWhenAskedTo) {
  const char* asked = std::getenv("PGMINT_WRITE_GOLDEN");
  if (asked == nullptr || std::string_view(asked) != "stream") GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=stream to write the files anew";
  const auto base = rows(1, -1), chunk = rows(1, 7);
  auto compressor = codec::BlockCompressor::for_deltas();
  Bytes frame(codec::BlockCompressor::bound(chunk.size()));
  frame.resize(compressor.compress_against(as_bytes(base), as_bytes(chunk), frame));
  ASSERT_FALSE(frame.empty());
  write(kFolder / "base", as_bytes(base));
  write(kFolder / "chunk", as_bytes(chunk));
  write(kFolder / "frame", frame);
  write(kFolder / "part", encode_stream_part(chunks()));
  write(kFolder / "index", encode_stream_index(index()));
  write(kFolder / "cuts", as_bytes(cuts()));

  const auto marked = [](unsigned kind, ByteView data) {
    Bytes bytes{static_cast<std::byte>(kind)};
    append(bytes, data);
    return bytes;
  };
  const fs::path corpus = "tests/fuzz/corpus";
  write(corpus / "fuzz_stream_map/part", marked(0, encode_stream_part(chunks())));
  write(corpus / "fuzz_stream_map/index", marked(1, encode_stream_index(index())));
  for (const unsigned minor : {14U, 15U, 16U}) {
    logical::TestingArchive archive(minor);
    archive.entries(3);
    archive.entry(1, "t", "TABLE", 2);
    archive.entry(2, "t", "TABLE DATA", 3, true, {1});
    archive.entry(3, "17", "BLOBS", 3);
    archive.data(2, {"1\n2\n", "\\.\n\n\n"});
    archive.large_objects(3, {{17, "x"}});
    write(corpus / fmt::format("fuzz_dump_archive/1.{}", minor), marked(5, as_bytes(archive.bytes())));
  }
}

TEST(StreamGolden, AChunkAgainstItsBaseStillReads) {
  const auto chunk = read("chunk");
  codec::BlockDecompressor decompressor;
  Bytes out(chunk.size());
  const auto decoded = decompressor.decompress_against(read("base"), read("frame"), out);
  ASSERT_TRUE(decoded) << decoded.failure().describe();
  EXPECT_EQ(out, chunk);
}

TEST(StreamGolden, PartAndIndexStillRead) {
  EXPECT_EQ(parse_stream_part(read("part")).value(), chunks());
  const auto parsed = parse_stream_index(read("index"));
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  EXPECT_EQ(encode_stream_index(*parsed), encode_stream_index(index()));
}

TEST(StreamGolden, ChunksStillEndWhereTheyDid) {
  const auto expected = read("cuts");
  EXPECT_EQ(cuts(), as_text(expected));
}

}  // namespace
}  // namespace pgmint::repository
