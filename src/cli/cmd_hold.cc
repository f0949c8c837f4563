#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/backup_facts.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/s3_connection.h"
#include "policy/retention.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kReasonMax = 4096;

/// A time, or a period from now. nullopt: until it is released. @errors Usage
Result<std::optional<TimePoint>> until_option(const Arguments& arguments, TimePoint now) {
  const auto text = arguments.get("--until");
  if (!text) return std::optional<TimePoint>();
  auto until = parse_time(*text);
  if (const auto period = policy::parse_period(*text)) {
    const auto today = std::chrono::local_days(std::chrono::floor<std::chrono::days>(now.time_since_epoch()));
    until = now + (policy::later_by(today, *period) - today);
  }
  if (!until)
    return Error(Errc::Usage, fmt::format("--until {}: neither a time, such as 2027-11-22 or 2027-11-22T08:40:00Z, nor a period, such as 90d, 6mo or 7y", *text), Hint{"pgmint hold --help"});
  if (*until <= now) return Error(Errc::Usage, fmt::format("--until {}: that has passed", *text), Hint{"leave it out to hold until pgmint release"});
  return std::optional(*until);
}

Result<int> run_hold(Context& context) {
  const auto reason = *context.arguments().get("--reason");
  if (reason.size() > kReasonMax)
    return Error(Errc::Usage, fmt::format("--reason: at most {} bytes", kReasonMax), Hint{"pgmint hold --help"});
  const auto now = system_clock().now();
  const auto until = TRY(until_option(context.arguments(), now));
  const auto found =
      TRY(find_backup(context, *context.arguments().position("BACKUP"), context.arguments().get("--cluster")));
  const auto& snapshot = found.cluster->state().snapshots().at(found.session);
  const std::string name = snapshot.snap.name;
  if (snapshot.hold && !snapshot.hold->is_over(now))
    return Error(Errc::Precondition, fmt::format("{} is {} already", name, hold_text(*snapshot.hold)),
                 Hint{fmt::format("pgmint release {}", name)});
  TRY(found.cluster->log().append(found.cluster->actor(), repository::HoldEntry{found.session, reason, until}));
  context.output().document({{"backup", name}, {"held", {{"reason", reason}, {"until", until ? Json(format_rfc3339(*until)) : Json(nullptr)}}}});
  context.output().line(until ? fmt::format("{} is held: it stays until {}, whatever any rule says", name, readable_time(*until))
                              : fmt::format("{} is held: it stays until pgmint release {}", name, name));
  if (lock_rule(TRY(context.place())->s3)) context.output().line(fmt::format("its objects are locked by the next pgmint lock; now: pgmint lock {}", found.cluster->state().cluster_name()));
  return 0;
}

Result<int> run_release(Context& context) {
  const auto found =
      TRY(find_backup(context, *context.arguments().position("BACKUP"), context.arguments().get("--cluster")));
  const auto& snapshot = found.cluster->state().snapshots().at(found.session);
  const std::string name = snapshot.snap.name;
  if (!snapshot.hold) return Error(Errc::Precondition, fmt::format("{} is not held", name), Hint{"pgmint list"});
  TRY(found.cluster->log().append(found.cluster->actor(), repository::ReleaseEntry{found.session}));
  context.output().document({{"backup", name}, {"held", nullptr}});
  context.output().line(fmt::format("{} is no longer held", name));
  return 0;
}

}  // namespace

const CommandSpec& hold_command() {
  static const CommandSpec command = {
      .verb = "hold",
      .summary = "keep a backup whatever any rule says",
      .description = {"A held backup, and the WAL that it needs, is never removed. The reason stands in list and in "
                      "the audit log. With --until it ends by itself, and the rules decide again; a week before, status, doctor and alerts say so (hold-ending)."},
      .positionals = {{.name = "BACKUP", .text = "A name as list shows it."}},
      .options = {{.name = "--reason", .value = "TEXT", .text = "Why, for those who come later.", .required = true},
                  {.name = "--until", .value = "WHEN", .text = "A time (2027-11-22, local time), or a period from now (90d, 12w, 6mo, 7y). Default: until it is released."},
                  {.name = "--cluster",
                   .value = "NAME",
                   .text = "Where several clusters have a backup of that name.",
                   .completes = Completes::Cluster}},
      .exits = {{1, "There is no such backup."}, {4, "It is held already; nothing was changed."}},
      .examples = {{"pgmint hold 20261122T084001Z-full --reason \"audit 2026-17\"", "Keep it until it is released."},
                   {"pgmint hold 20261122T084001Z-full --reason \"tax year 2026\" --until 7y", "Keep it for seven years at least."}},
      .see_also = {"release", "expire", "list", "audit list"},
      .changes_repository = true,
      .repositories = Repositories::Fitting,
      .run = run_hold,
  };
  return command;
}

const CommandSpec& release_command() {
  static const CommandSpec command = {
      .verb = "release",
      .summary = "end the hold on a backup",
      .description = {"The backup is again subject to the rules that let old backups go."},
      .positionals = {{.name = "BACKUP", .text = "A name as list shows it."}},
      .options = {{.name = "--cluster",
                   .value = "NAME",
                   .text = "Where several clusters have a backup of that name.",
                   .completes = Completes::Cluster}},
      .exits = {{1, "There is no such backup."}, {4, "It is not held; nothing was changed."}},
      .examples = {{"pgmint release 20261122T084001Z-full", "Its turn comes again."}},
      .see_also = {"hold", "expire"},
      .changes_repository = true,
      .repositories = Repositories::Fitting,
      .run = run_release,
  };
  return command;
}

}  // namespace pgmint::cli
