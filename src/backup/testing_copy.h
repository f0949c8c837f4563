// For tests: a made cluster, copied into a store in memory, as a full or on top of the copy before, and read back.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "backup/copy.h"
#include "backup/testing_cluster.h"
#include "base/test_seed.h"
#include "repository/delta_pages.h"
#include "repository/layout.h"
#include "repository/segment_map.h"
#include "repository/testing_keys.h"
#include "storage/memory_store.h"

namespace pgmint::backup::testing {

using repository::FinishedPack;
using repository::SegmentMap;

inline constexpr std::uint32_t kExtent = 256U << 10;

/// A made cluster, copied into a store in memory, and read back through maps and bundles.
struct CopyTest : ::testing::Test {
  std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};
  SeededRandom random{seed};
  MadeCluster cluster;
  MeddlingSource source{cluster.path()};
  repository::RecordContext context = repository::testing::make_context(random);
  repository::ClusterKeys keys = repository::testing::make_cluster_keys(random);
  repository::SessionId session = random.id<repository::SessionId>();
  std::atomic<std::uint32_t> next_pack{0};
  storage::MemoryStore store;
  repository::PackBuffers buffers;
  CancelToken cancel;
  CopyCounters counters;
  PageFindings findings;
  postgres::DirectoryScan scan;
  CopyPlan plan;
  CopyOutcome outcome;
  unsigned workers = 3;
  postgres::Lsn start = kBackupStart;
  // What an incremental stands on: become_parent() fills it with the last copy.
  ParentFiles parent;
  std::vector<repository::BadPage> parent_bad;
  postgres::Lsn parent_start;
  std::vector<FilePlan> files;  ///< empty: a full
  PackLedger ledger;
  Forward* forward = nullptr;
  std::function<Status(FinishedPack)> upload = [this](FinishedPack pack) -> Status {
    EXPECT_TRUE(store.create(repository::pack_name(context.cluster, pack.id), pack.data));
    buffers.give(std::move(pack.data));
    return ok();
  };

  void relation(const std::string& path, std::size_t pages) { cluster.file(path, make_pages(random, pages)); }

  void look() {
    scan = postgres::scan_data_directory(cluster.path()).value();
    plan = plan_copy(scan, {.extent_size = kExtent, .stretch = 1U << 20, .bundle_size = 512U << 10});
  }

  Status copy(const std::function<Status()>& tick = [] { return ok(); }) {
    const repository::PackSettings packs{
        context, keys, {}, system_random(), [this] { return repository::PackId{session, next_pack.fetch_add(1)}; }, buffers,
        4U << 20};
    repository::PackStream maps(packs, repository::PackKind::Map, upload);
    const CopyParent on{store, files, parent_start, parent_bad};
    const CopyInput input{
        .scan = scan,
        .plan = plan,
        .source = source,
        .packs = packs,
        .maps = maps,
        .upload = upload,
        .check = {.checksums_enabled = true, .block_size = kBlock, .backup_start = start},
        .blocks_per_segment = 131072,
        .parent = files.empty() ? nullptr : &on,
        .ledger = ledger,
        .forward = forward,
        .upper_lsn = [this]() -> Result<postgres::Lsn> { return start + 0x100; },
        .extent_size = kExtent,
        .workers = workers,
        .clock = system_clock(),
        .cancel = &cancel};
    outcome = TRY(copy_files(input, counters, findings, tick));
    return maps.close();
  }
  /// The last copy is what the next one builds on.
  void become_parent() {
    ParentFiles next;
    SharedRecords records;
    for (std::size_t i = 0; i < scan.entries.size(); ++i) {
      const auto& copied = outcome.files[i];
      if (!has_content(scan.entries[i]) || copied.state == CopiedFile::State::Absent) continue;
      repository::FileEntry entry;
      entry.path = scan.entries[i].path;
      entry.size = copied.length;
      entry.kind = copied.state == CopiedFile::State::Empty     ? repository::FileKind::Empty
                   : copied.state == CopiedFile::State::Bundled ? repository::FileKind::Bundled
                                                                : repository::FileKind::Mapped;
      if (const auto member = copied.content.member()) entry.content = *member;
      if (const auto* map = copied.content.map()) entry.content = *map;
      next.add(entry, records);
    }
    parent = std::move(next);
    parent_bad = findings.named();
    parent_bad.insert(parent_bad.end(), outcome.inherited_bad.begin(), outcome.inherited_bad.end());
    parent_start = start;
  }

  /// As look(), for an incremental. @param changes  null: nothing is known of what changed
  void look_on_parent(const postgres::ChangeSet* changes, bool refresh = false) {
    scan = postgres::scan_data_directory(cluster.path()).value();
    std::optional<postgres::ChangeIndex> index;
    if (changes != nullptr) index.emplace(*changes, 131072);
    files = plan_incremental(scan, parent,
                             {.block_size = kBlock,
                              .extent_size = kExtent,
                              .blocks_per_segment = 131072,
                              .changes = index ? &*index : nullptr,
                              .parent_day = 0,
                              .day = refresh ? kRefreshDays : 0});
    plan = plan_copy(scan, {.extent_size = kExtent, .stretch = 1U << 20, .bundle_size = 512U << 10, .block_size = kBlock}, files);
  }

  void look_and_copy() {
    look();
    auto status = copy();
    ASSERT_TRUE(status) << status.failure().describe();
  }

  const CopiedFile& copied(const std::string& path) {
    for (std::size_t i = 0; i < scan.entries.size(); ++i)
      if (scan.entries[i].path == path) return outcome.files[i];
    ADD_FAILURE() << path << " was not scanned";
    return outcome.files[0];
  }
  SegmentMap map_of(const std::string& path) {
    repository::RecordOpener opener(context, keys);
    return repository::parse_segment_map(repository::read_record(store, context, opener, *copied(path).content.map()).value()).value();
  }
  /// The file as a restore would write it; fingerprints are checked on the way.
  Bytes restored(const std::string& path) {
    repository::RecordOpener opener(context, keys);
    const auto& file = copied(path);
    switch (file.state) {
      case CopiedFile::State::Absent:
        ADD_FAILURE() << path << " is absent";
        return {};
      case CopiedFile::State::Empty:
        return {};
      case CopiedFile::State::Bundled: {
        const auto member = file.content.member().value();
        const auto bundle = repository::read_record(store, context, opener, member.bundle).value();
        Bytes bytes(bundle.begin() + member.offset,
                    bundle.begin() + member.offset + static_cast<std::ptrdiff_t>(file.length));
        EXPECT_EQ(opener.fingerprint(repository::bundle_member_nonce(member.bundle.nonce, member.offset), bytes),
                  member.fingerprint);
        return bytes;
      }
      case CopiedFile::State::Mapped:
        break;
    }
    const auto map = map_of(path);
    EXPECT_EQ(map.file_length, file.length);
    const auto deltas =
        repository::DeltaPages::load(store, context, opener, map, 0, map.extent_count()).value();
    Bytes bytes;
    for (std::size_t i = 0; i < map.extents.size(); ++i) {
      const auto& extent = map.extents[i];
      if (!extent.location) {
        bytes.resize(bytes.size() + map.extent_length(i));
        deltas.apply(map, i, MutableByteView(bytes).last(map.extent_length(i)));
        continue;
      }
      const auto part = repository::read_record(store, context, opener, *extent.location).value();
      EXPECT_EQ(part.size(), map.extent_length(i));
      EXPECT_EQ(opener.fingerprint(extent.location->nonce, part), extent.fingerprint);
      append(bytes, part);
      deltas.apply(map, i, MutableByteView(bytes).last(part.size()));
    }
    return bytes;
  }
  void expect_whole(const std::string& path) { EXPECT_EQ(restored(path), cluster.contents().at(path)) << path; }
};

}  // namespace pgmint::backup::testing
