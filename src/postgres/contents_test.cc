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
    for (auto left = random.next() % 5; left > 0; --left) {
      const bool read = random.next() % 4 != 0;
      contents.databases.push_back({name(), read ? random.next() % 100 : 0, read});
    }
    for (auto left = random.next() % 20; left > 0; --left) {
      TableFacts table{name(), name(), name(), static_cast<std::int64_t>(random.next() % 1000) - 1, {}};
      if (random.next() % 2 == 0) table.rows = random.next();
      table.count_failed = !table.rows && random.next() % 2 == 0;
      contents.tables.push_back(table);
    }
    contents.extensions = {name() + " 1.0 in " + name()};
    if (random.next() % 4 != 0) contents.icu_databases.emplace();
    for (auto left = contents.icu_databases ? random.next() % 3 : 0; left > 0; --left) contents.icu_databases->push_back(name());
    std::ranges::sort(contents.tables, {}, [](const TableFacts& t) { return std::tie(t.database, t.schema, t.name); });
    const auto back = parse_contents_settings(contents_settings(contents));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->databases, contents.databases);
    EXPECT_EQ(back->tables, contents.tables);
    EXPECT_EQ(back->extensions, contents.extensions);
    EXPECT_EQ(back->icu_databases, contents.icu_databases);
    for (const auto& table : contents.tables) EXPECT_NE(back->find(table.database, table.schema, table.name), nullptr);
  }
}

TEST(Contents, ABackupThatDoesNotSayIsNotABackupOfNothing) {
  EXPECT_FALSE(parse_contents_settings({}));
  EXPECT_FALSE(parse_contents_settings({{"server_version", "15"}}));
  EXPECT_TRUE(parse_contents_settings({{"contents", "complete"}}));
  EXPECT_EQ(parse_contents_settings({{"contents", "incomplete"}})->problems.size(), 1U);
}

TEST(Contents, WhatCouldNotBeReadIsNotEmpty) {
  Contents contents;
  contents.databases = {{"seen", 1}, {"shut", 0, false}, {"bare", 0}};
  contents.tables = {{"seen", "public", "t", 5000, {}, true}};
  contents.problems = {"database shut: no"};
  const auto settings = contents_settings(contents);
  for (const auto& [name, value] : settings) EXPECT_FALSE(name == "database_tables" && value == "0 \"shut\"") << "a build that does not know better would say that it had no tables";
  const auto back = parse_contents_settings(settings);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->databases, contents.databases);
  EXPECT_EQ(back->tables, contents.tables);
  EXPECT_FALSE(back->problems.empty());
}

TEST(Contents, OfEarlierBuildsADatabaseWithoutTablesMayBeUnread) {
  const auto incomplete = parse_contents_settings({{"contents", "incomplete"}, {"database_tables", "0 \"shut\""}, {"database_tables", "3 \"seen\""}});
  ASSERT_TRUE(incomplete);
  ASSERT_EQ(incomplete->databases.size(), 2U);
  EXPECT_FALSE(incomplete->databases[0].read);
  EXPECT_TRUE(incomplete->databases[1].read);
  const auto complete = parse_contents_settings({{"contents", "complete"}, {"database_tables", "0 \"bare\""}});
  ASSERT_TRUE(complete);
  EXPECT_TRUE(complete->databases.at(0).read);
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
