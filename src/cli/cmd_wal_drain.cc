#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/wal_spool.h"
#include "storage/interruptible_sleep.h"

namespace pgmint::cli {
namespace {

using std::chrono::seconds;

constexpr auto kPause = seconds(15);
constexpr auto kGlance = std::chrono::milliseconds(1000);
constexpr auto kOtherWait = seconds(10);
constexpr auto kDayAtMost = seconds(86'400);

/// What has become of the spool's directory while we waited: somebody gave it up.
bool is_gone(const wal::Spool& spool) {
  const auto there = stat_if_exists(spool.directory());
  return there && !*there;
}

Error another_is_at_it() { return Error(Errc::Busy, "another pgmint is sending on what waits", Hint{"pgmint wal status shows what is left"}); }

using Drained = wal::Spool::Drained;

/// Until nothing waits, or `until`, or the spool is gone.
Result<Drained> drain_with_patience(Context& context, const wal::Spool& spool, TimePoint until) {
  for (;;) {
    auto drained = drain_spool(context);
    // Who stays while the repository is away is soon done with an attempt.
    for (auto since = system_clock().now(); drained && !*drained && system_clock().now() < since + kOtherWait;) {
      TRY(storage::interruptible_sleep(system_clock(), kGlance / 5, &context.cancel()));
      drained = drain_spool(context);
    }
    if (drained && *drained) return **drained;
    auto error = drained ? another_is_at_it() : std::move(drained).failure();
    // The store may be back a moment later; a wrong key will not be right then.
    if (!is_transient(error.code()) || system_clock().now() + kPause > until) return error;
    log_info("{}; trying again in {}", error.describe(), human(std::chrono::microseconds(kPause)));
    for (std::chrono::milliseconds waited{0}; waited < kPause; waited += kGlance) {
      if (is_gone(spool)) return error;
      TRY(storage::interruptible_sleep(system_clock(), kGlance, &context.cancel()));
    }
  }
}

/// What is added when we are about to go has found that somebody stays, and relies on us.
Result<Drained> stay(Context& context, const wal::Spool& spool, TimePoint until) {
  // A file system that a server has left must be able to go while this waits.
  if (::chdir("/") != 0) log_debug("the working directory stays");
  Drained all;
  do {
    const auto lock = TRY(spool.try_lock(wal::Spool::Right::Stay));
    if (!lock) return another_is_at_it();
    const auto some = TRY(drain_with_patience(context, spool, until));
    all.stored += some.stored;
    all.present += some.present;
    all.bytes += some.bytes;
  } while (!TRY(spool.empty()));
  return all;
}

Result<int> run(Context& context) {
  const auto patience = TRY(seconds_option(context.arguments(), "--for", seconds(0)));
  if (patience > kDayAtMost) return Error(Errc::Usage, "--for: at most a day", Hint{"pgmint wal drain --help"});
  context.give_up_early();
  const auto& spool = *TRY(context.spool());
  const auto now = system_clock().now();
  const auto drained = TRY(patience > seconds(0) ? stay(context, spool, now + patience) : drain_with_patience(context, spool, now));
  const auto files = drained.stored + drained.present;
  context.output().line(files == 0 ? "nothing waits" : fmt::format("{} sent into the repository, {}", counted(files, "WAL file"), human(ByteCount(drained.bytes))));
  context.output().document({{"stored", drained.stored}, {"present", drained.present}, {"bytes", drained.bytes}});
  return 0;
}

}  // namespace

const CommandSpec& wal_drain_command() {
  static const CommandSpec command = {
      .verb = "wal drain",
      .summary = "send WAL that waits on this host into the repository",
      .description = {"While the repository is away, wal push keeps WAL on this host, sealed and durable, up to spool_max in [wal]. It is sent on, the oldest first, by what "
                      "wal push starts beside it, and before a backup; this command does it at once, and says what keeps it from it. One at a time does it."},
      .positionals = {},
      .options = {{.name = "--for", .value = "SECONDS", .text = "Try again for so long while the repository is away. Default: once."}},
      .exits = {{5, "Another pgmint is at it."}, {8, "A file was damaged on this host while it waited, or the repository holds another one of that name."}},
      .examples = {{"pgmint wal drain", "After the repository has come back."}},
      .see_also = {"wal push", "wal status"},
      .changes_repository = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
