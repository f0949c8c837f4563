#include "postgres/contents.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::postgres {
namespace {

TEST(Contents, SettingsAreReadBackWhateverTheNames) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  int made = 0;
  const auto name = [&] {
    static constexpr std::string_view kParts[] = {"a", "\"", ".", " ", "\n", "\t", ":", "-", "1", "<b>", "Ü"};
    std::string text = fmt::format("t{}", ++made);  // no two of them are one
    for (auto left = random.next() % 6; left > 0; --left) text += kParts[random.next() % std::size(kParts)];
    return text;
  };
  for (int round = 0; round < 300; ++round) {
    Contents contents;
    for (auto left = random.next() % 5; left > 0; --left) contents.databases.push_back({name(), random.next() % 100});
    for (auto left = random.next() % 20; left > 0; --left) {
      TableFacts table{name(), name(), name(), static_cast<std::int64_t>(random.next() % 1000) - 1, {}};
      if (random.next() % 2 == 0) table.rows = random.next();
      contents.tables.push_back(table);
    }
    contents.extensions = {name() + " 1.0 in " + name()};
    std::ranges::sort(contents.tables, {}, [](const TableFacts& t) { return std::tie(t.database, t.schema, t.name); });
    const auto back = parse_contents_settings(contents_settings(contents));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->databases, contents.databases);
    EXPECT_EQ(back->tables, contents.tables);
    EXPECT_EQ(back->extensions, contents.extensions);
    for (const auto& table : contents.tables) EXPECT_NE(back->find(table.database, table.schema, table.name), nullptr);
  }
}

TEST(Contents, ABackupThatDoesNotSayIsNotABackupOfNothing) {
  EXPECT_FALSE(parse_contents_settings({}));
  EXPECT_FALSE(parse_contents_settings({{"server_version", "15"}}));
  EXPECT_TRUE(parse_contents_settings({{"contents", "complete"}}));
  EXPECT_EQ(parse_contents_settings({{"contents", "incomplete"}})->problems.size(), 1U);
}

TEST(Contents, LinesThatCannotBeReadArePassedOver) {
  const auto contents = parse_contents_settings({{"contents", "complete"}, {"table", ""}, {"table", "1 2"}, {"table", "x - \"a\".\"b\".\"c\""}, {"table", "1 x \"a\".\"b\".\"c\""},
                                                 {"table", "1 - \"a\".\"b\""}, {"table", "1 - \"a\".\"b\".\"c"}, {"table", "1 - \"a\".\"b\".\"c\""}, {"database_tables", "7"}});
  ASSERT_TRUE(contents);
  EXPECT_EQ(contents->tables.size(), 1U);
  EXPECT_TRUE(contents->databases.empty());
}

TEST(Contents, PatternsNameTables) {
  EXPECT_TRUE(names_table("transactions", "shop", "public", "transactions"));
  EXPECT_TRUE(names_table("public.transactions", "shop", "public", "transactions"));
  EXPECT_TRUE(names_table("shop:public.transactions", "shop", "public", "transactions"));
  EXPECT_FALSE(names_table("other:public.transactions", "shop", "public", "transactions"));
  EXPECT_FALSE(names_table("app.transactions", "shop", "public", "transactions"));
  EXPECT_FALSE(names_table("transaction", "shop", "public", "transactions"));
}

}  // namespace
}  // namespace pgmint::postgres
