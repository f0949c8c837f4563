// Runs several processes one step at a time, in an order drawn from a seed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "base/random.h"

namespace pgmint::sim {

/// Each actor runs on its own thread and only one of them at any time; whoever reaches a store operation hands the turn to an
/// actor drawn at random, perhaps itself. Threads that an actor starts are not scheduled: they run on as they like, so an
/// order is repeated exactly only for single-threaded actors.
class Interleaver {
 public:
  explicit Interleaver(std::uint64_t seed) : random_(seed) {}
  /// Returns when all have.
  void run(std::vector<std::function<void()>> actors);
  /// The point at which the turn may pass. Does nothing on threads that are not actors.
  static void yield();

 private:
  void wait_for_turn(std::unique_lock<std::mutex>& lock, std::size_t self);
  void pass_turn();

  std::mutex mutex_;
  std::condition_variable turn_changed_;
  SeededRandom random_;
  std::vector<std::size_t> running_;  ///< actors that have not finished
  std::size_t turn_ = 0;
};

}  // namespace pgmint::sim
