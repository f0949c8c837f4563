// PostgreSQL's own programs: pg_dump, pg_dumpall, pg_restore, of a version that suits the server.
#pragma once

#include <string>

#include "base/cancel.h"
#include "base/file.h"

namespace pgmint::logical {

struct ClientPrograms {
  fs::path directory;
  int major = 0;  ///< of pg_dump
  std::string program(std::string_view name) const { return (directory / name).string(); }
};

/// Looks in `configured`, else in the places where packages put them (/usr/lib/postgresql/N/bin, /usr/pgsql-N/bin), else in PATH, for
/// pg_dump of the server's major, else of the lowest one above it: an older pg_dump does not know a newer server.
/// @errors Precondition: there is none; the hint names the package
Result<ClientPrograms> find_client_programs(const fs::path& configured, int server_major, const CancelToken* cancel);

/// The end of what a program said, as one line.
std::string one_line(std::string text);

}  // namespace pgmint::logical
