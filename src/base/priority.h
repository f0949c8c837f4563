// Who goes first where there are fewer cores than work.
#pragma once

#include <sys/resource.h>

namespace pgmint {

/// The calling thread takes what cores have left over, as a process of niceness 10 does; threads and processes that it starts inherit that. For work that keeps up
/// with something else on this host: what it waits for is made sooner. Linux alone has a niceness of threads.
inline void give_way() noexcept {
  constexpr int kNiceness = 10;
  if (::getpriority(PRIO_PROCESS, 0) < kNiceness) ::setpriority(PRIO_PROCESS, 0, kNiceness);
}

}  // namespace pgmint
