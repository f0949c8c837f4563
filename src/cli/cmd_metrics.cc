#include <fmt/format.h>

#include "base/guarded.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/metrics_facts.h"
#include "cli/option_values.h"
#include "service/metrics.h"
#include "service/metrics_server.h"

namespace pgmint::cli {
namespace {

constexpr auto kSlice = std::chrono::milliseconds(200);  ///< how long the end may go unnoticed

/// Until it is ended: what was gathered last, anew every so often. The daemon does the same beside its other work.
Result<int> serve(Context& context, const std::string& listen) {
  const auto address = service::ListenAddress::parse(listen);
  if (!address)
    return Error(Errc::Usage, fmt::format("--listen {}: must be an address of this host alone and a port, such as 127.0.0.1:9891", listen));
  const auto every = TRY(seconds_option(context.arguments(), "--every", std::chrono::seconds(60)));
  Guarded<std::string> page;
  std::string problem;
  const auto gather = [&]() -> Status {
    // Of its own, so that it reads the configuration and the log as they are now.
    Context fresh(context.arguments(), context.cancel());
    fresh.stop_at_next_request();
    auto gathered = gather_metrics(fresh);
    TRY(context.cancel().check());
    const auto outcome = gathered ? std::move(gathered->outcome) : Status(gathered.error());
    const auto now = outcome ? std::string() : outcome.error().describe();
    if (now != problem) log_warning("metrics: {}", now.empty() ? "the repository can be read again" : now);
    problem = now;
    page.with([&](std::string& text) { text = gathered ? gathered->text : metrics_of_nothing(); });
    return ok();
  };
  TRY(gather());
  const auto server = TRY(service::MetricsServer::start(*address, [&] { return page.with([](const std::string& text) { return text; }); }));
  log_info("metrics at http://{}:{}/metrics", address->ipv6 ? "[::1]" : address->host, server->port());
  for (;;) {
    for (std::chrono::milliseconds slept{0}; slept < every; slept += kSlice) {
      TRY(context.cancel().check());
      system_clock().sleep(kSlice);
    }
    TRY(gather());
  }
}

Result<int> run(Context& context) {
  if (context.output().json())
    return Error(Errc::Usage, "metrics writes Prometheus' format, not JSON", Hint{"pgmint status --json has the same facts"});
  if (context.arguments().has("--listen") && context.arguments().has("--textfile"))
    return Error(Errc::Usage, "--listen and --textfile: one of both");
  if (const auto listen = context.arguments().get("--listen")) return serve(context, *listen);
  auto gathered = TRY(gather_metrics(context));
  if (const auto file = context.arguments().get("--textfile"))
    TRY(service::write_textfile(*file, gathered.text));
  else
    context.output().line(std::string_view(gathered.text).substr(0, gathered.text.size() - 1));
  TRY(std::move(gathered.outcome));
  return 0;
}

}  // namespace

const CommandSpec& metrics_command() {
  static const CommandSpec command = {
      .verb = "metrics",
      .summary = "write what status knows as metrics for Prometheus",
      .description = {"Writes Prometheus' text format: the newest backups, recovery windows, how much could be lost now, WAL gaps, problems, what was "
                      "verified, space, keys, and how the last run of each command ended. /usr/share/doc/pgmint/alerts.md names every metric.",
                      "Where the repository cannot be read, what was written before would look like the present: then pgmint_repository_up is 0, its "
                      "metrics are left out, and the exit status says why."},
      .positionals = {},
      .options = {{.name = "--textfile",
                   .value = "FILE",
                   .text = "Write FILE, whose name ends in .prom, for node_exporter's textfile collector, in place of standard output. It is replaced "
                           "whole or not at all.",
                   .completes = Completes::File},
                  {.name = "--listen", .value = "ADDRESS", .text = "Serve them at /metrics of this address, of this host alone, until ended: 127.0.0.1:9891, [::1]:9891."},
                  {.name = "--every", .value = "SECONDS", .text = "With --listen: how often they are gathered. Default: 60."}},
      .exits = {},
      .examples = {{"pgmint metrics", "To look at."},
                   {"pgmint metrics --textfile /var/lib/prometheus/node-exporter/pgmint.prom", "Every few minutes, from cron or a timer."},
                   {"pgmint metrics --listen 127.0.0.1:9891", "For a Prometheus on this host, where no daemon runs."}},
      .see_also = {"status", "doctor"},
      .only_reads = true,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
