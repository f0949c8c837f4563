#include "backup/stream_front.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "base/test_seed.h"
#include "postgres/testing_tar.h"

namespace pgmint::backup {
namespace {

using postgres::testing::tar_file;
using postgres::testing::tar_header;

constexpr std::uint32_t kExtent = 32 << 10;
constexpr std::uint64_t kStretch = 2 * kExtent, kBundle = 48 << 10;

/// What workers would have read, by path.
struct Copied {
  std::map<std::string, std::string> files;
  std::size_t stretches = 0, bundles = 0;
  std::uint64_t largest = 0;
};

class StreamFrontTest : public testing::Test {
 protected:
  StreamFrontTest() { restart(); }
  void restart() {
    source.clear();
    copied = {};
    opened.clear();
    StreamFrontOptions options;
    options.extent_size = kExtent;
    options.stretch = kStretch;
    options.bundle_size = kBundle;
    options.plan = [](const postgres::DirectoryEntry&) { return FilePlan{}; };
    options.before = [this](std::uint64_t bytes) -> Status {
      announced += bytes;
      return ok();
    };
    options.hand_on = [this](CopyWork work) { return take(std::move(work)); };
    front.emplace(source, std::move(options));
  }

  /// As a worker does: each file is opened once, and each byte is there once.
  Status take(CopyWork work) {
    ++(work.mapped != nullptr ? copied.stretches : copied.bundles);
    copied.largest = std::max(copied.largest, work.bytes);
    std::uint64_t bytes = 0;
    for (const auto& file : work.files) {
      const auto& path = file.entry->path;
      auto& handle = opened[path];
      if (work.first == 0) handle = TRY(source.open(path));
      EXPECT_TRUE(handle) << path;
      const auto end = work.mapped != nullptr ? work.end : file.entry->size;
      Bytes out(static_cast<std::size_t>(end - work.first));
      auto range = handle->range(work.first, out.size());
      EXPECT_EQ(TRY(range->read(out, work.first)), out.size()) << path;
      copied.files[path] += as_text(out);
      bytes += out.size();
      EXPECT_EQ(work.last, work.mapped != nullptr && end == file.entry->size) << path;
    }
    EXPECT_EQ(bytes, work.bytes);
    return ok();
  }

  Status feed(std::optional<postgres::Oid> tablespace, ByteView archive, SeededRandom& random) {
    TRY(front->archive_begins(tablespace));
    while (!archive.empty()) {
      const auto step = std::min<std::size_t>(archive.size(), 1 + random.u64() % 40'000);
      TRY(front->archive_bytes(archive.first(step)));
      archive = archive.subspan(step);
    }
    return front->archive_ends();
  }

  StreamSource source;
  Copied copied;
  std::uint64_t announced = 0;
  std::map<std::string, std::unique_ptr<SourceFile>> opened;
  std::optional<StreamFront> front;
};

std::string noise(std::size_t size, SeededRandom& random) {
  std::string text(size, '\0');
  random.fill(std::as_writable_bytes(std::span(text.data(), text.size())));
  return text;
}

Bytes archive_of(const std::vector<std::pair<std::string, std::string>>& files) {
  Bytes archive;
  for (const auto& [name, content] : files) append(archive, name.ends_with('/') ? tar_header(name, 0, '5') : tar_file(name, content));
  archive.resize(archive.size() + 2 * postgres::kTarBlock);
  return archive;
}

const std::vector<std::pair<std::string, std::string>> kSmallest = {{"backup_label", "START WAL LOCATION: 0/2000028\n"}, {"global/pg_control", "control"}};

TEST_F(StreamFrontTest, WorkersGetEveryByteOnceWhereverTheStreamIsCut) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 30; ++round) {
    restart();
    std::map<std::string, std::string> expected;
    std::vector<std::pair<std::string, std::string>> files{{"base/", ""}, {"base/5/", ""}}, elsewhere{{"PG_15_1/", ""}, {"PG_15_1/5/", ""}};
    const auto size = [&] {
      const std::size_t sizes[] = {0, 1, 8192, kExtent - 1, kExtent, kStretch, kStretch + 1, 3 * kStretch, 5 * kStretch + 777};
      return random.u64() % 2 == 0 ? sizes[random.u64() % std::size(sizes)] : random.u64() % (4 * kStretch);
    };
    for (int i = 0; i < 12; ++i) {
      const auto relation = fmt::format("base/5/{}", 16384 + i), other = fmt::format("pg_xact/{:04X}", i), far = fmt::format("PG_15_1/5/{}", 20000 + i);
      files.emplace_back(relation, expected[relation] = noise(size(), random));
      files.emplace_back(other, expected[other] = noise(size(), random));
      elsewhere.emplace_back(far, expected["pg_tblspc/16400/" + far] = noise(size(), random));
    }
    // What is no part of a backup.
    for (const char* name : {"postmaster.pid", "pg_stat_tmp/x.stat", "base/5/t3_16500", "pg_replslot/slot/state", "base/5/pg_internal.init"}) files.emplace_back(name, noise(size(), random));
    std::vector<std::string> wal;
    for (int i = 2; i < 5; ++i) {
      wal.push_back(fmt::format("00000001000000000000{:04X}", i));
      files.emplace_back("pg_wal/" + wal.back(), expected[wal.back()] = noise(kStretch + 100, random));
    }
    files.emplace_back("pg_wal/archive_status/" + wal.back() + ".done", "");
    files.insert(files.end(), kSmallest.begin(), kSmallest.end());
    ASSERT_TRUE(feed(postgres::Oid(16400), archive_of(elsewhere), random));
    const auto fed = feed(std::nullopt, archive_of(files), random);
    ASSERT_TRUE(fed) << fed.failure().describe();
    ASSERT_TRUE(front->finish());

    for (const auto& [path, content] : expected) ASSERT_EQ(copied.files[path] == content, true) << path << ", round " << round;
    EXPECT_EQ(copied.files.size(), expected.size()) << "and nothing else";
    EXPECT_LE(copied.largest, kStretch) << "no more than a stretch, or a bundle, is held";
    EXPECT_EQ(front->label(), kSmallest[0].second);
    EXPECT_EQ(as_text(front->take_control()), kSmallest[1].second);
    ASSERT_EQ(front->wal().size(), wal.size());
    EXPECT_EQ(front->last_segment().name, wal.back());
    EXPECT_TRUE(std::ranges::equal(front->last_segment().bytes, as_bytes(expected[wal.back()])));
    std::size_t data_files = 0;
    for (const auto& entry : front->entries()) data_files += entry.entry.kind == postgres::EntryKind::Directory ? 0 : 1;
    EXPECT_EQ(data_files, expected.size() - wal.size() + 1) << "pg_control is one of them";
  }
}

TEST_F(StreamFrontTest, AStreamThatLacksWhatEveryBackupHasIsNone) {
  SeededRandom random(1);
  for (std::size_t left_out = 0; left_out < kSmallest.size(); ++left_out) {
    restart();
    auto files = kSmallest;
    files.erase(files.begin() + static_cast<std::ptrdiff_t>(left_out));
    ASSERT_TRUE(feed(std::nullopt, archive_of(files), random));
    const auto finished = front->finish();
    ASSERT_FALSE(finished) << left_out;
    EXPECT_EQ(finished.failure().code(), Errc::Postgres);
  }
}

TEST_F(StreamFrontTest, WhatComesTwiceIsRefused) {
  SeededRandom random(1);
  for (const char* twice : {"global/pg_control", "base/5/16384", "PG_VERSION"}) {
    restart();
    auto files = kSmallest;
    files.emplace_back(twice, "x");
    files.emplace_back(twice, "y");
    const auto fed = feed(std::nullopt, archive_of(files), random);
    ASSERT_FALSE(fed) << twice;
    EXPECT_EQ(fed.failure().code(), Errc::Postgres);
  }
}

TEST_F(StreamFrontTest, AnArchiveThatIsCutOffOrDamagedIsToldAsTheServers) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  auto files = kSmallest;
  files.emplace_back("base/5/16384", noise(3 * kStretch, random));
  const auto whole = archive_of(files);
  for (int i = 0; i < 40; ++i) {
    restart();
    auto cut = whole;
    cut.resize(random.u64() % (whole.size() - 2 * postgres::kTarBlock));
    if (cut.size() % postgres::kTarBlock == 0) continue;  // between two entries, perhaps: then something is missing
    const auto fed = feed(std::nullopt, cut, random);
    ASSERT_FALSE(fed) << cut.size();
    EXPECT_EQ(fed.failure().code(), Errc::Postgres);
    restart();
    auto damaged = whole;
    damaged[random.u64() % 500] ^= std::byte{1};  // of the first header
    const auto refused = feed(std::nullopt, damaged, random);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.failure().code(), Errc::Postgres);
  }
}

TEST_F(StreamFrontTest, OfAPartWhatCameIsHandedOnInPiecesOfTheFile) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  constexpr std::uint32_t kPage = 8192;
  for (int round = 0; round < 30; ++round) {
    source.clear();
    const auto length = static_cast<postgres::BlockNumber>(kExtent / kPage + random.u64() % 200);
    std::string member, pages;
    std::vector<postgres::BlockNumber> blocks;
    for (postgres::BlockNumber block = 0; block < length; ++block)
      if (random.u64() % 100 < static_cast<std::uint64_t>(round) * 4) blocks.push_back(block);
    const auto put = [&](std::uint32_t value) { member.append(reinterpret_cast<const char*>(&value), sizeof value); };
    put(0xd3ae1f0d);
    put(static_cast<std::uint32_t>(blocks.size()));
    put(length);
    for (const auto block : blocks) put(block);
    if (!blocks.empty()) member.resize((member.size() + kPage - 1) / kPage * kPage);
    pages = noise(blocks.size() * kPage, random);

    std::string came;
    std::uint64_t bytes = 0, reached = 0;
    StreamFrontOptions options;
    options.extent_size = kExtent;
    options.stretch = kStretch;
    options.bundle_size = kBundle;
    options.blocks_per_segment = 131072;
    options.plan = [](const postgres::DirectoryEntry&) { return FilePlan{}; };
    options.plan_part = [](const postgres::DirectoryEntry&, postgres::IncrementalFile sent) -> Result<FilePlan> {
      FilePlan plan;
      plan.reading = Reading::Sent;
      plan.listed = std::make_shared<const std::vector<postgres::BlockNumber>>(std::move(sent.blocks));
      return plan;
    };
    options.before = [](std::uint64_t) { return ok(); };
    std::unique_ptr<SourceFile> handle;
    options.hand_on = [&](CopyWork work) -> Status {
      if (!work.mapped) return ok();
      if (!handle) handle = TRY(source.open(work.files[0].entry->path));
      EXPECT_EQ(work.first, std::exchange(reached, work.end));
      EXPECT_TRUE(work.last ? work.end == std::uint64_t{length} * kPage : work.end % kStretch == 0);
      EXPECT_LE(work.bytes, kStretch) << "no more is held";
      Bytes out(static_cast<std::size_t>(work.bytes) + 1);
      EXPECT_EQ(TRY(handle->range(work.first, out.size())->read(out, work.first)), work.bytes);
      came += as_text(out).substr(0, static_cast<std::size_t>(work.bytes));
      bytes += work.bytes;
      return ok();
    };
    front.emplace(source, std::move(options));
    auto files = kSmallest;
    files.emplace_back("base/5/INCREMENTAL.16384", member + pages);
    const auto fed = feed(std::nullopt, archive_of(files), random);
    ASSERT_TRUE(fed) << fed.failure().describe();
    EXPECT_EQ(reached, std::uint64_t{length} * kPage);
    EXPECT_EQ(bytes, pages.size()) << "progress is of what comes";
    EXPECT_TRUE(came == pages);
  }
}

TEST_F(StreamFrontTest, PartsThatWereNotAskedForEndTheStream) {
  SeededRandom random(1);
  auto files = kSmallest;
  files.emplace_back("base/5/INCREMENTAL.16384", std::string("\x0d\x1f\xae\xd3\0\0\0\0\1\0\0\0", 12));
  const auto fed = feed(std::nullopt, archive_of(files), random);
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.failure().code(), Errc::Postgres);
}

TEST_F(StreamFrontTest, WorkersThatStopEndTheStream) {
  SeededRandom random(1);
  StreamFrontOptions options;
  options.extent_size = kExtent;
  options.stretch = kStretch;
  options.bundle_size = kBundle;
  options.plan = [](const postgres::DirectoryEntry&) { return FilePlan{}; };
  options.before = [](std::uint64_t) { return ok(); };
  options.hand_on = [](const CopyWork&) -> Status { return Error(Errc::Cancelled, "enough"); };
  front.emplace(source, std::move(options));
  auto files = kSmallest;
  files.emplace_back("base/5/16384", noise(3 * kStretch, random));
  EXPECT_EQ(feed(std::nullopt, archive_of(files), random).failure().code(), Errc::Cancelled);
}

}  // namespace
}  // namespace pgmint::backup
