#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/recall_command.h"
#include "cli/schedule_plan.h"
#include "cli/unit_facts.h"
#include "service/run_memory.h"
#include "service/unit_file.h"

namespace pgmint::cli {
namespace {

constexpr std::uint64_t kFileMax = 1 << 20;

/// What this command wrote before may be replaced; anything else only when told.
Status may_write(Context& context, const fs::path& file) {
  const auto present = read_text_file(file, kFileMax);
  if (!present && present.failure().code() == Errc::NotFound) return ok();
  if (present && present->starts_with(service::kWrittenByUs)) return ok();
  if (context.yes()) return ok();
  return Error(Errc::Precondition, fmt::format("{} is there, and not written by pgmint", file.string()), Hint{"look at it; --yes replaces it, --print shows what would be written"});
}

class Install {
 public:
  Install(Context& context, ServiceUser user, service::InstallFacts facts)
      : context_(context), user_(std::move(user)), facts_(std::move(facts)), is_printed_(context.arguments().has("--print")), to_(context.arguments().get("--to")) {}

  Result<int> systemd() {
    const fs::path directory = to_ ? fs::path(*to_) : fs::path(service::kUnitDirectory);
    TRY(put(directory / service::kUnitName, TRY(service::unit_file(facts_))));
    if (is_printed_) return finish();
    // The daemon makes it too, but not where only root may write, and not below a system that it sees read-only.
    if (!to_ && !TRY(make_directory_for(user_, facts_.state_directory)))
      next_.push_back(fmt::format("sudo install -d -o {} -m 0700 {}", user_.name, shell_quoted(facts_.state_directory.string())));
    if (to_) next_.push_back(fmt::format("sudo cp {} {}/", shell_quoted((directory / service::kUnitName).string()), service::kUnitDirectory));
    next_.insert(next_.end(), {"sudo systemctl daemon-reload", "sudo systemctl enable --now pgmint", "systemctl status pgmint"});
    return finish();
  }

  Result<int> cron() {
    const auto& configuration = *TRY(context_.configuration());
    std::map<std::string, fs::path> locks;
    for (const auto& cluster : configuration.clusters) {
      // flock(1) makes a file that is not there.
      locks[cluster.name] = cluster.is_remote() ? facts_.state_directory / fmt::format("cron-{}.lock", cluster.name) : cluster.data_directory;
      if (cluster.schedule.timezone || configuration.schedule.timezone)
        return Error(Errc::Precondition, "cron knows no time zones, and [schedule] has one", Hint{"leave out timezone, or let the daemon run: pgmint schedule install --systemd"});
    }
    locks[std::string(service::kRepositoryJobs)] = facts_.state_directory;
    const auto plan = TRY(plan_of(configuration, host_name()));
    const auto text = TRY(service::crontab(facts_, plan.jobs, plan.hooks, locks, to_.has_value()));
    if (configuration.metrics_listen) next_.push_back("let cron run pgmint metrics --textfile FILE each minute too: without the daemon nobody listens at [metrics] listen");
    if (!to_) {
      context_.output().line(text.substr(0, text.size() - 1));
      files_.push_back({{"path", nullptr}, {"written", false}, {"text", text}});
      if (!is_printed_) next_.push_back(fmt::format("sudo -u {} crontab -e, and put these lines there", user_.name));
      return finish();
    }
    TRY(put(fs::path(*to_) / "pgmint", text));
    if (!is_printed_) next_.push_back("cron reads such a file in /etc/cron.d");
    return finish();
  }

 private:
  Status put(const fs::path& file, const std::string& text) {
    if (is_printed_) {
      context_.output().line(text.substr(0, text.size() - 1));
    } else {
      TRY(may_write(context_, file));
      TRY(write_file_durably(file, as_bytes(text), 0644));
      context_.output().line(fmt::format("written: {}", file.string()));
    }
    files_.push_back({{"path", file.string()}, {"written", !is_printed_}, {"text", text}});
    return ok();
  }

  Result<int> finish() {
    // On standard error: what goes to standard output may go on into a crontab.
    for (const auto& command : next_) print_next(command);
    context_.output().document({{"user", user_.name}, {"state_directory", facts_.state_directory.string()}, {"files", files_}, {"next", next_}});
    return 0;
  }

  Context& context_;
  ServiceUser user_;
  service::InstallFacts facts_;
  bool is_printed_;
  std::optional<std::string> to_;
  Json files_ = Json::array();
  std::vector<std::string> next_;
};

Result<int> run(Context& context) {
  if (context.arguments().has("--systemd") && context.arguments().has("--cron")) return Error(Errc::Usage, "--systemd and --cron: one of them", Hint{"pgmint schedule install --help"});
  TRY(plan_of(*TRY(context.configuration()), host_name()));  // what the daemon would refuse is refused here
  auto user = TRY(service_user(*TRY(context.configuration()), context.arguments().get("--user")));
  auto facts = TRY(unit_facts(context, user));
  Install install(context, std::move(user), std::move(facts));
  return context.arguments().has("--cron") ? install.cron() : install.systemd();
}

}  // namespace

const CommandSpec& schedule_install_command() {
  static const CommandSpec command = {
      .verb = "schedule install",
      .summary = "make a service of the daemon, or a crontab of its jobs",
      .description = {"Writes pgmint.service, a systemd unit that runs pgmint daemon as an ordinary user without any capability, with the whole file system read-only but for the "
                      "repository and the state directory, and says what to type next. It runs nothing by itself.",
                      "With --cron it prints a crontab with the jobs themselves, and the check of alerts where [[alert]] channels are configured, for hosts without systemd. Then there is no catching up after downtime, no retry and no jitter; jobs of "
                      "one cluster wait for each other by flock(1) on its data directory.",
                      "A file that this command did not write is not replaced without --yes. Changes of one's own belong into a drop-in: systemctl edit pgmint."},
      .positionals = {},
      .options = {{.name = "--systemd", .value = "", .text = "A systemd unit. The default."},
                  {.name = "--cron", .value = "", .text = "A crontab: printed, or with --to a file for /etc/cron.d."},
                  {.name = "--user", .value = "USER", .text = "As whom it runs. Default: the owner of the first cluster's data directory."},
                  {.name = "--to", .value = "DIR", .text = "Where the file goes. Default: /etc/systemd/system.", .completes = Completes::Directory},
                  {.name = "--print", .value = "", .text = "Print what would be written, and write nothing."}},
      .exits = {{4, "A file that pgmint did not write is there, or the user cannot be told; nothing was changed."}},
      .examples = {{"pgmint schedule install", "As root, on a host with systemd."},
                   {"pgmint schedule install --print", "Look at it first."},
                   {"pgmint schedule install --cron --print", "The lines for a crontab."}},
      .see_also = {"daemon", "schedule show"},
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
