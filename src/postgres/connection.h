// A connection to PostgreSQL: queries with parameters, errors as values, passwords never shown. libpq stays in the .cc.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/file.h"
#include "postgres/lsn.h"
#include "postgres/version_table.h"

namespace pgmint::postgres {

using Row = std::vector<std::optional<std::string>>;  ///< one per column; nullopt is NULL

struct Rows {
  std::vector<std::string> columns;
  std::vector<Row> rows;
};

struct ConnectOptions {
  std::string conninfo{};  ///< key=value pairs or a URI, as libpq takes them
  std::string database{};  ///< overrides conninfo's when not empty
  std::chrono::seconds connect_timeout{15};
  std::string application_name = "pgmint";
  /// A session that takes replication commands (Connection::command) and no SQL; pg_hba.conf lets it in by a line for "replication".
  bool replication = false;
};

/// How a session's bytes travel.
struct Transport {
  std::string host;     ///< as the connection names it; a directory for a socket; empty: the default socket
  std::string address;  ///< that it leads to, where libpq knows it
  std::string sslmode;  ///< "prefer", "verify-full", ...
  bool encrypted = false;
  /// Over a socket, or within this host.
  bool is_local() const;
};

/// One session. Not thread-safe. Every wait watches the CancelToken (a cancelled query is cancelled on the server too)
/// and ends in at most a second.
///
/// After connecting: keepalives on; statement_timeout, lock_timeout, idle_in_transaction_session_timeout and (14+)
/// idle_session_timeout 0; client_encoding UTF8; DateStyle ISO; search_path pg_catalog.
class Connection {
 public:
  /// @param cancel  borrowed, may be null, outlives the connection
  /// @errors Postgres (server down, wrong password, database missing, no permission: each with its hint), Configuration
  ///         (conninfo malformed), Precondition (a major outside the version table), Cancelled. No text holds a
  ///         password.
  static Result<Connection> open(const ConnectOptions& options, const CancelToken* cancel = nullptr);
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// One statement; parameters as text ($1, $2, ...), nullopt is NULL. @errors Postgres, Cancelled
  Result<Rows> query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters = {});
  /// The single value of a single row; NULL or another shape is Errc::Postgres.
  Result<std::string> value(const std::string& sql, const std::vector<std::optional<std::string>>& parameters = {});
  /// A statement without a result. @errors Postgres, Cancelled
  Status execute(const std::string& sql);
  /// query() in two halves, for several sessions that are to work at once: sent, and not waited for; nothing else until finish() has its rows.
  /// @errors Postgres, Cancelled
  Status start(const std::string& sql);
  Result<Rows> finish();

  /// One command of a replication session, which may have several answers. Nothing else until answer() has given nullopt.
  /// @errors Postgres, Cancelled
  Status command(const std::string& text);
  struct Answer {
    bool is_copy = false;  ///< its messages come next
    Rows rows{};
  };
  /// nullopt: the command is over. @errors Postgres, Cancelled
  Result<std::optional<Answer>> answer();
  /// The next message of a copy; `take` borrows it for the call. False: the copy is over. @errors Postgres, Cancelled, take's
  Result<bool> copy_message(const std::function<Status(ByteView)>& take);
  /// A command of a replication session that takes a copy: `write` gives its bytes piece by piece. What the server has to say against it
  /// is the answer. @errors Postgres, Cancelled, write's
  using Put = std::function<Status(ByteView)>;
  Status copy_in(const std::string& text, const std::function<Status(const Put&)>& write);
  /// Waits end for this token too. Borrowed, may be null, outlives the connection.
  void also_watch(const CancelToken* cancel);

  Transport transport() const;
  int server_version_num() const;  ///< 150018
  const VersionEntry& version() const;
  /// Notices and warnings since the last call, without the trailing newline.
  std::vector<std::string> take_notices();
  /// Whether the server has closed the connection, without a round trip.
  bool alive();

 private:
  struct State;
  Status answer_of_copy();
  explicit Connection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// How a program with its own libpq, such as pg_dump, reaches the same server. Every user of the machine may see arguments, and this one's other programs the
/// environment: a password travels in a file that is nowhere but in memory, and that the child must be passed.
struct ClientConnection {
  std::string conninfo;
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<Fd> passed;
};
/// @param writes  its transactions are to write, whatever the database's or the role's settings begin them with. Not where it is not needed: poolers refuse options
/// @errors Configuration (conninfo malformed), Io
Result<ClientConnection> client_connection(const ConnectOptions& options, bool writes = false);

/// SQLSTATE ("42501") of the last Errc::Postgres a server sent is part of the message in brackets; this reads it back.
std::optional<std::string> sqlstate_of(const Error& error);

}  // namespace pgmint::postgres
