// The plan that the configuration makes for each cluster: its own schedule, else the general one, else the default.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/config.h"
#include "service/jobs.h"

namespace pgmint::cli {

/// Who says when a job runs.
enum class ScheduleSource { Cluster, General, Default };
std::string_view source_name(ScheduleSource source);

struct ScheduledJob {
  service::PlannedJob job;
  ScheduleSource source = ScheduleSource::Default;
};

/// As what its jobs run: itself, or itself in each of several repositories.
std::vector<std::string> scheduled_names(const Configuration& configuration, const std::string& cluster);

/// Every job of every configured cluster, those that never run too, in the order of the file and of service::kJobs; then, where there are
/// mirrors, those of the whole repository, whose cluster is service::kRepositoryJobs.
/// @param host  whose jitter it is
/// @errors Configuration: no such time zone; neither a cluster nor a mirror is configured
Result<std::vector<ScheduledJob>> scheduled_jobs(const Configuration& configuration, const std::string& host);
/// Those that do run, and the check of alerts beside them. @errors as above
Result<service::Plan> plan_of(const Configuration& configuration, const std::string& host);

/// "2026-11-27 01:03:12+01:00": what a clock on that wall shows.
std::string wall_text(TimePoint time, const TimeZone& zone);

}  // namespace pgmint::cli
