// The checks before a restore, one by one, for people: what restore would refuse, and what the server that runs on it will need of this host.
#pragma once

#include "policy/checks.h"
#include "restore/prepare.h"

namespace pgmint::restore {

struct CheckedRestore {
  std::vector<policy::Check> checks;
  std::optional<Error> refusal;  ///< what run() would fail with
  std::optional<Prepared> prepared;
};
/// Writes nothing.
CheckedRestore check(const RestoreRequest& request);

/// check_host() of this one.
std::vector<policy::Check> check_this_host(const repository::ManifestRoot& root, const fs::path& bin_directory);

/// What of this host a server on the backup needs. None of it keeps a restore from being made: the server may run elsewhere.
struct Host {
  std::optional<fs::path> programs;    ///< of the backup's major; nullopt: not installed here
  std::optional<fs::path> extensions;  ///< directory of control files; nullopt: not known where
  std::string libc_version;            ///< as PostgreSQL calls it: "2.36"
  std::optional<std::string> icu_version{};  ///< of the programs' ICU, as PostgreSQL calls it: "153.120"; empty: they have none; nullopt: not known, or not asked
};
Host this_host(int major, const fs::path& bin_directory);
/// Whether it matters which ICU a host has.
bool asks_for_icu(const repository::ManifestRoot& root);
/// @param has_control_file  of an extension, on that host
std::vector<policy::Check> check_host(const repository::ManifestRoot& root, const Host& host, const std::function<bool(const std::string& extension)>& has_control_file);

}  // namespace pgmint::restore
