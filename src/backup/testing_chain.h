// For tests and bench/chain_bench.cc: months of incremental backups in memory, each day of them expired and collected, and what they cost.
#pragma once

#include <cstdio>
#include <set>

#include "backup/testing_backup.h"
#include "base/time_zone.h"
#include "crypto/hash.h"
#include "policy/retention.h"
#include "postgres/data_directory.h"
#include "repository/collect.h"
#include "repository/expire.h"
#include "repository/pack_account.h"

namespace pgmint::backup::testing {

/// What changes between two backups, and for how long.
struct ChainShape {
  std::uint32_t relations = 8;
  std::uint32_t pages = 1024;   ///< of each
  int days = 30;
  int backups_a_day = 4;
  double changed = 0.01;        ///< of all pages, between two backups
  bool skewed = false;          ///< 80 % of the changes in 20 % of the pages; else uniform
};

/// What a manifest, or many, refer to. Records by nonce: one that moved to another pack counts once.
struct ChainRecords {
  std::map<crypto::Nonce, std::uint64_t> stored;
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& [nonce, length] : stored) sum += length;
    return sum;
  }
};

struct ChainBackup {
  int day = 0;
  repository::BackupType type{};
  std::uint64_t changed_pages = 0;  ///< by the simulation
  std::uint64_t stored_pages = 0;   ///< by the backup: more where it folds
  std::uint64_t stored_bytes = 0;
};

struct ChainDay {
  int day = 0;
  std::size_t backups = 0, packs = 0;
  std::uint64_t stored = 0;        ///< packs and manifests in the repository
  std::uint64_t live_minimum = 0;  ///< records that surviving backups refer to
  std::uint64_t newest = 0;        ///< records that a restore of the newest backup reads
};

struct ChainTest : BackupTest {
  ChainShape shape;
  std::vector<ChainBackup> backups;
  std::vector<ChainDay> days;
  std::uint64_t full_bytes = 0;       ///< records that a restore of the full at the beginning reads
  std::uint64_t last_full_bytes = 0;  ///< of a full of the last state
  std::map<repository::SessionId, std::map<std::string, crypto::Digest>> digests;
  std::map<repository::SessionId, BackupReport> reports;
  std::uint64_t start_segment = 5;
  std::uint32_t next_row = 1;

  static std::string relation(std::uint32_t i) { return fmt::format("base/5/{}", 20000 + i); }
  static postgres::Lsn in_segment(std::uint64_t segment, std::uint64_t offset) { return postgres::Lsn(segment * kWalSize + offset); }
  static std::string segment_name(std::uint64_t segment) {
    return postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(segment), postgres::WalSegmentSize::default_size());
  }

  /// A heap page of rows as an application writes them: two numbers, a time, a word or two.
  Bytes make_row_page(postgres::BlockNumber block, postgres::Lsn lsn) {
    static constexpr std::array<const char*, 8> kWords{"delivered", "pending", "Berlin", "returned", "Lisbon", "paid", "open", "Warsaw"};
    Bytes page(kBlock);
    std::size_t lower = 24, upper = kBlock;
    const auto xmin = 700'000 + next_row / 50;
    for (std::uint16_t item = 1; upper - lower > 120; ++item) {
      const auto text = fmt::format("{} {} {:08x}", kWords[random.below(8)], kWords[random.below(8)], random.next());
      const std::size_t length = 24 + 16 + text.size() + 1;
      upper = (upper - length) & ~std::size_t{7};
      put_u32(page, lower, static_cast<std::uint32_t>(upper | 1U << 15 | length << 17));
      lower += 4;
      put_u32(page, upper, xmin);
      put_u16(page, upper + 14, static_cast<std::uint16_t>(block));
      put_u16(page, upper + 16, item);
      put_u16(page, upper + 18, 4);
      put_u16(page, upper + 20, 0x0902);
      put_u16(page, upper + 22, 24);
      put_u32(page, upper + 24, next_row++);
      put_u32(page, upper + 28, static_cast<std::uint32_t>(random.below(100'000)));
      put_u32(page, upper + 32, static_cast<std::uint32_t>(0x3A000000 + random.below(86'400'000)));
      put_u32(page, upper + 36, 0x0002A1B0);
      page[upper + 40] = static_cast<std::byte>((text.size() + 1) << 1 | 1);
      std::memcpy(page.data() + upper + 41, text.data(), std::min(text.size(), length - 41));
    }
    put_u32(page, 0, static_cast<std::uint32_t>(lsn.value() >> 32));
    put_u32(page, 4, static_cast<std::uint32_t>(lsn.value()));
    put_u16(page, 12, static_cast<std::uint16_t>(lower));
    put_u16(page, 14, static_cast<std::uint16_t>(upper));
    put_u16(page, 16, kBlock);
    put_u16(page, 18, kBlock | 4);
    put_u16(page, 8, postgres::page_checksum(page, block));
    return page;
  }

  void archive_summary(std::uint64_t segment, const std::map<std::uint32_t, std::set<postgres::BlockNumber>>& changed) {
    postgres::WalSummary summary;
    summary.major = 15;
    summary.system_identifier = made.system_identifier();
    summary.timeline = postgres::TimelineId(1);
    summary.segment = postgres::SegmentNumber(segment);
    summary.first_record = in_segment(segment, 0x28);
    summary.first_previous = in_segment(segment - 1, 0x1000);
    summary.last_record = summary.last_complete = in_segment(segment, 0x1000);
    summary.end = in_segment(segment + 1, 0);
    for (const auto& [i, blocks] : changed)
      summary.blocks.push_back({{postgres::relation_of_path(relation(i))->locator, postgres::Fork::Main}, {blocks.begin(), blocks.end()}});
    repository::WalArchive wal(*cluster, repository::current_identity(cluster->state()));
    auto put = wal.put(segment_name(segment), repository::WalContent::Segment, kWalSize, Bytes(kWalSize), postgres::encode_summary(summary));
    ASSERT_TRUE(put) << put.failure().describe();
  }

  /// Six hours go by, or whatever the shape says. @return pages that changed
  std::uint64_t let_time_pass() {
    const std::uint64_t all = std::uint64_t{shape.relations} * shape.pages;
    std::map<std::uint32_t, std::set<postgres::BlockNumber>> changed;
    std::uint64_t count = 0;
    const auto wanted = static_cast<std::uint64_t>(static_cast<double>(all) * shape.changed);
    while (count < wanted) {
      auto page = random.below(all);
      // The hot pages: each fifth stretch of 64 KiB.
      if (shape.skewed) {
        const bool hot = random.below(5) != 0;
        while ((page / 8 % 5 == 0) != hot) page = random.below(all);
      }
      const auto i = static_cast<std::uint32_t>(page / shape.pages);
      if (changed[i].insert(static_cast<postgres::BlockNumber>(page % shape.pages)).second) ++count;
    }
    archive_summary(start_segment + 1, changed);
    for (const auto& [i, blocks] : changed)
      for (const auto block : blocks)
        made.patch(relation(i), std::size_t{block} * kBlock, make_row_page(block, in_segment(start_segment + 1, 0x800)));
    for (int i = 0; i < 4; ++i) {
      Bytes small(4096);
      random.fill(small);
      made.file(fmt::format("conf.d/{}.conf", random.below(20)), small);
    }
    start_segment += 2;
    server.started.start_lsn = in_segment(start_segment, 0x28);
    server.stopped = {in_segment(start_segment, 0x138), ScriptedServer::label_of(server.started.start_lsn), ""};
    clock.sleep(std::chrono::hours(24) / shape.backups_a_day);
    return count;
  }

  ChainRecords records_of(const repository::ManifestRoot& root) {
    ChainRecords found;
    repository::RecordOpener opener(cluster->context(), cluster->keys());
    const auto add = [&](const repository::RecordLocation& record) { found.stored[record.nonce] = record.stored_length; };
    auto walked = repository::walk_manifest(
        *store, cluster->context(), opener, root,
        [&](const FileEntry& entry) {
          if (const auto* member = std::get_if<repository::BundleMember>(&entry.content)) add(member->bundle);
          if (const auto* where = std::get_if<repository::RecordLocation>(&entry.content)) {
            add(*where);
            const auto map = repository::parse_segment_map(repository::read_record(*store, cluster->context(), opener, *where).value()).value();
            for (const auto& extent : map.extents)
              if (extent.location) add(*extent.location);
            for (const auto& delta : map.deltas) add(delta.location);
          }
          return ok();
        },
        [&](const repository::RecordLocation& node) {
          add(node);
          return ok();
        });
    EXPECT_TRUE(walked) << walked.failure().describe();
    return found;
  }

  BackupReport back_up(int day, std::uint64_t changed) {
    auto report = run_well();
    EXPECT_EQ(report.exit_code(), 0);
    backups.push_back({day, report.type, changed, report.changed_pages, report.stored_bytes});
    auto& digest = digests[report.session];
    for (const auto& [path, bytes] : made.contents())
      if (path.starts_with("base/5/2") || path.starts_with("conf.d/")) digest[path] = crypto::sha256(bytes);
    reports[report.session] = report;
    return report;
  }

  /// As `pgmint expire` by default rules, then `pgmint collect`.
  void expire_and_collect() {
    ASSERT_TRUE(cluster->log().refresh());
    std::vector<policy::BackupFact> facts;
    std::vector<repository::SessionId> sessions, going;
    for (const auto& [session, snapshot] : cluster->state().snapshots()) {
      policy::BackupFact fact;
      fact.name = snapshot.snap.name;
      fact.time = snapshot.committed;
      fact.order = snapshot.seq;
      facts.push_back(std::move(fact));
      sessions.push_back(session);
    }
    const auto verdicts = policy::decide(facts, {}, repository::expire_time(*cluster).value(), TimeZone::utc());
    for (std::size_t i = 0; i < verdicts.size(); ++i)
      if (!verdicts[i].keep) going.push_back(sessions[i]);
    const auto forgotten = repository::forget(*cluster, going, [&](const repository::LogState&) {
      return std::set<repository::SessionId>(going.begin(), going.end());
    });
    ASSERT_TRUE(forgotten) << forgotten.failure().describe();
    for (const auto& session : *forgotten) {
      digests.erase(session);
      reports.erase(session);
    }
    const auto collected = repository::collect(*cluster);
    ASSERT_TRUE(collected) << collected.failure().describe();
  }

  void measure(int day, const BackupReport& newest) {
    ChainDay now;
    now.day = day;
    now.backups = cluster->state().snapshots().size();
    const auto packs = storage::list_all(*memory, repository::packs_prefix(cluster->id())).value();
    const auto manifests = storage::list_all(*memory, repository::manifests_prefix(cluster->id())).value();
    now.packs = packs.size();
    for (const auto& info : packs) now.stored += info.size;
    for (const auto& info : manifests) now.stored += info.size;
    ChainRecords all;
    for (const auto& [session, report] : reports) all.stored.merge(records_of(root_of(report)).stored);
    now.live_minimum = all.bytes();
    now.newest = records_of(root_of(newest)).bytes();
    days.push_back(now);
  }

  void simulate() {
    incremental = true;
    server.on_stop = [this] {
      archive_summary(start_segment, {});
      return ok();
    };
    for (std::uint32_t i = 0; i < shape.relations; ++i) {
      Bytes pages;
      for (std::uint32_t block = 0; block < shape.pages; ++block) append(pages, make_row_page(block, postgres::Lsn(0x1000028)));
      made.file(relation(i), pages);
    }
    // The first full begins a day.
    clock.sleep(std::chrono::ceil<std::chrono::days>(clock.now()) - clock.now() + std::chrono::hours(3));
    auto newest = back_up(0, 0);
    full_bytes = records_of(root_of(newest)).bytes();
    for (int day = 1; day <= shape.days && !HasFailure(); ++day) {
      for (int i = 0; i < shape.backups_a_day && !HasFailure(); ++i) {
        const auto changed = let_time_pass();
        newest = back_up(day, changed);
      }
      expire_and_collect();
      measure(day, newest);
    }
    expect_all_whole(newest);
    incremental = false;
    let_time_pass();
    last_full_bytes = records_of(root_of(run_well())).bytes();
  }

  void expect_all_whole(const BackupReport& newest) {
    for (const auto& [session, report] : reports) {
      const auto found = entries(report);
      for (const auto& [path, digest] : digests.at(session))
        EXPECT_EQ(crypto::sha256(content(found.at({FileArea::Data, path}))), digest) << report.name << " " << path;
    }
    repository::RecordOpener opener(cluster->context(), cluster->keys());
    const auto root = root_of(newest);
    EXPECT_EQ(repository::read_pack_account(*store, cluster->context(), opener, root).value().value(), repository::measure_pack_use(*store, cluster->context(), opener, root).value());
    repository::VerifyOptions thoroughly;
    thoroughly.depth = repository::VerifyDepth::Decompress;
    const auto verified = repository::verify(*cluster, thoroughly);
    ASSERT_TRUE(verified);
    for (const auto& finding : verified->findings) ADD_FAILURE() << finding.object << ": " << finding.problem;
  }

  // --- what it costs

  /// What the changed pages alone would take, by what a page takes in the full.
  double stored_to_changed(const ChainBackup& backup) const {
    const auto page = static_cast<double>(full_bytes) / (double{1} * shape.relations * shape.pages);
    return static_cast<double>(backup.stored_bytes) / (static_cast<double>(backup.changed_pages) * page);
  }
  double worst_to_minimum() const {
    double worst = 0;
    for (const auto& day : days) worst = std::max(worst, static_cast<double>(day.stored) / static_cast<double>(day.live_minimum));
    return worst;
  }
  double worst_restore() const {
    double worst = 0;
    for (const auto& day : days) worst = std::max(worst, static_cast<double>(day.newest) / static_cast<double>(full_bytes));
    return worst;
  }
  double mean_stored_to_changed() const {
    double sum = 0;
    for (std::size_t i = 1; i < backups.size(); ++i) sum += stored_to_changed(backups[i]);
    return sum / static_cast<double>(backups.size() - 1);
  }
  /// Of a full.
  double dearest() const {
    std::uint64_t most = 0;
    for (std::size_t i = 1; i < backups.size(); ++i) most = std::max(most, backups[i].stored_bytes);
    return static_cast<double>(most) / static_cast<double>(full_bytes);
  }
};

}  // namespace pgmint::backup::testing
