// Waits for a restored server's recovery: WAL that it has not replayed yet is not shown to be sound.
#pragma once

#include <string>

#include "base/cancel.h"
#include "base/clock.h"
#include "postgres/connection.h"

namespace pgmint::service {

enum class RecoveryState {
  Ended,       ///< the server takes writes
  AtTarget,    ///< paused, as it was told to at its target
  Halted,      ///< paused, and it has no target to pause at: by somebody, or by the server, since a setting is lower than the origin's
  Standby,     ///< it is meant to go on for ever
  StandsStill  ///< it waits for WAL, and nothing of it has been replayed for so long
};

struct SeenRecovery {
  RecoveryState state = RecoveryState::Ended;
  std::string replayed;  ///< to where, as "0/7293EB8"; empty: it has ended
};

/// Waits as long as the server replays WAL towards a target, and tells to where about every ten seconds. What is a standby is seen by its
/// receiver of WAL, and by standby.signal where the role may look.
/// @param patience  for how long nothing may be replayed
/// @errors Postgres, Cancelled
Result<SeenRecovery> await_recovery(postgres::Connection& server, Clock& clock, std::chrono::seconds patience, const CancelToken* cancel);

}  // namespace pgmint::service
