// For tests: segments with a true first page, a data directory to push from and restore into, a repository.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>

#include "base/file.h"
#include "base/test_seed.h"
#include "codec/binary.h"
#include "postgres/control_file.h"
#include "postgres/wal_name.h"
#include "repository/repository.h"
#include "repository/wal_archive.h"
#include "storage/memory_store.h"
#include "storage/temporary_directory.h"

namespace pgmint::wal::testing {

inline constexpr std::uint64_t kSystemId = 0x6a1b2c3d4e5f6071;
inline constexpr std::uint32_t kSegmentSize = 1 << 20;
inline const auto kSize = *postgres::WalSegmentSize::of(kSegmentSize);

inline std::string name_of(std::uint32_t timeline, std::uint64_t segment) {
  return postgres::segment_file_name(postgres::TimelineId(timeline), postgres::SegmentNumber(segment), kSize);
}

/// A segment of PostgreSQL 15 whose first page header is true, with `salt` somewhere behind it; no records.
inline Bytes make_segment(std::uint32_t timeline, std::uint64_t segment, std::uint64_t system_id = kSystemId,
                          std::uint8_t salt = 0) {
  codec::BinaryWriter page;
  page.u16(0xD110);  // XLOG_PAGE_MAGIC of 15
  page.u16(2);       // XLP_LONG_HEADER
  page.u32(timeline);
  page.u64(segment * kSegmentSize);
  page.u32(0);
  page.u32(0);  // padding
  page.u64(system_id);
  page.u32(kSegmentSize);
  page.u32(8192);
  Bytes bytes = page.take();
  bytes.resize(kSegmentSize);
  bytes[kSegmentSize / 2] = static_cast<std::byte>(salt);
  return bytes;
}

class LockedRandom final : public RandomSource {
 public:
  explicit LockedRandom(std::uint64_t seed) : inner_(seed) {}
  void fill(MutableByteView out) override {
    std::lock_guard lock(mutex_);
    inner_.fill(out);
  }

 private:
  std::mutex mutex_;
  SeededRandom inner_;
};

struct WalTest : ::testing::Test {
  WalTest() {
    fs::create_directories(data / "pg_wal" / "archive_status");
    std::vector<repository::Repository::Slot> slots(1);
    slots[0].unlock.key = crypto::Key256::generate(random);
    repository = std::move(*repository::Repository::create(environment(), std::move(slots)));
    cluster = std::move(*repository->create_cluster("main", kSystemId));
  }

  repository::Environment environment() { return {*store, clock, random, *seen, "tester@host", "test"}; }

  void write(const fs::path& path, ByteView bytes) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(out.good()) << path;
  }
  Bytes content(const fs::path& path) {
    auto bytes = read_file(path, 1 << 30);
    return bytes ? *bytes : Bytes{};
  }
  /// In pg_wal, and ready for the archiver.
  std::string add_ready(std::uint32_t timeline, std::uint64_t segment, std::uint8_t salt = 0) {
    const auto name = name_of(timeline, segment);
    write(data / "pg_wal" / name, make_segment(timeline, segment, kSystemId, salt));
    write(data / "pg_wal" / "archive_status" / (name + ".ready"), {});
    return name;
  }
  void write_control(std::uint64_t system_id = kSystemId) {
    const auto golden = read_file("tests/golden/postgres/pg_control.15", 1 << 20);
    ASSERT_TRUE(golden);
    const auto own = postgres::control_file_with_system_identifier(*golden, postgres::SystemIdentifier(system_id));
    ASSERT_TRUE(own);
    fs::create_directories(data / "global");
    write(data / "global" / "pg_control", *own);
  }
  void archive_segment(std::uint32_t timeline, std::uint64_t segment) {
    auto put = archive().put(name_of(timeline, segment), repository::WalContent::Segment, kSegmentSize,
                             make_segment(timeline, segment), {});
    ASSERT_TRUE(put) << put.failure().describe();
  }
  /// Each pair: timeline left, and the segment in which (at its middle).
  void archive_history(std::uint32_t target, std::initializer_list<std::pair<std::uint32_t, std::uint64_t>> switches) {
    std::string text;
    for (const auto& [timeline, segment] : switches) {
      text += fmt::format("{}\t{}\tno recovery target specified\n", timeline,
                          postgres::format(postgres::Lsn(segment * kSegmentSize + kSegmentSize / 2)));
    }
    auto put = archive().put(postgres::history_file_name(postgres::TimelineId(target)), repository::WalContent::History, 0,
                             as_bytes(text), {});
    ASSERT_TRUE(put) << put.failure().describe();
  }
  repository::WalArchive archive() { return {*cluster, identity}; }

  const std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};
  storage::TemporaryDirectory directory;
  fs::path data = directory.path() / "data";
  ManualClock clock{TimePoint{std::chrono::sys_days{std::chrono::year(2026) / 11 / 22}}};
  LockedRandom random{seed};
  std::unique_ptr<repository::SeenMemory> seen = repository::make_no_memory();
  storage::MemoryStore memory;
  storage::BlobStore* store = &memory;
  std::unique_ptr<repository::Repository> repository;
  std::unique_ptr<repository::Cluster> cluster;
  repository::WalIdentity identity{kSystemId, repository::Incarnation(1)};
};

}  // namespace pgmint::wal::testing
