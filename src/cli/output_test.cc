#include "cli/output.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pgmint::cli {
namespace {

TEST(TextTable, AlignsColumnsAndTrimsLineEnds) {
  EXPECT_EQ(text_table({"NAME", ">SIZE", "NOTE"}, {{"a", "10", ""}, {"longer", "7", "x"}}),
            "NAME    SIZE  NOTE\n"
            "a         10\n"
            "longer     7  x");
}

TEST(TextTable, CountsCharactersNotBytes) {
  EXPECT_EQ(text_table({"N", "M"}, {{"\xc3\xa4", "x"}, {"ab", "y"}}), "N   M\n\xc3\xa4   x\nab  y");
}

TEST(Counted, KnowsThePlural) {
  EXPECT_EQ(counted(1, "backup"), "1 backup");
  EXPECT_EQ(counted(0, "backup"), "0 backups");
  EXPECT_EQ(counted(2, "entry"), "2 entries");
}

TEST(ErrorDocument, HoldsNoPassword) {
  const auto document = error_document(Error(Errc::Postgres, "cannot connect with password=hunter2", Hint{"look"}));
  const auto text = document.dump();
  EXPECT_EQ(text.find("hunter2"), std::string::npos);
  EXPECT_EQ(document["error"]["exit_code"], 9);
  EXPECT_EQ(document["error"]["hint"], "look");
}

}  // namespace
}  // namespace pgmint::cli
