// As whom the daemon runs, and where that user's pgmint remembers things.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "cli/config.h"

namespace pgmint::cli {

struct ServiceUser {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
};

/// The named user, else the owner of the first cluster's data directory. @errors Usage (no such user, or root), Precondition (cannot be told)
Result<ServiceUser> service_user(const Configuration& configuration, const std::optional<std::string>& named);
/// The state directory as that user's daemon has it, without this process's own variables. @errors Configuration
Result<fs::path> state_directory_of(const Configuration& configuration, const ServiceUser& user);
/// Makes it for that user, mode 0700, with what leads there. Root does it with the user's rights, so that no symbolic link of the user's leads root anywhere; with its own only
/// below directories that root alone can change. False: neither root nor that user asks. @errors Precondition (neither way is open), Storage
Result<bool> make_directory_for(const ServiceUser& user, const fs::path& directory);

/// Root has been asked to make what the server's owner will work with: that owner. Nothing: somebody else asks, or the owner cannot be told.
std::optional<ServiceUser> whom_root_serves(const Configuration& configuration);
/// Gives what root owns, and nobody else could have put there, to that user: a file, or a directory that is made or empty. @errors Io
Status give_to(const ServiceUser& user, const fs::path& path);

}  // namespace pgmint::cli
