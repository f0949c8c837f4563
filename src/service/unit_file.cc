#include "service/unit_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace pgmint::service {
namespace {

/// Of flock, when the lock was not to be had; pgmint has no such exit code.
constexpr const char* kNoLockCode = "75";

bool is_below(const fs::path& path, const fs::path& folder) {
  const auto relative = path.lexically_normal().lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

bool any_below(const std::vector<fs::path>& paths, std::initializer_list<const char*> folders) {
  return std::ranges::any_of(paths, [&](const fs::path& path) {
    return std::ranges::any_of(folders, [&](const char* folder) { return is_below(path, folder); });
  });
}

std::string shell_word(std::string_view word) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("/._-+=:,@").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, is_plain)) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// cron makes a new line of every bare '%'.
std::string cron_word(std::string_view word) {
  std::string out;
  for (const char c : shell_word(word)) out += c == '%' ? std::string("\\%") : std::string(1, c);
  return out;
}

/// What root installs must hold no line that a name has brought along.
Status on_one_line(std::string_view name) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::ranges::none_of(name, is_control)) return ok();
  std::string shown;
  for (const unsigned char c : name) shown += is_control(c) ? fmt::format("\\x{:02x}", c) : std::string(1, static_cast<char>(c));
  return Error(Errc::Configuration, fmt::format("\"{}\" holds a control character: it cannot stand in a service's file", shown), Hint{"give it another name"});
}

std::string words(const std::vector<std::string>& list, std::string (*quoted)(std::string_view)) {
  std::string line;
  for (const auto& word : list) line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

}  // namespace

namespace {

/// @param doubled  characters that stand for themselves when they are doubled
std::string quoted_for_systemd(std::string_view word, std::string_view doubled) {
  std::string out;
  bool is_plain = !word.empty();
  for (const char c : word) {
    if (doubled.find(c) != std::string_view::npos) out += c;
    if (c == '"' || c == '\\') out += '\\';
    out += c;
    is_plain &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("/._-+=:,@%").find(c) != std::string_view::npos;
  }
  return is_plain ? out : '"' + out + '"';
}

/// What stands behind "KEY=" on a line of its own; empty: nothing does.
std::string_view unit_value(std::string_view unit, std::string_view key) {
  for (std::size_t at = 0; at < unit.size();) {
    const auto end = std::min(unit.find('\n', at), unit.size());
    const auto line = unit.substr(at, end - at);
    if (line.starts_with(key) && line.substr(key.size()).starts_with('=')) return line.substr(key.size() + 1);
    at = end + 1;
  }
  return {};
}

/// The words of a line that we wrote: as they stand, with their quotes.
std::set<std::string> unit_words(std::string_view line) {
  std::set<std::string> found;
  std::string word;
  bool quoted = false;
  for (std::size_t i = 0; i <= line.size(); ++i) {
    if (i == line.size() || (line[i] == ' ' && !quoted)) {
      if (!word.empty()) found.insert(word);
      word.clear();
      continue;
    }
    if (line[i] == '"') quoted = !quoted;
    word += line[i];
    if (line[i] == '\\' && i + 1 < line.size()) word += line[++i];
  }
  return found;
}

std::string unit_path(const fs::path& path) { return quoted_for_systemd(path.string(), "%"); }

}  // namespace

std::string unit_quoted(std::string_view word) { return quoted_for_systemd(word, "%$"); }

Result<std::string> unit_file(const InstallFacts& facts) {
  for (const auto& word : facts.program) TRY(on_one_line(word));
  for (const auto& place : facts.written) TRY(on_one_line(place.string()));
  TRY(on_one_line(facts.state_directory.string()));
  TRY(on_one_line(facts.user));
  std::vector<fs::path> places = facts.written;
  places.push_back(facts.state_directory);
  std::string writable, mounts;
  std::set<std::string> seen;
  for (const auto& place : places)
    if (seen.insert(place.string()).second) writable += " " + unit_path(place);
  for (const auto& place : facts.written) mounts += " " + unit_path(place);

  auto all = places;
  all.insert(all.end(), facts.read.begin(), facts.read.end());
  all.insert(all.end(), facts.socket_places.begin(), facts.socket_places.end());
  const bool in_home = any_below(all, {"/home", "/root", "/run/user"});
  // A private /tmp would hide a server's socket there, and with it the server.
  const bool in_tmp = any_below(all, {"/tmp", "/var/tmp"});

  auto command = facts.program;
  command.emplace_back("daemon");
  return fmt::format(R"({marker}, which replaces it.
# Put changes into a drop-in beside it: systemctl edit pgmint

[Unit]
Description=Scheduled backups of PostgreSQL (pgmint)
Documentation=man:pgmint-daemon(1) man:pgmint.toml(5)
After=network-online.target postgresql.service
Wants=network-online.target
RequiresMountsFor={mounts}

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
User={user}
Restart=on-failure
RestartSec=30s
# Exit 3: the configuration is wrong, and stays so until somebody mends it.
RestartPreventExitStatus=2 3 5
WatchdogSec=5min
# The daemon tells its jobs to end, and they do within seconds; what does not is killed with it.
KillMode=mixed
TimeoutStopSec=2min
# A job that wants too much memory is killed alone, and tried again.
OOMPolicy=continue
MemoryMax=4G
TasksMax=512
Nice=5
CPUWeight=50
IOWeight=50
UMask=0077

# It writes to the repository and to what it remembers, and nowhere else.
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome={home}
PrivateTmp={tmp}
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
# The server of the same user has shared memory: it must not go with this service.
RemoveIPC=no
SystemCallArchitectures=native
# mincore: reading asks what the page cache has.
SystemCallFilter=@system-service mincore
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
)",
                     fmt::arg("marker", kWrittenByUs), fmt::arg("mounts", mounts.empty() ? "" : mounts.substr(1)), fmt::arg("command", words(command, unit_quoted)),
                     fmt::arg("user", facts.user), fmt::arg("writable", writable.substr(1)), fmt::arg("home", in_home ? "no" : "yes"),
                     fmt::arg("tmp", in_tmp ? "no" : "yes"));
}

std::string user_of(const std::string& unit) { return std::string(unit_value(unit, "User")); }

std::vector<std::string> withheld(const std::string& installed, const std::string& wanted) {
  for (const auto* key : {"ExecStart", "User"})
    if (unit_value(installed, key) != unit_value(wanted, key)) return {};
  std::vector<std::string> all;
  const auto writable = unit_words(unit_value(installed, "ReadWritePaths"));
  for (const auto& place : unit_words(unit_value(wanted, "ReadWritePaths")))
    if (!writable.contains(place)) all.push_back(fmt::format("writing to {}", place));
  const auto hides = [&](const char* key) { return unit_value(installed, key) == "yes" && unit_value(wanted, key) == "no"; };
  if (hides("ProtectHome")) all.emplace_back("/home, /root and /run/user");
  if (hides("PrivateTmp")) all.emplace_back("/tmp and /var/tmp");
  return all;
}

Result<std::string> crontab(const InstallFacts& facts, const std::vector<PlannedJob>& jobs, const std::vector<Hook>& hooks, const std::map<std::string, fs::path>& locks, bool with_user) {
  for (const auto& word : facts.program) TRY(on_one_line(word));
  for (const auto& [cluster, lock] : locks) TRY(on_one_line(lock.string()));
  TRY(on_one_line(facts.user));
  const auto program = [&](const std::vector<std::string>& arguments) {
    auto command = facts.program;
    command.insert(command.end(), {"--log-level", "warning"});
    command.insert(command.end(), arguments.begin(), arguments.end());
    return words(command, cron_word);
  };
  const auto user = with_user ? facts.user + " " : "";
  std::string text = fmt::format("{}, which replaces it.\n# What runs when: [schedule] in pgmint.toml(5). cron makes nothing up for that it missed; `pgmint daemon` does.\n", kWrittenByUs);
  for (const auto& job : jobs) {
    // Jobs of a cluster wait for each other; an incremental backup is left out instead.
    const auto& lock = locks.at(job.cluster).string();
    const bool is_left_out = job.kind == JobKind::Incremental;
    const auto flock = is_left_out ? std::vector<std::string>{"flock", "-n", "-E", "0", lock} : std::vector<std::string>{"flock", "-w", "86400", "-E", kNoLockCode, lock};
    text += fmt::format("{} {}{} {} >/dev/null", job.schedule.cron(), user, words(flock, cron_word), program(job_arguments(job.kind, job.cluster, false)));
    // cron mails what is said on standard error; flock itself says nothing.
    if (!is_left_out)
      text += fmt::format(" || {{ [ $? -ne {} ] || echo 'pgmint: the {} of {} did not begin: other jobs of it took a day' >&2; }}", kNoLockCode, spec_of(job.kind).title, job.cluster);
    text += '\n';
  }
  for (const auto& hook : hooks)
    text += fmt::format("*/{} * * * * {}{} >/dev/null\n", std::chrono::duration_cast<std::chrono::minutes>(hook.every).count(), user, program(hook.arguments));
  return text;
}

}  // namespace pgmint::service
