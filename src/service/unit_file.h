// A hardened systemd service for the daemon, and a crontab for hosts without systemd. Pure: facts in, text out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "service/jobs.h"

namespace pgmint::service {

/// The first line of every file that `schedule install` writes: only such a file is replaced without being told.
inline constexpr std::string_view kWrittenByUs = "# Written by `pgmint schedule install`";

/// Where systemd looks for an administrator's units, and how ours is called there.
inline constexpr std::string_view kUnitDirectory = "/etc/systemd/system", kUnitName = "pgmint.service";

struct InstallFacts {
  std::vector<std::string> program;     ///< pgmint, by its full path, and the options of every call
  std::string user;
  fs::path state_directory;
  std::vector<fs::path> written;        ///< beside the state directory: the repository, key files' directories
  std::vector<fs::path> read;           ///< data directories and what they link to, configuration, files of configuration backups
  std::vector<fs::path> socket_places;  ///< directories of PostgreSQL's sockets, certificates: what connections name
};

/// pgmint.service. The only places it can write to are those of `facts`. @errors Configuration: a name does not fit on a line
Result<std::string> unit_file(const InstallFacts& facts);

/// Whose service a unit is; empty: it does not say.
std::string user_of(const std::string& unit);

/// What the unit that is installed keeps from the daemon and the one that would be written now does not, a phrase for each ("/home", "writing to /srv/b"). Nothing
/// when it runs something else: another program, user or configuration.
std::vector<std::string> withheld(const std::string& installed, const std::string& wanted);

/// A line for each job, and for each hook, of which `every` divides an hour. With a user's name in it, as files in /etc/cron.d have it, or without, as crontab(1) reads it.
/// @param locks  by cluster: a directory to lock, so that jobs of a cluster do not overlap
/// @errors Configuration: a name does not fit on a line
Result<std::string> crontab(const InstallFacts& facts, const std::vector<PlannedJob>& jobs, const std::vector<Hook>& hooks, const std::map<std::string, fs::path>& locks, bool with_user);

/// One word of a command line in a unit file.
std::string unit_quoted(std::string_view word);

}  // namespace pgmint::service
