#include "postgres/connection.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "base/log.h"

namespace pgmint::postgres {
namespace {

using namespace std::chrono_literals;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr auto kPollSlice = 200ms;  // how long a cancellation may go unnoticed
constexpr std::size_t kNoticesMax = 100;
constexpr int kRowsMax = 10'000'000;

// libpq is loaded when the first connection is opened. It brings 18 libraries along (Kerberos, LDAP, TLS), whose start costs more
// than all else that an archive_command does before it reads its file.
#define PGMINT_LIBPQ_FUNCTIONS(X)                                                                                   \
  X(PQcancel) X(PQclear) X(PQconnectPoll) X(PQconnectStartParams) X(PQconninfo) X(PQconninfoFree) X(PQconninfoParse) \
  X(PQconsumeInput) X(PQerrorMessage) X(PQfinish) X(PQflush) X(PQfname) X(PQfreeCancel) X(PQfreemem) X(PQgetCancel) X(PQgetCopyData) X(PQhost) X(PQhostaddr) X(PQsslInUse) \
  X(PQgetResult) X(PQgetisnull) X(PQgetlength) X(PQgetvalue) X(PQisBusy) X(PQnfields) X(PQntuples) X(PQputCopyData) X(PQputCopyEnd)                  \
  X(PQresultErrorField) X(PQresultErrorMessage) X(PQresultStatus) X(PQsendQuery) X(PQsendQueryParams) X(PQserverVersion)           \
  X(PQsetErrorVerbosity) X(PQsetNoticeReceiver) X(PQsetnonblocking) X(PQsocket) X(PQstatus) X(PQtransactionStatus)

/// Its functions under their own names, or why there are none.
struct Libpq {
#define PGMINT_LIBPQ_MEMBER(name) decltype(&::name) name = nullptr;
  PGMINT_LIBPQ_FUNCTIONS(PGMINT_LIBPQ_MEMBER)
#undef PGMINT_LIBPQ_MEMBER
  std::string problem{};  ///< empty: all are there
};

Libpq load_libpq() {
  constexpr const char* kLibrary = "libpq.so.5";  // its name since PostgreSQL 8.1
  Libpq loaded;
  // Never closed: it may leave thread-local state and exit handlers behind.
  void* const library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  const auto find = [&](const char* name) -> void* {
    void* const found = library != nullptr ? ::dlsym(library, name) : nullptr;
    if (found == nullptr && loaded.problem.empty()) {
      const char* reason = ::dlerror();
      loaded.problem = reason != nullptr ? reason : kLibrary;
    }
    return found;
  };
#define PGMINT_LIBPQ_LOAD(name) loaded.name = reinterpret_cast<decltype(loaded.name)>(find(#name));
  PGMINT_LIBPQ_FUNCTIONS(PGMINT_LIBPQ_LOAD)
#undef PGMINT_LIBPQ_LOAD
  return loaded;
}

/// Loaded once for the process. Whoever opens a connection asks for `problem` first.
const Libpq& libpq() {
  static const Libpq loaded = load_libpq();
  return loaded;
}

struct ResultDeleter {
  void operator()(PGresult* result) const { libpq().PQclear(result); }
};
using ResultHandle = std::unique_ptr<PGresult, ResultDeleter>;
struct OptionsDeleter {
  void operator()(PQconninfoOption* options) const { libpq().PQconninfoFree(options); }
};
using OptionsHandle = std::unique_ptr<PQconninfoOption, OptionsDeleter>;

/// Five digits and capitals; at least one digit, which tells a code from "FATAL" and "ERROR".
bool is_sqlstate(std::string_view text) {
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return text.size() == 5 && std::any_of(text.begin(), text.end(), is_digit) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return is_digit(c) || (c >= 'A' && c <= 'Z'); });
}

/// libpq's several lines as one, without the source location that verbose messages end with.
std::string one_line(std::string_view text) {
  std::string line;
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    auto part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    part.remove_prefix(std::min(part.find_first_not_of(" \t"), part.size()));
    if (part.empty() || part.starts_with("LOCATION:")) continue;
    if (!line.empty()) line += "; ";
    line += part;
  }
  return redact(line);
}

/// Takes "28P01: " out of "FATAL:  28P01: password ..."; severities may be translated, the code never is.
std::string take_sqlstate(std::string& message) {
  for (auto at = message.find(": "); at != std::string::npos; at = message.find(": ", at + 1)) {
    if (at < 5 || !is_sqlstate(std::string_view(message).substr(at - 5, 5))) continue;
    if (at > 5 && message[at - 6] != ' ') continue;
    auto code = message.substr(at - 5, 5);
    message.erase(at - 5, 7);
    return code;
  }
  return {};
}

std::string hint_for(std::string_view sqlstate, std::string_view message) {
  if (sqlstate == "28P01") return "give the right password in ~/.pgpass (mode 0600), or in PGPASSWORD";
  if (sqlstate == "28000")
    return "pg_hba.conf must let this user in from here; for peer authentication run pgmint as the user of that name "
           "(sudo -u postgres)";
  if (sqlstate == "3D000") return "name an existing database in connection: dbname=postgres";
  if (sqlstate == "42501")
    return "use a superuser, or grant the role: GRANT pg_read_all_settings, pg_checkpoint (15+), and EXECUTE on the "
           "backup "
           "functions (pgmint roles prints it)";
  if (sqlstate == "57P03") return "the server is starting up or shutting down: try again in a moment";
  if (sqlstate == "53300") return "raise max_connections, or connect as a superuser (superuser_reserved_connections)";
  if (sqlstate == "55000") return "see the server's log";
  if (message.find("no password supplied") != std::string_view::npos)
    return "give the password in ~/.pgpass (mode 0600), or in PGPASSWORD";
  if (sqlstate.empty())
    return "is the server running, and are host and port in connection right? pg_lsclusters, or pg_ctl status";
  return {};
}

Error postgres_error(std::string message, std::string sqlstate) {
  std::string hint = hint_for(sqlstate, message);
  if (!sqlstate.empty()) message += fmt::format(" [{}]", sqlstate);
  return Error(Errc::Postgres, "PostgreSQL: " + message, Hint{std::move(hint)});
}

Error result_error(const PGresult* result) {
  auto field = [&](int code) {
    const char* text = libpq().PQresultErrorField(result, code);
    return std::string(text == nullptr ? "" : text);
  };
  std::string message = one_line(field(PG_DIAG_MESSAGE_PRIMARY));
  if (auto detail = field(PG_DIAG_MESSAGE_DETAIL); !detail.empty()) message += "; " + one_line(detail);
  if (message.empty()) message = one_line(libpq().PQresultErrorMessage(result));
  return postgres_error(std::move(message), field(PG_DIAG_SQLSTATE));
}

}  // namespace

struct Connection::State {
  PGconn* connection = nullptr;
  const CancelToken* cancel = nullptr;
  const CancelToken* also = nullptr;
  const VersionEntry* version = nullptr;
  std::vector<std::string> notices;

  ~State() {
    if (connection != nullptr) libpq().PQfinish(connection);
  }

  Error lost() const {
    std::string message = one_line(libpq().PQerrorMessage(connection));
    std::string sqlstate = take_sqlstate(message);
    return postgres_error(message.empty() ? "the connection is gone" : std::move(message), std::move(sqlstate));
  }

  /// Until the socket is ready. @errors Cancelled, Postgres (deadline passed)
  Status wait(short events, std::optional<SteadyTime> deadline = std::nullopt) {
    for (;;) {
      if ((cancel != nullptr && cancel->cancelled()) || (also != nullptr && also->cancelled())) {
        cancel_on_server();
        return Error(Errc::Cancelled, "cancelled");
      }
      auto slice = kPollSlice;
      if (deadline) {
        auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
        if (left <= 0ms)
          return Error(Errc::Postgres, "PostgreSQL: no answer within the connection time-out",
                       Hint{"is the server reachable? see host and port in connection"});
        slice = std::min(slice, left);
      }
      pollfd ready{.fd = libpq().PQsocket(connection), .events = events, .revents = 0};
      if (ready.fd < 0) return lost();
      int count = ::poll(&ready, 1, static_cast<int>(slice.count()));
      if (count > 0) return ok();
      if (count < 0 && errno != EINTR) return errno_error(errno, "poll");
    }
  }

  void cancel_on_server() {
    if (libpq().PQtransactionStatus(connection) != PQTRANS_ACTIVE) return;
    PGcancel* request = libpq().PQgetCancel(connection);
    char ignored[256];
    // Best effort: the connection is closed next, which ends the query as well.
    if (request != nullptr) libpq().PQcancel(request, ignored, sizeof ignored);
    libpq().PQfreeCancel(request);
  }

  /// libpq's own loop, with our waits.
  Status finish_connecting(SteadyTime deadline) {
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    for (;;) {
      if (next == PGRES_POLLING_OK) return ok();
      if (next == PGRES_POLLING_FAILED) return lost();
      TRY(wait(next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline));
      next = libpq().PQconnectPoll(connection);
    }
  }

  Status send(const std::string& sql, const std::vector<std::optional<std::string>>& parameters) {
    std::vector<const char*> values;
    for (const auto& p : parameters) values.push_back(p ? p->c_str() : nullptr);
    if (libpq().PQsendQueryParams(connection, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                          nullptr, 0) == 0)
      return lost();
    return flush();
  }

  Status flush() {
    for (;;) {
      int pending = libpq().PQflush(connection);
      if (pending == 0) return ok();
      if (pending < 0) return lost();
      TRY(wait(POLLIN | POLLOUT));
      if (libpq().PQconsumeInput(connection) == 0) return lost();
    }
  }

  /// Null: there is no other.
  Result<ResultHandle> next_result() {
    while (libpq().PQisBusy(connection) != 0) {
      TRY(wait(POLLIN));
      if (libpq().PQconsumeInput(connection) == 0) return lost();
    }
    return ResultHandle(libpq().PQgetResult(connection));
  }

  /// Reads all results of the statement; the last one counts, the first error wins.
  Result<ResultHandle> receive() {
    ResultHandle last;
    std::optional<Error> failed;
    for (;;) {
      auto result = TRY(next_result());
      if (!result) break;
      auto status = libpq().PQresultStatus(result.get());
      if (status == PGRES_FATAL_ERROR && !failed) failed = result_error(result.get());
      if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
        return Error(Errc::Internal, "a COPY through query()");
      last = std::move(result);
    }
    if (failed) return *failed;
    if (!last || libpq().PQstatus(connection) == CONNECTION_BAD) return lost();
    return last;
  }
};

namespace {

Status check_libpq() {
  if (libpq().problem.empty()) return ok();
  return Error(Errc::Configuration, fmt::format("PostgreSQL's client library cannot be used: {}", libpq().problem),
               Hint{"install it: apt-get install libpq5"});
}

/// What the conninfo says, with our defaults where it is silent and our database on top.
Result<std::vector<std::pair<std::string, std::string>>> connection_parameters(const ConnectOptions& options) {
  char* problem = nullptr;
  OptionsHandle parsed(libpq().PQconninfoParse(options.conninfo.c_str(), &problem));
  libpq().PQfreemem(problem);  // not shown: it quotes pieces of the text, which may be pieces of a password
  if (!parsed)
    return Error(
        Errc::Configuration, "connection is not a libpq connection string",
        Hint{"key=value pairs such as \"host=/var/run/postgresql port=5432 user=postgres dbname=postgres\", values "
             "with blanks in single quotes"});
  std::vector<std::pair<std::string, std::string>> parameters;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option)
    if (option->val != nullptr) parameters.emplace_back(option->keyword, option->val);
  auto fall_back = [&](const char* name, std::string value) {
    bool given = std::any_of(parameters.begin(), parameters.end(), [&](const auto& p) { return p.first == name; });
    if (!given) parameters.emplace_back(name, std::move(value));
  };
  // A dead peer must be noticed while a backup holds the session idle for hours.
  fall_back("keepalives", "1");
  fall_back("keepalives_idle", "60");
  fall_back("keepalives_interval", "10");
  fall_back("keepalives_count", "6");
  fall_back("fallback_application_name", options.application_name);
  if (!options.database.empty()) parameters.emplace_back("dbname", options.database);
  parameters.emplace_back("client_encoding", "UTF8");
  if (options.replication) parameters.emplace_back("replication", "true");
  return parameters;
}

void collect_notice(void* argument, const PGresult* notice) {
  auto& notices = *static_cast<std::vector<std::string>*>(argument);
  const char* text = libpq().PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  if (text != nullptr && notices.size() < kNoticesMax) notices.push_back(one_line(text));
}

// Role and database defaults may hold any time-out; an idle one killed a backup's session (POSTGRES rule 2). What a session of ours reads it reads in transactions that say so.
constexpr std::string_view kSettle =
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', "
    "'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout') "
    "UNION ALL SELECT pg_catalog.set_config('default_transaction_read_only', 'off', false) "
    "UNION ALL SELECT pg_catalog.set_config('search_path', '', false) "
    "UNION ALL SELECT pg_catalog.set_config('datestyle', 'ISO', false)";

}  // namespace

Connection::Connection(std::unique_ptr<State> state) : state_(std::move(state)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

namespace {

void add_parameter(std::string& conninfo, std::string_view name, std::string_view value) {
  if (!conninfo.empty()) conninfo += ' ';
  conninfo += fmt::format("{}='", name);
  for (const char c : value) {
    if (c == '\'' || c == '\\') conninfo += '\\';
    conninfo += c;
  }
  conninfo += '\'';
}

/// As a password file (libpq, "The Password File") that fits every server.
Status pass_password(ClientConnection& client, std::string_view password) {
  // A line of that file cannot hold it.
  if (password.find_first_of("\r\n") != std::string_view::npos) {
    client.environment.emplace_back("PGPASSWORD", password);
    return ok();
  }
  std::string line = "*:*:*:*:";
  for (const char c : password) {
    if (c == ':' || c == '\\') line += '\\';
    line += c;
  }
  line += '\n';
  Fd file(::memfd_create("pgmint-password", MFD_CLOEXEC));
  // libpq passes over a file that others may read.
  if (!file.valid() || ::fchmod(file.get(), S_IRUSR | S_IWUSR) != 0) return errno_error(errno, "a file in memory for the password");
  TRY(write_at(file, as_bytes(line), 0, "the password's file"));
  add_parameter(client.conninfo, "passfile", fmt::format("/proc/self/fd/{}", file.get()));
  client.environment.emplace_back("PGPASSWORD", "");  // one of our own environment would be taken instead
  client.passed.push_back(std::move(file));
  return ok();
}

}  // namespace

Result<ClientConnection> client_connection(const ConnectOptions& options, bool writes) {
  TRY(check_libpq());
  ClientConnection client;
  auto parameters = TRY(connection_parameters(options));
  if (writes) {
    auto at = std::ranges::find_if(parameters, [](const auto& parameter) { return parameter.first == "options"; });
    if (at == parameters.end()) {
      const char* hidden = std::getenv("PGOPTIONS");
      at = parameters.insert(at, {"options", hidden == nullptr ? "" : hidden});
    }
    at->second += " -c default_transaction_read_only=off";
  }
  const bool has_password = std::ranges::any_of(parameters, [](const auto& parameter) { return parameter.first == "password"; });
  for (const auto& [name, value] : parameters) {
    if (name == "client_encoding") continue;  // pg_dump writes in the database's own
    if (name == "password") {
      TRY(pass_password(client, value));
      continue;
    }
    if (name == "passfile" && has_password) continue;  // libpq would not look at it
    add_parameter(client.conninfo, name, value);
  }
  return client;
}

Result<Connection> Connection::open(const ConnectOptions& options, const CancelToken* cancel) {
  TRY(check_libpq());
  auto parameters = TRY(connection_parameters(options));
  std::vector<const char*> names, values;
  for (const auto& [name, value] : parameters) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  auto state = std::make_unique<State>();
  state->cancel = cancel;
  state->connection = libpq().PQconnectStartParams(names.data(), values.data(), 0);
  if (state->connection == nullptr) return Error(Errc::ResourceLimit, "out of memory for a connection");
  if (libpq().PQstatus(state->connection) == CONNECTION_BAD) return state->lost();
  libpq().PQsetErrorVerbosity(state->connection, PQERRORS_VERBOSE);
  libpq().PQsetNoticeReceiver(state->connection, collect_notice, &state->notices);
  TRY(state->finish_connecting(std::chrono::steady_clock::now() + options.connect_timeout));
  if (libpq().PQsetnonblocking(state->connection, 1) != 0) return state->lost();
  int version = libpq().PQserverVersion(state->connection);
  state->version = find_version(version / 10000);
  if (state->version == nullptr)
    return Error(Errc::Precondition,
                 fmt::format("the server is PostgreSQL {}: pgmint knows 13 to 18", version / 10000));
  Connection connection(std::move(state));
  if (!options.replication) TRY(connection.query(std::string(kSettle)));
  return connection;
}

Result<Rows> Connection::query(const std::string& sql, const std::vector<std::optional<std::string>>& parameters) {
  TRY(state_->send(sql, parameters));
  return finish();
}

Status Connection::start(const std::string& sql) { return state_->send(sql, {}); }

namespace {

Result<Rows> rows_of(const PGresult* result) {
  const int row_count = libpq().PQntuples(result);
  const int column_count = libpq().PQnfields(result);
  if (row_count > kRowsMax) return Error(Errc::ResourceLimit, fmt::format("a query gave {} rows", row_count));
  Rows rows;
  for (int column = 0; column < column_count; ++column) rows.columns.emplace_back(libpq().PQfname(result, column));
  rows.rows.reserve(static_cast<std::size_t>(row_count));
  for (int r = 0; r < row_count; ++r) {
    Row row;
    for (int column = 0; column < column_count; ++column) {
      if (libpq().PQgetisnull(result, r, column) != 0) {
        row.emplace_back(std::nullopt);
      } else {
        auto length = static_cast<std::size_t>(libpq().PQgetlength(result, r, column));
        row.emplace_back(std::string(libpq().PQgetvalue(result, r, column), length));
      }
    }
    rows.rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

Result<Rows> Connection::finish() {
  const auto result = TRY(state_->receive());
  return rows_of(result.get());
}

void Connection::also_watch(const CancelToken* cancel) { state_->also = cancel; }

Status Connection::command(const std::string& text) {
  if (libpq().PQsendQuery(state_->connection, text.c_str()) == 0) return state_->lost();
  return state_->flush();
}

Result<std::optional<Connection::Answer>> Connection::answer() {
  for (;;) {
    const auto result = TRY(state_->next_result());
    if (!result) {
      if (libpq().PQstatus(state_->connection) == CONNECTION_BAD) return state_->lost();
      return std::optional<Answer>();
    }
    switch (libpq().PQresultStatus(result.get())) {
      case PGRES_COMMAND_OK:
        continue;
      case PGRES_TUPLES_OK:
        return std::optional(Answer{.is_copy = false, .rows = TRY(rows_of(result.get()))});
      case PGRES_COPY_OUT:
        return std::optional(Answer{.is_copy = true});
      default:
        return result_error(result.get());
    }
  }
}

Status Connection::copy_in(const std::string& text, const std::function<Status(const Put&)>& write) {
  TRY(command(text));
  const auto begun = TRY(state_->next_result());
  if (!begun) return state_->lost();
  if (libpq().PQresultStatus(begun.get()) != PGRES_COPY_IN) return result_error(begun.get());
  bool refused = false;  // in the middle: the reason is the command's answer
  const Put put = [&](ByteView piece) -> Status {
    while (!refused) {
      const int queued = libpq().PQputCopyData(state_->connection, reinterpret_cast<const char*>(piece.data()), static_cast<int>(piece.size()));
      if (queued > 0) return state_->flush();
      if (queued < 0) refused = true;
      else TRY(state_->flush());
    }
    return ok();
  };
  TRY(write(put));
  while (!refused) {
    const int ended = libpq().PQputCopyEnd(state_->connection, nullptr);
    if (ended > 0) break;
    if (ended < 0) refused = true;
    else TRY(state_->flush());
  }
  TRY(state_->flush());
  return answer_of_copy();
}

Status Connection::answer_of_copy() {
  std::optional<Error> failed;
  for (;;) {
    const auto result = TRY(state_->next_result());
    if (!result) break;
    if (libpq().PQresultStatus(result.get()) != PGRES_COMMAND_OK && !failed) failed = result_error(result.get());
  }
  if (failed) return *failed;
  if (libpq().PQstatus(state_->connection) == CONNECTION_BAD) return state_->lost();
  return ok();
}

Result<bool> Connection::copy_message(const std::function<Status(ByteView)>& take) {
  for (;;) {
    char* message = nullptr;
    const int length = libpq().PQgetCopyData(state_->connection, &message, 1);
    if (length > 0) {
      const std::unique_ptr<char, decltype(&::PQfreemem)> held(message, libpq().PQfreemem);
      TRY(take(as_bytes(std::string_view(message, static_cast<std::size_t>(length)))));
      return true;
    }
    if (length == -1) return false;
    if (length < -1) return state_->lost();
    TRY(state_->wait(POLLIN));
    if (libpq().PQconsumeInput(state_->connection) == 0) return state_->lost();
  }
}

Result<std::string> Connection::value(const std::string& sql,
                                      const std::vector<std::optional<std::string>>& parameters) {
  Rows rows = TRY(query(sql, parameters));
  if (rows.rows.size() != 1 || rows.rows[0].size() != 1 || !rows.rows[0][0])
    return Error(Errc::Postgres, fmt::format("PostgreSQL: one value expected from: {}", sql));
  return std::move(*rows.rows[0][0]);
}

Status Connection::execute(const std::string& sql) {
  TRY(query(sql));
  return ok();
}

bool Transport::is_local() const {
  if (host.empty() || host.starts_with('/') || host.starts_with('@')) return true;
  return address == "::1" || address.starts_with("127.") || (address.empty() && host == "localhost");
}

Transport Connection::transport() const {
  const auto text = [](const char* given) { return std::string(given != nullptr ? given : ""); };
  Transport transport{text(libpq().PQhost(state_->connection)), text(libpq().PQhostaddr(state_->connection)), "", libpq().PQsslInUse(state_->connection) != 0};
  const OptionsHandle options(libpq().PQconninfo(state_->connection));
  for (const PQconninfoOption* option = options.get(); option != nullptr && option->keyword != nullptr; ++option)
    if (std::string_view(option->keyword) == "sslmode") transport.sslmode = text(option->val);
  return transport;
}

int Connection::server_version_num() const {
  return libpq().PQserverVersion(state_->connection);
}
const VersionEntry& Connection::version() const {
  return *state_->version;
}
std::vector<std::string> Connection::take_notices() {
  return std::exchange(state_->notices, {});
}

bool Connection::alive() {
  // A server that ends a session sends its reason first; only the read after that finds the end of the stream.
  for (int reads = 0; reads < 8; ++reads) {
    pollfd ready{.fd = libpq().PQsocket(state_->connection), .events = POLLIN, .revents = 0};
    if (ready.fd < 0) return false;
    if (::poll(&ready, 1, 0) <= 0) break;
    if (libpq().PQconsumeInput(state_->connection) == 0) return false;
  }
  return libpq().PQstatus(state_->connection) == CONNECTION_OK;
}

std::optional<std::string> sqlstate_of(const Error& error) {
  const std::string& text = error.message();
  if (error.code() != Errc::Postgres || text.size() < 7 || text.back() != ']' || text[text.size() - 7] != '[')
    return std::nullopt;
  auto code = text.substr(text.size() - 6, 5);
  if (!is_sqlstate(code)) return std::nullopt;
  return code;
}

}  // namespace pgmint::postgres
