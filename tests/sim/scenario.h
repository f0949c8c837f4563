// Runs one operation of the program through every power cut and many bad days, and checks what is left.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/sim_world.h"

namespace pgmint::sim {

/// What check() is told about the runs before it.
struct Aftermath {
  std::vector<bool> finished;  ///< by actor: its (last) run returned success
  bool settled = false;        ///< nothing is on its way any more; check() runs before and after that
};

/// The functions may be called many times, each time on a world of its own; they keep no state outside it.
struct Scenario {
  using Process = std::function<Status(SimWorld&, storage::BlobStore&)>;
  std::string name;
  /// Brings an empty world to where the actors start. No faults. May be empty.
  Process prepare;
  /// What is under test, one process each. With more than one their operations interleave. A failure is expected only
  /// after a power cut or under faults; they must not treat one as a reason to abort the test.
  std::vector<Process> actors;
  /// What must hold afterwards, seen by a new process, without faults. It may go on working, e.g. run the next backup.
  std::function<Status(SimWorld&, storage::BlobStore&, const Aftermath&)> check;
};

struct ScenarioCounts {
  std::uint64_t runs = 0;
  std::uint64_t operations = 0;  ///< of all actors in all runs
  std::uint64_t finished = 0;    ///< actors that succeeded in spite of it
};

/// A clean run, which must succeed and check; then again with the power cut at each operation of each actor, on each side
/// of it (CutSide). `stride` > 1 takes every stride-th operation, beginning with a random one, for scenarios of thousands.
/// @errors of the first run whose check fails; its text has what reproduces it and the last operations
Result<ScenarioCounts> cut_power_everywhere(const Scenario& scenario, std::uint64_t seed, std::uint64_t stride = 1);

/// Per seed: one to three rounds in which each actor runs under `faults`, most of them with a power cut at a random
/// operation; then a clean round; then the check. @errors as above
Result<ScenarioCounts> survive_bad_days(const Scenario& scenario, const std::vector<std::uint64_t>& seeds, SimFaults faults);

/// PGMINT_TEST_SEED alone when it is set, else `count` (times PGMINT_TEST_SEEDS_FACTOR when set) consecutive seeds from a
/// random one.
std::vector<std::uint64_t> test_seeds(std::size_t count);

}  // namespace pgmint::sim
