// Exhaustive: the protocol of docs/format/log.md over the production fold, and what each of its rules is for.
#include "explore/log_explorer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>

namespace pgmint::explore {
namespace {

Configuration writer_and_collectors() {
  Configuration c;
  c.name = "a child, two collectors, the parent is forgotten";
  c.writers = {{.has_parent = true}};
  c.collectors = 2;
  c.forget_base = true;
  return c;
}
Configuration two_writers() {
  Configuration c;
  c.name = "two writers, a collector, the parent is forgotten";
  c.writers = {{.has_parent = true}, {.has_parent = false}};
  c.collectors = 1;
  c.forget_base = true;
  return c;
}
Configuration repeated_collection() {
  Configuration c;
  c.name = "a child, a collector that comes back, anything is forgotten";
  c.writers = {{.has_parent = true}};
  c.collectors = 1;
  c.collector_rounds = 3;
  c.forget_base = c.forget_others = true;
  return c;
}
Configuration reader_and_hold() {
  Configuration c;
  c.name = "a reader, a collector, FORGET against HOLD";
  c.readers = 1;
  c.collectors = 1;
  c.collector_rounds = 2;
  c.forget_base = c.hold_base = true;
  return c;
}
Configuration reader_and_writer() {
  Configuration c;
  c.name = "a reader, a child, a collector, the parent is forgotten";
  c.writers = {{.has_parent = true}};
  c.readers = 1;
  c.collectors = 1;
  c.forget_base = true;
  return c;
}
Configuration retained() {
  Configuration c;
  c.name = "a retained backup, a collector, a clock";
  c.collectors = 1;
  c.forget_base = c.retain_base = true;
  return c;
}
Configuration one_name() {
  Configuration c;
  c.name = "two writers of one name";
  c.writers = {{.shares_name = true}, {.has_parent = true, .shares_name = true}};
  return c;
}
Configuration wal_floor() {
  Configuration c;
  c.name = "two writers, a reader, a floor that rises";
  c.writers = {{.has_parent = false}, {.has_parent = false}};
  c.readers = 1;
  c.forget_base = c.forget_others = true;
  c.floor = true;
  return c;
}
Configuration wal_window_floor() {
  Configuration c;
  c.name = "a writer, a child, a reader, a window floor that rises";
  c.writers = {{.has_parent = false}, {.has_parent = true}};
  c.readers = 1;
  c.window_floor = true;
  return c;
}
Configuration aborted_before_begin() {
  Configuration c;
  c.name = "ABORT of a session that has not begun";
  c.writers = {{.has_parent = false}};
  c.collectors = 1;
  c.collector_rounds = 2;
  c.aborts_unknown = true;
  return c;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSlow = true;  // the two largest take minutes there, and find nothing that the others do not
#else
constexpr bool kSlow = false;
#endif

std::vector<Configuration> all_configurations() {
  std::vector<Configuration> all{writer_and_collectors(), repeated_collection(), reader_and_hold(), reader_and_writer(),
                                 retained(),              one_name(),            aborted_before_begin()};
  if (!kSlow) {
    all.push_back(two_writers());
    all.push_back(wal_floor());
    all.push_back(wal_window_floor());
  }
  return all;
}

std::string lines(const std::vector<std::string>& history) {
  std::string text;
  for (const auto& line : history) text += "    " + line + "\n";
  return text;
}

TEST(LogExplorer, WithAllRulesNoInterleavingLosesAnything) {
  std::size_t total = 0;
  for (const auto& configuration : all_configurations()) {
    const auto result = explore(configuration, LeftOut::Nothing);
    fmt::print("{:>8} states: {}\n", result.states, configuration.name);
    std::fflush(stdout);
    EXPECT_EQ(result.violation, "") << configuration.name << "\n" << lines(result.history);
    EXPECT_GT(result.states, 20u) << "a configuration that explores nothing proves nothing";
    total += result.states;
  }
  fmt::print("{:>8} states in all\n", total);
}

struct Omission {
  LeftOut rule;
  Configuration configuration;
  std::string loss;  ///< how the violation begins
};

void PrintTo(const Omission& omission, std::ostream* out) { *out << name_of(omission.rule); }

class LogExplorerOmission : public testing::TestWithParam<Omission> {};

TEST_P(LogExplorerOmission, IsFoundOut) {
  const auto& omission = GetParam();
  const auto result = explore(omission.configuration, omission.rule);
  fmt::print("without \"{}\": {} (step {}, after {} states)\n{}", name_of(omission.rule),
             result.violation.empty() ? "nothing is lost" : result.violation, result.history.size(), result.states, lines(result.history));
  if (omission.loss.empty()) EXPECT_EQ(result.violation, "");
  else EXPECT_EQ(result.violation.substr(0, omission.loss.size()), omission.loss);
}

INSTANTIATE_TEST_SUITE_P(
    Rules, LogExplorerOmission,
    testing::Values(Omission{LeftOut::BeginPins, writer_and_collectors(), "open session 2 misses a pack"},
                    Omission{LeftOut::PinsAreFrozen, reader_and_writer(), "open session"},
                    Omission{LeftOut::SnapNeedsOpenSession, writer_and_collectors(), "live backup 2 has lost a pack"},
                    Omission{LeftOut::ParentIsLive, writer_and_collectors(), "open session 2 misses a pack"},
                    Omission{LeftOut::SessionBeginsOnce, aborted_before_begin(), "live backup 2 has lost a pack"},
                    Omission{LeftOut::AbortOnlyWhatIsOpen, repeated_collection(), "live backup 2 has lost a pack"},
                    Omission{LeftOut::PurgeOnlyWhatIsClosed, repeated_collection(), "live backup 2 has lost a pack"},
                    Omission{LeftOut::PurgeNothingNeeded, writer_and_collectors(), "live backup 1 has lost a pack"},
                    Omission{LeftOut::HoldBlocksForget, reader_and_hold(), "a held backup is gone"},
                    Omission{LeftOut::RetainBlocksForget, retained(), "a retained backup is gone"},
                    Omission{LeftOut::NameIsUnused, one_name(), "two backups have one name"},
                    Omission{LeftOut::SnapAboveFloor, wal_floor(), "live backup 2 has lost WAL"},
                    Omission{LeftOut::SnapAboveFloor, wal_window_floor(), "live backup 2 has lost WAL"},
                    Omission{LeftOut::FloorBelowReaders, wal_window_floor(), "open session"},
                    Omission{LeftOut::FloorBelowSnapshots, wal_floor(), "live backup 1 has lost WAL"},
                    Omission{LeftOut::FloorBelowReaders, wal_floor(), "open session 8 misses WAL"},
                    Omission{LeftOut::RevalidateAfterRace, writer_and_collectors(), "live backup 2 has lost a pack"},
                    Omission{LeftOut::SlotsAreImmutable, writer_and_collectors(), "backup 2 was reported as done and is not there"},
                    Omission{LeftOut::AbortBeforeSweep, writer_and_collectors(), "live backup 2 has lost a pack"},
                    // The one that costs nothing: what is not needed any more cannot be needed again while the others hold.
                    // PURGE is kept for the audit trail, and because it is validated against the newest fold.
                    Omission{LeftOut::PurgeBeforeDelete, repeated_collection(), ""},
                    Omission{LeftOut::UnknownSessionsStay, repeated_collection(), "live backup 2 has lost a pack"},
                    Omission{LeftOut::PutsAreAcknowledged, writer_and_collectors(), "live backup 2 has lost a pack"},
                    Omission{LeftOut::AbortBeforeCleanUp, writer_and_collectors(), "live backup 2 has lost a pack"}),
    [](const auto& tested) { return "Rule" + std::to_string(tested.index); });

}  // namespace
}  // namespace pgmint::explore
