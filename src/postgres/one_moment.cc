#include "postgres/one_moment.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/log.h"

namespace pgmint::postgres {
namespace {

using namespace std::chrono_literals;

constexpr auto kReplayLook = 20ms;
constexpr std::size_t kNamed = 20;  ///< tables of a database
constexpr std::string_view kBegin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// The first statement of such a transaction: all that follow see what it sees.
constexpr std::string_view kSnapshot =
    "SELECT pg_current_snapshot()::text, pg_is_in_recovery()::text, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
/// Where the rows of every table stand, as the session's snapshot has it. Mapped catalogs have no number of their own here.
constexpr std::string_view kFiles =
    "SELECT c.oid::text, c.relfilenode::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.relfilenode <> 0";

/// Replay of a standby, stopped. It goes on when this ends, on whatever path, unless somebody else had stopped it.
class ReplayPause {
 public:
  /// @param until  the latest moment; replay that waits for a query to end cannot be stopped before
  static Result<ReplayPause> stop(const ConnectOptions& connect, std::chrono::steady_clock::time_point until, const CancelToken* cancel) {
    // Without the token: a cancelled command must still be able to let replay go on.
    ReplayPause pause(connect, TRY(Connection::open(connect)));
    auto now = TRY(pause.look());
    if (now.state == kNot) {
      pause.is_ours_ = true;
      TRY(pause.control_->execute("SELECT pg_wal_replay_pause()"));
    }
    while (now = TRY(pause.look()), now.state != kPaused) {
      if (cancel != nullptr) TRY(cancel->check());
      if (std::chrono::steady_clock::now() >= until)
        return Error(Errc::Precondition, "replay of this standby did not stop in time: it waits for a query, or for WAL",
                     Hint{"see pg_stat_activity for queries that replay waits for; or leave --consistent away: one database after the other"});
      system_clock().sleep(kReplayLook);
    }
    pause.at_ = now.lsn;
    return pause;
  }
  ReplayPause(ReplayPause&& other) noexcept
      : connect_(other.connect_), control_(std::move(other.control_)), is_ours_(std::exchange(other.is_ours_, false)), at_(std::move(other.at_)) {}
  ReplayPause& operator=(ReplayPause&&) = delete;
  ~ReplayPause() {
    if (auto done = resume(); !done)
      log_warning("replay of this standby is still stopped ({}): let it go on with SELECT pg_wal_replay_resume()", done.failure().describe());
  }

  /// Whether it has stood still all the time.
  Result<bool> held() {
    const auto now = TRY(look());
    return now.state == kPaused && now.lsn == at_;
  }

  Status resume() {
    if (!is_ours_) return ok();
    auto done = control_->execute(kResume);
    if (!done) {  // the session may be gone; the pause is not
      control_ = TRY(Connection::open(connect_));
      TRY(control_->execute(kResume));
    }
    is_ours_ = false;
    return ok();
  }

 private:
  static constexpr std::string_view kNot = "not paused", kPaused = "paused";
  /// A standby that was promoted meanwhile has nothing to resume.
  inline static const std::string kResume = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_replay_resume() END";
  struct State {
    std::string state, lsn;
  };

  ReplayPause(ConnectOptions connect, Connection control) : connect_(std::move(connect)), control_(std::move(control)) {}
  Result<State> look() {
    const auto rows = TRY(control_->query("SELECT pg_get_wal_replay_pause_state(), pg_last_wal_replay_lsn()::text"));
    return State{rows.rows.at(0).at(0).value_or(""), rows.rows.at(0).at(1).value_or("")};
  }

  ConnectOptions connect_;
  std::optional<Connection> control_;
  bool is_ours_ = false;
  std::string at_;
};

}  // namespace

Result<OneMoment> OneMoment::open(Settings settings) {
  OneMoment moment(std::move(settings));
  for (const auto& database : moment.settings_.databases) {
    auto connect = moment.settings_.connect;
    connect.database = database;
    moment.sessions_.push_back(TRY(Connection::open(connect, moment.settings_.cancel).context(fmt::format("database {}", database))));
  }
  PGMINT_ASSERT(!moment.sessions_.empty());
  moment.on_standby_ = TRY(moment.sessions_.front().value("SELECT pg_is_in_recovery()::text")) == "true";
  if (moment.on_standby_) TRY(moment.check_replay_can_stop());
  moment.until_ = std::chrono::steady_clock::now() + moment.settings_.patience;
  return moment;
}

Status OneMoment::check_replay_can_stop() {
  // Grants on functions are a database's own: asked where it is done.
  auto session = TRY(Connection::open(settings_.connect, settings_.cancel));
  // 13 says that a pause was asked for, and not when replay stands still.
  if (session.version().major < 14)
    return Error(Errc::Precondition, "a standby of PostgreSQL 13 does not say when its replay has stopped: its databases cannot be dumped as of one moment",
                 Hint{"dump the primary with --consistent, or leave --consistent away: one database after the other"});
  const auto may = TRY(session.value(
      "SELECT (has_function_privilege('pg_wal_replay_pause()', 'EXECUTE') AND has_function_privilege('pg_wal_replay_resume()', 'EXECUTE'))::text"));
  if (may == "true") return ok();
  return Error(Errc::Precondition, fmt::format("role {} may not stop the replay of this standby, which is how its databases are seen at one moment", TRY(session.value("SELECT current_user"))),
               Hint{fmt::format("on the primary, in database {}: GRANT EXECUTE ON FUNCTION pg_wal_replay_pause(), pg_wal_replay_resume() TO the role; or leave --consistent away",
                                TRY(session.value("SELECT current_database()")))});
}

bool OneMoment::out_of_patience() const { return std::chrono::steady_clock::now() >= until_; }

Status OneMoment::all(const std::string& sql) {
  for (auto& session : sessions_) TRY(session.start(sql));
  for (auto& session : sessions_) TRY(session.finish());
  return ok();
}

/// Of each database in turn, its text. They are asked for before any is waited for: what commits between the first and the last makes them differ.
Result<std::vector<std::string>> OneMoment::snapshots() {
  const std::string sql(kSnapshot);
  std::vector<Rows> answers;
  if (settings_.between) {
    for (auto& session : sessions_) {
      answers.push_back(TRY(session.query(sql)));
      settings_.between();
    }
  } else {
    for (auto& session : sessions_) TRY(session.start(sql));
    for (auto& session : sessions_) answers.push_back(TRY(session.finish()));
  }
  std::vector<std::string> texts;
  for (const auto& answer : answers) {
    const auto& row = answer.rows.at(0);
    if (row.at(1) != (on_standby_ ? "true" : "false"))
      return Error(Errc::Precondition, "this server was a standby and has been promoted meanwhile", Hint{"run it again"});
    texts.push_back(row.at(0).value_or(""));
    time_ = std::max(time_, row.at(2).value_or(""));
  }
  return texts;
}

/// Whether those who take over the snapshots see the same. A standby keeps the ids in progress as subtransactions', and exporting leaves those out
/// when there were too many subtransactions to list (snapmgr.c ExportSnapshot, "sof:1"): transactions in progress would be seen as far as they
/// have come. No matter where none was in progress; else the file says it, to a role that may read it.
Result<bool> OneMoment::exported_whole(const std::string& text) {
  const auto colon = text.find(':');
  const auto xmin = text.substr(0, colon);
  if (text == fmt::format("{}:{}:", xmin, xmin)) return true;
  for (std::size_t i = 0; i < sessions_.size(); ++i) {
    auto& session = sessions_[i];
    if (TRY(session.value("SELECT has_function_privilege('pg_read_file(text)', 'EXECUTE')::text")) != "true") return false;
    const auto file = TRY(session.value("SELECT pg_read_file('pg_snapshots/' || $1)", {ids_[i]}));
    if (file.find("\nsof:0\n") == std::string::npos) return false;
  }
  return true;
}

Result<bool> OneMoment::try_once() {
  ++attempts_;
  ids_.clear();
  time_.clear();
  if (in_transactions_) TRY(all("ROLLBACK"));
  TRY(all(std::string(kBegin)));
  in_transactions_ = true;
  bool stood_still = true;
  std::vector<std::string> texts;
  if (on_standby_) {
    auto pause = TRY(ReplayPause::stop(settings_.connect, until_, settings_.cancel));
    texts = TRY(snapshots());
    stood_still = TRY(pause.held());
    TRY(pause.resume().context("replay of this standby is still stopped"));
  } else {
    texts = TRY(snapshots());
  }
  if (!stood_still || std::ranges::any_of(texts, [&](const auto& text) { return text != texts.front(); })) return false;
  for (auto& session : sessions_) TRY(session.start("SELECT pg_export_snapshot()"));
  for (auto& session : sessions_) ids_.push_back(TRY(session.finish()).rows.at(0).at(0).value_or(""));
  if (on_standby_ && !TRY(exported_whole(texts.front()))) return false;
  snapshot_ = texts.front();
  log_debug("snapshots of {} databases agree after {} attempts: {}", sessions_.size(), attempts_, texts.front());
  return true;
}

Status OneMoment::take() {
  for (;;) {
    if (settings_.cancel != nullptr) TRY(settings_.cancel->check());
    if (TRY(try_once())) return ok();
    if (out_of_patience() && on_standby_)
      return Error(Errc::Precondition, fmt::format("the databases could not be seen at one moment, in {} attempts: there were always transactions in progress, and their subtransactions too many to export, or the role may not see whether they are", attempts_),
                   Hint{"a quieter moment; GRANT EXECUTE ON FUNCTION pg_read_file(text) to the role, in every database; the primary; or leave --consistent away: one database after the other"});
    if (out_of_patience())
      return Error(Errc::Precondition,
                   fmt::format("the databases could not be seen at one moment, in {} attempts: transactions ended between the snapshots of the first and the last", attempts_),
                   Hint{"a quieter moment; a standby of this server, whose replay can be stopped; fewer databases (--database); or leave --consistent away: one database after the other"});
  }
}

Result<std::vector<std::string>> OneMoment::rewritten() {
  std::vector<std::string> all_of_them;
  for (std::size_t i = 0; i < sessions_.size(); ++i) {
    const auto then = TRY(sessions_[i].query(std::string(kFiles)));
    auto connect = settings_.connect;
    connect.database = settings_.databases[i];
    auto outside = TRY(Connection::open(connect, settings_.cancel));  // sees what is committed now
    const auto current = TRY(outside.query(std::string(kFiles)));
    std::map<std::string, std::string> now;
    for (const auto& row : current.rows) now.emplace(row.at(0).value_or(""), row.at(1).value_or(""));
    std::size_t count = 0;
    for (const auto& row : then.rows) {
      const auto found = now.find(row.at(0).value_or(""));
      if (found != now.end() && found->second == row.at(1)) continue;
      if (++count <= kNamed) all_of_them.push_back(fmt::format("{}: {}", settings_.databases[i], row.at(2).value_or("")));
    }
  }
  return all_of_them;
}

Status OneMoment::release(std::size_t database) {
  // An answer from within the transaction: it has not ended in between.
  const auto held = sessions_[database].value("SELECT pg_current_snapshot()::text");
  if (held && *held == snapshot_) return sessions_[database].execute("ROLLBACK");
  if (!held && held.error().code() == Errc::Cancelled) return held.error();
  return Error(Errc::Postgres, fmt::format("the snapshot was not held until everything was read{}", held ? std::string() : ": " + held.error().describe()),
               Hint{on_standby_ ? "replay ends sessions that keep it waiting for longer than max_standby_streaming_delay: raise it, or set hot_standby_feedback on this standby"
                                : "see the server's log for who ended the session"});
}

}  // namespace pgmint::postgres
