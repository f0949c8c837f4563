#include "base/scheduling.h"

#include <sched.h>

namespace pgmint {

void wait_for_ones_turn() {
  if (::sched_getscheduler(0) != SCHED_OTHER) return;
  constexpr sched_param kNoPriority{};
  ::sched_setscheduler(0, SCHED_BATCH, &kNoPriority);  // a wish: without it the work is done as well
}

}  // namespace pgmint
