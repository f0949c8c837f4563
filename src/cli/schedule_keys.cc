#include "cli/schedule_keys.h"

#include <fmt/format.h>

namespace pgmint::cli {
namespace {

using service::JobKind;

template <JobKind kKind>
Status read_job(ScheduleSettings& target, const Value& value) {
  const auto text = TRY(value.text());
  auto schedule = policy::Schedule::parse(text);
  if (!schedule) return value.wrong(fmt::format("is wrong: {}", schedule.error().message()));
  target.jobs.insert_or_assign(kKind, std::move(*schedule));
  return ok();
}

Status read_jitter(ScheduleSettings& target, const Value& value) {
  const auto text = TRY(value.text());
  const auto delay = policy::parse_delay(text);
  if (!delay) return value.wrong(fmt::format("is wrong: {}", delay.error().message()));
  target.jitter = *delay;
  return ok();
}

}  // namespace

const std::vector<Key<ScheduleSettings>>& schedule_keys() {
  using T = ScheduleSettings;
  static const std::vector<Key<T>> keys = {
      {"full", "schedule",
       "When backup --type full runs: a five-field cron line, or words such as \"daily at 01:00\", \"every 6 h\", \"every 15 min\", \"hourly at :10\", "
       "\"weekdays at 22:30\", \"weekly on Sunday at 03:00\", \"monthly on the 1st at 04:00\", \"never\". Default: \"daily at 01:00\".",
       read_job<JobKind::Full>},
      {"incremental", "schedule", "When backup --type incremental runs. Default: \"every 6 h\", counted from midnight.", read_job<JobKind::Incremental>},
      {"logical", "schedule", "When backup --type logical dumps all databases. Default: \"never\".", read_job<JobKind::Logical>},
      {"config", "schedule", "When backup --type config runs. Default: \"weekly on Sunday at 02:00\".", read_job<JobKind::Config>},
      {"expire", "schedule", "When expire runs. Default: \"daily at 04:30\".", read_job<JobKind::Expire>},
      {"collect", "schedule", "When collect runs. Default: \"daily at 05:00\".", read_job<JobKind::Collect>},
      {"lock", "schedule", "When lock runs, where object_lock is set in [s3]: more often than object_lock_days. Default: \"monthly on the 1st at 06:00\".", read_job<JobKind::Lock>},
      {"verify", "schedule", "When verify --read-data --older-than 30d runs. Default: \"weekly on Sunday at 05:30\".", read_job<JobKind::Verify>},
      {"replicate", "schedule", "When replicate copies to all mirrors; not of single clusters. Default: \"hourly\" where [[mirror]] is configured.", read_job<JobKind::Replicate>},
      {"timezone", "text", "Whose clocks these times are of, such as \"Europe/Berlin\". Default: the system's local time.",
       [](T& t, const Value& v) { return assign(t.timezone, v.text()); }},
      {"jitter", "text",
       "All jobs of a cluster begin later than their schedule says by a time between nothing and this, which is always the same for the same host and cluster, so that "
       "many hosts do not begin together: a number and s, min or h, or \"0\". Default: \"5 min\".",
       read_jitter},
  };
  return keys;
}

Status read_schedule(ScheduleSettings& target, const Value& value, std::string table) {
  const bool is_of_cluster = table != "[schedule]";
  TRY(read_table(*TRY(value.table()), target, schedule_keys(), {value.place.source, std::move(table)}));
  if (is_of_cluster && target.jobs.contains(JobKind::Replicate)) return value.wrong("has \"replicate\", which copies the whole repository: it belongs to [schedule]");
  return ok();
}

}  // namespace pgmint::cli
