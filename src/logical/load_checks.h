// What a server must have and allow before a dump is loaded into it: looked at before anything is changed.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "logical/load_plan.h"
#include "policy/checks.h"
#include "postgres/connection.h"

namespace pgmint::logical {

/// What is to be loaded, and where.
struct LoadNeeds {
  const DumpContents& contents;
  const LoadPlan& plan;
  std::string target;
  std::set<std::string> owners;    ///< of what is loaded; empty with --no-owner
  bool makes_database = false, swaps = false;
  std::uint64_t bytes = 0;         ///< of the tables' data as text
  std::uint64_t stored_bytes = 0;  ///< of the backup in the repository
};

/// Roles, privileges, extensions, collations, space, connections: a failed one would make the load fail. @errors Postgres, Cancelled
Result<std::vector<policy::Check>> check_server(postgres::Connection& server, const LoadNeeds& needs);

}  // namespace pgmint::logical
