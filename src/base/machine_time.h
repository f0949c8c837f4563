// Times of this machine that show whether it was started anew, and whether its clock was set.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace pgmint {

struct MachineTime {
  std::string boot;                        ///< differs from boot to boot
  std::chrono::nanoseconds since_boot{};   ///< cannot be set, runs on in suspend
  std::chrono::nanoseconds since_epoch{};  ///< what files are stamped with
};

/// nullopt where the machine does not tell.
std::optional<MachineTime> machine_time();

}  // namespace pgmint
