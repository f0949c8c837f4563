// What the clocks of several hosts are worth.
#pragma once

#include "base/clock.h"

namespace pgmint::repository {

/// How far clocks may be apart before nothing is judged by them.
inline constexpr auto kClocksApartMax = std::chrono::hours(1);

/// `time` is later than `other` by more than clocks may be apart. For any two times, those of bytes from outside too.
inline bool is_ahead_of(TimePoint time, TimePoint other) {
  return other < TimePoint::max() - kClocksApartMax && time > other + kClocksApartMax;
}

}  // namespace pgmint::repository
