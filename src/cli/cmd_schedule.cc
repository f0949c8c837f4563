#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/schedule_plan.h"
#include "cli/service_user.h"
#include "service/unix_surroundings.h"

namespace pgmint::cli {
namespace {

using service::JobMemory;

Json time_json(const std::optional<TimePoint>& time) { return time ? Json(format_rfc3339(*time)) : Json(nullptr); }

/// A job as it stands now: what the daemon would do.
struct JobView {
  const ScheduledJob& scheduled;
  std::optional<JobMemory> memory;
  bool runs = false;
  std::optional<TimePoint> next;

  std::string result() const {
    if (!memory || !memory->started) return "";
    if (runs) return "running";
    if (!memory->exit_code) return "cut off";
    return *memory->exit_code == 0 ? "done" : fmt::format("exit {}", *memory->exit_code);
  }
};

JobView view_of(const ScheduledJob& scheduled, const service::RunMemory& memory, bool daemon_runs, TimePoint now) {
  JobView view{scheduled, {}, false, {}};
  const auto& job = scheduled.job;
  const policy::JobTiming timing{job.schedule, job.zone, job.delay};
  if (const auto known = memory.find({job.cluster, job.kind}); known != memory.end()) {
    view.memory = known->second;
    view.runs = daemon_runs && known->second.is_running;
    auto history = policy::corrected(known->second.history, now);
    if (view.runs) history = {.through = now, .end = policy::RunEnd::Settled, .ended = now, .failures = 0};
    view.next = policy::next_start(timing, history);
  } else if (!job.schedule.is_never()) {
    view.next = service::spec_of(job.kind).is_backup ? now : policy::next_planned(timing, now);
  }
  return view;
}

Json to_json(const JobView& view) {
  const auto& job = view.scheduled.job;
  Json last = nullptr;
  if (view.memory && view.memory->started)
    last = {{"started", time_json(view.memory->started)},
            {"ended", view.runs || !view.memory->exit_code ? Json(nullptr) : time_json(view.memory->history.ended)},
            {"exit_code", view.memory->exit_code ? Json(*view.memory->exit_code) : Json(nullptr)},
            {"result", view.result()}};
  return {{"job", service::spec_of(job.kind).name},
          {"schedule", job.schedule.text()},
          {"cron", job.schedule.is_never() ? Json(nullptr) : Json(job.schedule.cron())},
          {"source", source_name(view.scheduled.source)},
          {"next", time_json(view.next)},
          {"running", view.runs},
          {"last", std::move(last)},
          {"last_success", view.memory ? time_json(view.memory->succeeded) : Json(nullptr)}};
}

std::vector<std::string> row_of(const JobView& view, TimePoint now) {
  const auto& job = view.scheduled.job;
  const bool has_run = view.memory && view.memory->started;
  return {std::string(service::spec_of(job.kind).name), job.schedule.text(),
          view.runs ? "runs now" : !view.next ? "" : *view.next <= now ? "at once" : wall_text(*view.next, job.zone),
          has_run ? wall_text(*view.memory->started, job.zone) : "", view.result()};
}

/// Root asks about the service, and not about itself.
Result<fs::path> state_of_daemon(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  if (::geteuid() == 0 && !process_environment("PGMINT_STATE_DIRECTORY"))
    if (const auto user = service_user(configuration, std::nullopt)) return state_directory_of(configuration, *user);
  return context.state_directory();
}

Result<int> run(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  const auto all = TRY(scheduled_jobs(configuration, host_name()));
  const auto chosen = context.arguments().position("CLUSTER");
  if (chosen && configuration.find_cluster(*chosen) == nullptr)
    return Error(Errc::Configuration, fmt::format("no cluster \"{}\" is configured", *chosen), Hint{"pgmint schedule show, without a name, shows all"});
  const auto state = TRY(state_of_daemon(context));
  const auto now = system_clock().now();
  const auto daemon = TRY(service::running_daemon(state));
  const service::ServiceFiles files(state);
  auto memory = service::load_memory(files.memory());
  if (!memory && memory.failure().code() != Errc::Corruption) return memory.failure();
  if (!memory) print_warning(fmt::format("what has run is not known: {}", memory.failure().describe()));
  const auto known = memory ? *memory : service::RunMemory();

  Json clusters = Json::array();
  auto& out = context.output();
  const auto show = [&](const std::string& name, std::string_view title) -> Json {
    Json jobs = Json::array();
    std::vector<std::vector<std::string>> rows;
    const ScheduledJob* first = nullptr;
    for (const auto& scheduled : all) {
      if (scheduled.job.cluster != name) continue;
      if (first == nullptr) first = &scheduled;
      const auto view = view_of(scheduled, known, daemon.has_value(), now);
      jobs.push_back(to_json(view));
      rows.push_back(row_of(view, now));
    }
    if (first == nullptr) return nullptr;
    const auto& job = first->job;
    out.line(fmt::format("{}: times of {}, {} later than they say (jitter)", title, job.zone.name(), policy::format_delay(job.delay)));
    out.line(text_table({"JOB", "SCHEDULE", "NEXT", "LAST RUN", "RESULT"}, rows));
    return {{"name", name}, {"timezone", job.zone.name()}, {"delay_s", job.delay.count()}, {"jobs", std::move(jobs)}};
  };
  for (const auto& cluster : configuration.clusters)
    if (!chosen || *chosen == cluster.name)
      for (const auto& name : scheduled_names(configuration, cluster.name)) clusters.push_back(show(name, "cluster " + name));
  Json repository = chosen ? Json(nullptr) : show(std::string(service::kRepositoryJobs), "the whole repository");
  out.line("WAL: continuously, by the server's archive_command");
  if (!daemon) out.line("no daemon runs here, so nothing of this happens by itself; next: pgmint schedule install");
  out.document({{"daemon", {{"running", daemon.has_value()}, {"pid", daemon ? Json(*daemon) : Json(nullptr)}}},
                {"state_file", files.memory().string()},
                {"clusters", std::move(clusters)},
                {"repository", std::move(repository)}});
  return 0;
}

}  // namespace

const CommandSpec& schedule_show_command() {
  static const CommandSpec command = {
      .verb = "schedule show",
      .summary = "say what runs when, and how its last run ended",
      .description = {"Each job of each cluster: its schedule, when it runs next, when it ran last and what became of it. What pgmint daemon remembers is kept in the state "
                      "directory of its user; root is told about the owner of the first cluster's data directory.",
                      "By default, as the runbook has it: a full backup daily at 01:00, an incremental one every 6 hours, a configuration backup on Sunday at 02:00, expire daily "
                      "at 04:30, collect daily at 05:00, verify on Sunday at 05:30; where object_lock is set, lock on the first of the month at 06:00; where mirrors are configured, replicate each hour. WAL goes continuously, by archive_command."},
      .positionals = {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {},
      .exits = {},
      .examples = {{"pgmint schedule show", "What comes next, and whether the last runs went well."}},
      .see_also = {"daemon", "schedule install", "status"},
      .only_reads = true,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
