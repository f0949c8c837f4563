// SIGINT and SIGTERM as a CancelToken: the first asks every worker to stop, a second one ends the process at once.
#pragma once

#include "base/cancel.h"

namespace pgmint {

/// Installs the handlers once and returns the process-wide token. Call from main before threads start.
CancelToken& install_signal_handlers();

}  // namespace pgmint
