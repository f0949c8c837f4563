// A throwaway PostgreSQL for tests: its own directory and socket, no TCP, ended with the object.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "postgres/connection.h"

namespace pgmint::postgres::testing {

/// Folder with initdb and postgres of a major: $PGMINT_PG<major>_BIN, Debian's, build/postgres/<major>,
/// /var/tmp/pgmint-postgres, nullopt when it is not installed.
std::optional<fs::path> server_programs(int major);
/// All installed majors of 13 to 18. Never without 15, which scripts/setup.sh installs: its absence fails the test.
std::vector<int> installed_majors();

/// Creates directories that the server's user can use; removes them at the end.
class TestServer {
 public:
  struct Options {
    int major = 15;
    std::vector<std::string> initdb{};  ///< further arguments
    std::string configuration{};        ///< appended to postgresql.conf
    std::string hba{};                  ///< put before "local all all trust"
  };
  explicit TestServer(Options options);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  void start();
  void stop(const char* mode = "fast");
  bool running() const { return running_; }
  int major() const { return options_.major; }
  const fs::path& base() const { return base_; }
  fs::path data_directory() const { return base_ / "data"; }
  std::string conninfo(const std::string& more = "") const;
  ConnectOptions connect_options(const std::string& more = "") const { return {.conninfo = conninfo(more)}; }
  Connection connect() const;
  /// Runs statements one by one in a new session, failing the test when one fails.
  void sql(const std::vector<std::string>& statements) const;
  std::string value(const std::string& sql) const;
  /// Runs a program of the server's folder as its user. @return its standard output
  std::string run(const std::string& program, const std::vector<std::string>& arguments, int expected_exit = 0) const;
  /// A file or folder that the server's user owns.
  void give_to_server(const fs::path& path) const;
  /// A standby of this server: pg_basebackup -R into a new TestServer object, not yet started.
  std::unique_ptr<TestServer> make_standby() const;

 private:
  struct CopyTag {};
  TestServer(const TestServer& primary, CopyTag);
  Options options_;
  fs::path programs_;
  fs::path base_;
  int port_ = 0;
  bool running_ = false;
};

}  // namespace pgmint::postgres::testing
