#include "cli/alert_look.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <memory>
#include <thread>

#include "base/units.h"
#include "cli/health.h"
#include "cli/mirror_facts.h"
#include "cli/recall_command.h"
#include "cli/run_key.h"
#include "cli/service_user.h"
#include "cli/wal_spool.h"
#include "service/deadline.h"

namespace pgmint::cli {
namespace {

using service::Finding;
using service::Severity;

constexpr auto kRunTimeMax = std::chrono::hours(24);

Finding finding_of(const std::string& cluster, const Problem& problem) {
  return {cluster, problem.code, problem.subject, problem.breach || problem.urgent ? Severity::Problem : Severity::Warning, problem.message, problem.hint};
}

Finding unreadable_repository(const Error& error) {
  return {"", "repository-unreadable", "", Severity::Problem, error.describe(), error.hint().empty() ? "pgmint doctor" : error.hint()};
}

Status look_at_one(Context& context, service::Look& look) {
  TRY(context.repository());
  for (const auto& health : TRY(health_of_all(context, std::nullopt))) {
    for (const auto& problem : health.problems) look.findings.push_back(finding_of(health.name, problem));
    for (const auto& code : health.unjudged) look.unknown.push_back({health.name, code});
    // Its name is not known: what was told of it under that is not over.
    if (health.unreadable && health.settings == nullptr) look.unknown.push_back({std::nullopt, ""});
  }
  std::vector<std::string> unjudged;
  const auto warnings = repository_warnings(context, &unjudged);
  TRY(context.cancel().check());
  if (!warnings) {
    look.findings.push_back(unreadable_repository(warnings.error()));
    look.unknown.push_back({"", ""});
    return ok();
  }
  for (const auto& problem : *warnings) look.findings.push_back(finding_of("", problem));
  for (const auto& problem : mirror_problems(*TRY(context.repository()), TRY(look_at_mirrors(context)), &unjudged)) look.findings.push_back(finding_of("", problem));
  for (const auto& code : unjudged) look.unknown.push_back({"", code});
  return ok();
}

/// All of them. What is found in one of several is told with its name; one that cannot be read hides no other, and nothing of it is over.
Status look_at_repository(Context& context, service::Look& look) {
  const auto& repositories = TRY(context.configuration())->repositories;
  if (repositories.size() < 2) return look_at_one(context, look);
  for (const auto& repository : repositories) {
    auto arguments = context.arguments();
    arguments.set("--repository", repository.name);
    arguments.one_of_several = true;
    Context own(std::move(arguments), context.cancel());
    own.stop_at_next_request();
    service::Look seen;
    auto looked = look_at_one(own, seen);
    TRY(context.cancel().check());
    if (!looked) {
      seen.findings.push_back(unreadable_repository(looked.failure()));
      if (const auto waiting = waiting_wal(own)) seen.findings.push_back(finding_of("", *waiting));
      look.unknown.push_back({std::nullopt, ""});
    }
    for (auto& finding : seen.findings) {
      finding.subject = fmt::format("{}{}repository {}", finding.subject, finding.subject.empty() ? "" : ", ", repository.name);
      finding.message = fmt::format("repository {}: {}", repository.name, finding.message);
      look.findings.push_back(std::move(finding));
    }
    look.unknown.insert(look.unknown.end(), seen.unknown.begin(), seen.unknown.end());
  }
  return ok();
}

/// As a person types it.
std::string command_of(const service::RunKey& key) {
  const auto& [verb, cluster, part] = key;
  if (verb == "backup logical" && cluster.empty()) return "pgmint backup-db";  // of a server that is no cluster of ours
  const auto blank = verb.find(' ');
  const auto name = verb.substr(0, blank);
  std::string option = blank == std::string::npos ? "" : verb.substr(blank);
  if (option.starts_with(" logical") || option == " config") option = " --type" + option;
  return fmt::format("pgmint {}{}{}{}", name, cluster.empty() ? "" : " ", cluster, option);
}

std::string subject_of(const service::RunKey& key) { return key.part.empty() ? key.verb : key.verb + " " + key.part; }

Finding finding_of(const service::RunNote& note, const std::optional<TimePoint>& succeeded) {
  Finding finding{note.key.cluster, "run-failed", subject_of(note.key), Severity::Problem, "", note.hint};
  const std::string good = succeeded ? fmt::format("; it last went well {}", ago(*succeeded)) : "; it never went well on this host";
  if (note.lost) {
    finding.message = fmt::format("{} began {} and was killed, or the host went down{}", note.key.describe(), note.started ? ago(*note.started) : "at some time", good);
    finding.hint = fmt::format("run it again: {}", command_of(note.key));
  } else if (note.exit == exit_code(Errc::Cancelled)) {
    finding.severity = Severity::Warning;  // by a person, or at a shutdown
    finding.message = fmt::format("{} was cancelled {}{}", note.key.describe(), ago(*note.ended), good);
  } else {
    finding.message = fmt::format("{} failed {} (exit status {}): {}{}", note.key.describe(), ago(*note.ended), note.exit, note.message, good);
  }
  finding.hint += fmt::format("{}if it is not to be repeated: pgmint alert dismiss {}", finding.hint.empty() ? "" : "; ", shell_quoted(note.key.describe()));
  return finding;
}

void look_at_runs(const fs::path& state, service::Look& look) {
  std::vector<std::string> unreadable;
  const auto notes = service::RunNotes(run_notes_directory(state), system_clock()).all(&unreadable);
  if (!notes) {
    look.findings.push_back({"", "state-unreadable", "", Severity::Problem, notes.error().describe(), "pgmint doctor"});
    look.unknown.insert(look.unknown.end(), {{std::nullopt, "run-failed"}, {std::nullopt, "run-too-long"}});
    return;
  }
  for (const auto& note : service::open_failures(*notes, system_clock().now())) look.findings.push_back(finding_of(note, service::last_success(*notes, note.key)));
  for (const auto& note : *notes)
    if (note.running && note.running_since && system_clock().now() - *note.running_since > kRunTimeMax)
      look.findings.push_back({note.key.cluster, "run-too-long", subject_of(note.key), Severity::Problem, fmt::format("{} began {} and has not ended", note.key.describe(), ago(*note.running_since)),
                               "see what it waits for: its log, and the repository's file system"});
  if (unreadable.empty()) return;
  // Whose notes these were is not known, so that no failure can be told to be made good.
  look.findings.push_back({"", "state-unreadable", "", Severity::Problem,
                           fmt::format("how the last run of a command ended cannot be read: {}", fmt::join(unreadable, ", ")),
                           "remove it; the next run of its command writes it anew"});
  look.unknown.insert(look.unknown.end(), {{std::nullopt, "run-failed"}, {std::nullopt, "run-too-long"}});
}

/// A look at the repository and the servers, in a thread with everything of its own: a file system whose server is gone lets nobody
/// go who has asked it, and then this is left behind.
struct RepositoryLook {
  RepositoryLook(const Arguments& arguments, std::chrono::seconds time, const CancelToken& outer) : deadline(time, &outer), context(arguments, deadline.token()) {
    context.stop_at_next_request();
  }
  service::Deadline deadline;
  Context context;
  service::Look look;
  std::promise<Status> done;
};

constexpr auto kAfterDeadline = std::chrono::seconds(2);  ///< for what watches the token to end by itself
constexpr auto kWatch = std::chrono::milliseconds(100);

/// @return what was seen, if it was in time. @errors all of looking
Result<service::Look> look_in_time(Context& context, std::chrono::seconds time) {
  const auto work = std::make_shared<RepositoryLook>(context.arguments(), time, context.cancel());
  auto done = work->done.get_future();
  std::thread looking([work] { work->done.set_value(look_at_repository(work->context, work->look)); });
  std::optional<std::chrono::steady_clock::time_point> until;
  while (done.wait_for(kWatch) != std::future_status::ready) {
    const auto now = std::chrono::steady_clock::now();
    if (!until && work->deadline.token().cancelled()) until = now + kAfterDeadline;
    if (until && now >= *until) break;
  }
  const bool is_done = done.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  if (is_done) looking.join();
  else looking.detach();
  TRY(context.cancel().check());
  if (!is_done || work->deadline.passed())
    return Error(Errc::Storage, fmt::format("the repository and the servers could not be looked at within {}", human(time)), Hint{"pgmint status; what takes long by nature: look_time_max in [health]"});
  TRY(done.get());
  return std::move(work->look);
}

}  // namespace

Result<service::Look> look_at_everything(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  const auto state = TRY(context.state_directory());
  service::Look look;
  auto seen = look_in_time(context, configuration.health.look_time);
  // A look that was cut short knows nothing of what it did not come to.
  TRY(context.cancel().check());
  if (seen) {
    look = std::move(*seen);
  } else {
    look.findings.push_back(unreadable_repository(seen.error()));
    if (const auto waiting = waiting_wal(context)) look.findings.push_back(finding_of("", *waiting));
    look.unknown = {{std::nullopt, ""}};
  }
  look_at_runs(state, look);
  return look;
}

Result<service::AlertStore> alert_store(Context& context) {
  return service::AlertStore(TRY(context.state_directory()), service::AlertStore::usual_refuges());
}

Result<service::AlertBook> newest_alert_book(Context& context, std::vector<std::string>* unreadable) {
  auto book = TRY(alert_store(context)).load(unreadable);
  const auto& configuration = *TRY(context.configuration());
  if (::geteuid() != 0 || process_environment("PGMINT_STATE_DIRECTORY")) return book;
  const auto user = service_user(configuration, std::nullopt);
  if (!user) return book;
  auto theirs = service::AlertStore(TRY(state_directory_of(configuration, *user)), {}).load(unreadable);
  return theirs.saved() > book.saved() ? std::move(theirs) : std::move(book);
}

Error alert_book_unreadable(const std::vector<std::string>& unreadable) {
  return Error(Errc::Io, fmt::format("what is open is not known: {}", fmt::join(unreadable, ", ")), Hint{"pgmint alert check looks anew"});
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
