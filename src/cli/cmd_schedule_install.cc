#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/pkcs11_keys.h"
#include "cli/recall_command.h"
#include "cli/schedule_plan.h"
#include "cli/service_user.h"
#include "service/run_memory.h"
#include "service/unit_file.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kUnitDirectory = "/etc/systemd/system";
constexpr std::uint64_t kFileMax = 1 << 20;

/// Every path in a conninfo or URI: directories of sockets, certificates. A database's name may pass for one, which only makes the unit more careful.
std::vector<fs::path> paths_in(std::string connection) {
  for (const std::string_view slash : {"%2F", "%2f"})
    for (auto at = connection.find(slash); at != std::string::npos; at = connection.find(slash)) connection.replace(at, slash.size(), "/");
  std::vector<fs::path> paths;
  constexpr std::string_view kBetween = " '\"=&,?@:";
  for (std::size_t at = 0; at < connection.size();) {
    const auto end = std::min(connection.find_first_of(kBetween, at), connection.size());
    if (connection[at] == '/') paths.emplace_back(fs::path(connection.substr(at, end - at)).lexically_normal());
    at = end + 1;
  }
  return paths;
}

/// What a repository is written to and read by.
Status add_repository(service::InstallFacts& facts, const Configuration& configuration, const RepositorySettings& repository) {
  if (!repository.is_s3()) facts.written.push_back(TRY(repository.directory()));
  const auto& encryption = repository.encryption.empty() ? configuration.encryption : repository.encryption;
  for (const auto& file : {encryption.key_file, encryption.passphrase_file, encryption.recovery_key_file})
    if (file) facts.read.emplace_back(*file);
  const auto& s3 = repository.s3.empty() ? configuration.s3 : repository.s3;
  if (repository.is_s3() && s3.ca_file) facts.read.emplace_back(*s3.ca_file);
  const auto& services = encryption.services;
  if (!encryption.kms.empty() && services.kms.ca_file) facts.read.emplace_back(*services.kms.ca_file);
  if (!encryption.vault.empty())
    for (const auto& file : {services.vault.ca_file, services.vault.token_file, services.vault.secret_id_file})
      if (file) facts.read.emplace_back(*file);
  for (const auto& text : encryption.pkcs11) {
    const auto uri = TRY(parse_pkcs11_uri(text));
    for (const auto& file : {uri.module ? uri.module : services.pkcs11.module, uri.pin_file ? uri.pin_file : services.pkcs11.pin_file})
      if (file) facts.read.emplace_back(*file);
  }
  return ok();
}

Result<service::InstallFacts> facts_of(Context& context, const ServiceUser& user) {
  const auto& configuration = *TRY(context.configuration());
  service::InstallFacts facts;
  facts.program = own_command(context);
  facts.user = user.name;
  facts.state_directory = TRY(state_directory_of(configuration, user));
  TRY(context.need_repositories());
  for (const auto& repository : configuration.repositories) TRY(add_repository(facts, configuration, repository));
  for (const auto& mirror : configuration.mirrors) {
    RepositorySettings place;
    place.url = mirror.url;
    if (!place.is_s3()) facts.written.push_back(TRY(place.directory()));
    const auto& its = mirror.s3.empty() ? configuration.s3 : mirror.s3;
    if (place.is_s3() && its.ca_file) facts.read.emplace_back(*its.ca_file);
  }
  if (configuration.logs.directory) facts.written.push_back(*configuration.logs.directory);
  if (!configuration.file.empty()) facts.read.push_back(fs::absolute(configuration.file));
  for (const auto& channel : configuration.alerts) {
    for (const auto& file : {channel.secret_file, channel.password_file, channel.ca_file})
      if (!file.empty()) facts.read.push_back(file);
    if (!channel.command.empty()) facts.read.emplace_back(channel.command.front());
  }
  for (const auto& cluster : configuration.clusters) {
    if (!cluster.is_remote()) facts.read.push_back(cluster.data_directory);
    for (auto& place : paths_in(cluster.connection)) facts.socket_places.push_back(std::move(place));
  }
  return facts;
}

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
    const fs::path directory = to_ ? fs::path(*to_) : fs::path(kUnitDirectory);
    TRY(put(directory / "pgmint.service", TRY(service::unit_file(facts_))));
    if (is_printed_) return finish();
    // The daemon makes it too, but not where only root may write, and not below a system that it sees read-only.
    if (!to_ && !TRY(make_state_directory(facts_.state_directory, user_)))
      next_.push_back(fmt::format("sudo install -d -o {} -m 0700 {}", user_.name, shell_quoted(facts_.state_directory.string())));
    if (to_) next_.push_back(fmt::format("sudo cp {} {}/", shell_quoted((directory / "pgmint.service").string()), kUnitDirectory));
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
  auto facts = TRY(facts_of(context, user));
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
