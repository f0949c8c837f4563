#include "postgres/wal_summary.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>

#include "base/random.h"
#include "base/test_seed.h"
#include "codec/compression.h"
#include "postgres/change_collector.h"
#include "postgres/data_directory.h"
#include "postgres/history.h"
#include "postgres/test_server.h"

namespace pgmint::postgres {
namespace {

using testing::TestServer;
using BlockSet = std::set<std::pair<RelationFork, BlockNumber>>;

struct Segment {
  std::string name;
  SegmentNumber number;
  Bytes bytes;
};

/// What pg_waldump says about a range, line by line.
struct Dump {
  BlockSet blocks;
  std::set<RelationFork> created;                 ///< Storage CREATE
  std::map<RelationFork, BlockNumber> truncated;  ///< Storage TRUNCATE, the main fork's lowest
  std::vector<std::pair<Lsn, std::string>> commits;
  std::size_t records = 0;
};

RelationFork fork_named(const std::string& name, RelationLocator locator) {
  Fork fork = Fork::Main;
  if (name == "fsm") fork = Fork::FreeSpaceMap;
  if (name == "vm") fork = Fork::VisibilityMap;
  if (name == "init") fork = Fork::Init;
  return {locator, fork};
}

Dump parse_dump(const std::string& text) {
  Dump dump;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    unsigned a, b, c, block;
    char fork[16];
    if (auto at = line.find("rel ");
        line.find("blkref #") != std::string::npos && at != std::string::npos &&
        std::sscanf(line.c_str() + at, "rel %u/%u/%u fork %15s blk %u", &a, &b, &c, fork, &block) == 5)
      dump.blocks.insert({fork_named(fork, {Oid(a), Oid(b), Oid(c)}), block});
    if (!line.starts_with("rmgr: ")) continue;
    ++dump.records;
    auto lsn = parse_lsn(line.substr(line.find("lsn: ") + 5, line.find(", prev") - line.find("lsn: ") - 5)).value();
    auto description = line.substr(line.find("desc: ") + 6);
    if (line.starts_with("rmgr: Storage")) {
      // "CREATE base/5/16384_fsm", "TRUNCATE base/5/16384 to 0 blocks flags 7"
      auto path = description.substr(description.find(' ') + 1);
      path = path.substr(0, path.find(' '));
      auto segment = relation_of_path(path).value();
      if (description.starts_with("CREATE")) dump.created.insert({segment.locator, segment.fork});
      if (description.starts_with("TRUNCATE")) {
        std::sscanf(description.c_str() + description.find(" to "), " to %u", &block);
        auto [entry, is_new] = dump.truncated.try_emplace({segment.locator, Fork::Main}, block);
        if (!is_new) entry->second = std::min(entry->second, block);
      }
    }
    if (line.starts_with("rmgr: Transaction") && description.starts_with("COMMIT"))
      dump.commits.emplace_back(lsn, description);
  }
  return dump;
}

BlockSet as_set(const std::vector<ForkBlocks>& forks) {
  BlockSet set;
  for (const auto& fork : forks)
    for (auto block : fork.blocks) set.insert({fork.where, block});
  return set;
}

std::string describe(const BlockSet& set) {
  std::string text;
  for (const auto& [where, block] : set)
    text += fmt::format(" {}/{}/{}.{}:{}", where.locator.tablespace.value(), where.locator.database.value(),
                        where.locator.relation.value(), static_cast<int>(where.fork), block);
  return text.substr(0, 500);
}

BlockSet minus(const BlockSet& a, const BlockSet& b) {
  BlockSet result;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(result, result.end()));
  return result;
}

/// WAL of a busy little server with small segments: records over many segments, all kinds that a summary must know.
class WalOfEachMajor : public ::testing::TestWithParam<int> {
 public:
  static void TearDownTestSuite() { made_.clear(); }

 protected:
  struct Made {
    WalSegmentSize size = WalSegmentSize::default_size();
    std::vector<Segment> segments;
    Dump dump;
    std::string two_phase_xid, dropped_table, dropped_xid;
    Lsn restore_point;
  };

  static const Made& wal() {
    auto& made = made_[GetParam()];
    if (!made) made = std::make_unique<Made>(make());
    return *made;
  }

  static std::vector<WalSummary> summaries() {
    std::vector<WalSummary> result;
    for (const auto& segment : wal().segments)
      result.push_back(summarize_segment(segment.bytes, TimelineId(1), segment.number, wal().size));
    return result;
  }

  static ChangeSet merge(const std::vector<WalSummary>& summaries) {
    SummaryMerger merger;
    for (const auto& summary : summaries) merger.add(summary);
    return std::move(merger).finish();
  }

 private:
  static void work(const TestServer& server, Made& made) {
    server.sql({"CREATE TABLE t (id int PRIMARY KEY, body text)",
                "INSERT INTO t SELECT n, repeat('x', 300) FROM generate_series(1, 8000) n", "CHECKPOINT",
                "UPDATE t SET body = 'y' WHERE id % 7 = 0", "CREATE INDEX ON t USING gin (to_tsvector('simple', body))",
                "CREATE INDEX ON t USING hash (body)", "CREATE INDEX ON t USING brin (id)", "CREATE SEQUENCE s",
                "SELECT nextval('s')", "CREATE UNLOGGED TABLE u AS SELECT * FROM t", "DELETE FROM t WHERE id > 6000",
                "VACUUM t", "ANALYZE"});
    // Larger than several segments: its parts must come together again.
    server.sql({"SELECT pg_logical_emit_message(true, 'big', repeat('m', 3500000))",
                "SELECT pg_logical_emit_message(false, 'big', repeat('n', 1100000))"});
    server.sql({"SET wal_compression = on", "CHECKPOINT", "UPDATE t SET body = body || 'z' WHERE id < 3000"});
    // A drop list of several pages in one commit record, and the same as a rollback.
    std::string many =
        "DO $$ BEGIN FOR n IN 1..400 LOOP EXECUTE 'CREATE TABLE many_' || n || ' (a int)'; END LOOP; END $$";
    std::string drop = "DO $$ BEGIN FOR n IN 1..400 LOOP EXECUTE 'DROP TABLE many_' || n; END LOOP; END $$";
    server.sql({many, drop, "BEGIN", many, "ROLLBACK"});
    server.sql({"CREATE DATABASE copied TEMPLATE template0", "DROP DATABASE copied"});
    if (server.major() >= 15) server.sql({"CREATE DATABASE filed TEMPLATE template0 STRATEGY file_copy"});
    made.restore_point = parse_lsn(server.value("SELECT pg_create_restore_point('before the drop')")).value();
    made.dropped_table = server.value("SELECT pg_relation_filenode('public.u')");
    server.sql({"CREATE TABLE p (a int)", "BEGIN", "INSERT INTO public.p VALUES (1)", "PREPARE TRANSACTION 'gid'"});
    made.two_phase_xid = server.value("SELECT transaction::text FROM pg_prepared_xacts");
    server.sql({"COMMIT PREPARED 'gid'", "TRUNCATE t", "DROP TABLE u"});
  }

  static Made make() {
    TestServer server({.major = GetParam(),
                       .initdb = {"--wal-segsize=1"},
                       .configuration =
                           "max_prepared_transactions = 2\nautovacuum = off\nmax_wal_size = 2GB\nmin_wal_size = 2MB\n"
                           "wal_recycle = off\nmax_locks_per_transaction = 256"});
    server.start();
    Made made;
    made.size = WalSegmentSize::of(1 << 20).value();
    // initdb's own segments are gone in part.
    auto first = segment_before(parse_lsn(server.value("SELECT pg_switch_wal()")).value(), made.size);
    first = next(first);
    work(server, made);
    auto last = segment_before(parse_lsn(server.value("SELECT pg_switch_wal()")).value(), made.size);
    server.sql({"CREATE TABLE after_switch (a int)"});
    for (auto n = first; n <= last; n = next(n)) {
      auto name = segment_file_name(TimelineId(1), n, made.size);
      made.segments.push_back({name, n, read_file(server.data_directory() / "pg_wal" / name, 1 << 20).value()});
    }
    // --end is a record's start: everything that starts before the end of the last segment.
    made.dump =
        parse_dump(server.run("pg_waldump",
                              {"-b", "-p", (server.data_directory() / "pg_wal").string(), "-s",
                               format(start_of(first, made.size)), "-e", format(start_of(next(last), made.size))},
                              0));
    return made;
  }
  static std::map<int, std::unique_ptr<Made>> made_;
};
std::map<int, std::unique_ptr<WalOfEachMajor::Made>> WalOfEachMajor::made_;

TEST_P(WalOfEachMajor, JoinedSummariesNameExactlyTheBlocksOfPgWaldump) {
  auto list = summaries();
  for (const auto& summary : list) EXPECT_EQ(summary.void_reason, std::nullopt) << summary.segment.value();
  auto changes = merge(list);
  ASSERT_EQ(changes.void_reason, std::nullopt);
  auto mine = as_set(changes.blocks);
  ASSERT_GT(wal().dump.blocks.size(), 500U);
  EXPECT_EQ(describe(minus(wal().dump.blocks, mine)), "") << "missed";
  EXPECT_EQ(describe(minus(mine, wal().dump.blocks)), "") << "made up";
}

TEST_P(WalOfEachMajor, SmallRecordsOverSegmentEdgesAreJoined) {
  // Guards the test data: without such records the joining would not be tested.
  std::size_t trailing = 0, continuing = 0;
  for (const auto& summary : summaries()) {
    trailing += summary.trailing.has_value();
    continuing += summary.leading_continues;
  }
  EXPECT_GT(trailing, 3U);
  EXPECT_GT(continuing, 1U);
}

TEST_P(WalOfEachMajor, LimitsFollowStorageRecords) {
  auto changes = merge(summaries());
  std::map<RelationFork, BlockNumber> limits;
  for (const auto& limit : changes.limits) limits[limit.where] = limit.limit;
  ASSERT_GT(wal().dump.created.size(), 400U);
  for (const auto& fork : wal().dump.created) EXPECT_EQ(limits.count(fork), 1U) << fork.locator.relation.value();
  for (const auto& fork : wal().dump.created)
    if (limits.count(fork) != 0) {
      EXPECT_EQ(limits[fork], 0U);
    }
  for (const auto& [fork, block] : wal().dump.truncated) EXPECT_LE(limits.at(fork), block);
  EXPECT_TRUE(std::any_of(changes.limits.begin(), changes.limits.end(),
                          [](const auto& limit) { return limit.where.locator.relation == Oid(0); }));
}

TEST_P(WalOfEachMajor, CommitsRestorePointsAndDropsAreFound) {
  auto changes = merge(summaries());
  ASSERT_TRUE(changes.first_commit && changes.last_commit);
  EXPECT_LT(changes.first_commit->time, changes.last_commit->time);
  // "COMMIT 2026-11-25 22:54:41.123456 UTC"
  auto said = wal().dump.commits.back().second;
  EXPECT_NE(said.find(format_postgres(changes.last_commit->time).substr(0, 22)), std::string::npos) << said;
  ASSERT_EQ(changes.restore_points.size(), 1U);
  EXPECT_EQ(changes.restore_points[0].name, "before the drop");
  EXPECT_EQ(changes.restore_points[0].end, wal().restore_point);
  auto dropped = std::find_if(changes.events.begin(), changes.events.end(), [&](const RelationEvent& event) {
    return event.kind == RelationEvent::Kind::Drop &&
           std::to_string(event.locator.relation.value()) == wal().dropped_table;
  });
  ASSERT_NE(dropped, changes.events.end());
  EXPECT_EQ(dropped->start, wal().dump.commits.back().first);
  EXPECT_EQ(dropped->time, changes.last_commit->time);
  EXPECT_EQ(std::count_if(changes.events.begin(), changes.events.end(),
                          [](const auto& event) { return event.kind == RelationEvent::Kind::DatabaseDrop; }),
            1);
}

TEST_P(WalOfEachMajor, TwoPhaseCommitHasItsOwnTransaction) {
  std::set<std::string> committed;
  for (const auto& segment : wal().segments) {
    WalSegmentReader reader(TimelineId(1), segment.number, wal().size, {}, [&](const WalRecord& record) {
      ChangeCollector one(*find_version(GetParam()));
      one.add(record);
      if (one.last_commit) committed.insert(std::to_string(one.last_commit->xid.value()));
    });
    ASSERT_TRUE(reader.feed(segment.bytes));
  }
  EXPECT_EQ(committed.count(wal().two_phase_xid), 1U) << wal().two_phase_xid;
}

TEST_P(WalOfEachMajor, PiecesOfAnySizeGiveTheSameSummary) {
  SeededRandom random(static_cast<std::uint64_t>(GetParam()));
  for (const auto& segment : wal().segments) {
    SegmentSummarizer summarizer(TimelineId(1), segment.number, wal().size);
    for (ByteView left = segment.bytes; !left.empty();) {
      auto piece = std::min<std::size_t>(left.size(), 1 + random.below(30000));
      summarizer.feed(left.first(piece));
      left = left.subspan(piece);
    }
    EXPECT_EQ(std::move(summarizer).finish(),
              summarize_segment(segment.bytes, TimelineId(1), segment.number, wal().size));
  }
}

TEST_P(WalOfEachMajor, EncodingRoundTripsAndIsSmall) {
  std::size_t wal_bytes = 0, encoded_bytes = 0;
  for (const auto& summary : summaries()) {
    auto encoded = encode_summary(summary);
    auto decoded = decode_summary(encoded);
    ASSERT_TRUE(decoded) << decoded.failure().describe();
    EXPECT_EQ(*decoded, summary);
    wal_bytes += wal().size.bytes();
    encoded_bytes += encoded.size();
  }
  EXPECT_LT(encoded_bytes, wal_bytes / 20);
}

TEST_P(WalOfEachMajor, AMissingSegmentOrAnotherClustersVoidsTheRange) {
  auto list = summaries();
  for (std::size_t missing = 1; missing + 1 < list.size(); ++missing) {
    auto holed = list;
    holed.erase(holed.begin() + static_cast<std::ptrdiff_t>(missing));
    EXPECT_NE(merge(holed).void_reason, std::nullopt) << missing;
  }
  auto foreign = list;
  foreign[2].system_identifier = SystemIdentifier(1);
  EXPECT_NE(merge(foreign).void_reason, std::nullopt);
  EXPECT_NE(merge({}).void_reason, std::nullopt);
}

TEST_P(WalOfEachMajor, ABrokenChainOrFragmentVoidsTheRange) {
  auto list = summaries();
  SeededRandom random(4);
  for (std::size_t n = 0; n + 1 < list.size(); ++n) {
    if (is_valid(list[n + 1].first_previous)) {
      auto broken = list;
      broken[n + 1].first_previous = Lsn(list[n + 1].first_previous.value() - 8);
      EXPECT_NE(merge(broken).void_reason, std::nullopt) << n;
    }
    if (!list[n].trailing) continue;
    auto damaged = list;
    damaged[n].trailing->crc.value ^= 1U << random.below(32);
    EXPECT_NE(merge(damaged).void_reason, std::nullopt) << n;
    auto cut = list;
    cut[n].trailing.reset();
    EXPECT_NE(merge(cut).void_reason, std::nullopt) << n;
  }
}

TEST_P(WalOfEachMajor, FlippedBytesVoidTheSummaryOrChangeNothing) {
  SeededRandom random(static_cast<std::uint64_t>(GetParam()) * 31);
  const auto& segment = wal().segments[2];
  auto good = summarize_segment(segment.bytes, TimelineId(1), segment.number, wal().size);
  int voided = 0;
  for (int round = 0; round < 300; ++round) {
    Bytes bad = segment.bytes;
    auto at = random.below(bad.size());
    bad[at] ^= static_cast<std::byte>(1U << random.below(8));
    auto summary = summarize_segment(bad, TimelineId(1), segment.number, wal().size);
    if (summary.void_reason) {
      ++voided;
      continue;
    }
    // Padding, or a fragment: that is found when its parts are joined.
    EXPECT_EQ(summary.blocks, good.blocks) << "byte " << at;
    EXPECT_EQ(summary.limits, good.limits) << "byte " << at;
  }
  EXPECT_GT(voided, 200);
}

/// As `wal push` feeds it: a piece is compressed, and what the codec found out about it goes along. @return what was proven, bytes
WalSummary summarize_beside_the_codec(ByteView bytes, SegmentNumber number, WalSegmentSize size, std::uint64_t& proven_bytes) {
  constexpr std::size_t kPiece = 256 << 10;
  codec::Compressor compressor({codec::CodecId::WalZstd, 1});
  Bytes packed(codec::Compressor::bound(kPiece));
  SegmentSummarizer summarizer(TimelineId(1), number, size);
  for (ByteView left = bytes; !left.empty(); left = left.subspan(std::min(left.size(), kPiece))) {
    const auto piece = left.first(std::min(left.size(), kPiece));
    const auto proven = compressor.compress(piece, packed).proven;
    proven_bytes += proven.to - proven.from;
    summarizer.feed(piece, proven);
  }
  return std::move(summarizer).finish();
}

TEST_P(WalOfEachMajor, ChecksumsThatTheCodecProvedNeedNoSecondLook) {
  std::uint64_t proven = 0, all = 0;
  for (const auto& segment : wal().segments) {
    EXPECT_EQ(summarize_beside_the_codec(segment.bytes, segment.number, wal().size, proven),
              summarize_segment(segment.bytes, TimelineId(1), segment.number, wal().size));
    all += segment.bytes.size();
  }
  EXPECT_GT(proven, all / 4) << "most of the rest is one long message";
}

TEST_P(WalOfEachMajor, DamageIsFoundBesideTheCodecAsWithoutIt) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  const auto page = std::uint64_t{8192};
  std::uint64_t proven = 0;
  int voided = 0;
  for (int round = 0; round < 200; ++round) {
    const auto& segment = wal().segments[random.below(wal().segments.size())];
    Bytes bad = segment.bytes;
    for (auto flips = 1 + random.below(3); flips != 0; --flips) {
      auto at = random.below(bad.size());
      // Often a page's header: flags that end a record early, lengths of what goes on.
      if (random.below(3) == 0) at = at / page * page + random.below(24);
      bad[at] ^= static_cast<std::byte>(1U << random.below(8));
    }
    const auto expected = summarize_segment(bad, TimelineId(1), segment.number, wal().size);
    ASSERT_EQ(summarize_beside_the_codec(bad, segment.number, wal().size, proven), expected) << "round " << round;
    voided += expected.void_reason ? 1 : 0;
  }
  EXPECT_GT(voided, 100);
}

TEST_P(WalOfEachMajor, WhatIsProvenOfOtherRecordsProvesNothing) {
  // A chain that this reading never comes upon: its first record would begin inside of another.
  SeededRandom random(static_cast<std::uint64_t>(GetParam()) * 57);
  const auto& segment = wal().segments[2];
  for (int round = 0; round < 100; ++round) {
    Bytes bad = segment.bytes;
    bad[random.below(bad.size())] ^= std::byte{0x20};
    const auto from = start_of(segment.number, wal().size).value() + 4 + 8 * random.below(1000);
    SegmentSummarizer summarizer(TimelineId(1), segment.number, wal().size);
    summarizer.feed(bad, {from, from + bad.size()});
    EXPECT_EQ(std::move(summarizer).finish(), summarize_segment(bad, TimelineId(1), segment.number, wal().size));
  }
}

TEST_P(WalOfEachMajor, ShortAndForeignSegmentsAreVoid) {
  const auto& segment = wal().segments[1];
  auto half = summarize_segment(ByteView(segment.bytes).first(segment.bytes.size() / 2), TimelineId(1), segment.number,
                                wal().size);
  EXPECT_NE(half.void_reason, std::nullopt);
  EXPECT_NE(summarize_segment({}, TimelineId(1), segment.number, wal().size).void_reason, std::nullopt);
  EXPECT_NE(summarize_segment(segment.bytes, TimelineId(1), SegmentNumber(77), wal().size).void_reason, std::nullopt);
  EXPECT_EQ(summarize_segment(segment.bytes, TimelineId(2), segment.number, wal().size).void_reason, std::nullopt)
      << "a new timeline's copy begins with pages of the old one";
}

TEST_P(WalOfEachMajor, SegmentHeaderTellsWhoseWalItIs) {
  const auto& segment = wal().segments[1];
  auto header = wal_segment_header(segment.bytes).value();
  EXPECT_EQ(header.version->major, GetParam());
  EXPECT_EQ(header.segment_size, wal().size);
  EXPECT_EQ(header.address, start_of(segment.number, wal().size));
  auto name = parse_wal_file_name(segment.name, wal().size).value();
  EXPECT_TRUE(check_segment_identity(header, name, wal().size, header.system_identifier));
  EXPECT_EQ(check_segment_identity(header, name, wal().size, SystemIdentifier(5)).failure().code(), Errc::Precondition);
  name.segment = next(name.segment);
  EXPECT_EQ(check_segment_identity(header, name, wal().size, std::nullopt).failure().code(), Errc::Corruption);
}

INSTANTIATE_TEST_SUITE_P(Majors, WalOfEachMajor, ::testing::ValuesIn(testing::installed_majors()),
                         [](const auto& name) { return std::to_string(name.param); });

/// All complete segments of a timeline, from the first that exists.
std::vector<WalSummary> summarize_all(const fs::path& wal, TimelineId timeline, SegmentNumber first, SegmentNumber last,
                                      WalSegmentSize size) {
  std::vector<WalSummary> result;
  for (auto n = first; n <= last; n = next(n)) {
    auto bytes = read_file(wal / segment_file_name(timeline, n, size), 1 << 30);
    EXPECT_TRUE(bytes) << bytes.failure().describe();
    if (bytes) result.push_back(summarize_segment(*bytes, timeline, n, size));
  }
  return result;
}

ChangeSet merge_all(const std::vector<WalSummary>& summaries) {
  SummaryMerger merger;
  for (const auto& summary : summaries) merger.add(summary);
  return std::move(merger).finish();
}

const WalSegmentSize kMebibyte = WalSegmentSize::of(1 << 20).value();

TEST(SummaryMerger, RecordAbandonedInACrashIsDropped) {
  // As PostgreSQL's own 026_overwrite_contrecord.pl: the segments with the end of a record are lost in a crash.
  TestServer server(
      {.initdb = {"--wal-segsize=1"}, .configuration = "autovacuum = off\nwal_recycle = off\nmin_wal_size = 2MB"});
  server.start();
  server.sql({"CREATE TABLE t (a int)", "CHECKPOINT"});
  auto first = next(segment_before(parse_lsn(server.value("SELECT pg_switch_wal()")).value(), kMebibyte));
  auto begun = parse_lsn(server.value("SELECT pg_current_wal_insert_lsn()")).value();
  server.sql({"SELECT pg_logical_emit_message(true, 'big', repeat('m', 2500000))"});
  auto end = parse_lsn(server.value("SELECT pg_current_wal_insert_lsn()")).value();
  server.stop("immediate");
  // Keep the segment where the big record begins; lose those where it goes on.
  auto kept = segment_of(begun, kMebibyte);
  auto wal = server.data_directory() / "pg_wal";
  for (auto n = next(kept); n <= segment_of(end, kMebibyte); n = next(n))
    fs::remove(wal / segment_file_name(TimelineId(1), n, kMebibyte));
  server.start();
  server.sql({"INSERT INTO t VALUES (1)"});
  auto last = segment_before(parse_lsn(server.value("SELECT pg_switch_wal()")).value(), kMebibyte);
  auto summaries = summarize_all(wal, TimelineId(1), first, last, kMebibyte);
  auto overwriting =
      std::find_if(summaries.begin(), summaries.end(), [](const auto& s) { return s.overwrites_fragment; });
  ASSERT_NE(overwriting, summaries.end()) << "the server wrote no OVERWRITE_CONTRECORD";
  ASSERT_NE(overwriting, summaries.begin());
  EXPECT_TRUE(std::prev(overwriting)->trailing);
  auto changes = merge_all(summaries);
  EXPECT_EQ(changes.void_reason, std::nullopt);
  EXPECT_FALSE(changes.blocks.empty());
  // Without that mark the fragment would be missed.
  auto unmarked = summaries;
  unmarked[static_cast<std::size_t>(overwriting - summaries.begin())].overwrites_fragment = false;
  EXPECT_NE(merge_all(unmarked).void_reason, std::nullopt);
}

TEST(SummaryMerger, FollowsAPromotionIntoTheNewTimeline) {
  TestServer primary(
      {.initdb = {"--wal-segsize=1"}, .configuration = "autovacuum = off\nwal_recycle = off\nmin_wal_size = 2MB"});
  primary.start();
  primary.sql({"CREATE TABLE t (a int)"});
  auto standby = primary.make_standby();
  standby->start();
  auto first = next(segment_before(parse_lsn(primary.value("SELECT pg_switch_wal()")).value(), kMebibyte));
  primary.sql({"INSERT INTO t SELECT generate_series(1, 20000)"});
  auto middle = primary.value("SELECT pg_current_wal_insert_lsn()");
  auto caught_up = fmt::format("SELECT pg_last_wal_replay_lsn() >= '{}'", middle);
  for (int tries = 0; tries < 2000 && standby->value(caught_up) != "t"; ++tries) {
  }
  primary.stop();
  standby->run("pg_ctl", {"-D", standby->data_directory().string(), "-w", "promote"});
  standby->sql({"INSERT INTO t SELECT generate_series(1, 20000)"});
  auto last = segment_before(parse_lsn(standby->value("SELECT pg_switch_wal()")).value(), kMebibyte);
  auto wal = standby->data_directory() / "pg_wal";
  auto text = read_text_file(wal / "00000002.history", 1 << 20).value();
  auto history = TimelineHistory::parse(TimelineId(2), text).value();
  auto left = segment_of(*history.switch_point(TimelineId(1)), kMebibyte);
  ASSERT_GT(left, first);
  auto summaries = summarize_all(wal, TimelineId(1), first, *previous(left), kMebibyte);
  for (auto& summary : summarize_all(wal, TimelineId(2), left, last, kMebibyte)) summaries.push_back(summary);
  auto changes = merge_all(summaries);
  EXPECT_EQ(changes.void_reason, std::nullopt);
  auto dump = parse_dump(
      standby->run("pg_waldump", {"-b", "-t", "2", "-p", wal.string(), "-s", format(start_of(left, kMebibyte)), "-e",
                                  format(start_of(next(last), kMebibyte))}));
  EXPECT_EQ(describe(minus(dump.blocks, as_set(changes.blocks))), "");
}

TEST(ChangeCollector, MinimalWalLevelVoids) {
  TestServer server(
      {.initdb = {"--wal-segsize=1"}, .configuration = "wal_level = minimal\nmax_wal_senders = 0\nwal_recycle = off"});
  server.start();
  server.sql({"CREATE TABLE t (a int)"});
  auto last = segment_before(parse_lsn(server.value("SELECT pg_switch_wal()")).value(), kMebibyte);
  auto summary = summarize_all(server.data_directory() / "pg_wal", TimelineId(1), last, last, kMebibyte);
  ASSERT_EQ(summary.size(), 1U);
  ASSERT_TRUE(summary[0].void_reason);
  EXPECT_NE(summary[0].void_reason->find("minimal"), std::string::npos) << *summary[0].void_reason;
}

WalRecord record_of(std::uint8_t rmgr, std::uint8_t info, ByteView data = {}) {
  WalRecord record{.start = Lsn(64), .end = Lsn(128), .header = {}, .layout = {}, .main_data = data};
  record.header.rmgr = rmgr;
  record.header.info = info;
  record.layout.main_data_length = static_cast<std::uint32_t>(data.size());
  return record;
}

TEST(ChangeCollector, WhatItDoesNotKnowVoids) {
  auto reason = [](int major, const WalRecord& record) {
    ChangeCollector collector(*find_version(major));
    collector.add(record);
    return collector.void_reason;
  };
  EXPECT_TRUE(reason(15, record_of(128, 0)));     // an extension's resource manager
  EXPECT_TRUE(reason(15, record_of(22, 0)));      // one that a later major may add
  EXPECT_TRUE(reason(15, record_of(10, 0x01)));   // a heap record with XLR_SPECIAL_REL_UPDATE
  EXPECT_TRUE(reason(15, record_of(2, 0x30)));    // an unknown storage record
  EXPECT_TRUE(reason(15, record_of(2, 0x10)));    // a storage record whose data was not kept
  EXPECT_TRUE(reason(15, record_of(4, 0x30)));    // an unknown database record
  EXPECT_FALSE(reason(15, record_of(10, 0x00)));  // an ordinary heap record
  Bytes drop(12);
  drop[4] = std::byte{1};
  EXPECT_TRUE(reason(15, record_of(4, 0x20, ByteView(drop).first(8)))) << "a list of tablespaces cut short";
  EXPECT_FALSE(reason(15, record_of(4, 0x20, drop)));
}

TEST(ChangeCollector, DatabaseCodesAreThoseOfTheMajor) {
  // 0x10 is DROP in 13 and CREATE_WAL_LOG from 15 on.
  Bytes data(12);
  data[0] = std::byte{5};
  data[4] = std::byte{1};
  data[8] = std::byte{9};
  auto kind = [&](int major) {
    ChangeCollector collector(*find_version(major));
    collector.add(record_of(4, 0x10, data));
    return collector.events.at(0).kind;
  };
  EXPECT_EQ(kind(13), RelationEvent::Kind::DatabaseDrop);
  EXPECT_EQ(kind(14), RelationEvent::Kind::DatabaseDrop);
  EXPECT_EQ(kind(15), RelationEvent::Kind::DatabaseCreate);
}

/// Writes the small well-formed inputs of tests/fuzz/corpus.
TEST_P(WalOfEachMajor, DISABLED_WriteFuzzCorpus) {
  fs::path corpus = "tests/fuzz/corpus";
  auto write = [&](const std::string& target, const std::string& name, ByteView bytes) {
    fs::create_directories(corpus / target);
    ASSERT_TRUE(write_file_durably(corpus / target / name, bytes, 0644));
  };
  auto list = summaries();
  for (std::size_t n : {std::size_t{0}, list.size() / 2}) {
    const auto& segment = wal().segments[n];
    write("fuzz_wal_segment", fmt::format("pg{}-{}", GetParam(), n), ByteView(segment.bytes).first(24576));
    write("fuzz_wal_summary", fmt::format("pg{}-{}", GetParam(), n), encode_summary(list[n]));
  }
}

TEST_P(WalOfEachMajor, DISABLED_Throughput) {
  auto start = std::chrono::steady_clock::now();
  std::size_t bytes = 0;
  for (int round = 0; round < 20; ++round)
    for (const auto& segment : wal().segments) {
      bytes += segment.bytes.size();
      (void)encode_summary(summarize_segment(segment.bytes, TimelineId(1), segment.number, wal().size));
    }
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("{:.2f} GB/s: {:.1f} ms for 16 MiB\n", static_cast<double>(bytes) / took.count() / 1e9,
             took.count() * 1e3 * (16 << 20) / static_cast<double>(bytes));
}

TEST(PartialCrc, JoinsAndSplits) {
  SeededRandom random(8);
  for (int round = 0; round < 200; ++round) {
    Bytes data(1 + random.below(100000));
    random.fill(data);
    auto cut = random.below(data.size() + 1);
    auto first = partial_crc(ByteView(data).first(cut)), second = partial_crc(ByteView(data).subspan(cut)),
         all = partial_crc(data);
    EXPECT_EQ(concatenate(first, second), all);
    EXPECT_EQ(without_prefix(all, first), second);
    EXPECT_EQ(partial_crc(ByteView(data).subspan(cut), first), all);
  }
}

TEST(SummaryCodec, HostileBytesAreAnErrorOrASummaryThatRoundTrips) {
  WalSummary summary;
  summary.major = 15;
  summary.blocks = {{{{Oid(1663), Oid(5), Oid(16384)}, Fork::Main}, {0, 1, 7, 4294967295U}}};
  summary.limits = {{{{Oid(1663), Oid(5), Oid(0)}, Fork::Main}, 0}};
  summary.first_commit = CommitPoint{Lsn(77), TransactionId(3), TimePoint(std::chrono::microseconds(5))};
  summary.restore_points = {{"lunch", Lsn(9), TimePoint{}}};
  summary.events = {{.kind = RelationEvent::Kind::Drop,
                     .start = Lsn(8),
                     .xid = TransactionId(2),
                     .time = std::nullopt,
                     .locator = {},
                     .blocks = 0}};
  summary.trailing = RecordFragment{.start = Lsn(1), .head = Bytes(9), .crc = {5, 9}, .remaining = 100};
  summary.void_reason = "because";
  const Bytes good = encode_summary(summary);
  ASSERT_EQ(decode_summary(good).value(), summary);
  SeededRandom random(12);
  for (int round = 0; round < 50000; ++round) {
    Bytes bad = good;
    for (auto n = 1 + random.below(4); n > 0; --n)
      bad[random.below(bad.size())] = static_cast<std::byte>(random.next());
    if (random.below(4) == 0) bad.resize(random.below(bad.size()));
    auto decoded = decode_summary(bad);
    if (decoded) {
      EXPECT_EQ(decode_summary(encode_summary(*decoded)).value(), *decoded);
    }
  }
}

TEST(SummaryCodec, UnknownOptionalFieldsArePassedOverUnknownRequiredOnesRefused) {
  Bytes encoded = encode_summary({});
  Bytes optional = encoded, required = encoded;
  optional[1] = required[1] = std::byte{3};  // fields: identity, positions and one more
  append(optional, Bytes{std::byte{100}, std::byte{2}, std::byte{1}, std::byte{2}});
  append(required, Bytes{std::byte{101}, std::byte{0}});
  EXPECT_EQ(decode_summary(optional).value(), WalSummary{});
  EXPECT_EQ(decode_summary(required).failure().code(), Errc::Precondition);
  encoded[0] = std::byte{2};
  EXPECT_EQ(decode_summary(encoded).failure().code(), Errc::Precondition);
}

}  // namespace
}  // namespace pgmint::postgres
