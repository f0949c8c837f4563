#include "cli/schedule_plan.h"

#include <fmt/format.h>

#include <cstdlib>

namespace pgmint::cli {
namespace {

constexpr auto kAlertsEvery = std::chrono::minutes(5);

/// @param cluster  nullptr: of the whole repository
std::pair<policy::Schedule, ScheduleSource> schedule_for(const Configuration& configuration, const ClusterSettings* cluster, const service::JobSpec& spec) {
  if (cluster != nullptr)
    if (const auto own = cluster->schedule.jobs.find(spec.kind); own != cluster->schedule.jobs.end()) return {own->second, ScheduleSource::Cluster};
  if (const auto general = configuration.schedule.jobs.find(spec.kind); general != configuration.schedule.jobs.end())
    return {general->second, ScheduleSource::General};
  auto standard = policy::Schedule::parse(spec.default_schedule);
  PGMINT_ASSERT(standard.has_value());
  return {std::move(*standard), ScheduleSource::Default};
}

/// Of the repositories in which a cluster has jobs, in the order of scheduled_names().
bool locks_objects(const Configuration& configuration, std::size_t repository) {
  if (repository >= configuration.repositories.size()) return false;
  const auto& settings = configuration.repositories[repository];
  const auto& s3 = settings.s3.empty() ? configuration.s3 : settings.s3;
  return settings.is_s3() && s3.object_lock.has_value();
}

}  // namespace

std::string_view source_name(ScheduleSource source) {
  switch (source) {
    case ScheduleSource::Cluster: return "cluster";
    case ScheduleSource::General: return "general";
    case ScheduleSource::Default: return "default";
  }
  return "default";
}

std::vector<std::string> scheduled_names(const Configuration& configuration, const std::string& cluster) {
  if (configuration.repositories.size() < 2) return {cluster};
  std::vector<std::string> names;
  for (const auto& repository : configuration.repositories) names.push_back(service::cluster_in(cluster, repository.name));
  return names;
}

Result<std::vector<ScheduledJob>> scheduled_jobs(const Configuration& configuration, const std::string& host) {
  if (configuration.clusters.empty() && configuration.mirrors.empty())
    return Error(Errc::Configuration, "no cluster is configured: there is nothing to schedule",
                 Hint{fmt::format("add [cluster.main] with its data_directory to {}", configuration.file.empty() ? std::string(kDefaultConfigFile) : configuration.file.string())});
  std::vector<ScheduledJob> jobs;
  for (const auto& cluster : configuration.clusters) {
    const auto& zone_name = cluster.schedule.timezone ? cluster.schedule.timezone : configuration.schedule.timezone;
    const auto zone = zone_name ? TRY(TimeZone::named(*zone_name).context("[schedule] timezone")) : TimeZone::of_system();
    const auto jitter = cluster.schedule.jitter.value_or(configuration.schedule.jitter.value_or(kDefaultJitter));
    // One delay for all jobs of a cluster: they stay in their order.
    const auto delay = policy::delay_of(host + "/" + cluster.name, jitter);
    for (const auto& spec : service::kJobs) {
      if (spec.is_of_repository) continue;
      const auto names = scheduled_names(configuration, cluster.name);
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (spec.needs_object_lock && !locks_objects(configuration, i)) continue;
        auto [schedule, source] = schedule_for(configuration, &cluster, spec);
        jobs.push_back({{names[i], spec.kind, std::move(schedule), zone, delay}, source});
      }
    }
  }
  if (configuration.mirrors.empty()) return jobs;
  const auto& spec = service::spec_of(service::JobKind::Replicate);
  const auto zone = configuration.schedule.timezone ? TRY(TimeZone::named(*configuration.schedule.timezone).context("[schedule] timezone")) : TimeZone::of_system();
  const std::string place(service::kRepositoryJobs);
  auto [schedule, source] = schedule_for(configuration, nullptr, spec);
  jobs.push_back({{place, spec.kind, std::move(schedule), zone, policy::delay_of(host + "/" + place, configuration.schedule.jitter.value_or(kDefaultJitter))}, source});
  return jobs;
}

Result<service::Plan> plan_of(const Configuration& configuration, const std::string& host) {
  service::Plan plan;
  for (auto& scheduled : TRY(scheduled_jobs(configuration, host)))
    if (!scheduled.job.schedule.is_never()) plan.jobs.push_back(std::move(scheduled.job));
  if (!configuration.alerts.empty()) plan.hooks.push_back({"alerts", {"alert", "check"}, kAlertsEvery});
  return plan;
}

std::string wall_text(TimePoint time, const TimeZone& zone) {
  const auto offset = zone.offset_at(time);
  const auto minutes = std::abs(std::chrono::duration_cast<std::chrono::minutes>(offset).count());
  auto text = format_rfc3339(std::chrono::floor<std::chrono::seconds>(time) + offset);
  text.pop_back();  // its Z
  text[10] = ' ';
  return fmt::format("{}{}{:02}:{:02}", text, offset.count() < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

}  // namespace pgmint::cli
