// Whose turn it is on a busy core.
#pragma once

namespace pgmint {

/// From now on this thread, and the threads and programs that it starts, take no core away from who runs there: they wait for its turn to end (SCHED_BATCH, sched(7)).
/// Their share of a core stays what it is. For long work beside a server. Where somebody has chosen another policy, as by chrt, that one stays.
void wait_for_ones_turn();

}  // namespace pgmint
