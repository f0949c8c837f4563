// What a restored server is held against, as the configuration says: [cluster.NAME.validation] and [[validation]].
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace pgmint::cli {

/// [cluster.NAME.validation]
struct ValidationSettings {
  std::vector<std::string> count;    ///< tables that only grow: counted with each backup
  std::vector<std::string> newest;   ///< "transactions.created_at"; empty: every column created_at
  std::optional<std::string> login;  ///< conninfo of the application's role
  unsigned slower_than = 3;          ///< times the baseline
};

/// [[validation]]: a query and its answer.
struct ValidationQuery {
  std::string name, sql;
  std::optional<std::string> cluster, database;  ///< absent: every cluster, the connection's database
  std::optional<std::string> expect;
  std::optional<std::string> expect_at_least;    ///< a number
  std::chrono::seconds limit{60};
};

}  // namespace pgmint::cli
