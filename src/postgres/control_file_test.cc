#include "postgres/control_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/random.h"
#include "codec/crc32c.h"

namespace pgmint::postgres {
namespace {

/// Real files made by initdb of each major, beside what its own pg_controldata printed.
const fs::path kGolden = "tests/golden/postgres";

Bytes golden(int major) {
  return read_file(kGolden / fmt::format("pg_control.{}", major), 1 << 20).value();
}

std::map<std::string, std::string> controldata(int major) {
  std::map<std::string, std::string> fields;
  std::string text = read_text_file(kGolden / fmt::format("pg_controldata.{}", major), 1 << 20).value();
  for (std::size_t at = 0; at < text.size();) {
    auto line = text.substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    auto colon = line.find(':');
    fields[line.substr(0, colon)] = line.substr(line.find_first_not_of(' ', colon + 1));
  }
  return fields;
}

std::string on_off(bool value) {
  return value ? "on" : "off";
}

class ControlFileOfEachMajor : public testing::TestWithParam<int> {};

TEST_P(ControlFileOfEachMajor, ReadsWhatPgControldataPrints) {
  auto said = controldata(GetParam());
  auto parsed = parse_control_file(golden(GetParam()));
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  const ControlFile& control = *parsed;
  EXPECT_EQ(control.version->major, GetParam());
  EXPECT_EQ(std::to_string(control.version->control_version), said["pg_control version number"]);
  EXPECT_EQ(std::to_string(control.catalog_version), said["Catalog version number"]);
  EXPECT_EQ(std::to_string(control.system_identifier.value()), said["Database system identifier"]);
  EXPECT_EQ(cluster_state_name(control.state), said["Database cluster state"]);
  EXPECT_EQ(format(control.checkpoint), said["Latest checkpoint location"]);
  EXPECT_EQ(format(control.redo), said["Latest checkpoint's REDO location"]);
  EXPECT_EQ(
      segment_file_name(control.timeline, segment_of(control.redo, control.wal_segment_size), control.wal_segment_size),
      said["Latest checkpoint's REDO WAL file"]);
  EXPECT_EQ(std::to_string(control.timeline.value()), said["Latest checkpoint's TimeLineID"]);
  EXPECT_EQ(on_off(control.full_page_writes), said["Latest checkpoint's full_page_writes"]);
  EXPECT_EQ(fmt::format("{}:{}", control.next_full_xid >> 32, control.next_full_xid & 0xFFFFFFFFU),
            said["Latest checkpoint's NextXID"]);
  EXPECT_EQ(format(control.min_recovery_point), said["Minimum recovery ending location"]);
  EXPECT_EQ(format(control.backup_start_point), said["Backup start location"]);
  EXPECT_EQ(wal_level_name(control.wal_level), said["wal_level setting"]);
  EXPECT_EQ(on_off(control.wal_log_hints), said["wal_log_hints setting"]);
  EXPECT_EQ(std::to_string(control.max_connections), said["max_connections setting"]);
  EXPECT_EQ(std::to_string(control.max_worker_processes), said["max_worker_processes setting"]);
  EXPECT_EQ(std::to_string(control.max_wal_senders), said["max_wal_senders setting"]);
  EXPECT_EQ(std::to_string(control.max_prepared_transactions), said["max_prepared_xacts setting"]);
  EXPECT_EQ(std::to_string(control.max_locks_per_transaction), said["max_locks_per_xact setting"]);
  EXPECT_EQ(std::to_string(control.max_align), said["Maximum data alignment"]);
  EXPECT_EQ(control.float_format, 1234567.0);
  EXPECT_EQ(std::to_string(control.block_size), said["Database block size"]);
  EXPECT_EQ(std::to_string(control.relation_segment_blocks), said["Blocks per segment of large relation"]);
  EXPECT_EQ(std::to_string(control.wal_block_size), said["WAL block size"]);
  EXPECT_EQ(std::to_string(control.wal_segment_size.bytes()), said["Bytes per WAL segment"]);
  EXPECT_EQ(std::to_string(control.data_checksum_version), said["Data page checksum version"]);
  // "Wed Nov 25 22:54:41 2026" in UTC on the machine that made it
  EXPECT_NE(said["pg_control last modified"].find(format_postgres(control.modified).substr(11, 8)), std::string::npos);
  EXPECT_NE(said["Time of latest checkpoint"].find(format_postgres(control.checkpoint_time).substr(11, 8)),
            std::string::npos);
}

TEST_P(ControlFileOfEachMajor, EveryFlippedByteUnderTheChecksumIsRefused) {
  const Bytes good = golden(GetParam());
  const std::size_t covered = parse_control_file(good)->version->control.crc + 4;
  for (std::size_t at = 0; at < covered; ++at) {
    Bytes bad = good;
    bad[at] ^= std::byte{0x10};
    EXPECT_FALSE(parse_control_file(bad)) << "byte " << at;
  }
}

TEST_P(ControlFileOfEachMajor, EveryTruncationIsRefused) {
  const Bytes good = golden(GetParam());
  const std::size_t covered = parse_control_file(good)->version->control.crc + 4;
  for (std::size_t size = 0; size < covered; ++size)
    EXPECT_FALSE(parse_control_file(ByteView(good).first(size))) << "size " << size;
  EXPECT_TRUE(parse_control_file(ByteView(good).first(covered)));
}

INSTANTIATE_TEST_SUITE_P(Majors, ControlFileOfEachMajor, testing::Values(13, 15, 17, 18));

TEST(ControlFile, HostileFieldsUnderAFittingChecksumAreCorruptionNotHarm) {
  SeededRandom random(20261122);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = golden(15 + 2 * static_cast<int>(random.below(2)));
    const auto crc_at = parse_control_file(bytes)->version->control.crc;
    for (std::uint64_t n = 1 + random.below(8); n > 0; --n)
      bytes[16 + random.below(crc_at - 16U)] = static_cast<std::byte>(random.next());
    auto crc = codec::crc32c(ByteView(bytes).first(crc_at));
    std::memcpy(bytes.data() + crc_at, &crc, sizeof crc);
    auto parsed = parse_control_file(bytes);
    if (!parsed) {
      EXPECT_EQ(parsed.failure().code(), Errc::Corruption) << "round " << round;
    }
  }
}

TEST(ControlFile, UnknownVersionIsAPreconditionThatNamesIt) {
  Bytes bytes = golden(15);
  std::uint32_t beta = 202205191;
  std::memcpy(bytes.data() + 12, &beta, sizeof beta);
  auto parsed = parse_control_file(bytes);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.failure().code(), Errc::Precondition);
  EXPECT_NE(parsed.failure().message().find("202205191"), std::string::npos);
}

TEST(ControlFile, SystemIdentifierCanBeChanged) {
  auto changed = control_file_with_system_identifier(golden(17), SystemIdentifier(42)).value();
  EXPECT_EQ(parse_control_file(changed)->system_identifier, SystemIdentifier(42));
}

/// A writer that finishes its torn write while the reader sleeps.
class RepairingClock final : public Clock {
 public:
  RepairingClock(fs::path file, Bytes whole, int after)
      : file_(std::move(file)), whole_(std::move(whole)), left_(after) {}
  TimePoint now() const override { return {}; }
  void sleep(std::chrono::microseconds) override {
    ++sleeps_;
    if (--left_ == 0) {
      EXPECT_TRUE(write_file_durably(file_, whole_, 0600));
    }
  }
  int sleeps() const { return sleeps_; }

 private:
  fs::path file_;
  Bytes whole_;
  int left_, sleeps_ = 0;
};

class TemporaryDataDirectory {
 public:
  TemporaryDataDirectory() : path_(fs::temp_directory_path() / fmt::format("pgmint-control-{}", ::getpid())) {
    fs::create_directories(path_ / "global");
  }
  ~TemporaryDataDirectory() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(ControlFile, TornReadIsRepeated) {
  TemporaryDataDirectory directory;
  Bytes whole = golden(15), torn = whole;
  std::fill(torn.begin() + 200, torn.end(), std::byte{0x5a});
  auto file = directory.path() / "global/pg_control";
  ASSERT_TRUE(write_file_durably(file, torn, 0600));
  RepairingClock clock(file, whole, 3);
  auto image = read_control_file(directory.path(), clock);
  ASSERT_TRUE(image) << image.failure().describe();
  EXPECT_EQ(clock.sleeps(), 3);
  EXPECT_EQ(image->bytes, whole);
}

TEST(ControlFile, FileThatStaysTornIsCorruptionAfterABoundedNumberOfReads) {
  TemporaryDataDirectory directory;
  Bytes torn = golden(15);
  torn[100] ^= std::byte{1};
  ASSERT_TRUE(write_file_durably(directory.path() / "global/pg_control", torn, 0600));
  ManualClock clock{TimePoint{}};
  auto image = read_control_file(directory.path(), clock);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.failure().code(), Errc::Corruption);
  EXPECT_LT(clock.now().time_since_epoch(), std::chrono::seconds(5));
}

TEST(ControlFile, MissingFileIsNotFound) {
  auto image = read_control_file("/nonexistent");
  ASSERT_FALSE(image);
  EXPECT_EQ(image.failure().code(), Errc::NotFound);
}

TEST(VersionTable, RisesWithoutGapsAndIsFoundByEveryKey) {
  auto versions = all_versions();
  ASSERT_EQ(versions.size(), 6U);
  for (std::size_t i = 0; i < versions.size(); ++i) {
    const auto& v = versions[i];
    EXPECT_EQ(v.major, 13 + static_cast<int>(i));
    EXPECT_EQ(find_version(v.major), &v);
    EXPECT_EQ(find_version_by_catalog(v.control_version, v.catalog_version), &v);
    EXPECT_EQ(find_version_by_wal_magic(v.wal_page_magic), &v);
    EXPECT_EQ(version_from_pg_version(fmt::format("{}\n", v.major)).value(), &v);
    EXPECT_EQ(v.minimum_minor == 0, v.minimum_reason.empty());
  }
  EXPECT_EQ(find_version(12), nullptr);
  EXPECT_EQ(version_from_pg_version("9.6\n").failure().code(), Errc::Precondition);
}

}  // namespace
}  // namespace pgmint::postgres
