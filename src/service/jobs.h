// What can be scheduled: the jobs of a cluster, what each is called, when it runs unless told, and the command that it is.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/schedule.h"

namespace pgmint::service {

/// The most important first: where several wait, that one begins.
enum class JobKind { Full, Incremental, Logical, Config, Expire, Collect, Lock, Verify, Replicate };

struct JobSpec {
  JobKind kind;
  std::string_view name;              ///< as the configuration has it
  std::string_view title;             ///< as messages have it
  std::string_view default_schedule;
  /// Where no run is known of, it is made at once: a host without a backup must not wait for one.
  bool is_backup;
  bool needs_object_lock = false;  ///< only where the repository's objects are locked
  bool is_of_repository = false;  ///< one for the whole repository, where there are mirrors, and none for each cluster
};
inline constexpr std::array<JobSpec, 9> kJobs = {{
    {JobKind::Full, "full", "full backup", "daily at 01:00", true},
    {JobKind::Incremental, "incremental", "incremental backup", "every 6 h", true},
    {JobKind::Logical, "logical", "logical backup", "never", true},
    {JobKind::Config, "config", "configuration backup", "weekly on Sunday at 02:00", true},
    {JobKind::Expire, "expire", "expiry", "daily at 04:30", false},
    {JobKind::Collect, "collect", "collection", "daily at 05:00", false},
    {JobKind::Lock, "lock", "extension of locks", "monthly on the 1st at 06:00", false, true},
    {JobKind::Verify, "verify", "verification", "weekly on Sunday at 05:30", false},
    {JobKind::Replicate, "replicate", "copy to the mirrors", "hourly", false, false, true},
}};
/// What stands in place of a cluster for jobs of the whole repository: no cluster can be called so.
inline constexpr std::string_view kRepositoryJobs = "@repository";
const JobSpec& spec_of(JobKind kind);
std::optional<JobKind> find_job(std::string_view name);

/// What stands in place of a cluster for its jobs in one of several repositories: each has its own, so that one that is away makes none of the others' run again.
std::string cluster_in(const std::string& cluster, const std::string& repository);

/// pgmint's arguments for it.
/// @param cluster  perhaps of cluster_in()
/// @param is_first  none is known to have been made: then a full backup is one that builds on what there is, if there is something.
///                  Who has lost what it remembers must not store everything once more for it.
std::vector<std::string> job_arguments(JobKind kind, const std::string& cluster, bool is_first);

struct PlannedJob {
  std::string cluster;
  JobKind kind;
  policy::Schedule schedule;
  TimeZone zone;
  std::chrono::seconds delay{};
};

/// A command without a cluster's lock: after each job, and every so often.
struct Hook {
  std::string name;
  std::vector<std::string> arguments;  ///< of pgmint
  std::chrono::seconds every{};
};

struct Plan {
  std::vector<PlannedJob> jobs;
  std::vector<Hook> hooks;
};

}  // namespace pgmint::service
