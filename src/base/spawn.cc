#include "base/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "base/file.h"

namespace pgmint {
namespace {

/// "NAME=value" of this process, with the given ones in their place.
std::vector<std::string> merged(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::vector<std::string> all;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string_view line(*one);
    if (std::ranges::none_of(changes, [&](const auto& change) { return line.starts_with(change.first + "="); })) all.emplace_back(line);
  }
  for (const auto& [name, value] : changes) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

}  // namespace

SpawnActions::SpawnActions() {
  ::posix_spawn_file_actions_init(&files_);
  ::posix_spawnattr_init(&attributes_);
  ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  sigset_t all{}, none{};
  ::sigfillset(&all);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&attributes_, &all);
  ::posix_spawnattr_setsigmask(&attributes_, &none);
}

SpawnActions::~SpawnActions() {
  ::posix_spawn_file_actions_destroy(&files_);
  ::posix_spawnattr_destroy(&attributes_);
}

Result<pid_t> SpawnActions::run(std::vector<std::string> arguments, const std::vector<std::pair<std::string, std::string>>& changes) const {
  PGMINT_ASSERT(!arguments.empty());
  auto environment = merged(changes);
  const std::string program = arguments.front();
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, program.c_str(), &files_, &attributes_, pointers(arguments).data(), pointers(environment).data());
  if (failed == 0) return pid;
  auto error = errno_error(failed, fmt::format("run {}", program));
  return failed == ENOENT ? std::move(error).with_code(Errc::NotFound) : std::move(error);
}

Status start_detached(std::vector<std::string> arguments) {
  PGMINT_ASSERT(!arguments.empty());
  // It must not hold the server's log pipe nor any other inherited descriptor, and not be part of its process group.
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  const std::string program = arguments.front();
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, program.c_str(), &files, &attributes, pointers(arguments).data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  return failed == 0 ? ok() : Status(errno_error(failed, fmt::format("run {}", program)));
}

}  // namespace pgmint
