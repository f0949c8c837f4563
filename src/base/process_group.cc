#include "base/process_group.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "base/spawn.h"

namespace pgmint {
namespace {

constexpr auto kStep = std::chrono::milliseconds(20);
constexpr auto kKilled = std::chrono::seconds(2);  ///< until a killed process is gone; what is there then cannot be killed
constexpr std::uint64_t kStatMax = 4096;
constexpr std::uint64_t kEnvironmentMax = 4U << 20;

bool runnable(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

Result<Fd> input_file(const std::string& text) {
  if (text.empty()) return open_file("/dev/null", O_RDONLY);
  Fd fd(::memfd_create("input", MFD_CLOEXEC));
  if (!fd.valid()) return errno_error(errno, "memfd_create");
  TRY(write_all(fd, as_bytes(text), "a program's input"));
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return errno_error(errno, "a program's input");
  return fd;
}

struct ProcessFacts {
  int pid = 0, group = 0, session = 0;
  bool zombie = false;
};

/// /proc/PID/stat: the name in brackets may hold anything, also blanks and brackets.
std::optional<ProcessFacts> facts_of(int pid) {
  const auto text = read_text_file(fmt::format("/proc/{}/stat", pid), kStatMax);
  if (!text) return std::nullopt;
  const auto bracket = text->rfind(')');
  if (bracket == std::string::npos || bracket + 4 > text->size()) return std::nullopt;
  ProcessFacts facts;
  facts.pid = pid;
  facts.zombie = (*text)[bracket + 2] == 'Z' || (*text)[bracket + 2] == 'X';
  int parent = 0;
  const char* at = text->data() + bracket + 3;
  const char* const end = text->data() + text->size();
  for (int* field : {&parent, &facts.group, &facts.session}) {
    while (at < end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, *field);
    if (error != std::errc()) return std::nullopt;
    at = next;
  }
  return facts;
}

/// Those that `chosen` picks, zombies left out: they have ended. @errors as /proc says
template <class Predicate>
Result<std::vector<int>> living(const Predicate& chosen) {
  std::vector<int> found;
  TRY(list_directory("/proc", [&](const std::string& name, unsigned char) -> Status {
    int pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size()) return ok();
    if (const auto facts = facts_of(pid); facts && !facts->zombie && chosen(*facts)) found.push_back(pid);
    return ok();
  }));
  return found;
}

/// @param signal_all  sends one signal to all that are to end. @return those that are there all the same. @errors as /proc says: then all signals were sent
template <class Predicate, class Signal>
Result<std::vector<int>> end_all(const Predicate& chosen, const Signal& signal_all, Clock& clock, std::chrono::milliseconds grace) {
  signal_all(SIGTERM);
  const auto until = clock.now() + grace;
  for (;;) {
    auto left = living(chosen);
    if ((left && left->empty()) || clock.now() >= until + kKilled) return left;
    if (clock.now() >= until) signal_all(SIGKILL);
    clock.sleep(kStep);
  }
}

bool has_variable(int pid, const std::string& line) {
  const auto text = read_text_file(fmt::format("/proc/{}/environ", pid), kEnvironmentMax);
  if (!text) return false;
  for (std::size_t at = 0; at < text->size();) {
    const auto end = std::min(text->find('\0', at), text->size());
    if (std::string_view(*text).substr(at, end - at) == line) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name) {
  if (name.empty()) return std::nullopt;
  if (name.find('/') != std::string::npos) return runnable(name) ? std::optional(name) : std::nullopt;
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const auto colon = std::min(rest.find(':'), rest.size());
    const auto directory = rest.substr(0, colon);
    const auto full = fmt::format("{}/{}", directory.empty() ? "." : directory, name);
    if (runnable(full)) return full;
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return std::nullopt;
}

Result<std::unique_ptr<ProcessGroup>> ProcessGroup::start(Options options, Clock& clock) {
  PGMINT_ASSERT(!options.arguments.empty());
  const auto program = find_program(options.arguments.front());
  if (!program) return Error(Errc::NotFound, fmt::format("there is no program {}", options.arguments.front()));
  const auto input = TRY(input_file(options.input));
  const fs::path place = options.output.empty() ? fs::path("/dev/null") : options.output;
  const auto output = TRY(open_file(place, options.output.empty() ? O_WRONLY : O_WRONLY | O_CREAT | O_APPEND));

  SpawnActions actions;
  actions.connect(input.get(), STDIN_FILENO);
  actions.connect(output.get(), STDOUT_FILENO);
  actions.connect(output.get(), STDERR_FILENO);
  options.arguments.front() = *program;
  std::unique_ptr<ProcessGroup> group(new ProcessGroup(clock));
  group->pid_ = TRY(actions.run(std::move(options.arguments), options.environment));
  return group;
}

ProcessGroup::~ProcessGroup() { end(); }

Result<std::optional<int>> ProcessGroup::poll() {
  PGMINT_ASSERT(pid_ > 0);
  siginfo_t news{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &news, WEXITED | WNOHANG | WNOWAIT) != 0) {
    if (errno == EINTR) return std::optional<int>();
    return errno_error(errno, "wait for a program");
  }
  if (news.si_pid == 0) return std::optional<int>();
  return std::optional<int>(news.si_code == CLD_EXITED ? news.si_status : 128 + news.si_status);
}

std::size_t ProcessGroup::end(std::chrono::milliseconds grace) {
  if (pid_ < 0) return 0;
  // Not reaped yet, so that the number cannot be anybody else's.
  const auto left =
      end_all([this](const ProcessFacts& facts) { return facts.group == pid_; }, [this](int signal) { ::kill(-pid_, signal); }, clock_, grace);
  reap();
  return left ? left->size() : 1;  // what cannot be looked at is not said to be gone
}

void ProcessGroup::leave() {
  PGMINT_ASSERT(pid_ < 0 || poll().value_or(std::nullopt).has_value());
  reap();
}

void ProcessGroup::reap() {
  // One that could not be killed stays a child of ours: nobody waits for it.
  int status = 0;
  if (pid_ > 0)
    while (::waitpid(pid_, &status, WNOHANG) < 0 && errno == EINTR) {}
  pid_ = -1;
}

Result<EndedProcesses> end_marked_processes(const std::string& variable, const std::string& value, int session, Clock& clock,
                                            std::chrono::milliseconds grace) {
  const std::string line = variable + "=" + value;
  const int self = ::getpid();
  const auto chosen = [&](const ProcessFacts& facts) { return facts.session == session && facts.pid != self && has_variable(facts.pid, line); };
  const auto found = TRY(living(chosen));
  if (found.empty()) return EndedProcesses{};
  const auto signal_all = [&](int signal) {
    const auto now = living(chosen).value_or(std::vector<int>());
    for (const int pid : now) ::kill(pid, signal);
  };
  return EndedProcesses{found.size(), TRY(end_all(chosen, signal_all, clock, grace))};
}

}  // namespace pgmint
