#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/backup_facts.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/proofs.h"
#include "cli/secrets.h"
#include "cli/store_probe.h"
#include "repository/promote.h"

namespace pgmint::cli {
namespace {

Status confirm(Context& context, const repository::MirrorMark& mark, const std::string& place) {
  if (context.yes()) return ok();
  if (::isatty(STDIN_FILENO) == 0)
    return Error(Errc::Precondition, fmt::format("{} would become a repository of its own, and its source {} be left behind: that needs a confirmation, and there is no terminal to ask at", place, mark.source),
                 Hint{"make sure that nothing writes to the source any more, then: pgmint replicate promote --yes"});
  const auto as_of = mark.as_of();
  fmt::print(stderr, "{} is a mirror of {}, {}.\nIt becomes a repository of its own. What was written to the source after that moment is not here, and nothing is copied from there any more.\nType promote to go on: ",
             place, mark.source, as_of ? fmt::format("as of {} ({})", readable_time(*as_of), ago(*as_of)) : std::string("never copied whole"));
  std::string answer;
  for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) answer += c;
  if (answer != "promote") return Error(Errc::Precondition, "not confirmed; nothing was changed");
  return ok();
}

Json to_json(const repository::PromoteReport& report, const std::string& place) {
  Json clusters = Json::array(), left_out = Json::array();
  for (const auto& cluster : report.clusters)
    clusters.push_back({{"id", cluster.id.hex()}, {"generation", cluster.log.generation}, {"backups", cluster.log.recovered}, {"incomplete", cluster.log.incomplete}, {"unreadable", cluster.log.unreadable}});
  for (const auto& id : report.left_out) left_out.push_back(id.hex());
  return {{"repository", place},
          {"source", report.mark.source},
          {"as_of", report.mark.as_of() ? Json(format_rfc3339(*report.mark.as_of())) : Json(nullptr)},
          {"was_promoted", report.was_promoted},
          {"promoted_by", report.mark.made_by},
          {"promoted", format_rfc3339(report.mark.written)},
          {"clusters", std::move(clusters)},
          {"left_out", std::move(left_out)},
          {"removed_key_slots", report.removed_slots}};
}

Result<int> run(Context& context) {
  context.look_past_copies();
  const auto environment = TRY(context.environment());
  const auto& place = *TRY(context.place());
  auto repository = TRY(repository::Repository::open_to_promote(environment, TRY(configured_unlocks(place.encryption))));
  const auto mark = *repository->mirror_mark();
  if (mark.state == repository::MirrorState::Mirror) {
    TRY(confirm(context, mark, place.store->describe()));
    if (!mark.one_writer) TRY(probe_create_if_absent(*place.store, system_random()));
  }
  const auto report = TRY(repository::promote(*repository, environment.actor_label));
  auto& out = context.output();
  const auto where = place.store->describe();
  out.document(to_json(report, where));
  if (report.was_promoted) {
    out.line(fmt::format("{} was promoted by {} at {}: there is nothing to do", where, report.mark.made_by, readable_time(report.mark.written)));
    return 0;
  }
  bool is_whole = true;
  out.line(fmt::format("{} is a repository of its own now; {} was left behind, as of {}", where, report.mark.source, readable_time(*report.mark.as_of())));
  for (const auto& cluster : report.clusters) {
    out.line(fmt::format("cluster {}: the log goes on in generation {} with {}", cluster.id.hex(), cluster.log.generation, counted(cluster.log.recovered.size(), "backup")));
    for (const auto& name : cluster.log.incomplete) out.line(fmt::format("  left out, objects are missing: {}", name));
    for (const auto& name : cluster.log.unreadable) out.line(fmt::format("  left out, cannot be read: {}", name));
    is_whole = is_whole && cluster.log.incomplete.empty() && cluster.log.unreadable.empty();
  }
  for (const auto& id : report.left_out) out.line(fmt::format("cluster {}: left out, it was never copied whole", id.hex()));
  for (const auto& slot : report.removed_slots) out.line(fmt::format("key slot {}: removed, as it was at the source", slot));
  out.line("Next: let every host's configuration name it as repository, then: pgmint backup, pgmint verify --read-data");
  return is_whole ? 0 : exit_code(Errc::Corruption);
}

}  // namespace

const CommandSpec& replicate_promote_command() {
  static const CommandSpec command = {
      .verb = "replicate promote",
      .summary = "make a mirror a repository of its own",
      .description =
          {"For when the source is lost. Run it with the mirror as repository and a root key (the recovery key is one). It opens a new generation of each cluster's log, "
           "signed by the root key, from what the mirror shows, and then takes the mark of a mirror away. From then on it is a repository like any other: backups, "
           "WAL, expire and collect go on there. Interrupted, it can be run again.",
           "What the source got after the moment that the mirror shows is not here. Copies from the old source are refused from then on, and hosts that have seen the "
           "promoted one do not take the old one for it: stop whatever writes there first.",
           "Asks for a confirmation, or takes --yes. The promotion stands in the log of each cluster."},
      .positionals = {},
      .options = {},
      .exits = {{4, "It is no mirror, was never copied whole, is kept by one writer (one_writer), or was not confirmed."},
                {5, "Somebody copies into it at this moment; it is a mirror still."},
                {8, "Promoted, but something could not be taken over; it is named."}},
      .examples = {{"PGMINT_REPOSITORY=/mnt/mirror PGMINT_RECOVERY_KEY_FILE=FILE pgmint replicate promote", "On any host, with the recovery key."}},
      .see_also = {"replicate", "restore", "verify"},
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
