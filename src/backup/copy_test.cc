#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "backup/testing_copy.h"

namespace pgmint::backup {
namespace {

using repository::FinishedPack;
using testing::CopyTest;
using testing::kBlock;
using testing::kExtent;

/// Takes from root, in this thread and in those that it starts, the right to read what permissions forbid. True: nobody here has it now.
bool obey_permissions() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> rights{};
  if (::syscall(SYS_capget, &header, rights.data()) != 0) return false;
  rights[0].effective &= ~(1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH);
  return ::syscall(SYS_capset, &header, rights.data()) == 0;
}

TEST_F(CopyTest, EveryByteComesBackWhateverTheSize) {
  for (std::size_t pages : {1, 2, 31, 32, 33, 127, 128, 129, 700})
    relation(fmt::format("base/5/{}", 20000 + pages), pages);
  for (std::size_t size : {0, 1, 5000, 262143, 262144, 262145, 3000000})
    cluster.file(fmt::format("extension/data.{}", size), random_bytes(random, size));
  look_and_copy();
  for (const auto& [path, content] : cluster.contents())
    if (path != "global/pg_control") expect_whole(path);
  EXPECT_EQ(counters.bytes_done, plan.total_bytes);
  EXPECT_EQ(counters.files_done, plan.files);
  EXPECT_EQ(findings.bad, 0U);
  EXPECT_EQ(findings.checked, 1U + 2 + 31 + 32 + 33 + 127 + 128 + 129 + 700);
}

TEST_F(CopyTest, MapsDoNotDependOnHowManyWorkersThereAre) {
  auto content = testing::make_pages(random, 600);
  std::fill(content.begin() + (1 << 20), content.begin() + (3 << 20), std::byte{0});
  cluster.file("base/5/20000", content);
  std::vector<std::pair<std::uint64_t, std::vector<bool>>> seen;
  for (unsigned n : {1U, 2U, 7U}) {
    workers = n;
    look_and_copy();
    expect_whole("base/5/20000");
    const auto map = map_of("base/5/20000");
    std::vector<bool> zero;
    for (const auto& extent : map.extents) zero.push_back(!extent.location);
    seen.emplace_back(map.file_length, zero);
  }
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST_F(CopyTest, ExtentsOfZerosAreFlagsWithoutRecords) {
  cluster.file("base/5/20000", Bytes(10U << 20));
  look_and_copy();
  const auto map = map_of("base/5/20000");
  EXPECT_EQ(map.page_size, kBlock);
  for (const auto& extent : map.extents) EXPECT_FALSE(extent.location);
  EXPECT_EQ(counters.zero_bytes, 10U << 20);
  expect_whole("base/5/20000");
}

TEST_F(CopyTest, AStretchStandsInOnePackInOrder) {
  relation("base/5/20000", 1024);
  look_and_copy();
  const auto map = map_of("base/5/20000");
  for (std::size_t i = 1; i < map.extents.size(); ++i) {
    if (i * kExtent % (1U << 20) == 0) continue;
    const auto &a = *map.extents[i - 1].location, &b = *map.extents[i].location;
    EXPECT_EQ(a.pack, b.pack);
    EXPECT_EQ(a.offset + a.stored_length, b.offset);
  }
}

TEST_F(CopyTest, SmallFilesShareABundle) {
  for (int i = 0; i < 50; ++i) relation(fmt::format("base/5/{}", 30000 + i), 1);
  look_and_copy();
  const auto first = copied("base/5/30000").content.member().value();
  const auto second = copied("base/5/30001").content.member().value();
  EXPECT_EQ(first.bundle, second.bundle);
  EXPECT_NE(first.offset, second.offset);
}

TEST_F(CopyTest, ARelationThatVanishedIsLeftOut) {
  relation("base/5/20000", 200);
  relation("base/5/20001", 1);
  look();
  for (auto name : {"base/5/20000", "base/5/20001"}) fs::remove(cluster.path() / name);
  ASSERT_TRUE(copy());
  EXPECT_EQ(copied("base/5/20000").state, CopiedFile::State::Absent);
  EXPECT_EQ(copied("base/5/20001").state, CopiedFile::State::Absent);
  EXPECT_TRUE(outcome.vanished_noted.empty());
  EXPECT_TRUE(outcome.vanished_refused.empty());
  EXPECT_EQ(counters.bytes_done, plan.total_bytes);
}

TEST_F(CopyTest, OtherFilesThatVanishedAreToldAbout) {
  cluster.file("extension/x", random_bytes(random, 10));
  look();
  for (auto name : {"extension/x", "base/5/PG_VERSION"}) fs::remove(cluster.path() / name);
  ASSERT_TRUE(copy());
  EXPECT_EQ(outcome.vanished_noted, std::vector<std::string>{"extension/x"});
  EXPECT_EQ(outcome.vanished_refused, std::vector<std::string>{"base/5/PG_VERSION"});
}

TEST_F(CopyTest, ATruncatedRelationEndsWhereItWasCut) {
  relation("base/5/20000", 700);
  look();
  const std::uint64_t cut = 300 * kBlock + 100;
  source.after_read = [&](const std::string& path, std::uint64_t offset, MutableByteView, std::size_t& got) {
    if (path.ends_with("20000") && offset + got > cut) got = offset >= cut ? 0 : cut - offset;
  };
  ASSERT_TRUE(copy());
  const auto& whole = cluster.contents().at("base/5/20000");
  EXPECT_EQ(restored("base/5/20000"), Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(cut)));
}

TEST_F(CopyTest, OfARelationThatWasCutAndGrewAgainTheLowestCutCounts) {
  relation("base/5/20000", 700);
  look();
  // The stretch at 1 MiB sees the end; those behind it read on.
  source.after_read = [&](const std::string& path, std::uint64_t offset, MutableByteView, std::size_t& got) {
    if (path.ends_with("20000") && offset == (1U << 20) + kExtent) got = kBlock;
  };
  ASSERT_TRUE(copy());
  const std::size_t cut = (1U << 20) + kExtent + kBlock;
  EXPECT_EQ(copied("base/5/20000").length, cut);
  const auto& whole = cluster.contents().at("base/5/20000");
  EXPECT_EQ(restored("base/5/20000"), Bytes(whole.begin(), whole.begin() + cut));
}

TEST_F(CopyTest, ARelationTruncatedToNothingIsAnEmptyFile) {
  relation("base/5/20000", 700);
  relation("base/5/20001", 2);
  look();
  fs::resize_file(cluster.path() / "base/5/20000", 0);
  fs::resize_file(cluster.path() / "base/5/20001", 0);
  ASSERT_TRUE(copy());
  EXPECT_EQ(copied("base/5/20000").state, CopiedFile::State::Empty);
  EXPECT_EQ(copied("base/5/20001").state, CopiedFile::State::Empty);
}

TEST_F(CopyTest, WhatARelationGainedSinceTheScanIsLeftToTheWal) {
  relation("base/5/20000", 200);
  relation("base/5/20001", 2);
  look();
  const auto scanned = cluster.contents();
  relation("base/5/20000", 300);
  relation("base/5/20001", 3);
  ASSERT_TRUE(copy());
  EXPECT_EQ(copied("base/5/20000").length, 200U * kBlock);
  EXPECT_EQ(copied("base/5/20001").length, 2U * kBlock);
}

TEST_F(CopyTest, AnotherFileThatWasReplacedByALongerOneIsWhole) {
  cluster.file("extension/empty", {});
  cluster.file("extension/small", random_bytes(random, 100));
  cluster.file("extension/large", random_bytes(random, 300000));
  look();
  cluster.file("extension/empty", random_bytes(random, 5000));
  cluster.file("extension/small", random_bytes(random, 2000000));
  cluster.file("extension/large", random_bytes(random, 5000000));
  ASSERT_TRUE(copy());
  for (auto name : {"extension/empty", "extension/small", "extension/large"}) expect_whole(name);
}

TEST_F(CopyTest, AnotherFileThatWasReplacedByAShorterOneIsWhole) {
  cluster.file("extension/large", random_bytes(random, 5000000));
  look();
  cluster.file("extension/large", random_bytes(random, 1500000));
  ASSERT_TRUE(copy());
  expect_whole("extension/large");
}

TEST_F(CopyTest, ATornPageIsStoredWholeAndADamagedOneAsItIs) {
  auto content = testing::make_pages(random, 300);
  content[70 * kBlock + 6000] ^= std::byte{1};
  cluster.file("base/5/20000", content);
  look();
  bool torn = false;
  source.after_read = [&](const std::string& path, std::uint64_t offset, MutableByteView data, std::size_t&) {
    if (!path.ends_with("20000") || offset != 0 || torn) return;
    torn = true;
    std::memset(data.data() + 5 * kBlock + 4096, 0x77, 4096);
  };
  ASSERT_TRUE(copy());
  EXPECT_TRUE(torn);
  expect_whole("base/5/20000");
  EXPECT_EQ(findings.reread, 1U);
  ASSERT_EQ(findings.bad, 1U);
  EXPECT_EQ(findings.named()[0].block, 70U);
}

TEST_F(CopyTest, AFailedPutEndsTheCopy) {
  for (int i = 0; i < 8; ++i) relation(fmt::format("base/5/{}", 20000 + i), 256);
  look();
  std::atomic<int> puts{0};
  upload = [&](FinishedPack) -> Status {
    if (puts.fetch_add(1) == 1) return Error(Errc::Storage, "disk full");
    return ok();
  };
  auto status = copy();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.failure().code(), Errc::Storage);
}

TEST_F(CopyTest, CancellationEndsTheCopy) {
  for (int i = 0; i < 8; ++i) relation(fmt::format("base/5/{}", 20000 + i), 256);
  look();
  source.after_read = [&](const std::string&, std::uint64_t offset, MutableByteView, std::size_t&) {
    if (offset > 0) cancel.cancel();
  };
  auto status = copy();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.failure().code(), Errc::Cancelled);
}

TEST_F(CopyTest, CancellationIsSeenWhileEveryWorkerWaitsForAPut) {
  for (int i = 0; i < 8; ++i) relation(fmt::format("base/5/{}", 20000 + i), 256);
  look();
  upload = [&](FinishedPack) -> Status {
    cancel.cancel();
    while (!cancel.cancelled()) std::this_thread::yield();
    return Error(Errc::Cancelled, "cancelled");
  };
  auto status = copy();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.failure().code(), Errc::Cancelled);
}

TEST_F(CopyTest, AFailureOfTheOwnersTickEndsTheCopy) {
  relation("base/5/20000", 1000);
  look();
  source.after_read = [&](const std::string&, std::uint64_t, MutableByteView, std::size_t&) {
    system_clock().sleep(std::chrono::milliseconds(20));
  };
  auto status = copy([]() -> Status { return Error(Errc::Postgres, "server gone"); });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.failure().code(), Errc::Postgres);
}

TEST_F(CopyTest, AnUnreadableFileFailsTheCopyAndIsNamed) {
  relation("base/5/20000", 1);
  look();
  fs::permissions(cluster.path() / "base/5/20000", fs::perms::none);
  Status status = ok();
  std::thread([&] {
    ASSERT_TRUE(obey_permissions());
    status = copy();
  }).join();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.failure().code(), Errc::Key);
  EXPECT_NE(status.failure().describe().find("base/5/20000"), std::string::npos);
}

}  // namespace
}  // namespace pgmint::backup
