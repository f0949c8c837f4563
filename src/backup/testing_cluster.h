// For tests: a data directory without a server, files with sound pages, a scripted server, and a source that
// misbehaves.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

#include "backup/server.h"
#include "backup/source.h"
#include "base/random.h"
#include "codec/crc32c.h"
#include "postgres/control_file.h"
#include "postgres/page.h"
#include "storage/temporary_directory.h"

namespace pgmint::backup::testing {

inline constexpr std::uint32_t kBlock = 8192;
inline constexpr postgres::Lsn kBackupStart{0x5000028};

inline void put_u16(Bytes& page, std::size_t at, std::uint16_t value) {
  std::memcpy(page.data() + at, &value, 2);
}
inline void put_u32(Bytes& page, std::size_t at, std::uint32_t value) {
  std::memcpy(page.data() + at, &value, 4);
}

/// A heap-like page with a checksum that fits: half noise, half zeros.
inline Bytes make_page(SeededRandom& random, postgres::BlockNumber block,
                       postgres::Lsn lsn = postgres::Lsn(0x1000028)) {
  Bytes page(kBlock);
  random.fill(MutableByteView(page).subspan(kBlock / 2));
  put_u32(page, 0, static_cast<std::uint32_t>(lsn.value() >> 32));
  put_u32(page, 4, static_cast<std::uint32_t>(lsn.value()));
  put_u16(page, 12, 64);          // lower
  put_u16(page, 14, kBlock / 2);  // upper
  put_u16(page, 16, kBlock);      // special
  put_u16(page, 18, kBlock | 4);  // size and layout version
  put_u16(page, 8, postgres::page_checksum(page, block));
  return page;
}
inline Bytes make_pages(SeededRandom& random, std::size_t count, postgres::BlockNumber first = 0) {
  Bytes pages;
  pages.reserve(count * kBlock);
  for (std::size_t i = 0; i < count; ++i)
    append(pages, make_page(random, first + static_cast<postgres::BlockNumber>(i)));
  return pages;
}

/// pg_control of a real PostgreSQL 15, which had page checksums off, with `checksums` as asked for.
inline Bytes make_control_file(bool checksums) {
  auto raw = read_file("tests/golden/postgres/pg_control.15", 1 << 20).value();
  const auto control = postgres::parse_control_file(raw).value();
  put_u32(raw, control.version->control.data_checksum_version, checksums ? 1 : 0);
  const auto crc = codec::crc32c(ByteView(raw).first(control.version->control.crc));
  put_u32(raw, control.version->control.crc, crc);
  return raw;
}

enum class Checksums { On, Off };

/// A directory that a scan takes for PostgreSQL 15's.
class MadeCluster {
 public:
  explicit MadeCluster(Checksums checksums = Checksums::On) {
    file("PG_VERSION", as_bytes("15\n"));
    file("postgresql.auto.conf", as_bytes("# none\n"));
    control_ = make_control_file(checksums == Checksums::On);
    file("global/pg_control", control_);
    for (auto name : {"global/pg_filenode.map", "base/5/PG_VERSION", "base/5/pg_filenode.map"})
      file(name, as_bytes("map"));
    for (auto name : {"pg_wal/archive_status", "pg_tblspc", "pg_xact"}) fs::create_directories(path() / name);
  }
  fs::path path() const { return directory_.path() / "data"; }
  fs::path beside(const std::string& name) const { return directory_.path() / name; }
  postgres::SystemIdentifier system_identifier() const {
    return postgres::parse_control_file(control_)->system_identifier;
  }
  void file(const std::string& name, ByteView content) {
    const auto full = path() / name;
    fs::create_directories(full.parent_path());
    auto fd = open_file(full, O_WRONLY | O_CREAT | O_TRUNC).value();
    ASSERT_TRUE(write_all(fd, content, name));
    contents_[name] = to_bytes(content);
  }
  /// Overwrites part of a file.
  void patch(const std::string& name, std::size_t offset, ByteView bytes) {
    auto fd = open_file(path() / name, O_WRONLY).value();
    ASSERT_TRUE(write_at(fd, bytes, offset, name));
    std::ranges::copy(bytes, contents_.at(name).begin() + static_cast<std::ptrdiff_t>(offset));
  }
  /// What was written, by path.
  const std::map<std::string, Bytes>& contents() const { return contents_; }

 private:
  storage::TemporaryDirectory directory_;
  Bytes control_;
  std::map<std::string, Bytes> contents_;
};

/// Passes on to the real directory; a hook may change what a read or an open gives. Thread-safe.
class MeddlingSource final : public Source {
 public:
  explicit MeddlingSource(const fs::path& data_directory) : inner_(open_source(data_directory)) {}
  /// Called before the file is opened; may change the file system.
  std::function<void(const std::string& path)> before_open;
  /// Called after each read with what it gave; may change bytes and length.
  std::function<void(const std::string& path, std::uint64_t offset, MutableByteView data, std::size_t& got)> after_read;

  Result<std::unique_ptr<SourceFile>> open(const std::string& path) override {
    std::lock_guard lock(mutex_);
    if (before_open) before_open(path);
    auto file = TRY(inner_->open(path));
    if (!file) return std::unique_ptr<SourceFile>();
    return std::unique_ptr<SourceFile>(std::make_unique<File>(*this, path, std::move(file)));
  }
  Result<bool> exists(const std::string& path) override { return inner_->exists(path); }

 private:
  class Range final : public SourceRange {
   public:
    Range(MeddlingSource& owner, const std::string& path, std::unique_ptr<SourceRange> inner)
        : owner_(owner), path_(path), inner_(std::move(inner)) {}
    Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override {
      auto got = TRY(inner_->read(out, offset));
      std::lock_guard lock(owner_.mutex_);
      if (owner_.after_read) owner_.after_read(path_, offset, out, got);
      return got;
    }

   private:
    MeddlingSource& owner_;
    const std::string& path_;
    std::unique_ptr<SourceRange> inner_;
  };
  class File final : public SourceFile {
   public:
    File(MeddlingSource& owner, std::string path, std::unique_ptr<SourceFile> inner)
        : owner_(owner), path_(std::move(path)), inner_(std::move(inner)) {}
    std::uint64_t size() const override { return inner_->size(); }
    std::unique_ptr<SourceRange> range(std::uint64_t offset, std::uint64_t length) override {
      return std::make_unique<Range>(owner_, path_, inner_->range(offset, length));
    }

   private:
    MeddlingSource& owner_;
    std::string path_;
    std::unique_ptr<SourceFile> inner_;
  };

  std::unique_ptr<Source> inner_;
  std::mutex mutex_;
};

/// Time that moves when somebody sleeps. Thread-safe.
class TestClock final : public Clock {
 public:
  TestClock() = default;
  explicit TestClock(TimePoint start) : now_(start.time_since_epoch().count()) {}
  TimePoint now() const override { return TimePoint(std::chrono::microseconds(now_.load())); }
  void sleep(std::chrono::microseconds duration) override { now_.fetch_add(duration.count()); }
  void set(TimePoint now) { now_ = now.time_since_epoch().count(); }

 private:
  std::atomic<std::int64_t> now_{1'795'000'000'000'000};
};

/// Answers as its fields say, and counts what it is asked. Thread-safe where Server is.
class ScriptedServer final : public Server {
 public:
  explicit ScriptedServer(const MadeCluster& cluster) {
    facts.version_num = 150018;
    facts.version_text = "PostgreSQL 15.18";
    facts.system_identifier = cluster.system_identifier();
    facts.data_directory = cluster.path().string();
    facts.config_file = (cluster.path() / "postgresql.conf").string();
    facts.archive_mode = "on";
    facts.archive_command = "pgmint wal push \"%p\"";
    facts.wal_level = "replica";
    facts.settings["max_connections"] = "100";
  }

  postgres::ServerFacts facts;
  ArchiverStatus archiver_status;
  ServerStart started{kBackupStart, postgres::TimelineId(1), false};
  postgres::BackupStop stopped{postgres::Lsn(0x5000138), label_of(kBackupStart), ""};
  std::function<void()> on_start = [] {};
  std::function<Status()> on_stop = [] { return ok(); };
  std::function<void()> on_archiver = [] {};
  std::function<Status()> alive = [] { return ok(); };
  std::optional<Result<postgres::Lsn>> primary;
  bool running = false, was_abandoned = false;
  int nudges = 0, switches = 0;

  static std::string label_of(postgres::Lsn start) {
    return fmt::format(
        "START WAL LOCATION: {} (file 000000010000000000000005)\nCHECKPOINT LOCATION: 0/5000060\nBACKUP METHOD: "
        "streamed\n"
        "BACKUP FROM: primary\nSTART TIME: 2026-11-22 08:40:01 UTC\nLABEL: pgmint\nSTART TIMELINE: 1\n",
        postgres::format(start));
  }

  Result<postgres::ServerFacts> inspect() override { return facts; }
  Result<ArchiverStatus> archiver() override {
    on_archiver();
    return archiver_status;
  }
  Status nudge_archiver() override {
    ++nudges;
    return ok();
  }
  Result<ServerStart> start(postgres::SystemIdentifier) override {
    running = true;
    on_start();
    return started;
  }
  Result<postgres::Lsn> page_check_lsn() override { return postgres::Lsn(0x5000100); }
  Status check_alive() override { return alive(); }
  Result<postgres::BackupStop> stop() override {
    running = false;
    TRY(on_stop());
    return stopped;
  }
  void abandon() override {
    was_abandoned = was_abandoned || running;
    running = false;
  }
  Result<std::optional<postgres::Lsn>> switch_wal_on_primary(postgres::SystemIdentifier) override {
    ++switches;
    if (!primary) return std::optional<postgres::Lsn>();
    return std::optional<postgres::Lsn>(TRY(*primary));
  }
};

}  // namespace pgmint::backup::testing
