#include "cli/audit_trail.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "base/log.h"
#include "base/units.h"
#include "cli/command_logs.h"
#include "cli/configuration_changes.h"
#include "crypto/hash.h"
#include "repository/layout.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kEvent = "command";
constexpr std::string_view kConfigurationEvent = "configuration changed";
/// Of commands that only read: a monitoring system that lists each minute must not fill the log.
constexpr auto kSameAccess = std::chrono::hours(1);

/// The user of the login that this process descends from; sudo and su do not change it.
std::optional<std::string> login_user() {
  const auto text = read_text_file("/proc/self/loginuid", 64);
  if (!text) return std::nullopt;
  std::uint32_t uid = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), uid);
  if (error != std::errc() || uid == UINT32_MAX) return std::nullopt;
  const auto* user = ::getpwuid(uid);
  return user != nullptr ? std::string(user->pw_name) : std::to_string(uid);
}

std::vector<repository::ClusterId> clusters_meant(Context& context, repository::Repository& repository) {
  if (!context.clusters_met().empty()) return {context.clusters_met().begin(), context.clusters_met().end()};
  std::vector<repository::ClusterId> all;
  const auto names = repository.environment().store.list_parts(std::string(repository::kClustersPrefix));
  if (!names) return all;
  for (const auto& name : *names)
    if (const auto id = repository::ClusterId::parse(name)) all.push_back(*id);
  return all;
}

/// One file for each sort of access whose time is that of the last entry.
fs::path access_mark(const fs::path& state_directory, const repository::ClusterId& cluster, const repository::CommandRun& run) {
  const auto what = fmt::format("{}\n{}\n{}\n{}", cluster.hex(), run.operation, run.origin, actor_label());
  return state_directory / "accessed" / to_hex(crypto::sha256(as_bytes(what))).substr(0, 32);
}

bool noted_lately(const fs::path& mark, TimePoint now) {
  const auto status = stat_if_exists(mark);
  if (!status || !*status) return false;
  const TimePoint then = TimePoint(std::chrono::seconds((*status)->st_mtim.tv_sec));
  return then <= now && now - then < kSameAccess;  // a mark of the future says nothing
}

Status touch(const fs::path& mark) {
  TRY(create_directories(mark.parent_path(), 0700));
  return write_file_durably(mark, {}, 0600);
}

Status append_to(repository::Repository& repository, const repository::ClusterId& id, repository::AuditEntry entry) {
  auto opened = repository.open_cluster(id);
  if (!opened && opened.error().code() == Errc::Key) return ok();  // another host's
  const auto cluster = TRY(std::move(opened));
  if (!cluster->state().has_genesis()) TRY(cluster->log().refresh());
  if (!cluster->state().has_genesis()) return ok();  // a creation that was cut off
  TRY(cluster->log().append(cluster->actor(), std::move(entry)));
  return ok();
}

std::string outcome_text(const Result<int>& result, std::chrono::microseconds took) {
  const auto code = result ? *result : exit_code(result.error().code());
  auto text = fmt::format("exit {} after {}", code, human(took));
  if (!result) text += fmt::format(": {}", redact(result.error().describe()));
  return text;
}

Status note(Context& context, repository::Repository& repository, const Result<int>& result, TimePoint began) {
  const auto& command = *context.arguments().command;
  const auto now = system_clock().now();
  repository::CommandRun run{std::string(command.verb), login_origin(), 0, began};
  run.exit_code = static_cast<std::uint32_t>(result ? *result : exit_code(result.error().code()));
  const repository::AuditEntry entry{std::string(kEvent), outcome_text(result, now - began), {}, run};
  const auto state_directory = TRY(context.state_directory());
  const bool may_be_left_out = command.only_reads && run.exit_code == 0;
  std::vector<repository::AuditEntry> entries{entry};
  // What becomes of the configuration must not cost the note of the command itself.
  const auto changes = configuration_changes(*TRY(context.configuration()), state_directory);
  if (changes && !changes->empty()) entries.push_back({std::string(kConfigurationEvent), *changes, {}, run});
  write_audit_line(fmt::format("{} ({}): {}", context.arguments().command_line, run.origin, entry.detail));
  if (entries.size() > 1) write_audit_line(fmt::format("{}: {}", entries[1].event, entries[1].detail));
  Status worst = ok();
  for (const auto& id : clusters_meant(context, repository)) {
    const auto mark = access_mark(state_directory, id, run);
    for (const auto& one : entries) {
      const bool is_access = may_be_left_out && one.event == kEvent;
      if (is_access && noted_lately(mark, now)) continue;
      auto appended = append_to(repository, id, one);
      if (appended && is_access) appended = touch(mark);
      if (!appended) worst = std::move(appended);
    }
  }
  TRY(std::move(worst));
  if (!changes) return changes.error();
  return remember_configuration(*TRY(context.configuration()), state_directory);
}

}  // namespace

bool is_audited(const CommandSpec& command) {
  if (command.verb == "alert dismiss") return true;  // a person's judgement, which others must be able to see
  for (const std::string_view quiet : {"wal ", "alert ", "schedule "})
    if (command.verb.starts_with(quiet)) return false;
  for (const std::string_view quiet : {"init", "status", "doctor", "metrics", "daemon", "roles", "policy aws"})
    if (command.verb == quiet) return false;
  return true;
}

void note_command(Context& context, const Result<int>& result, TimePoint began) {
  auto* repository = context.opened_repository();
  if (repository == nullptr || repository->is_mirror() || !is_audited(*context.arguments().command)) return;
  const CancelToken::HoldOff to_the_end(&context.cancel());  // who interrupts a command has run it
  if (const auto noted = note(context, *repository, result, began); !noted)
    log_warning("this command could not be written into the audit log: {}", noted.failure().describe());
}

Status note_event(repository::Cluster& cluster, std::string event, std::string detail) {
  TRY(cluster.log().append(cluster.actor(), repository::AuditEntry{std::move(event), std::move(detail)}));
  return ok();
}

std::string operation_of(const repository::LogEntry& entry) {
  if (const auto* audit = std::get_if<repository::AuditEntry>(&entry.content); audit != nullptr && audit->run) return audit->run->operation;
  std::vector<std::string> words;
  std::istringstream in(entry.command);
  for (std::string word; words.size() < 2 && in >> word;) {
    const auto option = std::ranges::find(global_options(), word, &OptionSpec::name);
    if (words.empty() && option != global_options().end() && !option->value.empty()) in >> word;  // "--config FILE backup"
    else if (!word.starts_with('-')) words.push_back(word);
  }
  if (words.empty()) return "";
  const auto found = find_command(words);
  return found ? std::string(found->command->verb) : "";
}

std::string login_origin() {
  std::vector<std::string> parts;
  if (const auto user = login_user()) parts.push_back(*user);
  if (const auto user = process_environment("SUDO_USER")) parts.push_back(fmt::format("sudo by {}", *user));
  if (const auto connection = process_environment("SSH_CONNECTION"))
    parts.push_back(fmt::format("ssh from {}", connection->substr(0, connection->find(' '))));
  if (std::array<char, 64> name{}; ::ttyname_r(STDIN_FILENO, name.data(), name.size()) == 0)
    parts.push_back(std::string(name.data()).substr(std::string_view(name.data()).starts_with("/dev/") ? 5 : 0));
  if (parts.empty()) return "no login";
  auto text = fmt::format("{}", fmt::join(parts, ", "));
  std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' '; }, '?');  // of the environment: anybody's words
  return text;
}

}  // namespace pgmint::cli
