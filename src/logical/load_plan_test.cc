#include "logical/load_plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/test_seed.h"

namespace pgmint::logical {
namespace {

class LoadPlanTest : public testing::Test {
 protected:
  DumpEntry& add(std::int64_t id, const std::string& kind, const std::string& name, DumpSection section, std::vector<std::int64_t> needs = {}, std::uint64_t length = 0) {
    auto& entry = contents_.entries.emplace_back();
    entry.id = id;
    entry.kind = kind;
    entry.schema = "app";
    entry.name = name;
    entry.section = section;
    entry.needs = std::move(needs);
    entry.length = length;
    return entry;
  }
  /// A table with its data, its key and an index.
  void add_table(std::int64_t id, const std::string& name, std::uint64_t bytes) {
    add(id, "TABLE", name, DumpSection::PreData);
    add(id + 1, "TABLE DATA", name, DumpSection::Data, {id}, bytes);
    add(id + 2, "CONSTRAINT", name + "_pkey", DumpSection::PostData, {id, id});
    add(id + 3, "INDEX", name + "_at", DumpSection::PostData, {id});
    add(id + 4, "ACL", "TABLE " + name, DumpSection::None, {id});
  }
  static std::vector<std::int64_t> ids_of(const LoadTask& task) {
    std::vector<std::int64_t> ids;
    for (const auto* entry : task.entries) ids.push_back(entry->id);
    return ids;
  }
  static std::map<std::int64_t, int> places(const LoadPlan& plan) {
    std::map<std::int64_t, int> at;
    int place = 0;
    const auto take = [&](const LoadTask& task) {
      for (const auto* entry : task.entries) EXPECT_TRUE(at.emplace(entry->id, place).second) << entry->id << " stands in two tasks";
    };
    take(plan.schema);
    for (const auto& stage : plan.stages) {
      ++place;
      for (const auto& task : stage.data) take(task);
      ++place;
      for (const auto& task : stage.indexes) take(task);
      ++place;
      take(stage.last);
    }
    return at;
  }

  DumpContents contents_;
};

TEST_F(LoadPlanTest, TablesComeByClassAndWhatStandsOnThemWithTheLast) {
  add(1, "SCHEMA", "app", DumpSection::PreData);
  add_table(10, "users", 100);
  add_table(20, "orders", 200);
  add_table(30, "logs", 300);
  add(40, "FK CONSTRAINT", "orders_user", DumpSection::PostData, {20, 12, 10});
  add(41, "FK CONSTRAINT", "logs_user", DumpSection::PostData, {30, 12, 10});
  add(42, "SEQUENCE SET", "users_id_seq", DumpSection::Data, {});
  add(43, "DATABASE", "shop", DumpSection::None);
  const auto plan = plan_load(contents_, {.high = {"users", "app.orders"}}, 2);
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->stages.size(), 2U);
  EXPECT_EQ(plan->stages[0].name, "high");
  EXPECT_EQ(plan->stages[0].tables.size(), 2U);
  EXPECT_EQ(plan->stages[1].name, "rest");
  const auto at = places(*plan);
  EXPECT_FALSE(at.contains(43)) << "the database is made before";
  EXPECT_EQ(at.size(), contents_.entries.size() - 1);
  EXPECT_EQ(at.at(40), 3) << "both its tables are of class high";
  EXPECT_EQ(at.at(41), 6) << "logs come later";
  EXPECT_EQ(at.at(42), 1) << "a sequence goes on from its value at once";
}

TEST_F(LoadPlanTest, PartitionsAndTheirIndexesComeInAnOrderThatWorks) {
  add(1, "TABLE", "logs", DumpSection::PreData);
  add(2, "TABLE", "logs_1", DumpSection::PreData);
  add(3, "TABLE ATTACH", "logs_1", DumpSection::PreData, {2, 1});
  add(4, "TABLE DATA", "logs_1", DumpSection::Data, {2}, 10);
  add(5, "INDEX", "logs_idx", DumpSection::PostData, {1});
  add(6, "INDEX", "logs_1_idx", DumpSection::PostData, {2});
  add(7, "INDEX ATTACH", "logs_1_idx", DumpSection::PostData, {5, 6});
  for (const auto& high : {std::vector<std::string>{"logs_1"}, std::vector<std::string>{"logs"}, std::vector<std::string>{"logs*"}}) {
    const auto plan = plan_load(contents_, {.high = high}, 2);
    ASSERT_TRUE(plan);
    const auto at = places(*plan);
    EXPECT_LT(at.at(5), at.at(7));
    EXPECT_LT(at.at(6), at.at(7));
  }
}

TEST_F(LoadPlanTest, ChosenTablesBringWhatIsTheirsAndNothingElse) {
  add_table(10, "users", 100);
  add_table(20, "orders", 200);
  add(40, "FK CONSTRAINT", "orders_user", DumpSection::PostData, {20, 12, 10});
  add(41, "DEFAULT", "orders id", DumpSection::PreData, {20});
  const auto plan = plan_load(contents_, {.tables = {"orders"}}, 1);
  ASSERT_TRUE(plan);
  const auto at = places(*plan);
  for (const std::int64_t id : {20, 21, 22, 23, 24, 41}) EXPECT_TRUE(at.contains(id)) << id;
  for (const std::int64_t id : {10, 11, 12, 13, 14, 40}) EXPECT_FALSE(at.contains(id)) << id;
  EXPECT_EQ(plan_load(contents_, {.tables = {"oders"}}, 1).failure().code(), Errc::NotFound);
  EXPECT_EQ(plan_load(contents_, {.schemas = {"other"}}, 1).failure().code(), Errc::NotFound);
}

TEST_F(LoadPlanTest, LargeTablesAreSharedOutEvenly) {
  for (int i = 0; i < 8; ++i) add_table(10 * (i + 1), fmt::format("t{}", i), i == 0 ? 1000 : 100);
  const auto plan = plan_load(contents_, {}, 2);
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->stages.size(), 1U);
  ASSERT_EQ(plan->stages[0].data.size(), 2U);
  EXPECT_EQ(plan->stages[0].data[0].length() + plan->stages[0].data[1].length(), 1700U);
  EXPECT_EQ(std::max(plan->stages[0].data[0].length(), plan->stages[0].data[1].length()), 1000U);
  // Of one table never in two tasks at once: each wants its lock.
  std::map<std::int64_t, std::size_t> task_of;
  for (std::size_t t = 0; t < plan->stages[0].indexes.size(); ++t)
    for (const auto* entry : plan->stages[0].indexes[t].entries) EXPECT_EQ(task_of.try_emplace(entry->needs.front(), t).first->second, t);
}

/// Side by side, the one that fills them may come first.
TEST_F(LoadPlanTest, LargeObjectsAreFilledByTheTaskThatMakesThem) {
  add(10, "TABLE", "files", DumpSection::PreData);
  add(20, "BLOB METADATA", "16464..16468", DumpSection::Data);
  add(21, "BLOB METADATA", "16469..16470", DumpSection::Data);
  add(30, "TABLE DATA", "files", DumpSection::Data, {10}, 500);
  add(31, "BLOBS", "16464..16468", DumpSection::Data, {20}, 100'000);
  add(32, "BLOBS", "16469..16470", DumpSection::Data, {21}, 100'000);
  const auto plan = *plan_load(contents_, {}, 4);
  ASSERT_EQ(plan.stages.size(), 1u);
  ASSERT_EQ(plan.stages[0].data.size(), 2u);
  std::set<std::vector<std::int64_t>> tasks;
  for (const auto& task : plan.stages[0].data) tasks.insert(ids_of(task));
  EXPECT_EQ(tasks, (std::set<std::vector<std::int64_t>>{{30}, {20, 21, 31, 32}}));
}

/// As pg_dump orders data alone by foreign keys.
TEST_F(LoadPlanTest, DataThatNeedsOtherDataComesBehindItInOneTask) {
  add(5, "TABLE DATA", "apart", DumpSection::Data, {}, 100);
  add(9, "TABLE DATA", "users", DumpSection::Data, {}, 100);
  add(3, "TABLE DATA", "shops", DumpSection::Data, {}, 100);
  add(7, "TABLE DATA", "orders", DumpSection::Data, {9, 3}, 100);
  add(1, "TABLE DATA", "lines", DumpSection::Data, {7}, 100);
  const auto plan = *plan_load(contents_, {}, 4);
  ASSERT_EQ(plan.stages.at(0).data.size(), 2u);
  std::set<std::vector<std::int64_t>> tasks;
  for (const auto& task : plan.stages[0].data) tasks.insert(ids_of(task));
  EXPECT_EQ(tasks, (std::set<std::vector<std::int64_t>>{{5}, {9, 3, 7, 1}}));
}

/// An archive that somebody brings may hold any ids and any needs, itself among them.
TEST_F(LoadPlanTest, ForgedIdsAndNeedsOfDataEnd) {
  add(-5, "BLOBS", "a", DumpSection::Data, {-1, -5});
  add(-1, "BLOB METADATA", "b", DumpSection::Data, {-5});
  add(INT32_MIN, "TABLE DATA", "c", DumpSection::Data, {7, -1});
  add(7, "TABLE DATA", "d", DumpSection::Data, {INT32_MIN, 7});
  const auto plan = *plan_load(contents_, {}, 4);
  ASSERT_EQ(plan.stages.at(0).data.size(), 1u);
  EXPECT_EQ(plan.stages[0].data[0].entries.size(), 4u);
}

TEST_F(LoadPlanTest, WhateverTheArchiveEachEntryStandsOnceBehindWhatItNeeds) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 300; ++round) {
    contents_.entries.clear();
    std::vector<std::int64_t> tables, post;
    std::int64_t id = 1;
    for (std::uint64_t n = 1 + random.below(12); n-- > 0; id += 2) {
      add(id, "TABLE", fmt::format("t{}", id), DumpSection::PreData);
      tables.push_back(id);
      if (random.below(4) != 0) add(id + 1, "TABLE DATA", fmt::format("t{}", id), DumpSection::Data, {id}, 1 + random.below(1000));
    }
    for (std::uint64_t n = random.below(20); n-- > 0; ++id) {
      std::vector<std::int64_t> needs{tables[random.below(tables.size())]};
      const bool is_index = random.below(2) == 0;
      if (!is_index && !post.empty()) needs.push_back(post[random.below(post.size())]);
      add(id, is_index ? "INDEX" : "FK CONSTRAINT", fmt::format("p{}", id), DumpSection::PostData, needs);
      post.push_back(id);
    }
    LoadChoice choice;
    for (const auto table : tables) {
      const auto kind = random.below(3);
      if (kind == 0) choice.high.push_back(fmt::format("t{}", table));
      if (kind == 1) choice.medium.push_back(fmt::format("t{}", table));
    }
    const auto plan = plan_load(contents_, choice, 1 + static_cast<unsigned>(random.below(4)));
    ASSERT_TRUE(plan);
    const auto at = places(*plan);
    ASSERT_EQ(at.size(), contents_.entries.size());
    for (const auto& entry : contents_.entries)
      for (const auto need : entry.needs) {
        EXPECT_LE(at.at(need), at.at(entry.id));
        // Their data first, too.
        if (at.contains(need + 1) && entry.section == DumpSection::PostData && std::ranges::find(tables, need) != tables.end())
          for (const auto& data : contents_.entries)
            if (data.kind == "TABLE DATA" && data.needs.front() == need) {
              EXPECT_LT(at.at(data.id), at.at(entry.id));
            }
      }
  }
}

TEST(Patterns, StarsStandForAnyCharacters) {
  EXPECT_TRUE(matches_pattern("app", "users", "users"));
  EXPECT_TRUE(matches_pattern("app", "users", "app.users"));
  EXPECT_TRUE(matches_pattern("app", "users", "a*.u*s"));
  EXPECT_TRUE(matches_pattern("app", "analytics_2026", "analytics_*"));
  EXPECT_FALSE(matches_pattern("app", "users", "user"));
  EXPECT_FALSE(matches_pattern("app", "users", "other.users"));
  EXPECT_FALSE(matches_pattern("app", "users_old", "users"));
}

}  // namespace
}  // namespace pgmint::logical
