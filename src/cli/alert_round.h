// One round of alerts: look, decide who is to hear what, tell it, remember it. Also the daemon's.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace pgmint::cli {

struct ChannelOutcome {
  std::string name;
  std::size_t told = 0;  ///< problems in its message; 0: there was nothing to tell
  std::optional<Error> failure;
  bool held_back = false;  ///< nothing can be remembered: it waits for its hour
  /// It failed, and is tried again later: how it failed. There is something to tell.
  std::optional<std::string> waiting;
};

struct AlertRound {
  std::vector<ChannelOutcome> channels;
  std::size_t open = 0, open_problems = 0;
  bool failed() const;
};

/// @errors Configuration (no channel), Busy (another round is under way), Cancelled
Result<AlertRound> run_alert_round(Context& context);

}  // namespace pgmint::cli
