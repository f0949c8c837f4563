// [schedule] and [cluster.NAME.schedule]: what they say, before defaults are put in.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "service/jobs.h"

namespace pgmint::cli {

struct ScheduleSettings {
  std::map<service::JobKind, policy::Schedule> jobs;  ///< those that are named
  std::optional<std::string> timezone;                ///< absent: the system's
  std::optional<std::chrono::seconds> jitter;
};

/// The most that jobs begin later than their schedule says, unless it is set.
inline constexpr auto kDefaultJitter = std::chrono::minutes(5);

}  // namespace pgmint::cli
