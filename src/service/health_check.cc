#include "service/health_check.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/process_group.h"
#include "base/units.h"
#include "postgres/connection.h"
#include "service/http_probe.h"
#include "service/recovery_plan.h"

namespace pgmint::service {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kOutputShown = 300;
constexpr std::size_t kQueryShown = 120;
constexpr auto kStep = milliseconds(20);

Error not_well(std::string why) { return Error(Errc::Precondition, redact(why)); }

/// Cancels its token after `limit`, or when `outer` is: for calls that know a token and no limit.
class TimedToken {
 public:
  TimedToken(milliseconds limit, const CancelToken& outer)
      : thread_([this, limit, &outer] {
          std::unique_lock lock(mutex_);
          for (auto left = limit; left.count() > 0 && !outer.cancelled(); left -= kStep)
            if (done_.wait_for(lock, std::min(left, kStep), [this] { return finished_; })) return;
          token_.cancel();
        }) {}
  ~TimedToken() {
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
    }
    done_.notify_all();
    thread_.join();
  }
  const CancelToken& token() const { return token_; }

 private:
  CancelToken token_;
  std::mutex mutex_;
  std::condition_variable done_;
  bool finished_ = false;
  std::thread thread_;  // last: it uses the others
};

std::string shortened(std::string text, std::size_t limit) {
  for (char& c : text)
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  if (text.size() > limit) text = text.substr(0, limit) + "...";
  return text;
}

struct Look {
  milliseconds limit;
  Clock& clock;
  const CancelToken& cancel;

  Status operator()(const SqlCheck& check) const {
    const TimedToken timed(limit, cancel);
    const auto asked = ask(check, timed.token());
    TRY(cancel.check());
    if (!asked && asked.error().code() == Errc::Cancelled) return not_well(fmt::format("no answer in {}", human(limit)));
    if (!asked) return not_well(asked.error().describe());
    if (!check.expect) return ok();
    if (asked->rows.empty() || asked->rows[0].empty()) return not_well(fmt::format("no row where {} was expected", *check.expect));
    const auto& value = asked->rows[0][0];
    if (value == check.expect) return ok();
    return not_well(fmt::format("{} where {} was expected", value ? shortened(*value, kOutputShown) : "NULL", *check.expect));
  }

  static Result<postgres::Rows> ask(const SqlCheck& check, const CancelToken& token) {
    postgres::ConnectOptions options;
    options.conninfo = check.connection;
    options.application_name = "pgmint health check";
    auto connection = TRY(postgres::Connection::open(options, &token));
    // The query is the operator's own: with the search path that everybody else has, and looking only.
    TRY(connection.execute("SET search_path TO DEFAULT"));
    TRY(connection.execute("SET default_transaction_read_only = on"));
    return connection.query(check.query);
  }

  Status operator()(const HttpCheck& check) const {
    const auto answer = http_get({check.url, check.ca_file, limit}, cancel);
    TRY(cancel.check());
    if (!answer) return not_well(answer.error().describe());
    if (answer->status == check.status) return ok();
    return not_well(fmt::format("{} answered {} where {} was expected: {}", check.url, answer->status, check.status, shortened(answer->body, kOutputShown)));
  }

  Status operator()(const TcpCheck& check) const {
    const auto connected = tcp_connect(check.host, check.port, limit, cancel);
    TRY(cancel.check());
    return connected ? ok() : not_well(connected.error().describe());
  }

  Status operator()(const CommandCheck& check) const {
    char place[] = "/tmp/pgmint-check-XXXXXX";
    const Fd output(::mkstemp(place));  // gone from there as soon as the command has it
    if (!output.valid()) return errno_error(errno, "make a file in /tmp");
    auto started = ProcessGroup::start({.arguments = check.command, .environment = {}, .output = place}, clock);
    ::unlink(place);
    if (!started) return not_well(started.error().describe());
    const auto until = clock.now() + limit;
    for (;;) {
      TRY(cancel.check());
      if (const auto status = TRY((*started)->poll())) {
        (*started)->end();
        if (*status == 0) return ok();
        Bytes text(kOutputShown);
        const auto got = read_at(output, text, 0, "a check's output");
        return not_well(fmt::format("exit {}: {}", *status, shortened(std::string(as_text(ByteView(text).first(got.value_or(0)))), kOutputShown)));
      }
      if (clock.now() >= until) return not_well(fmt::format("{} has not ended in {}", check.command.front(), human(limit)));
      clock.sleep(kStep);
    }
  }

  Status operator()(const DataDirectoryCheck& check) const {
    for (const auto* name : {"PG_VERSION", "global/pg_control"})
      if (!TRY(stat_if_exists(fs::path(check.path) / name))) return not_well(fmt::format("{} has no {}", check.path, name));
    return ok();
  }
};

struct Describe {
  std::string operator()(const SqlCheck& check) const {
    return fmt::format("SQL {}{}", shortened(check.query, kQueryShown), check.expect ? fmt::format(" gives {}", *check.expect) : "");
  }
  std::string operator()(const HttpCheck& check) const { return fmt::format("{} answers {}", check.url, check.status); }
  std::string operator()(const TcpCheck& check) const { return fmt::format("{}:{} accepts connections", check.host, check.port); }
  std::string operator()(const CommandCheck& check) const { return fmt::format("{} exits 0", shown_command(check.command)); }
  std::string operator()(const DataDirectoryCheck& check) const { return fmt::format("{} is complete", check.path); }
};

struct Syntax {
  Status operator()(const SqlCheck& check) const {
    TRY(postgres::client_connection({.conninfo = check.connection}));
    return ok();
  }
  Status operator()(const HttpCheck& check) const {
    const auto scheme = check.url.starts_with("https://") ? 8U : check.url.starts_with("http://") ? 7U : 0U;
    if (scheme == 0 || check.url.size() == scheme || check.url[scheme] == '/' || check.url.find_first_of(" \t\r\n") != std::string::npos)
      return Error(Errc::Configuration, fmt::format("\"{}\" is no http:// or https:// URL", redact(check.url)));
    return ok();
  }
  template <class Other>
  Status operator()(const Other&) const {
    return ok();
  }
};

}  // namespace

std::string describe(const HealthCheck& check) { return redact(std::visit(Describe{}, check.look)); }

Status check_syntax(const HealthCheck& check) { return std::visit(Syntax{}, check.look); }

std::string misgiving(const HealthCheck& check) {
  if (const auto* page = std::get_if<HttpCheck>(&check.look); page != nullptr && page->ca_file && ::access(page->ca_file->c_str(), R_OK) != 0)
    return fmt::format("{} cannot be read", *page->ca_file);
  if (const auto* program = std::get_if<CommandCheck>(&check.look); program != nullptr && !find_program(program->command.front()))
    return fmt::format("there is no program {}", program->command.front());
  return "";
}

Status look(const HealthCheck& check, milliseconds limit, Clock& clock, const CancelToken& cancel) {
  return std::visit(Look{std::max(limit, milliseconds(1)), clock, cancel}, check.look);
}

Result<TcpCheck> parse_tcp(const std::string& text) {
  const Error wrong(Errc::Usage, fmt::format("\"{}\" is no host:port", text));
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return wrong;
  TcpCheck check{text.substr(0, colon), 0};
  if (check.host.starts_with('[') && check.host.ends_with(']')) check.host = check.host.substr(1, check.host.size() - 2);
  else if (check.host.find(':') != std::string::npos) return wrong;
  if (check.host.empty() || check.host.find_first_of(" /[]@") != std::string::npos) return wrong;
  const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), check.port);
  if (error != std::errc() || end != text.data() + text.size() || check.port < 1 || check.port > 65535) return wrong;
  return check;
}

}  // namespace pgmint::service
