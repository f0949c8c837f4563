#include "restore/icu.h"

#include <gtest/gtest.h>

namespace pgmint::restore {
namespace {

TEST(Icu, LibrariesAreTheLoadersInTheOrderOfNeed) {
  const auto found = icu_libraries(
      "\tlinux-vdso.so.1 (0x00007ffd7b5f2000)\n\tlibicui18n.so.72 => /opt/pg 15/lib/libicui18n.so.72 (0x00007f751e600000)\n"
      "\tlibicuuc.so.72 => /lib/libicuuc.so.72 (0x00007f751e402000)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f751e221000)\n\tlibicudata.so.72 => /lib/libicudata.so.72 (0x00007f751bc00000)\n");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->paths, (std::vector<std::string>{"/lib/libicudata.so.72", "/lib/libicuuc.so.72", "/opt/pg 15/lib/libicui18n.so.72"}));
  EXPECT_EQ(found->suffix, "_72");
}

TEST(Icu, AProgramWithoutItIsNotOneOfWhichNothingIsKnown) {
  const auto without = icu_libraries("\tlibc.so.6 => /lib/libc.so.6 (0x00007f751e221000)\n");
  ASSERT_TRUE(without);
  EXPECT_TRUE(without->paths.empty());
  for (const auto* text : {"", "\tstatically linked\n", "\tlibicui18n.so.72 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x0)\n",
                           "\tlibicui18n.so.72 => /lib/libicui18n.so.72 (0x0)\n\tlibc.so.6 => /lib/libc.so.6 (0x0)\n", "\tlibc.so.6 => /lib/libc.so.6 (0x0)\n\tlibicudata.so. => /"})
    EXPECT_FALSE(icu_libraries(text)) << text;
}

TEST(Icu, OfWhatIsNoProgramNothingIsKnown) {
  EXPECT_FALSE(icu_version_of("/nonexistent/postgres"));
  EXPECT_FALSE(icu_version_of("/etc/passwd"));
}

}  // namespace
}  // namespace pgmint::restore
