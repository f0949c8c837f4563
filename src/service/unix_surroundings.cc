#include "service/unix_surroundings.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/log.h"
#include "base/spawn.h"

namespace pgmint::service {
namespace {

/// Clocks are set and machines sleep while nobody looks: so often the time is looked at.
constexpr std::chrono::microseconds kLookMost = std::chrono::seconds(60);
/// Where a child has its cluster's lock, which goes with it.
constexpr int kLockFd = 3;
constexpr std::size_t kPidMax = 32;

sigset_t our_signals() {
  sigset_t set{};
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) ::sigaddset(&set, signal);
  return set;
}

/// A daemon that was killed while it started a job leaves its lock with that job until the job has become another program, which closes what it inherited.
Result<std::optional<Fd>> lock_of_the_only_daemon(const fs::path& file, Clock& clock) {
  constexpr int kTries = 50;
  for (int i = 1;; ++i) {
    auto lock = TRY(try_lock(file));
    if (lock || i == kTries) return lock;
    clock.sleep(std::chrono::milliseconds(10));
  }
}

}  // namespace

Result<std::unique_ptr<UnixSurroundings>> UnixSurroundings::open(Clock& clock, UnixOptions options) {
  std::unique_ptr<UnixSurroundings> world(new UnixSurroundings(clock, std::move(options)));
  auto lock = TRY(lock_of_the_only_daemon(world->files_.daemon_lock(), clock));
  if (!lock) {
    const auto other = read_text_file(world->files_.daemon_lock(), kPidMax).value_or("");
    return Error(Errc::Busy, fmt::format("another daemon works with {}{}", world->options_.state_directory.string(), other.empty() ? "" : ": process " + other),
                 Hint{"systemctl status pgmint says whether it is the service; one is enough for all clusters"});
  }
  world->lock_ = std::move(*lock);
  if (::ftruncate(world->lock_.get(), 0) != 0) return errno_error(errno, "write the process id");
  TRY(write_at(world->lock_, as_bytes(std::to_string(::getpid())), 0, "the process id"));

  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  world->manager_ = TRY(ServiceManager::open(variable("NOTIFY_SOCKET").value_or(""), variable("WATCHDOG_USEC")));
  for (const auto* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);  // not our children's

  const auto set = our_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  world->signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!world->signals_.valid()) return errno_error(errno, "signalfd");
  return world;
}

UnixSurroundings::~UnixSurroundings() {
  const auto set = our_signals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

RunMemory UnixSurroundings::recalled() const {
  auto memory = load_memory(files_.memory());
  if (memory) return std::move(*memory);
  log_warning("what has run is not known: {}; backups are taken at once, everything else at its next time", memory.failure().describe());
  return {};
}

Result<ChildId> UnixSurroundings::start(const std::vector<std::string>& arguments, const std::string& cluster) {
  SpawnActions actions;
  actions.open(STDIN_FILENO, "/dev/null", O_RDONLY);
  actions.connect(STDERR_FILENO, STDOUT_FILENO);
  std::optional<Fd> lock;
  if (!cluster.empty()) {
    auto tried = try_lock(files_.cluster_lock(cluster));
    if (tried && !*tried) return Error(Errc::Busy, "a job of it that an earlier daemon began still runs");
    if (tried) {
      lock = std::move(*tried);
      actions.connect(lock->get(), kLockFd);
    } else {
      // A backup is worth more than the lock, which only keeps two jobs apart where one has outlived its daemon.
      log_error("{}: its job begins without a lock: {}", cluster, tried.failure().describe());
    }
  }
  auto words = options_.program;
  words.insert(words.end(), arguments.begin(), arguments.end());
  const auto pid = TRY(actions.run(std::move(words)));
  children_[pid] = ++last_child_;
  return last_child_;
}

void UnixSurroundings::end(ChildId child, bool at_once) {
  for (const auto& [pid, id] : children_)
    if (id == child) ::kill(at_once ? -pid : pid, at_once ? SIGKILL : SIGTERM);
}

void UnixSurroundings::reap() {
  // Each by its number: children of others in this process are theirs to wait for.
  for (auto one = children_.begin(); one != children_.end();) {
    int status = 0;
    const auto waited = ::waitpid(one->first, &status, WNOHANG);
    if (waited == 0 || (waited < 0 && errno == EINTR)) {
      ++one;
      continue;
    }
    const int code = waited < 0 ? 128 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    events_.push_back({DaemonEvent::Kind::Ended, one->second, code});
    one = children_.erase(one);
  }
}

void UnixSurroundings::read_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    switch (info.ssi_signo) {
      case SIGHUP: events_.push_back({DaemonEvent::Kind::Reload, 0, 0}); break;
      case SIGTERM:
      case SIGINT:
        events_.push_back({was_told_to_stop_ ? DaemonEvent::Kind::StopNow : DaemonEvent::Kind::Stop, 0, 0});
        was_told_to_stop_ = true;
        break;
      default: break;  // SIGCHLD: reap() looks at all of them
    }
  }
}

DaemonEvent UnixSurroundings::wait(TimePoint until) {
  if (manager_.watchdog()) manager_.tell("WATCHDOG=1");
  if (events_.empty()) {
    auto patience = std::clamp<std::chrono::microseconds>(until - clock_.now(), {}, kLookMost);
    if (manager_.watchdog()) patience = std::min(patience, *manager_.watchdog());
    std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0}};
    for (const auto& one : options_.watched) fds.push_back({one.fd, POLLIN, 0});
    // Rounded up: a moment too early would be looked at again and again.
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(patience).count();
    if (::poll(fds.data(), fds.size(), static_cast<int>(ms)) > 0)
      for (std::size_t i = 1; i < fds.size(); ++i)
        if (fds[i].revents != 0) options_.watched[i - 1].ready();
    read_signals();
    reap();
  }
  if (events_.empty()) return {};
  const auto event = events_.front();
  events_.pop_front();
  return event;
}

Result<std::optional<int>> running_daemon(const fs::path& state_directory) {
  const auto file = ServiceFiles(state_directory).daemon_lock();
  if (!TRY(is_locked(file))) return std::optional<int>();
  return std::optional(std::atoi(read_text_file(file, kPidMax).value_or("0").c_str()));
}

}  // namespace pgmint::service
