#include <fmt/format.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/metrics_facts.h"
#include "cli/recall_command.h"
#include "cli/schedule_plan.h"
#include "service/metrics_server.h"
#include "service/unix_surroundings.h"

namespace pgmint::cli {
namespace {

constexpr auto kMetricsEvery = std::chrono::minutes(1);
constexpr std::uint64_t kMetricsMax = 64 << 20;

/// What the metrics that are served were written to by a child: the daemon itself opens no repository.
Result<fs::path> metrics_file(const Configuration& configuration) {
  return TRY(state_directory(configuration, process_environment)) / "metrics.prom";
}

/// And what only the daemon has a use for.
Result<service::Plan> whole_plan(const Configuration& configuration) {
  auto plan = TRY(plan_of(configuration, host_name()));
  if (configuration.metrics_listen) plan.hooks.push_back({"metrics", {"metrics", "--textfile", TRY(metrics_file(configuration)).string()}, kMetricsEvery});
  return plan;
}

/// The configuration as it is on the disk now, read anew.
Result<service::Plan> read_plan(const std::optional<std::string>& file) {
  return whole_plan(TRY(load_configuration(file, process_environment)));
}

/// /metrics, where it is wanted. How old the file is stands in it (pgmint_metrics_timestamp_seconds).
Result<std::unique_ptr<service::MetricsServer>> serve_metrics(const Configuration& configuration) {
  if (!configuration.metrics_listen) return std::unique_ptr<service::MetricsServer>();
  const auto where = service::ListenAddress::parse(*configuration.metrics_listen);
  PGMINT_ASSERT(where);  // checked when it was read
  const auto file = TRY(metrics_file(configuration));
  auto server = TRY(service::MetricsServer::start(*where, [file] {
    auto text = read_text_file(file, kMetricsMax);
    return text ? std::move(*text) : metrics_of_nothing();
  }));
  log_info("metrics at http://{}:{}/metrics", where->ipv6 ? "[::1]" : where->host, server->port());
  return server;
}

Result<int> run(Context& context) {
  const auto file = context.arguments().get("--config");
  auto plan = TRY(whole_plan(*TRY(context.configuration())));
  TRY(context.need_repositories());
  service::UnixOptions options;
  options.program = own_command(context);
  for (const std::string option : {"--log-level", "--log-format"})
    if (const auto value = context.arguments().get(option)) options.program.insert(options.program.end(), {option, *value});
  options.state_directory = TRY(context.state_directory());
  options.load_plan = [file] { return read_plan(file); };
  const auto world = TRY(service::UnixSurroundings::open(system_clock(), std::move(options)));
  if (context.cancel().requested()) return Error(Errc::Cancelled, "cancelled");
  const auto metrics = TRY(serve_metrics(*TRY(context.configuration())));
  log_info("pgmint {}: the daemon begins, with {} jobs", PGMINT_VERSION, plan.jobs.size());
  service::Daemon daemon(*world, std::move(plan), world->recalled());
  daemon.run();
  log_info("the daemon ends");
  return 0;
}

}  // namespace

const CommandSpec& daemon_command() {
  static const CommandSpec command = {
      .verb = "daemon",
      .summary = "run backups and upkeep when they are due",
      .description = {"Stays in the foreground and runs what [schedule] says, of every configured cluster: full and incremental backups, dumps, configuration backups, "
                      "expire, collect, verify, and lock where object_lock is set. Each job is a pgmint process of its own; what it says, and when it begins and ends, goes to standard error. "
                      "pgmint schedule install makes a service of it.",
                      "Jobs of one cluster never overlap: the most important that is due begins, the others wait. An incremental backup that is due when a full one begins or "
                      "runs is left out once that one has been made, and runs when it has failed. Jobs of two clusters may run at the same time.",
                      "After downtime a job runs once, at once, however many of its times have passed. A backup of which no run is known is taken at once too, a full one as "
                      "--type auto: that is a full backup where there is none yet. A job that found somebody else at work (exit 5) is tried again after a minute; one that failed "
                      "after 1, 2, 4 minutes and so on, at most an hour, and at its next time; a verify that found damage (exit 8) at its next time, a backup that met damage once more and then at its next time.",
                      "Times are those of clocks on the wall of the configured timezone. What falls into the hour that clocks leave out in spring runs once, right after it; what "
                      "falls into the hour that comes twice runs the first time, but for schedules that name every hour. A clock that was set, forward or back, leads to at most "
                      "one run of each job.",
                      "SIGHUP reads the configuration again, and tries at once what has failed; a configuration that is wrong is refused with an error, and the old one stays. SIGTERM tells the running jobs to end and waits for "
                      "them; they begin again with the next daemon. A second SIGTERM ends them at once. One daemon per state directory: a second one exits 5.",
                      "Where the configuration has [[alert]] channels, alert check runs after each job and every five minutes. With [metrics] listen, /metrics is served there, "
                      "gathered once a minute. Where one of these keeps failing, that is said once an hour, and in the status that systemctl shows. A changed address counts from the next start on.",
                      "What has run is remembered in the state directory. Where that is lost or damaged, backups are taken at once and everything else at its next time."},
      .positionals = {},
      .options = {},
      .exits = {{4, "Somebody else listens at [metrics] listen."}, {5, "Another daemon works with the same state directory."}},
      .examples = {{"pgmint daemon", "In the foreground, as user postgres, to see what it does."}},
      .see_also = {"schedule show", "schedule install", "backup", "expire", "collect", "verify"},
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
