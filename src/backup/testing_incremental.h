// For tests: whole runs of incremental backups, against WAL that says what a test wants it to say.
#pragma once

#include "backup/testing_backup.h"
#include "postgres/data_directory.h"
#include "repository/pack_account.h"

namespace pgmint::backup::testing {

using postgres::BlockNumber;
using postgres::Lsn;
using repository::BackupType;

/// A full backup from 0/5000028, then others two segments further each.
struct IncrementalTest : BackupTest {
  static constexpr const char* kTable = "base/5/16384";
  std::uint64_t start_segment = 5;

  IncrementalTest() {
    incremental = true;
    made.file(kTable, make_pages(random, 300));
  }

  static std::string segment_name(std::uint64_t segment) {
    return postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(segment),
                                       postgres::WalSegmentSize::default_size());
  }
  static Lsn in_segment(std::uint64_t segment, std::uint64_t offset) {
    return Lsn(segment * kWalSize + offset);
  }

  /// What a summary says of a relation's file.
  static postgres::ForkBlocks named(std::string_view path, std::vector<BlockNumber> blocks) {
    return {{postgres::relation_of_path(path)->locator, postgres::Fork::Main}, std::move(blocks)};
  }
  /// Archives a segment with a summary of these blocks, relations in order.
  void archive_summary(std::uint64_t segment, std::vector<postgres::ForkBlocks> forks) {
    postgres::WalSummary summary;
    summary.major = 15;
    summary.system_identifier = made.system_identifier();
    summary.timeline = postgres::TimelineId(1);
    summary.segment = postgres::SegmentNumber(segment);
    summary.first_record = in_segment(segment, 0x28);
    summary.first_previous = in_segment(segment - 1, 0x1000);
    summary.last_record = summary.last_complete = in_segment(segment, 0x1000);
    summary.end = in_segment(segment + 1, 0);
    summary.blocks = std::move(forks);
    repository::WalArchive wal(*cluster, repository::current_identity(cluster->state()));
    auto put = wal.put(segment_name(segment), repository::WalContent::Segment, kWalSize, Bytes(kWalSize),
                       postgres::encode_summary(summary));
    ASSERT_TRUE(put) << put.failure().describe();
  }
  /// The next backup starts two segments further; the WAL before names `blocks` of the table.
  void advance(std::vector<BlockNumber> blocks) {
    std::vector<postgres::ForkBlocks> forks;
    if (!blocks.empty()) forks.push_back(named(kTable, std::move(blocks)));
    advance_naming(std::move(forks));
  }
  void advance_naming(std::vector<postgres::ForkBlocks> forks) {
    archive_summary(start_segment, {});
    archive_summary(start_segment + 1, std::move(forks));
    start_segment += 2;
    server.started.start_lsn = in_segment(start_segment, 0x28);
    server.stopped = {in_segment(start_segment, 0x138), ScriptedServer::label_of(server.started.start_lsn), ""};
    server.on_stop = [this] {
      if (has_stop_segment) archive_summary(start_segment, {});
      return ok();
    };
    clock.sleep(std::chrono::minutes(10));
  }
  bool has_stop_segment = true;

  BackupReport full() {
    server.on_stop = [this] {
      archive_summary(start_segment, {});
      return ok();
    };
    auto report = run_well();
    EXPECT_EQ(report.type, BackupType::Full);
    return report;
  }
  /// A page becomes another, between the last two starts.
  void change(BlockNumber block, const std::string& path = kTable) {
    made.patch(path, std::size_t{block} * kBlock, make_page(random, block, in_segment(start_segment - 1, 0x800)));
  }
  void expect_whole(const BackupReport& report) {
    const auto found = entries(report);
    for (const auto& [path, bytes] : made.contents()) EXPECT_EQ(content(found.at({FileArea::Data, path})), bytes) << path;
    repository::RecordOpener opener(cluster->context(), cluster->keys());
    const auto root = root_of(report);
    const auto use = repository::read_pack_account(*store, cluster->context(), opener, root).value().value();
    EXPECT_EQ(use, repository::measure_pack_use(*store, cluster->context(), opener, root).value());
    ASSERT_TRUE(cluster->log().refresh());
    const auto packs = cluster->state().packs_of(cluster->state().snapshots().at(report.session));
    std::set<repository::PackId> needed;
    for (const auto& [pack, bytes] : use.packs()) needed.insert(pack);
    for (const auto& piece : *root.account) needed.insert(piece.pack);
    for (const auto& pack : needed) EXPECT_TRUE(packs.contains(pack));
    // What a run had put by the time it was refuted is listed with it, needed or not, until it expires.
    for (const auto& pack : packs)
      EXPECT_TRUE(needed.contains(pack.id) || (report.refuted && pack.id.session == report.session)) << "nothing else is held that is not needed";
    repository::VerifyOptions thoroughly;
    thoroughly.depth = repository::VerifyDepth::Decompress;
    const auto verified = repository::verify(*cluster, thoroughly);
    ASSERT_TRUE(verified);
    for (const auto& finding : verified->findings) ADD_FAILURE() << finding.object << ": " << finding.problem;
  }
};

}  // namespace pgmint::backup::testing
