// Waiting that Ctrl-C ends.
#pragma once

#include <algorithm>

#include "base/cancel.h"
#include "base/clock.h"

namespace pgmint::storage {

/// Sleeps in steps short enough that a cancelled command ends at once for a person. `cancel` may be null.
/// @errors Cancelled
inline Status interruptible_sleep(Clock& clock, std::chrono::microseconds duration, const CancelToken* cancel) {
  constexpr std::chrono::microseconds kStep = std::chrono::milliseconds(50);
  while (duration.count() > 0) {
    if (cancel != nullptr) TRY(cancel->check());
    auto step = std::min(duration, kStep);
    clock.sleep(step);
    duration -= step;
  }
  if (cancel != nullptr) TRY(cancel->check());
  return ok();
}

}  // namespace pgmint::storage
