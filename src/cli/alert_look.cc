#include "cli/alert_look.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/units.h"
#include "cli/health.h"
#include "cli/run_key.h"

namespace pgmint::cli {
namespace {

using service::Finding;
using service::Severity;

Finding finding_of(const std::string& cluster, const Problem& problem) {
  return {cluster, problem.code, problem.subject, problem.breach || problem.urgent ? Severity::Problem : Severity::Warning, problem.message, problem.hint};
}

Status look_at_repository(Context& context, service::Look& look) {
  TRY(context.repository());
  for (const auto& health : TRY(health_of_all(context, std::nullopt))) {
    for (const auto& problem : health.problems) look.findings.push_back(finding_of(health.name, problem));
    for (const auto& code : health.unjudged) look.unknown.push_back({health.name, code});
  }
  for (const auto& problem : TRY(repository_warnings(context))) look.findings.push_back(finding_of("", problem));
  return ok();
}

Finding finding_of(const service::RunNote& note) {
  Finding finding{note.key.cluster, "run-failed", note.key.verb, Severity::Problem, "", note.hint};
  if (!note.key.part.empty()) finding.subject += " " + note.key.part;
  const std::string good = note.succeeded ? fmt::format("; it last went well {}", ago(*note.succeeded)) : "; it never went well on this host";
  if (note.lost) {
    finding.message = fmt::format("{} began {} and was killed, or the host went down{}", note.key.describe(), ago(*note.started), good);
    finding.hint = fmt::format("run it again: pgmint {} {}", note.key.verb.substr(0, note.key.verb.find(' ')), note.key.cluster);
  } else if (note.exit == exit_code(Errc::Cancelled)) {
    finding.severity = Severity::Warning;  // by a person, or at a shutdown
    finding.message = fmt::format("{} was cancelled {}{}", note.key.describe(), ago(*note.ended), good);
  } else {
    finding.message = fmt::format("{} failed {} (exit status {}): {}{}", note.key.describe(), ago(*note.ended), note.exit, note.message, good);
  }
  return finding;
}

void look_at_runs(const fs::path& state, service::Look& look) {
  std::vector<std::string> unreadable;
  const auto notes = service::RunNotes(run_notes_directory(state), system_clock()).all(&unreadable);
  if (!notes) {
    look.findings.push_back({"", "state-unreadable", "", Severity::Problem, notes.error().describe(), "pgmint doctor"});
    look.unknown.push_back({std::nullopt, "run-failed"});
    return;
  }
  for (const auto& note : service::open_failures(*notes)) look.findings.push_back(finding_of(note));
  if (!unreadable.empty()) look.findings.push_back({"", "state-unreadable", "", Severity::Warning, fmt::format("damaged: {}", fmt::join(unreadable, ", ")), "remove it; the next run of its command writes it anew"});
}

}  // namespace

Result<service::Look> look_at_everything(Context& context) {
  TRY(context.configuration());
  const auto state = TRY(context.state_directory());
  service::Look look;
  auto seen = look_at_repository(context, look);
  // A look that was cut short knows nothing of what it did not come to.
  TRY(context.cancel().check());
  if (!seen) {
    look.findings.clear();
    look.findings.push_back({"", "repository-unreadable", "", Severity::Problem, seen.error().describe(), seen.error().hint().empty() ? "pgmint doctor" : seen.error().hint()});
    look.unknown = {{std::nullopt, ""}};
  }
  look_at_runs(state, look);
  return look;
}

Result<service::AlertStore> alert_store(Context& context) {
  return service::AlertStore(TRY(context.state_directory()), service::AlertStore::usual_refuges());
}

Result<std::vector<const service::Channel*>> alert_channels(Context& context, const std::optional<std::string>& name) {
  const auto& configuration = *TRY(context.configuration());
  std::vector<const service::Channel*> channels;
  std::vector<std::string> names;
  for (const auto& channel : configuration.alerts) {
    names.push_back(channel.rules.name);
    if (!name || channel.rules.name == *name) channels.push_back(&channel);
  }
  if (names.empty())
    return Error(Errc::Configuration, "no alert channel is configured", Hint{"add [[alert]] to the configuration: man pgmint.toml, or /usr/share/doc/pgmint/alerts.md"});
  if (channels.empty()) return Error(Errc::Configuration, fmt::format("there is no alert channel \"{}\": there are {}", *name, fmt::join(names, ", ")));
  return channels;
}

}  // namespace pgmint::cli
