#include "postgres/base_backup_stream.h"

#include <gtest/gtest.h>

namespace pgmint::postgres {
namespace {

using namespace std::string_view_literals;

TEST(BaseBackupMessage, KindsAreToldApart) {
  auto base = parse_base_backup_message(as_bytes("nbase.tar\0\0"sv));
  ASSERT_TRUE(base);
  EXPECT_EQ(std::get<ArchiveBegins>(*base).tablespace, std::nullopt);
  auto space = parse_base_backup_message(as_bytes("n16400.tar\0/srv/space\0"sv));
  ASSERT_TRUE(space);
  EXPECT_EQ(std::get<ArchiveBegins>(*space).tablespace, Oid(16400));
  EXPECT_EQ(as_text(std::get<ArchiveBytes>(parse_base_backup_message(as_bytes("dabc"sv)).value()).bytes), "abc");
  EXPECT_TRUE(std::holds_alternative<ManifestBegins>(parse_base_backup_message(as_bytes("m"sv)).value()));
  EXPECT_EQ(std::get<ProgressMade>(parse_base_backup_message(as_bytes("p\0\0\0\0\0\0\1\2"sv)).value()).bytes, 258U);
}

TEST(BaseBackupMessage, WhatIsNoneIsRefused) {
  for (const auto text : {""sv, "x"sv, "n"sv, "nbase.tar"sv, "nbase.tar\0"sv, "nbase.tar\0\0more"sv, "n0.tar\0\0"sv, "n../a.tar\0\0"sv, "n99999999999.tar\0\0"sv, "mx"sv,
                          "p\0\0"sv, "p\0\0\0\0\0\0\0\0\0"sv}) {
    auto parsed = parse_base_backup_message(as_bytes(text));
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.failure().code(), Errc::Corruption);
  }
}

TEST(BaseBackupCommand, IsInTheWordsOfItsMajor) {
  BaseBackupOptions options{.connect = {}, .label = "it's\nme", .with_wal = true, .max_rate = ByteCount(5U << 20)};
  EXPECT_EQ(base_backup_command(options, *find_version(14)), "BASE_BACKUP LABEL 'it''s me' PROGRESS FAST WAL NOWAIT MAX_RATE 5120 TABLESPACE_MAP");
  EXPECT_EQ(base_backup_command(options, *find_version(15)),
            "BASE_BACKUP (LABEL 'it''s me', PROGRESS true, CHECKPOINT 'fast', WAL true, WAIT false, TABLESPACE_MAP true, VERIFY_CHECKSUMS true, MAX_RATE 5120)");
  options.parent_manifest = [](const Connection::Put&) { return ok(); };
  EXPECT_NE(base_backup_command(options, *find_version(17)).find("INCREMENTAL true"), std::string::npos);
  options.parent_manifest = {};
  EXPECT_EQ(base_backup_command(options, *find_version(17)).find("INCREMENTAL"), std::string::npos);
  options.max_rate = ByteCount(1000);  // less than a server takes: our own throttle alone
  EXPECT_EQ(base_backup_command(options, *find_version(18)).find("MAX_RATE"), std::string::npos);
  options.max_rate = ByteCount(1ULL << 40);
  EXPECT_NE(base_backup_command(options, *find_version(13)).find("MAX_RATE 1048576"), std::string::npos);
}

}  // namespace
}  // namespace pgmint::postgres
