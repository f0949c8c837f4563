// Streams through a repository in memory: written, shared with the one before, read back, damaged.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/test_seed.h"
#include "logical/stream_reader.h"
#include "logical/stream_writer.h"
#include "repository/repository_fixture.h"

namespace pgmint::logical {
namespace {

using repository::PackId;
using repository::RecordLocation;

struct Written {
  RecordLocation index;
  StreamCounts counts;
  std::uint64_t stored = 0;
  repository::PackUse use;
};

class StreamTest : public testing::Test {
 protected:
  StreamTest() : random_(seed_), trace_(__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed_)) {}

  Written write(ByteView bytes, const Written* before = nullptr, const std::set<PackId>& leaving = {}, unsigned workers = 2) {
    auto& cluster = *fixture_.cluster;
    auto session = std::move(*repository::WriteSession::begin(cluster, std::nullopt));
    repository::PackBuffers buffers;
    const repository::PackSettings settings{cluster.context(), cluster.keys(), {codec::CodecId::Zstd, 1}, system_random(),
                                            [&] { return session->next_pack(); }, buffers, 1 << 20};
    const repository::PackSink upload = [&](repository::FinishedPack pack) { return session->upload(pack); };
    Guarded<repository::PackStream> maps(settings, repository::PackKind::Map, upload);
    Guarded<repository::DistinctRecords> records;
    const StreamShared shared{cluster.store(), settings, upload, cluster.keys(), workers, nullptr, maps, records};
    std::optional<Predecessor> predecessor;
    if (before != nullptr) {
      repository::RecordOpener opener(cluster.context(), cluster.keys());
      auto loaded = Predecessor::load(cluster.store(), cluster.context(), opener, before->index, leaving);
      EXPECT_TRUE(loaded) << loaded.failure().describe();
      predecessor = std::move(*loaded);
    }
    StreamWriter writer(shared, predecessor ? &*predecessor : nullptr);
    for (auto rest = bytes; !rest.empty();) {
      const auto piece = std::min<std::size_t>(rest.size(), 1 + random_.below(300'000));
      EXPECT_TRUE(writer.write(rest.first(piece)));
      rest = rest.subspan(piece);
    }
    auto index = writer.finish();
    EXPECT_TRUE(index) << index.failure().describe();
    EXPECT_TRUE(maps.with([](auto& stream) { return stream.close(); }));
    return {*index, writer.counts(), session->stored_bytes(), records.with([](auto& all) { return std::move(all).settle(); })};
  }

  Result<Bytes> read(const Written& written) {
    auto reader = TRY(StreamReader::open(*fixture_.cluster, written.index, 2, nullptr));
    return reader.read_all(std::size_t{1} << 30);
  }

  std::vector<repository::StreamChunk> chunks_of(const Written& written) {
    auto& cluster = *fixture_.cluster;
    repository::RecordOpener opener(cluster.context(), cluster.keys());
    std::vector<repository::StreamChunk> chunks;
    const auto index = repository::read_stream_index(cluster.store(), cluster.context(), opener, written.index);
    EXPECT_TRUE(index);
    EXPECT_TRUE(repository::walk_stream(cluster.store(), cluster.context(), opener, *index, [](const auto&) { return ok(); },
                                        [&](const auto& chunk) {
                                          chunks.push_back(chunk);
                                          return ok();
                                        }));
    return chunks;
  }

  /// Lines as COPY writes them.
  std::vector<std::string> rows(std::size_t count) {
    std::vector<std::string> lines;
    for (std::size_t i = 0; i < count; ++i) lines.push_back(row(i));
    return lines;
  }
  std::string row(std::size_t i) {
    return fmt::format("{}\t{:x}\t2026-11-{:02} {:02}:{:02}:00+00\t{}.{:02}\tpayment for order {}\n", i, random_.next(), 1 + i % 28, i % 24, i % 60,
                       random_.below(10'000), random_.below(100), random_.below(1'000'000));
  }
  /// An UPDATE of every hundredth row or so: the new versions stand at the end.
  void change(std::vector<std::string>& lines, std::size_t one_in) {
    std::vector<std::string> kept, added;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (random_.below(one_in) == 0) added.push_back(row(i));
      else kept.push_back(std::move(lines[i]));
    }
    lines = std::move(kept);
    lines.insert(lines.end(), added.begin(), added.end());
  }
  static Bytes joined(const std::vector<std::string>& lines) {
    std::string all;
    for (const auto& line : lines) all += line;
    return to_bytes(as_bytes(all));
  }

  std::uint64_t seed_ = test_seed();
  SeededRandom random_;
  testing::ScopedTrace trace_;
  repository::RepositoryFixture fixture_;
};

TEST_F(StreamTest, WhatIsWrittenIsReadWhateverItsLength) {
  for (const std::size_t length : {0, 1, 65'535, 65'536, 65'537, 1'048'576, 5'000'000}) {
    const auto bytes = random_bytes(random_, length);
    const auto written = write(bytes);
    EXPECT_EQ(read(written).value(), bytes) << length;
    EXPECT_EQ(written.counts.length, length);
  }
  const Bytes zeros(9'000'000, std::byte{0});  // no content to cut by
  EXPECT_EQ(read(write(zeros)).value(), zeros);
}

TEST_F(StreamTest, WhereChunksEndDoesNotHangOnThePieces) {
  const auto bytes = random_bytes(random_, 12'000'000);
  const auto cuts = [&](auto piece_size) {
    std::vector<std::size_t> ends;
    repository::ChunkCutter cutter;
    for (ByteView rest = bytes; !rest.empty();) {
      const auto size = std::min<std::size_t>(rest.size(), piece_size());
      for (auto piece = rest.first(size); !piece.empty();)
        if (cutter.take(piece)) ends.push_back(bytes.size() - rest.size() + size - piece.size());
      rest = rest.subspan(size);
    }
    return ends;
  };
  const auto whole = cuts([] { return std::size_t{1} << 30; });
  EXPECT_GT(whole.size(), 20U);
  EXPECT_LT(whole.size(), 100U);
  EXPECT_EQ(cuts([&] { return 1 + random_.below(100); }), whole);
  EXPECT_EQ(cuts([&] { return 1 + random_.below(200'000); }), whole);
  EXPECT_EQ(cuts([] { return std::size_t{65'536}; }), whole);
}

TEST_F(StreamTest, TheSameAgainStoresNextToNothing) {
  const auto bytes = joined(rows(100'000));
  const auto first = write(bytes);
  const auto second = write(bytes, &first);
  EXPECT_EQ(second.counts.shared, bytes.size());
  EXPECT_LT(second.stored, 4'000U);
  EXPECT_EQ(read(second).value(), bytes);
}

TEST_F(StreamTest, OneRowInAHundredChangedStoresAFewPerCent) {
  auto lines = rows(200'000);
  const auto first = write(joined(lines));
  change(lines, 100);
  const auto second = write(joined(lines), &first);
  EXPECT_EQ(read(second).value(), joined(lines));
  EXPECT_LT(second.stored, first.stored / 20) << second.counts.shared << " shared, " << second.counts.resembling << " resembling";
  EXPECT_GT(second.counts.shared + second.counts.resembling, second.counts.length * 9 / 10);
}

TEST_F(StreamTest, OverManyDumpsAChunkNeverTakesMoreThanFourRecords) {
  auto lines = rows(60'000);
  auto last = write(joined(lines));
  const auto first = last;
  for (int day = 0; day < 12; ++day) {
    change(lines, 20);
    last = write(joined(lines), &last);
    EXPECT_EQ(read(last).value(), joined(lines));
    for (const auto& chunk : chunks_of(last))
      for (const auto& base : chunk.bases) EXPECT_EQ(base.type, repository::RecordType::StreamChunk);
    EXPECT_LT(last.stored, first.stored);
  }
}

TEST_F(StreamTest, TheAccountHasEachRecordOnce) {
  auto lines = rows(50'000);
  const auto first = write(joined(lines));
  change(lines, 100);
  const auto second = write(joined(lines), &first);
  for (const auto* written : {&first, &second}) {
    auto& cluster = *fixture_.cluster;
    repository::RecordOpener opener(cluster.context(), cluster.keys());
    repository::DistinctRecords records;
    const auto index = repository::read_stream_index(cluster.store(), cluster.context(), opener, written->index);
    ASSERT_TRUE(repository::note_stream(cluster.store(), cluster.context(), opener, *index, records));
    records.add(written->index);
    EXPECT_EQ(std::move(records).settle(), written->use);
  }
}

TEST_F(StreamTest, NothingStaysInAPackThatIsToBeEmptied) {
  auto lines = rows(60'000);
  const auto first = write(joined(lines));
  std::set<PackId> leaving;
  for (const auto& [pack, bytes] : first.use.packs()) leaving.insert(pack);
  leaving.erase(leaving.begin());
  change(lines, 100);
  const auto second = write(joined(lines), &first, leaving);
  for (const auto& [pack, bytes] : second.use.packs()) EXPECT_FALSE(leaving.contains(pack));
  EXPECT_EQ(read(second).value(), joined(lines));
}

TEST_F(StreamTest, PartsAreReadAlone) {
  const auto bytes = random_bytes(random_, 7'000'000);
  const auto written = write(bytes);
  auto reader = StreamReader::open(*fixture_.cluster, written.index, 2, nullptr);
  ASSERT_TRUE(reader);
  for (int round = 0; round < 50; ++round) {
    std::vector<StreamRange> ranges;
    Bytes expected;
    for (std::uint64_t at = random_.below(100'000); at < bytes.size();) {
      const auto length = std::min<std::uint64_t>(random_.below(2) == 0 ? random_.below(1'000) : random_.below(3'000'000), bytes.size() - at);
      ranges.push_back({at, length});
      append(expected, ByteView(bytes).subspan(at, length));
      at += length + random_.below(1'500'000);
    }
    Bytes got;
    ASSERT_TRUE(reader->read(ranges, [&](ByteView piece) -> Result<bool> {
      append(got, piece);
      return true;
    }));
    EXPECT_EQ(got, expected);
  }
  EXPECT_EQ(reader->read({{bytes.size(), 1}}, [](ByteView) -> Result<bool> { return true; }).failure().code(), Errc::Corruption);
}

TEST_F(StreamTest, AReaderMayStopAndASinkMayFail) {
  const auto written = write(random_bytes(random_, 9'000'000));
  auto reader = StreamReader::open(*fixture_.cluster, written.index, 2, nullptr);
  ASSERT_TRUE(reader);
  int pieces = 0;
  EXPECT_TRUE(reader->read([&](ByteView) -> Result<bool> { return ++pieces < 3; }));
  EXPECT_EQ(pieces, 3);
  EXPECT_EQ(reader->read([](ByteView) -> Result<bool> { return Error(Errc::Postgres, "gone"); }).failure().code(), Errc::Postgres);
}

TEST_F(StreamTest, DamageAnywhereIsAnErrorAndNeverOtherBytes) {
  auto lines = rows(20'000);
  const auto first = write(joined(lines));
  change(lines, 100);
  const auto second = write(joined(lines), &first);
  const auto expected = joined(lines);
  for (const auto& [pack, used] : second.use.packs()) {
    const auto name = repository::pack_name(fixture_.cluster->id(), pack);
    const auto whole = fixture_.memory->read(name, 64 << 20).value().value();
    for (int round = 0; round < 40; ++round) {
      auto damaged = whole;
      damaged[random_.below(damaged.size())] ^= std::byte{1};
      ASSERT_TRUE(fixture_.memory->remove(name));
      ASSERT_TRUE(fixture_.memory->create(name, damaged));
      const auto got = read(second);
      if (got) {
        EXPECT_EQ(*got, expected);
      } else {
        EXPECT_EQ(got.failure().code(), Errc::Corruption) << got.failure().describe();
      }
    }
    ASSERT_TRUE(fixture_.memory->remove(name));
    EXPECT_EQ(read(second).failure().code(), Errc::NotFound);
    ASSERT_TRUE(fixture_.memory->create(name, whole));
  }
  EXPECT_EQ(read(second).value(), expected);
}

TEST_F(StreamTest, AStoreThatFailsEndsTheWriter) {
  auto& cluster = *fixture_.cluster;
  auto session = std::move(*repository::WriteSession::begin(cluster, std::nullopt));
  repository::PackBuffers buffers;
  const repository::PackSettings settings{cluster.context(), cluster.keys(), {codec::CodecId::Zstd, 1}, system_random(), [&] { return session->next_pack(); }, buffers, 1 << 20};
  const repository::PackSink upload = [](const repository::FinishedPack&) -> Status { return Error(Errc::Storage, "the store is away"); };
  Guarded<repository::PackStream> maps(settings, repository::PackKind::Map, upload);
  Guarded<repository::DistinctRecords> records;
  const StreamShared shared{cluster.store(), settings, upload, cluster.keys(), 2, nullptr, maps, records};
  StreamWriter writer(shared, nullptr);
  const auto piece = random_bytes(random_, 1 << 20);
  Status written = ok();
  for (int i = 0; i < 200 && written; ++i) written = writer.write(piece);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.failure().code(), Errc::Storage);
}

}  // namespace
}  // namespace pgmint::logical
