#include "service/recovery_end.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/units.h"

namespace pgmint::service {
namespace {

constexpr std::chrono::milliseconds kStep{200};
constexpr std::chrono::seconds kTellAfter{1}, kTellEvery{10};

constexpr const char* kIsStandby = "SELECT ((pg_catalog.pg_stat_file('standby.signal', true)).size IS NOT NULL)::text";
constexpr const char* kReceives = "SELECT (count(*) > 0)::text FROM pg_catalog.pg_stat_wal_receiver";
constexpr const char* kReplay =
    "SELECT pg_catalog.pg_is_wal_replay_paused()::text, pg_catalog.pg_last_wal_replay_lsn()::text, (current_setting('recovery_target_action') = 'pause' AND EXISTS (SELECT 1 FROM "
    "pg_catalog.pg_settings WHERE setting <> '' AND name IN ('recovery_target', 'recovery_target_lsn', 'recovery_target_name', 'recovery_target_time', 'recovery_target_xid')))::text";

/// False also where the role may not look.
Result<bool> holds(postgres::Connection& server, const char* question) {
  auto answer = server.value(question);
  if (answer) return *answer == "true";
  if (answer.failure().code() == Errc::Cancelled) return std::move(answer).failure();
  return false;
}

}  // namespace

Result<SeenRecovery> await_recovery(postgres::Connection& server, Clock& clock, std::chrono::seconds patience, const CancelToken* cancel) {
  const auto begun = clock.now();
  auto moved = begun, tell_at = begun + kTellAfter;
  std::string replayed;
  for (;; clock.sleep(kStep)) {
    if (cancel != nullptr) TRY(cancel->check());
    if (TRY(server.value("SELECT pg_catalog.pg_is_in_recovery()::text")) != "true") return SeenRecovery{};
    auto replay = server.query(kReplay);
    if (!replay) {
      // It may have ended between the two questions.
      if (TRY(server.value("SELECT pg_catalog.pg_is_in_recovery()::text")) != "true") return SeenRecovery{};
      return std::move(replay).failure();
    }
    const auto& row = replay->rows.at(0);
    const auto now = clock.now();
    if (const auto at = row.at(1).value_or(""); at != replayed) {
      replayed = at;
      moved = now;
    }
    if (TRY(holds(server, kReceives)) || TRY(holds(server, kIsStandby))) return SeenRecovery{RecoveryState::Standby, replayed};
    if (row.at(0) == "true") return SeenRecovery{row.at(2) == "true" ? RecoveryState::AtTarget : RecoveryState::Halted, replayed};
    if (now - moved >= patience) return SeenRecovery{RecoveryState::StandsStill, replayed};
    if (now >= tell_at) {
      log_info("the server's recovery has come to {}: waiting for its end, for {} so far", replayed, human(now - begun));
      tell_at = now + kTellEvery;
    }
  }
}

}  // namespace pgmint::service
