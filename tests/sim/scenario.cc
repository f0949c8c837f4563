#include "sim/scenario.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/test_seed.h"
#include "sim/interleaver.h"

namespace pgmint::sim {
namespace {

struct Cut {
  std::size_t actor = 0;
  std::uint64_t operation = 0;
  CutSide side = CutSide::Before;
};

struct Round {
  std::vector<bool> finished;
  std::vector<std::uint64_t> operations;
  std::vector<std::string> failures;
};

Round run_round(const Scenario& scenario, SimWorld& world, std::uint64_t order_seed, const std::vector<Cut>& cuts) {
  const auto n = scenario.actors.size();
  Round round{std::vector<bool>(n), std::vector<std::uint64_t>(n), std::vector<std::string>(n)};
  std::vector<std::unique_ptr<SimStore>> stores;
  for (std::size_t i = 0; i < n; ++i) stores.push_back(world.connect(fmt::format("actor{}", i)));
  for (const auto& cut : cuts) stores[cut.actor]->cut_power_at(cut.operation, cut.side);
  std::vector<std::optional<Status>> results(n);
  auto run_one = [&](std::size_t i) { results[i] = scenario.actors[i](world, *stores[i]); };
  if (n == 1) {
    run_one(0);
  } else {
    std::vector<std::function<void()>> actors;
    for (std::size_t i = 0; i < n; ++i) actors.emplace_back([&run_one, i] { run_one(i); });
    Interleaver(order_seed).run(std::move(actors));
  }
  for (std::size_t i = 0; i < n; ++i) {
    round.finished[i] = results[i]->has_value();
    round.operations[i] = stores[i]->operations();
    if (!*results[i]) round.failures[i] = results[i]->failure().describe();
  }
  return round;
}

Status check_twice(const Scenario& scenario, SimWorld& world, const std::vector<bool>& finished) {
  world.set_faults({});
  TRY(scenario.check(world, *world.connect("check"), {finished, false}).context("check"));
  world.settle();
  return scenario.check(world, *world.connect("check"), {finished, true}).context("check, all late requests landed");
}

Status prepare(const Scenario& scenario, SimWorld& world) {
  if (!scenario.prepare) return ok();
  return scenario.prepare(world, *world.connect("prepare")).context("prepare");
}

Error failed(const Scenario& scenario, SimWorld& world, const std::string& how, Error error) {
  auto message = fmt::format("PGMINT_TEST_SEED={} {}: {}: {}\nlast operations:\n{}", world.seed(), scenario.name, how,
                             error.describe(), world.recent_operations());
  return Error(error.code(), std::move(message));
}

void count(ScenarioCounts& counts, const Round& round) {
  ++counts.runs;
  for (auto operations : round.operations) counts.operations += operations;
  for (bool finished : round.finished) counts.finished += finished ? 1 : 0;
}

}  // namespace

Result<ScenarioCounts> cut_power_everywhere(const Scenario& scenario, std::uint64_t seed, std::uint64_t stride) {
  ScenarioCounts counts;
  std::vector<std::uint64_t> operations;
  {
    SimWorld world(seed);
    auto how = std::string("without a power cut");
    if (auto status = prepare(scenario, world); !status) return failed(scenario, world, how, std::move(status).failure());
    auto round = run_round(scenario, world, seed, {});
    for (const auto& failure : round.failures)
      if (!failure.empty()) return failed(scenario, world, how, Error(Errc::Internal, failure));
    if (auto status = check_twice(scenario, world, round.finished); !status)
      return failed(scenario, world, how, std::move(status).failure());
    operations = round.operations;
    count(counts, round);
  }
  for (std::size_t actor = 0; actor < operations.size(); ++actor) {
    const auto first = stride > 1 ? SeededRandom(seed + actor).below(stride) : 0;
    for (auto operation = first; operation < operations[actor]; operation += stride)
      for (auto side : kCutSides) {
        SimWorld world(seed);
        const auto how = fmt::format("power cut of actor {} at operation {} of {}, {}", actor, operation, operations[actor],
                                     cut_side_name(side));
        if (auto status = prepare(scenario, world); !status) return failed(scenario, world, how, std::move(status).failure());
        auto round = run_round(scenario, world, seed, {{actor, operation, side}});
        count(counts, round);
        if (auto status = check_twice(scenario, world, round.finished); !status)
          return failed(scenario, world, how, std::move(status).failure());
      }
  }
  return counts;
}

Result<ScenarioCounts> survive_bad_days(const Scenario& scenario, const std::vector<std::uint64_t>& seeds, SimFaults faults) {
  ScenarioCounts counts;
  std::vector<std::uint64_t> operations;
  {  // how long a run is, to place cuts
    SimWorld world(seeds.empty() ? 0 : seeds[0]);
    TRY(prepare(scenario, world));
    operations = run_round(scenario, world, 0, {}).operations;
  }
  for (auto seed : seeds) {
    SimWorld world(seed);
    SeededRandom plan(seed ^ 0x5eed5eed5eed5eedu);
    if (auto status = prepare(scenario, world); !status) return failed(scenario, world, "prepare", std::move(status).failure());
    const auto rounds = 1 + plan.below(3);
    std::string how = fmt::format("{} bad rounds", rounds);
    for (std::uint64_t r = 0; r < rounds; ++r) {
      std::vector<Cut> cuts;
      for (std::size_t actor = 0; actor < operations.size(); ++actor)
        if (plan.below(3) != 0) {
          Cut cut{actor, plan.below(operations[actor] + operations[actor] / 4 + 1), kCutSides[plan.below(3)]};
          how += fmt::format("; round {}: power cut of actor {} at operation {}, {}", r, actor, cut.operation,
                             cut_side_name(cut.side));
          cuts.push_back(cut);
        }
      world.set_faults(faults);
      count(counts, run_round(scenario, world, plan.next(), cuts));
    }
    world.set_faults({});
    auto round = run_round(scenario, world, plan.next(), {});
    for (const auto& failure : round.failures)
      if (!failure.empty()) return failed(scenario, world, how + "; then a clean run", Error(Errc::Internal, failure));
    if (auto status = check_twice(scenario, world, round.finished); !status)
      return failed(scenario, world, how, std::move(status).failure());
  }
  return counts;
}

std::vector<std::uint64_t> test_seeds(std::size_t count) {
  if (std::getenv("PGMINT_TEST_SEED") != nullptr) return {test_seed()};
  if (const char* factor = std::getenv("PGMINT_TEST_SEEDS_FACTOR")) count *= std::strtoull(factor, nullptr, 10);
  const auto first = system_random().u64();
  std::vector<std::uint64_t> seeds;
  for (std::size_t i = 0; i < count; ++i) seeds.push_back(first + i);
  return seeds;
}

}  // namespace pgmint::sim
