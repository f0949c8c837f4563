#include "cli/refused_pins.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

namespace pgmint::cli {
namespace {

TEST(RefusedPins, AFileIsTriedAgainOnceItHasChanged) {
  std::string pattern = (fs::temp_directory_path() / "pgmint-pins-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const fs::path folder(pattern), file = folder / "pin", other = folder / "other";
  for (const auto& each : {file, other}) ASSERT_TRUE(write_file_durably(each, as_bytes("4711\n"), 0600));
  const RefusedPins pins(folder / "state" / "refused");
  EXPECT_TRUE(pins.expect_untried("token", file));
  pins.note("token", file);
  const auto refused = pins.expect_untried("token", file);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
  EXPECT_NE(refused.failure().hint().find("touch " + file.string()), std::string::npos);
  EXPECT_TRUE(pins.expect_untried("another token", file));
  EXPECT_TRUE(pins.expect_untried("token", other));
  for (const auto& entry : fs::directory_iterator(folder / "state" / "refused")) EXPECT_EQ(read_text_file(entry.path(), 4096)->find("4711"), std::string::npos);

  const timespec touched[2] = {{1'800'000'000, 1}, {1'800'000'000, 1}};
  ASSERT_EQ(::utimensat(AT_FDCWD, file.c_str(), touched, 0), 0);
  EXPECT_TRUE(pins.expect_untried("token", file));
  pins.note("token", file);
  EXPECT_FALSE(pins.expect_untried("token", file));
  ASSERT_TRUE(write_file_durably(file, as_bytes("4712\n"), 0600));
  EXPECT_TRUE(pins.expect_untried("token", file));

  const RefusedPins nowhere("/proc/nowhere");
  nowhere.note("token", file);
  EXPECT_TRUE(nowhere.expect_untried("token", file));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace pgmint::cli
