// Incremental backups over days, with retention: what stays whole, and what it may cost. bench/chain_bench.cc is its larger sister.
#include "backup/testing_chain.h"

namespace pgmint::backup {
namespace {

struct Chain : testing::ChainTest {};

TEST_F(Chain, CostsWhatChangedAndNoMore) {
  shape = {.relations = 4, .pages = 512, .days = 10, .backups_a_day = 4, .changed = 0.01, .skewed = false};
  simulate();
  // The target is 1.2, which a month of eight relations keeps (docs/performance.md); this smaller shape was seen at 1.21.
  EXPECT_LE(worst_to_minimum(), 1.3);
  EXPECT_LE(worst_restore(), 1.3);
  EXPECT_LE(mean_stored_to_changed(), 8);
}

}  // namespace
}  // namespace pgmint::backup
