#include "cli/service_user.h"

#include <fmt/format.h>
#include <pwd.h>

namespace pgmint::cli {

Result<ServiceUser> service_user(const Configuration& configuration, const std::optional<std::string>& named) {
  const passwd* found = nullptr;
  if (named) {
    found = ::getpwnam(named->c_str());
    if (found == nullptr) return Error(Errc::Usage, fmt::format("--user {}: there is no such user", *named));
  } else {
    const auto data = configuration.clusters.empty() ? fs::path() : configuration.clusters.front().data_directory;
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

}  // namespace pgmint::cli
