#include "cli/service_user.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/fsuid.h>
#include <unistd.h>

namespace pgmint::cli {
namespace {

/// With the rights of `user` at files, and none of root's. Only of the calling thread.
Status create_as(const ServiceUser& user, const fs::path& directory) {
  const auto group = ::setfsgid(user.gid);
  const auto owner = ::setfsuid(user.uid);
  auto made = create_directories(directory, 0700);
  ::setfsuid(static_cast<uid_t>(owner));
  ::setfsgid(static_cast<gid_t>(group));
  return made;
}

/// Nobody but root can have put anything on the way to it.
Result<bool> is_roots_alone(const fs::path& directory) {
  for (auto part = directory;; part = part.parent_path()) {
    struct stat status {};
    if (::lstat(part.c_str(), &status) != 0) return errno_error(errno, fmt::format("stat {}", part.string()));
    if (!S_ISDIR(status.st_mode) || status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return false;
    if (part == part.parent_path()) return true;
  }
}

}  // namespace

Result<ServiceUser> service_user(const Configuration& configuration, const std::optional<std::string>& named) {
  const passwd* found = nullptr;
  if (named) {
    found = ::getpwnam(named->c_str());
    if (found == nullptr) return Error(Errc::Usage, fmt::format("--user {}: there is no such user", *named));
  } else {
    const auto local = std::ranges::find_if(configuration.clusters, [](const auto& cluster) { return !cluster.is_remote(); });
    if (local == configuration.clusters.end())
      return Error(Errc::Precondition, "whose service it is to be cannot be told: no cluster with a data directory here is configured", Hint{"name the user: --user postgres"});
    const auto& data = local->data_directory;
    const auto status = stat_if_exists(data);
    if (!status || !*status)
      return Error(Errc::Precondition, fmt::format("whose service it is to be cannot be told: {} is not there", data.string()), Hint{"name the user: --user postgres"});
    found = ::getpwuid((*status)->st_uid);
    if (found == nullptr) return Error(Errc::Precondition, fmt::format("the owner of {} has no name", data.string()), Hint{"name the user: --user postgres"});
  }
  if (found->pw_uid == 0) return Error(Errc::Usage, "the daemon does not run as root: it needs nothing that root has", Hint{"--user postgres"});
  return ServiceUser{found->pw_name, found->pw_uid, found->pw_gid, found->pw_dir};
}

Result<fs::path> state_directory_of(const Configuration& configuration, const ServiceUser& user) {
  return state_directory(configuration, [&](const char* name) -> std::optional<std::string> {
    if (std::string_view(name) == "HOME") return user.home;
    return std::nullopt;
  });
}

Result<bool> make_directory_for(const ServiceUser& user, const fs::path& directory) {
  if (TRY(stat_if_exists(directory))) return true;
  if (::geteuid() == user.uid) {
    TRY(create_directories(directory, 0700));
    return true;
  }
  if (::geteuid() != 0) return false;
  const auto made = create_as(user, directory);
  if (made) return true;
  std::vector<fs::path> missing;
  auto part = directory.lexically_normal();
  for (; !TRY(stat_if_exists(part)); part = part.parent_path()) missing.push_back(part);
  if (!TRY(is_roots_alone(part)))
    return Error(Errc::Precondition, fmt::format("{} is not there, {} may not make it, and others than root can change what leads there", directory.string(), user.name),
                 Hint{"make it by hand, or name another place in pgmint.toml"});
  TRY(create_directories(directory, 0700));
  for (const auto& made_here : missing)  // the deepest first: whoever owns what is above it could exchange it
    if (::chown(made_here.c_str(), user.uid, user.gid) != 0) return errno_error(errno, fmt::format("give {} to {}", made_here.string(), user.name));
  return true;
}

std::optional<ServiceUser> whom_root_serves(const Configuration& configuration) {
  if (::geteuid() != 0) return std::nullopt;
  auto user = service_user(configuration, std::nullopt);
  return user ? std::optional(std::move(*user)) : std::nullopt;
}

Status give_to(const ServiceUser& user, const fs::path& path) {
  std::error_code failed;
  const auto real = fs::canonical(path, failed);
  if (failed) return errno_error(failed.value(), path.string());
  const auto status = TRY(stat_if_exists(real));
  if (!status || status->st_uid != 0 || !TRY(is_roots_alone(real.parent_path()))) return ok();
  if (::chown(real.c_str(), user.uid, user.gid) != 0) return errno_error(errno, fmt::format("give {} to {}", real.string(), user.name));
  return ok();
}

}  // namespace pgmint::cli
