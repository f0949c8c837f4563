#include "postgres/backup_manifest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace pgmint::postgres {
namespace {

std::string written(std::size_t files, std::size_t* pieces = nullptr) {
  std::string text;
  BackupManifestWriter manifest(SystemIdentifier(7349872398472398ULL), [&](ByteView piece) -> Status {
    text += as_text(piece);
    if (pieces != nullptr) ++*pieces;
    return ok();
  });
  for (std::size_t i = 0; i < files; ++i) EXPECT_TRUE(manifest.file(fmt::format("base/5/{}", 16384 + i), 8192 * i));
  EXPECT_TRUE(manifest.finish(TimelineId(2), Lsn(0x16A0000028), Lsn(0x16A0000158)));
  return text;
}

TEST(BackupManifest, HasWhatAServerReads) {
  const auto text = written(2);
  EXPECT_EQ(text.substr(0, text.find("\"Manifest-Checksum\"")),
            R"({ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7349872398472398,
"Files": [
{ "Path": "base/5/16384", "Size": 0, "Last-Modified": "1970-01-01 00:00:00 GMT" },
{ "Path": "base/5/16385", "Size": 8192, "Last-Modified": "1970-01-01 00:00:00 GMT" }
],
"WAL-Ranges": [
{ "Timeline": 2, "Start-LSN": "16/A0000028", "End-LSN": "16/A0000158" }
],
)");
}

TEST(BackupManifest, ItsChecksumIsOfAllLinesBeforeTheLastOne) {
  // However many pieces it is written in.
  for (const std::size_t files : {0U, 1U, 5000U}) {
    std::size_t pieces = 0;
    const auto text = written(files, &pieces);
    EXPECT_EQ(pieces > 3, files == 5000U);
    ASSERT_EQ(text.back(), '\n');
    const auto last = text.rfind('\n', text.size() - 2) + 1;
    const auto sum = to_hex(crypto::sha256(as_bytes(std::string_view(text).substr(0, last))));
    EXPECT_EQ(text.substr(last), fmt::format("\"Manifest-Checksum\": \"{}\"}}\n", sum));
  }
}

TEST(BackupManifest, AReaderThatFailsEndsIt) {
  BackupManifestWriter manifest(SystemIdentifier(1), [](ByteView) -> Status { return Error(Errc::Cancelled, "cancelled"); });
  const auto finished = manifest.finish(TimelineId(1), Lsn(1), Lsn(2));
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.failure().code(), Errc::Cancelled);
}

}  // namespace
}  // namespace pgmint::postgres
