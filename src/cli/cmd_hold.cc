#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kReasonMax = 4096;

Result<int> run_hold(Context& context) {
  const auto reason = *context.arguments().get("--reason");
  if (reason.size() > kReasonMax)
    return Error(Errc::Usage, fmt::format("--reason: at most {} bytes", kReasonMax), Hint{"pgmint hold --help"});
  const auto found =
      TRY(find_backup(context, *context.arguments().position("BACKUP"), context.arguments().get("--cluster")));
  const auto& snapshot = found.cluster->state().snapshots().at(found.session);
  const std::string name = snapshot.snap.name;
  if (snapshot.hold)
    return Error(Errc::Precondition, fmt::format("{} is held already: {}", name, *snapshot.hold),
                 Hint{fmt::format("pgmint release {}", name)});
  TRY(found.cluster->log().append(found.cluster->actor(), repository::HoldEntry{found.session, reason}));
  context.output().document({{"backup", name}, {"held", {{"reason", reason}}}});
  context.output().line(fmt::format("{} is held: it stays until pgmint release {}", name, name));
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
                      "the audit log."},
      .positionals = {{.name = "BACKUP", .text = "A name as list shows it."}},
      .options = {{.name = "--reason", .value = "TEXT", .text = "Why, for those who come later.", .required = true},
                  {.name = "--cluster",
                   .value = "NAME",
                   .text = "Where several clusters have a backup of that name.",
                   .completes = Completes::Cluster}},
      .exits = {{1, "There is no such backup."}, {4, "It is held already; nothing was changed."}},
      .examples = {{"pgmint hold 20261122T084001Z-full --reason \"audit 2026-17\"", "Keep it until it is released."}},
      .see_also = {"release", "expire", "list", "audit list"},
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
      .run = run_release,
  };
  return command;
}

}  // namespace pgmint::cli
