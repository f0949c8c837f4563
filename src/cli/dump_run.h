// A logical backup, for those commands that take one.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"
#include "postgres/connection.h"

namespace pgmint::cli {

struct DumpChoice {
  postgres::ConnectOptions connect;
  std::vector<std::string> databases{}, schemas{}, tables{};
  bool consistent = false;
  std::string note{};
  fs::path bin_directory{};
};

/// Who a server is, asked over its connection. @errors Postgres, Cancelled
Result<postgres::SystemIdentifier> identifier_of(Context& context, const postgres::ConnectOptions& connect);

/// Dumps, answers, and returns the exit code. @param cluster  the name in the repository
/// @errors as logical::dump
Result<int> run_dump(Context& context, const std::string& cluster, const DumpChoice& choice);

/// --host, --port and --user over what is configured. @param configured  conninfo; may be empty. @errors Usage: --port or --user beside a URI
Result<postgres::ConnectOptions> connect_options(const Arguments& arguments, const std::string& configured);

}  // namespace pgmint::cli
