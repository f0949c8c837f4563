#include "sim/interleaver.h"

#include <algorithm>
#include <thread>

namespace pgmint::sim {
namespace {

struct Self {
  Interleaver* interleaver = nullptr;
  std::size_t index = 0;
};
thread_local Self self;

}  // namespace

void Interleaver::run(std::vector<std::function<void()>> actors) {
  std::vector<std::thread> threads;
  {
    std::unique_lock lock(mutex_);
    for (std::size_t i = 0; i < actors.size(); ++i) running_.push_back(i);
    if (!actors.empty()) pass_turn();
  }
  for (std::size_t i = 0; i < actors.size(); ++i)
    threads.emplace_back([this, i, &actors] {
      self = {this, i};
      std::unique_lock lock(mutex_);
      wait_for_turn(lock, i);
      lock.unlock();
      actors[i]();
      lock.lock();
      running_.erase(std::find(running_.begin(), running_.end(), i));
      if (!running_.empty()) pass_turn();
    });
  for (auto& thread : threads) thread.join();
}

void Interleaver::wait_for_turn(std::unique_lock<std::mutex>& lock, std::size_t index) {
  turn_changed_.wait(lock, [&] { return turn_ == index; });
}

void Interleaver::pass_turn() {
  turn_ = running_[random_.below(running_.size())];
  turn_changed_.notify_all();
}

void Interleaver::yield() {
  if (self.interleaver == nullptr) return;
  auto& interleaver = *self.interleaver;
  std::unique_lock lock(interleaver.mutex_);
  interleaver.pass_turn();
  interleaver.wait_for_turn(lock, self.index);
}

}  // namespace pgmint::sim
