#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/alert_look.h"
#include "cli/alert_round.h"
#include "cli/backup_facts.h"
#include "cli/commands.h"
#include "cli/proofs.h"
#include "cli/recall_command.h"
#include "cli/run_key.h"
#include "cli/secrets.h"
#include "service/notify.h"

namespace pgmint::cli {
namespace {

Json failure_json(const std::optional<Error>& failure) { return failure ? Json(redact(failure->describe())) : Json(nullptr); }

/// What a channel's server answered is told as a failure of the network is.
Error delivery_failed(std::size_t failed, std::size_t all) {
  return Error(Errc::Io, fmt::format("{} of {} could not be told", failed, counted(all, "alert channel")), Hint{"pgmint alert test says what each answered"});
}

Result<int> run_check(Context& context) {
  const auto round = TRY(run_alert_round(context));
  Json channels = Json::array();
  std::size_t failed = 0;
  for (const auto& one : round.channels) {
    failed += one.failure || one.waiting ? 1 : 0;
    channels.push_back({{"name", one.name}, {"told", one.told}, {"error", one.waiting ? Json(*one.waiting) : failure_json(one.failure)}, {"held_back", one.held_back}, {"waiting", one.waiting.has_value()}});
    context.output().line(fmt::format("{}: {}", one.name,
                                      one.failure      ? fmt::format("FAILED: {}", redact(one.failure->describe()))
                                      : one.waiting    ? fmt::format("FAILS, and is tried again later: {}", *one.waiting)
                                      : one.held_back  ? std::string("waits: nothing can be remembered, so that it is told only every fourth hour")
                                      : one.told == 0  ? std::string("nothing to tell")
                                                       : fmt::format("told of {}", counted(one.told, "change"))));
  }
  context.output().line(fmt::format("open: {}, {} of them more than a warning", counted(round.open, "problem"), round.open_problems));
  context.output().document({{"open", round.open}, {"open_problems", round.open_problems}, {"channels", std::move(channels)}});
  if (failed == 0) return 0;
  print_error(delivery_failed(failed, round.channels.size()));
  return exit_code(Errc::Io);
}

Result<int> run_test(Context& context) {
  const auto channels = TRY(alert_channels(context, context.arguments().position("CHANNEL")));
  const auto store = TRY(alert_store(context));
  const auto lock = TRY(store.lock());
  if (!lock) return Error(Errc::Busy, "an alert check is under way", Hint{"try again"});
  auto book = store.load();
  const auto transport = service::make_curl_transport();
  service::Notifier notifier({*transport, system_clock(), read_secret_file, &context.cancel()});
  Json answers = Json::array();
  std::size_t failed = 0;
  for (const auto* channel : channels) {
    TRY(context.cancel().check());
    const service::Notification notification{service::new_notification_id(system_random()), host_name(), system_clock().now(), true, {}, book.open().size()};
    const auto sent = notifier.deliver(*channel, notification);
    if (!sent && sent.error().code() == Errc::Cancelled) return sent.error();
    if (sent) book.delivered(channel->rules, {}, system_clock().now());
    else book.undelivered(channel->rules.name, redact(sent.error().describe()), system_clock().now());
    failed += sent ? 0 : 1;
    answers.push_back({{"name", channel->rules.name}, {"to", channel->describe()}, {"ok", sent.has_value()}, {"error", sent ? Json(nullptr) : Json(redact(sent.error().describe()))}});
    context.output().line(fmt::format("{} ({}): {}", channel->rules.name, channel->describe(), sent ? "delivered" : fmt::format("FAILED: {}", redact(sent.error().describe()))));
    if (!sent && !sent.error().hint().empty()) context.output().line(fmt::format("  next: {}", redact(sent.error().hint())));
  }
  std::string why;
  if (store.save(book, &why) != service::AlertStore::Kept::State) print_warning(fmt::format("the result cannot be remembered: {}", why));
  context.output().document({{"ok", failed == 0}, {"channels", std::move(answers)}});
  if (failed == 0) return 0;
  print_error(delivery_failed(failed, channels.size()));
  return exit_code(Errc::Io);
}

Json time_or_null(const std::optional<TimePoint>& time) { return time ? Json(format_rfc3339(*time)) : Json(nullptr); }

Result<int> run_list(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  std::vector<std::string> unreadable;
  const auto book = TRY(newest_alert_book(context, &unreadable));
  // An older one, or none, would be shown as if it were what is known.
  if (!unreadable.empty()) return alert_book_unreadable(unreadable);
  const bool was_checked = book.saved() != TimePoint{};
  Json open = Json::array(), channels = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const auto& problem : book.open()) {
    Json told = Json::object();
    std::vector<std::string> whom;
    for (const auto& [channel, time] : problem.told) {
      told[channel] = format_rfc3339(time);
      whom.push_back(fmt::format("{} {}", channel, ago(time)));
    }
    const auto& finding = problem.finding;
    open.push_back({{"cluster", finding.cluster.empty() ? Json(nullptr) : Json(finding.cluster)}, {"code", finding.code},
                    {"subject", finding.subject.empty() ? Json(nullptr) : Json(finding.subject)}, {"severity", service::severity_name(finding.severity)},
                    {"message", finding.message}, {"hint", finding.hint}, {"since", format_rfc3339(problem.since)}, {"told", std::move(told)}});
    rows.push_back({std::string(service::severity_name(finding.severity)), finding.cluster.empty() ? "-" : finding.cluster, finding.code, readable_time(problem.since),
                    whom.empty() ? "nobody yet" : fmt::format("{}", fmt::join(whom, ", ")), finding.message});
  }
  for (const auto& channel : configuration.alerts) {
    const auto known = book.channels().find(channel.rules.name);
    const auto state = known == book.channels().end() ? service::ChannelState{} : known->second;
    channels.push_back({{"name", channel.rules.name}, {"to", channel.describe()}, {"delivered", time_or_null(state.delivered)}, {"failing_since", time_or_null(state.failing_since)},
                        {"error", state.error.empty() ? Json(nullptr) : Json(state.error)}});
  }
  auto& out = context.output();
  out.line(!was_checked   ? std::string("no alert check has run here, so that nothing is known")
           : rows.empty() ? fmt::format("nothing is open, as of the last alert check, {}", ago(book.saved()))
                          : text_table({"SEVERITY", "CLUSTER", "CODE", "SINCE", "TOLD", "MESSAGE"}, rows));
  for (const auto& problem : book.open())
    if (problem.finding.code == "run-failed" && !rows.empty()) out.line(fmt::format("next for {}: {}", problem.finding.subject, problem.finding.hint));
  for (const auto& channel : channels)
    if (channel["failing_since"].is_string())
      out.line(fmt::format("channel {} FAILS since {}: {}", channel["name"].get<std::string>(), channel["failing_since"].get<std::string>(), channel["error"].is_string() ? channel["error"].get<std::string>() : ""));
  out.document({{"checked", was_checked ? Json(format_rfc3339(book.saved())) : Json(nullptr)}, {"open", std::move(open)}, {"channels", std::move(channels)}});
  return 0;
}

Result<int> run_dismiss(Context& context) {
  const std::string wanted = *context.arguments().position("RUN");
  service::RunNotes notes(run_notes_directory(TRY(context.state_directory())), system_clock());
  std::vector<std::string> names;
  std::optional<service::RunNote> found;
  for (auto& note : service::open_failures(TRY(notes.all()), system_clock().now())) {
    names.push_back(shell_quoted(note.key.describe()));
    if (note.key.describe() == wanted) found = std::move(note);
  }
  if (!found)
    return Error(Errc::NotFound, fmt::format("there is no failed run \"{}\" on this host, of this user", wanted),
                 Hint{names.empty() ? std::string("there is none at all; those of the service belong to its user: sudo -u postgres pgmint alert dismiss ...")
                                    : fmt::format("there are: {}", fmt::join(names, ", "))});
  // Before anything changes: who says so stands in the log of the repository.
  TRY(context.repository());
  if (!TRY(notes.dismiss(found->key))) return Error(Errc::Busy, fmt::format("{} has ended anew meanwhile", wanted), Hint{"pgmint alert check looks again"});
  context.output().line(fmt::format("dismissed: {} failed {} (exit status {}): {}", wanted, found->failed_at() ? ago(*found->failed_at()) : "at some time", found->exit, found->message));
  context.output().line("the next alert check tells that it is over; the next failure is told again");
  context.output().document({{"run", wanted}, {"exit_code", found->lost ? Json(nullptr) : Json(found->exit)}, {"failed", time_or_null(found->failed_at())}, {"message", found->message}});
  return 0;
}

}  // namespace

const CommandSpec& alert_check_command() {
  static const CommandSpec command = {
      .verb = "alert check",
      .summary = "look at everything, and tell the alert channels what is due",
      .description = {"Looks at what status and doctor know of every cluster, and at how the last run of backup, verify, expire, collect and lock ended on this "
                      "host; then tells each channel, [[alert]] in the configuration, what it does not know yet. For cron or a timer, every five minutes; the "
                      "daemon does it by itself.",
                      "A new problem, or one that gets worse, is told at once; reminders come after 4 hours and then daily (repeat), of warnings daily and then "
                      "weekly; an end is told once. What is due at one time is one message. What comes and goes stays one problem: after three ends in 24 hours "
                      "the next is told when it has lasted six. Further messages wait when a channel had 3 in an hour or 12 in a day, unless something new is wrong.",
                      "A channel that fails is tried again at the next check, then after 10, 20, 40 minutes and each hour, and at once with what is new; the others are told that it fails. "
                      "alert test tries it now. A look that takes longer than two minutes is given up, and that is told. What cannot be looked at, such as a server that "
                      "does not answer, is never told to be over."},
      .positionals = {},
      .options = {},
      .exits = {{3, "The configuration is wrong, or has no alert channel."}, {5, "Another check is under way."}, {6, "A channel could not be told."}},
      .examples = {{"pgmint alert check", "What cron runs every five minutes."}},
      .see_also = {"alert test", "alert list", "status", "metrics"},
      .run = run_check,
  };
  return command;
}

const CommandSpec& alert_test_command() {
  static const CommandSpec command = {
      .verb = "alert test",
      .summary = "send a test message, and say what each channel answered",
      .description = {"Sends a message of the kind \"test\". doctor knows afterwards that the channel delivers, or that it does not."},
      .positionals = {{.name = "CHANNEL", .text = "A name of [[alert]]. Default: all channels.", .required = false}},
      .options = {},
      .exits = {{3, "The configuration is wrong, or has no such channel."}, {5, "An alert check is under way."}, {6, "A channel could not be told."}},
      .examples = {{"pgmint alert test", "After each change of a channel."}, {"pgmint alert test hook", "One of them."}},
      .see_also = {"alert check", "alert list", "doctor"},
      .run = run_test,
  };
  return command;
}

const CommandSpec& alert_list_command() {
  static const CommandSpec command = {
      .verb = "alert list",
      .summary = "what is wrong as of the last alert check, since when, and who was told",
      .description = {"Looks at nothing itself: it says what the last alert check found, and what it told to whom. Where none has run it says so; root sees "
                      "what the service's user knows where that is newer."},
      .positionals = {},
      .options = {},
      .exits = {{6, "What the last check found cannot be read."}},
      .examples = {{"pgmint alert list --json", "For a program."}},
      .see_also = {"alert check", "alert dismiss", "alert test", "status"},
      .only_reads = true,
      .run = run_list,
  };
  return command;
}

const CommandSpec& alert_dismiss_command() {
  static const CommandSpec command = {
      .verb = "alert dismiss",
      .summary = "say that a failed run is not to be repeated",
      .description = {"A command that failed on this host is a problem until the same command, or one that does more, goes well. What was typed by hand, and will not be "
                      "run again, never does: this ends it. The next alert check tells the channels that it is over.",
                      "It is about that one failure. The next run of the same command that fails is told as any other; what status knows of backups that are too old or of "
                      "missing WAL is not touched. Who dismissed what stands in the repository's log (audit list); without a repository that can be opened nothing is dismissed."},
      .positionals = {{.name = "RUN", .text = "The run as the alert names it before \"failed\", such as \"backup logical of main (typo)\"; quote it."}},
      .options = {},
      .exits = {{1, "There is no such failed run; those that there are, are named."}, {6, "The repository or the state directory could not be read or written."}},
      .examples = {{"pgmint alert dismiss \"backup logical of main (typo)\"", "A dump of a database that there never was."}},
      .see_also = {"alert list", "alert check", "audit list"},
      .repositories = Repositories::Fitting,
      .run = run_dismiss,
  };
  return command;
}

}  // namespace pgmint::cli
