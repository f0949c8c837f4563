// One look at whether a service does its work: a query, a page, a port, a program.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/file.h"

namespace pgmint::service {

/// The query succeeds; where `expect` is given, the first value of its first row is that text.
struct SqlCheck {
  std::string query{}, connection{};
  std::optional<std::string> expect{};
  bool operator==(const SqlCheck&) const = default;
};
/// GET answers with this status. No redirection is followed.
struct HttpCheck {
  std::string url;
  unsigned status = 200;
  std::optional<std::string> ca_file{};
  bool operator==(const HttpCheck&) const = default;
};
/// Somebody accepts connections.
struct TcpCheck {
  std::string host;
  unsigned port = 0;
  bool operator==(const TcpCheck&) const = default;
};
/// The program exits 0.
struct CommandCheck {
  std::vector<std::string> command;
  bool operator==(const CommandCheck&) const = default;
};
/// Holds a data directory in full: a restore writes pg_control last.
struct DataDirectoryCheck {
  std::string path;
  bool operator==(const DataDirectoryCheck&) const = default;
};

inline constexpr std::chrono::seconds kCheckLimitDefault{5};
inline constexpr std::chrono::seconds kCheckLimitMax{10};  ///< so that who waits hears every ten seconds

struct HealthCheck {
  std::variant<SqlCheck, HttpCheck, TcpCheck, CommandCheck, DataDirectoryCheck> look;
  std::chrono::seconds limit = kCheckLimitDefault;
  bool operator==(const HealthCheck&) const = default;
};

/// "SQL SELECT 1 gives 1", "HTTP https://... answers 200": passwords replaced by ***.
std::string describe(const HealthCheck& check);

/// That it can be looked at at all: its URL is one, its connection can be parsed. @errors Configuration
Status check_syntax(const HealthCheck& check);
/// What is not there now, without looking further: a program, a file of certificates. Empty: nothing.
std::string misgiving(const HealthCheck& check);

/// Looks once. Success: it is well; else why not. Takes at most `limit` (a name that does not resolve, a second more).
/// @errors Precondition (it is not well), Cancelled
Status look(const HealthCheck& check, std::chrono::milliseconds limit, Clock& clock, const CancelToken& cancel);

/// "host:port", "[::1]:port". @errors Usage
Result<TcpCheck> parse_tcp(const std::string& text);

}  // namespace pgmint::service
