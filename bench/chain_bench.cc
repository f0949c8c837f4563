// What a month of incremental backups costs: stored bytes, what a restore reads, the dearest backup. All of it in memory, and checked.
// Usage, from the root of the source: chain_bench [days] [relations] [pages of each] [changed, parts of 1]
#include <fmt/format.h>

#include <cstdlib>

#include "backup/testing_chain.h"

namespace {

using namespace pgmint;

struct Month : backup::testing::ChainTest {
  void TestBody() override {
    simulate();
    const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
    fmt::print("{} changes, {} days of {} backups, {} relations of {} pages, {:.2f} % changed each; a full is {:.2f} MiB\n",
               shape.skewed ? "skewed" : "uniform", shape.days, shape.backups_a_day, shape.relations, shape.pages, shape.changed * 100, mib(full_bytes));
    fmt::print("day  backups  packs  stored MiB  minimum MiB  ratio  newest/full  stored/changed  dearest/full\n");
    for (const auto& day : days) {
      double sum = 0;
      std::uint64_t most = 0;
      for (const auto& b : backups)
        if (b.day == day.day) {
          sum += stored_to_changed(b);
          most = std::max(most, b.stored_bytes);
        }
      fmt::print("{:3}  {:7}  {:5}  {:10.2f}  {:11.2f}  {:5.3f}  {:11.3f}  {:14.2f}  {:12.3f}\n", day.day, day.backups, day.packs,
                 mib(day.stored), mib(day.live_minimum), static_cast<double>(day.stored) / static_cast<double>(day.live_minimum),
                 static_cast<double>(day.newest) / static_cast<double>(full_bytes), sum / shape.backups_a_day,
                 static_cast<double>(most) / static_cast<double>(full_bytes));
    }
    fmt::print("worst: stored/minimum {:.3f}, restore {:.3f} of a full, stored {:.2f} x changed on average, dearest {:.3f} of a full; a full of the end {:.3f}\n\n",
               worst_to_minimum(), worst_restore(), mean_stored_to_changed(), dearest(),
               static_cast<double>(last_full_bytes) / static_cast<double>(full_bytes));
  }
};

template <bool Skewed>
struct Shaped : Month {
  static inline backup::testing::ChainShape wanted;
  Shaped() {
    shape = wanted;
    shape.skewed = Skewed;
  }
};
using Uniform = Shaped<false>;
using Skewed = Shaped<true>;

}  // namespace

int main(int argc, char** argv) {
  backup::testing::ChainShape shape;
  if (argc > 1) shape.days = std::atoi(argv[1]);
  if (argc > 2) shape.relations = static_cast<std::uint32_t>(std::atoi(argv[2]));
  if (argc > 3) shape.pages = static_cast<std::uint32_t>(std::atoi(argv[3]));
  if (argc > 4) shape.changed = std::atof(argv[4]);
  Uniform::wanted = Skewed::wanted = shape;
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::RegisterTest("Month", "Uniform", nullptr, nullptr, __FILE__, __LINE__, []() -> Month* { return new Uniform; });
  ::testing::RegisterTest("Month", "Skewed", nullptr, nullptr, __FILE__, __LINE__, []() -> Month* { return new Skewed; });
  return RUN_ALL_TESTS();
}
