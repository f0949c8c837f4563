// A clock whose sleep() returns at once and moves it on. Included by tests only.
#pragma once

#include <atomic>

#include "base/clock.h"

namespace pgmint::storage {

/// Thread-safe, unlike ManualClock.
class InstantClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint(std::chrono::microseconds(now_us_.load())); }
  void sleep(std::chrono::microseconds duration) override { now_us_.fetch_add(duration.count()); }

 private:
  std::atomic<std::int64_t> now_us_{1'800'000'000'000'000};
};

}  // namespace pgmint::storage
