#include "cli/wal_spool.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/spawn.h"
#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/wal_target.h"

namespace pgmint::cli {
namespace {

/// Above this share of what it may hold, the spool is a problem and no longer a warning.
constexpr std::uint64_t kNearlyFullPercent = 80;
/// For how long what was started beside a push tries: the next push starts another.
constexpr auto kDrainerSeconds = "86400";

/// Sends on what waits, beside us. What fails here is no failure of the push: the next one starts it again.
void start_drainer(Context& context, const wal::Spool& spool) {
  auto lock = spool.try_lock(wal::Spool::Right::Stay);
  if (!lock || !*lock) return;  // one stays, and looks once more after it has let go
  lock->reset();
  std::vector<std::string> words = {"/proc/self/exe"};
  if (const auto& file = (*context.configuration())->file; !file.empty()) words.insert(words.end(), {"--config", fs::absolute(file).string()});
  if (const auto repository = context.arguments().get("--repository")) words.insert(words.end(), {"--repository", *repository});
  words.insert(words.end(), {"wal", "drain", "--for", kDrainerSeconds});
  if (const auto started = start_detached(std::move(words)); !started) log_warning("nothing sends on the WAL that waits: {}", started.failure().describe());
}

/// A segment is compressed to what is not known yet: it counts whole.
Status check_room(const wal::SpoolContents& waiting, std::uint64_t more, ByteCount most) {
  if (waiting.bytes + more <= most.value()) return ok();
  return Error(Errc::ResourceLimit, fmt::format("{} of WAL wait on this host already, and no more than {} may", human(ByteCount(waiting.bytes)), human(most)),
               Hint{"PostgreSQL keeps its WAL; bring the repository back (pgmint doctor), or raise spool_max in [wal]"});
}

}  // namespace

Result<bool> wal_waits(Context& context) {
  if (TRY(context.spool_max()).value() == 0) return false;
  const auto empty = TRY(context.spool())->empty();
  if (empty) return !*empty;
  log_warning("{}", empty.failure().describe());
  return true;
}

Result<wal::PushReport> push_into_spool(Context& context, wal::PushRequest request, const Error* why) {
  const auto& spool = *TRY(context.spool());
  const auto& source = request.source;
  const auto put = [&]() -> Result<wal::PushReport> {
    const auto size = TRY(stat_if_exists(source.path));
    TRY(check_room(TRY(spool.contents()), size ? static_cast<std::uint64_t>(size->st_size) : 0, TRY(context.spool_max())));
    auto& away = *TRY(context.repository_while_away());
    const auto target = TRY(wal_target_by_memory(context, away, source.system_identifier, source.wal_directory.parent_path()));
    request.ahead_max = 0;
    request.workers = 1;
    request.notes_directory.clear();
    return wal::push(*target.cluster, target.identity, request);
  };
  auto report = put();
  if (!report) {
    auto error = std::move(report.failure());
    const std::string first = why != nullptr ? fmt::format("{}; and it cannot wait on this host", why->describe()) : std::string("it cannot wait on this host");
    return std::move(error).with_context(fmt::format("{} is not stored: {}", source.file_name, first));
  }
  if (why != nullptr)
    log_warning("{} waits on this host, durable, until the repository is back: {}", source.file_name, why->describe());
  start_drainer(context, spool);
  return report;
}

Result<std::optional<wal::Spool::Drained>> drain_spool(Context& context) {
  const auto& spool = *TRY(context.spool());
  std::optional<wal::Spool::Drained> all;
  while (!TRY(spool.empty())) {
    const auto lock = TRY(spool.try_lock(wal::Spool::Right::Send));
    if (!lock) return all;
    auto& there = *TRY(context.repository());
    TRY(there.look_past_key_copies());  // it may be another repository by now
    const auto some = TRY(spool.drain(*TRY(context.repository_while_away()), there, &context.cancel()));
    if (!all) all.emplace();
    all->stored += some.stored;
    all->present += some.present;
    all->bytes += some.bytes;
  }
  return all ? all : wal::Spool::Drained{};
}

Status drain_spool_first(Context& context) {
  if (!TRY(wal_waits(context))) return ok();
  const auto drained = TRY(drain_spool(context).context("WAL that waits on this host is needed in the repository first"));
  if (!drained) return ok();  // somebody is at it
  const auto files = drained->stored + drained->present;
  log_info("{} that waited on this host {} in the repository now", counted(files, "WAL file"), files == 1 ? "is" : "are");
  return ok();
}

std::optional<std::string> send_on(Context& context) {
  const auto waits = wal_waits(context);
  if (waits && !*waits) return std::nullopt;
  const auto drained = drain_spool(context);
  if (drained && *drained) return std::nullopt;
  return fmt::format("WAL waits on this host: {}", drained ? std::string("another pgmint is sending it on") : drained.error().describe());
}

std::optional<Problem> waiting_wal(Context& context) {
  const auto spool = context.spool();
  if (!spool) return std::nullopt;  // told where the repository is looked at
  const auto waiting = (*spool)->contents();
  if (!waiting) return Problem{"wal-waiting", fmt::format("it is not known whether WAL waits on this host: {}", waiting.failure().describe()), "pgmint doctor", false};
  if (waiting->files.empty()) return std::nullopt;
  const auto most = context.spool_max();
  const auto limit = most ? most->value() : 0;
  Problem problem{"wal-waiting",
                  fmt::format("{} ({} of at most {}) {} on this host for the repository, the first since {}: lost if the host is", counted(waiting->files.size(), "WAL file"),
                              human(ByteCount(waiting->bytes)), human(ByteCount(limit)), waiting->files.size() == 1 ? "waits" : "wait", readable_time(*waiting->oldest)),
                  "pgmint wal drain says what keeps it here", false};
  problem.urgent = waiting->bytes >= limit / 100 * kNearlyFullPercent;
  return problem;
}

}  // namespace pgmint::cli
