// For tests: a made cluster, a scripted server and a repository in memory, and whole runs of backups over them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "backup/backup.h"
#include "backup/run.h"
#include "backup/testing_cluster.h"
#include "base/test_seed.h"
#include "codec/crc32c.h"
#include "repository/delta_pages.h"
#include "repository/layout.h"
#include "repository/pack.h"
#include "repository/segment_map.h"
#include "repository/session.h"
#include "repository/verify.h"
#include "repository/wal_coverage.h"
#include "storage/fault_store.h"
#include "storage/memory_store.h"

namespace pgmint::backup::testing {

using repository::FileArea;
using repository::FileEntry;
using repository::FileKind;

inline constexpr std::uint32_t kWalSize = 16U << 20;

/// A made cluster, a scripted server and a repository in memory.
struct BackupTest : ::testing::Test {
  std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};
  SeededRandom random{seed};
  MadeCluster made;
  MeddlingSource source{made.path()};
  ScriptedServer server{made};
  TestClock clock;
  storage::MemoryStore* memory = nullptr;
  std::unique_ptr<storage::FaultStore> store;
  std::unique_ptr<repository::SeenMemory> seen = repository::make_no_memory();
  std::unique_ptr<repository::Repository> repository;
  std::unique_ptr<repository::Cluster> cluster;
  CancelToken cancel;
  std::vector<Progress> told;
  fs::path data = made.path();
  bool incremental = false;
  unsigned workers = 2;
  SendOn send_on;

  BackupTest() {
    auto inner = storage::make_memory_store();
    memory = inner.get();
    store = std::make_unique<storage::FaultStore>(std::move(inner), clock);
    std::vector<repository::Repository::Slot> slots(1);
    slots[0].unlock.key = crypto::Key256::generate(random);
    repository =
        repository::Repository::create({*store, clock, system_random(), *seen, "test@host", "test"}, std::move(slots))
            .value();
    cluster = repository->create_cluster("main", made.system_identifier().value()).value();
    server.on_stop = [this] {
      archive("000000010000000000000005");
      return ok();
    };
    made.file("base/5/16384", make_pages(random, 150));
    made.file("base/5/16385", make_pages(random, 1));
    made.file("postgresql.conf", as_bytes("port = 1\n"));
  }

  void archive(const std::string& name) {
    repository::WalArchive wal(*cluster, repository::current_identity(cluster->state()));
    auto put = wal.put(name, repository::WalContent::Segment, kWalSize, Bytes(kWalSize), {});
    ASSERT_TRUE(put) << put.failure().describe();
  }
  // Of a standby.

  /// pg_control says that recovery must get to `lsn`.
  void set_minimum(postgres::Lsn lsn) {
    auto control = made.contents().at("global/pg_control");
    const auto layout = postgres::parse_control_file(control)->version->control;
    const std::uint64_t value = lsn.value();
    const std::uint32_t timeline = 1;
    std::memcpy(control.data() + layout.min_recovery_point, &value, 8);
    std::memcpy(control.data() + layout.min_recovery_point + 8, &timeline, 4);
    const auto crc = codec::crc32c(ByteView(control).first(layout.crc));
    std::memcpy(control.data() + layout.crc, &crc, 4);
    made.file("global/pg_control", control);
  }
  /// WAL pages with the right addresses, whose last bytes are noise of a recycled segment.
  Bytes wal_segment(std::uint64_t start) {
    Bytes bytes = random_bytes(random, kWalSize);
    for (std::uint64_t at = 0; at < kWalSize; at += 8192) {
      const std::uint16_t magic = 0xD110, info = at == 0 ? 2 : 0;
      const std::uint32_t timeline = 1, none = 0;
      const std::uint64_t address = start + at;
      std::memcpy(bytes.data() + at, &magic, 2);
      std::memcpy(bytes.data() + at + 2, &info, 2);
      std::memcpy(bytes.data() + at + 4, &timeline, 4);
      std::memcpy(bytes.data() + at + 8, &address, 8);
      std::memcpy(bytes.data() + at + 16, &none, 4);
    }
    const std::uint64_t system = made.system_identifier().value();
    const std::uint32_t size = kWalSize, block = 8192;
    std::memcpy(bytes.data() + 24, &system, 8);
    std::memcpy(bytes.data() + 32, &size, 4);
    std::memcpy(bytes.data() + 36, &block, 4);
    return bytes;
  }
  Result<BackupReport> run() {
    BackupRequest request{.cluster = *cluster, .data_directory = data};
    request.note = "a note";
    request.incremental = incremental;
    request.workers = workers;
    request.send_on = send_on;
    request.cancel = &cancel;
    request.progress = [this](const Progress& progress) { told.push_back(progress); };
    return run_against(request, server, source);
  }
  BackupReport run_well() {
    auto report = run();
    EXPECT_TRUE(report) << report.failure().describe();
    return report ? std::move(*report) : BackupReport{};
  }
  Error run_badly() {
    auto report = run();
    EXPECT_FALSE(report);
    return report ? Error(Errc::Internal, "it succeeded") : std::move(report).failure();
  }
  void expect_nothing_left() {
    ASSERT_TRUE(cluster->log().refresh());
    EXPECT_TRUE(cluster->state().snapshots().empty());
    EXPECT_TRUE(cluster->state().open_sessions().empty());
    EXPECT_FALSE(server.running);
    EXPECT_TRUE(storage::list_all(*memory, repository::packs_prefix(cluster->id()))->empty());
  }
  repository::ManifestRoot root_of(const BackupReport& report) {
    return repository::read_root(*store, cluster->context(), report.session, cluster->keys()).value();
  }
  std::map<std::pair<FileArea, std::string>, FileEntry> entries(const BackupReport& report) {
    std::map<std::pair<FileArea, std::string>, FileEntry> found;
    repository::RecordOpener opener(cluster->context(), cluster->keys());
    const auto root = root_of(report);
    auto walked = repository::walk_manifest(*store, cluster->context(), opener, root, [&](const FileEntry& entry) {
      found[{entry.area, entry.path}] = entry;
      return ok();
    });
    EXPECT_TRUE(walked) << walked.failure().describe();
    return found;
  }
  Bytes content(const FileEntry& entry) {
    repository::RecordOpener opener(cluster->context(), cluster->keys());
    Bytes bytes;
    if (entry.kind == FileKind::Bundled) {
      const auto& member = std::get<repository::BundleMember>(entry.content);
      const auto bundle = repository::read_record(*store, cluster->context(), opener, member.bundle).value();
      bytes.assign(bundle.begin() + member.offset,
                   bundle.begin() + member.offset + static_cast<std::ptrdiff_t>(entry.size));
    } else if (entry.kind == FileKind::Mapped) {
      const auto map =
          repository::parse_segment_map(repository::read_record(*store, cluster->context(), opener,
                                                                std::get<repository::RecordLocation>(entry.content))
                                            .value())
              .value();
      const auto deltas =
          repository::DeltaPages::load(*store, cluster->context(), opener, map, 0, map.extent_count()).value();
      for (std::size_t i = 0; i < map.extents.size(); ++i) {
        if (map.extents[i].location)
          append(bytes, repository::read_record(*store, cluster->context(), opener, *map.extents[i].location).value());
        else
          bytes.resize(bytes.size() + map.extent_length(i));
        deltas.apply(map, i, MutableByteView(bytes).last(map.extent_length(i)));
      }
    }
    return bytes;
  }
};

}  // namespace pgmint::backup::testing
