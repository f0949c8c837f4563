// PostgreSQL's own programs: pg_dump, pg_dumpall, pg_restore, of a version that suits the server.
#pragma once

#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/file.h"

namespace pgmint::logical {

struct ClientPrograms {
  fs::path directory;
  int major = 0;       ///< of pg_dump
  std::string stdbuf;  ///< of coreutils; empty: not there, or of no use here
  std::string program(std::string_view name) const { return (directory / name).string(); }
  /// What starts one of them that is to pass much through its standard streams, before its own options. It reads and writes 128 KiB at
  /// once where stdbuf is there: C's library has 4 KiB for a pipe, and a switch to the kernel for each.
  std::vector<std::string> streaming(std::string_view name) const;
};

/// Looks in `configured`, else in the places where packages put them (/usr/lib/postgresql/N/bin, /usr/pgsql-N/bin), else in PATH, for
/// pg_dump of the server's major, else of the lowest one above it: an older pg_dump does not know a newer server.
/// @errors Precondition: there is none; the hint names the package
Result<ClientPrograms> find_client_programs(const fs::path& configured, int server_major, const CancelToken* cancel);

/// The end of what a program said, as one line.
std::string one_line(std::string text);

}  // namespace pgmint::logical
