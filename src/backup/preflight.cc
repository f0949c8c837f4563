#include "backup/preflight.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <bit>

#include "repository/wal_archive.h"
#include "repository/wal_coverage.h"

namespace pgmint::backup {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kArchiveHint =
    "set archive_mode = on and archive_command = 'pgmint wal push \"%p\"' in postgresql.conf, restart PostgreSQL, then "
    "back up";
/// PostgreSQL tries a segment three times in a row before it pauses for a minute (pgarch.c).
constexpr std::uint64_t kRetriesInARow = 3;

std::string user_name(uid_t uid) {
  char buffer[4096];
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) return found->pw_name;
  return fmt::format("user {}", uid);
}

}  // namespace

Status check_options(const BackupRequest& request, const postgres::ControlFile& control) {
  const auto extent = request.extent_size.value();
  if (!std::has_single_bit(extent) || extent < (64U << 10) || extent > repository::kDataRecordMax)
    return Error(Errc::Configuration, fmt::format("extent size {} is not a power of two from 64 KiB to 1 MiB", extent));
  if (extent % control.block_size != 0)
    return Error(Errc::Configuration, fmt::format("extent size {} is not a multiple of the cluster's block size {}",
                                                  extent, control.block_size));
  if (request.max_rate && request.max_rate->value() == 0)
    return Error(Errc::Configuration, "a rate of 0 bytes per second would never end");
  return ok();
}

Status check_readable(const fs::path& data_directory) {
  const auto status = TRY(stat_if_exists(data_directory));
  if (!status)
    return Error(Errc::NotFound, fmt::format("data directory {} does not exist", data_directory.string()),
                 Hint{"data_directory in the [cluster.NAME] section names it"});
  const auto version = data_directory / "PG_VERSION";
  if (::access(data_directory.c_str(), R_OK | X_OK) != 0 || ::access(version.c_str(), R_OK) != 0) {
    if (errno != EACCES && errno != EPERM)
      return errno_error(errno, fmt::format("data directory {}", data_directory.string()), Errc::Precondition);
    const auto owner = user_name(status->st_uid);
    return Error(
        Errc::Key,
        fmt::format("{} cannot read {}, which belongs to {}", user_name(::geteuid()), data_directory.string(), owner),
        Hint{fmt::format("run as its owner: sudo -u {} pgmint backup", owner)});
  }
  return ok();
}

Status check_identity(const postgres::ControlFile& control, const repository::LogState& state) {
  if (control.system_identifier.value() == state.system_id()) return ok();
  return Error(
      Errc::Precondition,
      fmt::format("the data directory belongs to system identifier {}, but the repository knows cluster \"{}\" as {}",
                  control.system_identifier.value(), state.cluster_name(), state.system_id()),
      Hint{fmt::format("if it was made anew (initdb, pg_upgrade): pgmint cluster adopt {}", state.cluster_name())});
}

Status check_wal_level(const postgres::ServerFacts& facts) {
  if (facts.wal_level != "minimal") return ok();
  return Error(Errc::Precondition, "wal_level is minimal: its WAL cannot bring a backup to a consistent state",
               Hint{"set wal_level = replica in postgresql.conf and restart PostgreSQL"});
}

Status check_archiving(const postgres::ServerFacts& facts) {
  TRY(check_wal_level(facts));
  // A standby archives nothing unless told to; its primary does, and what that does not bring the backup carries
  // itself.
  if (facts.in_recovery) return ok();
  if (facts.archive_mode == "off")
    return Error(Errc::Precondition,
                 "archive_mode is off: no WAL would reach the repository, and without WAL a backup is void",
                 Hint{std::string(kArchiveHint)});
  if (facts.archive_command.empty() && facts.archive_library.empty())
    return Error(Errc::Precondition, "archive_mode is on, but archive_command is empty: no WAL reaches the repository",
                 Hint{std::string(kArchiveHint)});
  return ok();
}

Status check_archiver(Server& server, Clock& clock, const CancelToken* cancel, std::chrono::seconds patience) {
  const auto before = TRY(server.archiver());
  if (!before.failing) return ok();
  TRY(server.nudge_archiver());
  const auto until = clock.now() + patience;
  auto now = before;
  while (clock.now() < until) {
    if (cancel != nullptr) TRY(cancel->check());
    now = TRY(server.archiver());
    if (!now.failing) return ok();
    if (now.failed_count >= before.failed_count + kRetriesInARow) break;
    clock.sleep(250ms);
  }
  return Error(Errc::Precondition,
               fmt::format("archiving fails: PostgreSQL could not archive {} (last tried {}; last success: {})",
                           now.last_failed_wal, now.last_failed_time,
                           now.last_archived_time.empty() ? "never" : now.last_archived_time),
               Hint{"PostgreSQL's log has archive_command's message; or try it: pgmint wal push "
                    "DATA_DIRECTORY/pg_wal/" +
                    now.last_failed_wal});
}

Result<std::optional<std::string>> why_wal_does_not_come(Server& server, const postgres::ServerFacts& facts, repository::Cluster& cluster) {
  const auto because = [](std::string why) { return std::optional(std::move(why)); };
  if (facts.in_recovery) return because("a standby leaves archiving to its primary");
  if (facts.archive_mode == "off") return because("archive_mode is off");
  const auto status = TRY(server.archiver());
  if (status.failing) return because(fmt::format("the server could not archive {} (last tried {})", status.last_failed_wal, status.last_failed_time));
  if (status.last_archived_wal.empty()) return because("the server has archived nothing yet");
  repository::WalArchive archive(cluster, repository::current_identity(cluster.state()));
  if (TRY(archive.info(status.last_archived_wal))) return std::optional<std::string>();
  return because(fmt::format("{}, which the server archived last, is not in this repository", status.last_archived_wal));
}

}  // namespace pgmint::backup
