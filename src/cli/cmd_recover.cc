#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/process_group.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/incident_log.h"
#include "cli/nearest.h"
#include "cli/recall_command.h"
#include "cli/recovery_plan_file.h"
#include "cli/recovery_world.h"
#include "crypto/hash.h"

namespace pgmint::cli {
namespace {

constexpr std::uint64_t kPlanMax = 1U << 20;
constexpr auto kMessagesLimit = std::chrono::seconds(10);  ///< for alert channels that are slow, when all else is done
constexpr auto kStale = std::chrono::hours(24);  ///< an incident that began before is not gone on with unasked

struct LoadedPlan {
  service::RecoveryPlan plan;
  std::string file, digest;
};

/// A plan that is wrong is a precondition that is not met: nothing has been run.
Result<LoadedPlan> load_plan(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  const auto& configured = configuration.recovery.plan;
  const auto named = context.arguments().position("PLAN");
  if (!named && !configured) return Error(Errc::Usage, "which plan?", Hint{"name one, or set plan = FILE in [recovery] of the configuration"});
  const auto file = named ? *named : configured->string();
  std::error_code ignored;
  const auto full = fs::absolute(file, ignored).lexically_normal().string();
  auto text = read_text_file(file, kPlanMax);
  if (!text) return std::move(text).failure().with_code(Errc::Precondition).with_context("the plan");
  auto plan = parse_recovery_plan(*text, file, {own_command(context), configuration});
  if (!plan) return std::move(plan).failure().with_code(Errc::Precondition);
  return LoadedPlan{std::move(*plan), full, to_hex(crypto::sha256(as_bytes(*text)))};
}

Status expect_step(const service::RecoveryPlan& plan, const char* option, const std::optional<std::string>& name) {
  if (!name || plan.find(*name) != nullptr) return ok();
  std::vector<std::string> names;
  for (const auto& step : plan.steps) names.push_back(step.name);
  const auto meant = nearest(*name, names);
  return Error(Errc::Usage, fmt::format("{} \"{}\": no such step{}", option, *name, meant ? fmt::format("; the nearest is \"{}\"", *meant) : ""),
               Hint{fmt::format("the plan's steps: {}", fmt::join(names, ", "))});
}

/// What is not there now. An earlier step may bring it.
std::vector<std::string> misgivings(const service::RecoveryStep& step) {
  std::vector<std::string> found;
  if (!step.command.empty() && !find_program(step.command.front())) found.push_back(fmt::format("there is no program {}", step.command.front()));
  if (step.check)
    if (auto missing = service::misgiving(*step.check); !missing.empty()) found.push_back("check: " + missing);
  return found;
}

std::string limits(const service::RecoveryStep& step) {
  return fmt::format("at most {}{}{}{}", human(step.timeout), step.retries == 0 ? "" : fmt::format(", again up to {} times after {}", step.retries, human(step.retry_after)),
                     step.goes_on ? "; a failure does not stop the plan" : "", step.needs_confirmation ? "; asks first" : "");
}

Result<int> dry_run(Context& context, const LoadedPlan& loaded, const service::RecoveryOptions& options) {
  auto& out = context.output();
  Json steps = Json::array();
  bool reached = !options.from;
  std::size_t missing = 0;
  out.line(fmt::format("{}: {} (dry run, nothing is run)", loaded.plan.name, counted(loaded.plan.steps.size(), "step")));
  if (!loaded.plan.scope.empty()) out.line(fmt::format("scope: {}", loaded.plan.scope));
  for (std::size_t i = 0; i < loaded.plan.steps.size(); ++i) {
    const auto& step = loaded.plan.steps[i];
    reached = reached || step.name == options.from;
    const bool runs = options.only ? step.name == *options.only : reached;
    const auto problems = misgivings(step);
    missing += problems.size();
    const auto command = step.command.empty() ? std::string() : service::shown_command(step.command);
    const auto check = step.check ? service::describe(*step.check) : "";
    if (i == 0 || loaded.plan.steps[i - 1].group != step.group) out.line(fmt::format("{}", service::group_title(step.group)));
    out.line(fmt::format("  {}. {}{}", i + 1, step.name, runs ? "" : " (left out)"));
    if (!command.empty()) out.line(fmt::format("     runs:   {}", command));
    out.line(fmt::format("     check:  {}", check.empty() ? "none: nothing will show that it worked" : check));
    out.line(fmt::format("     limits: {}", limits(step)));
    for (const auto& problem : problems) out.line(fmt::format("     NOTE:   {}", problem));
    steps.push_back({{"name", step.name}, {"group", service::group_name(step.group)}, {"runs", runs}, {"command", command}, {"check", check},
                     {"timeout_s", step.timeout.count()}, {"retries", step.retries}, {"retry_after_s", step.retry_after.count()},
                     {"on_failure", step.goes_on ? "continue" : "stop"}, {"needs_confirmation", step.needs_confirmation}, {"problems", problems}});
  }
  for (const auto& contact : loaded.plan.contacts)
    out.line(fmt::format("contact: {}", fmt::join(std::vector<std::string>{contact.name, contact.role, contact.address, contact.phone}, "  ")));
  if (loaded.plan.notify.empty() && TRY(context.configuration())->alerts.empty()) print_warning("nobody is told: the plan has no [notify], the configuration no [[alert]]");
  else if (!loaded.plan.notify.empty() && !find_program(loaded.plan.notify.front())) print_warning(fmt::format("[notify]: there is no program {}", loaded.plan.notify.front()));
  if (missing != 0) print_warning(fmt::format("{} that the plan names {} not here now", missing, missing == 1 ? "thing is" : "things are"));
  out.document({{"dry_run", true}, {"plan", loaded.plan.name}, {"scope", loaded.plan.scope}, {"plan_sha256", loaded.digest}, {"steps", std::move(steps)}});
  return 0;
}

std::string variable(const char* name) { return process_environment(name).value_or(""); }

std::string options_text(const Arguments& arguments) {
  std::vector<std::string> said;
  for (const auto* option : {"--yes", "--restart"})
    if (arguments.has(option)) said.emplace_back(option);
  for (const auto* option : {"--from", "--only"})
    if (const auto value = arguments.get(option)) said.push_back(fmt::format("{} {}", option, shell_quoted(*value)));
  return fmt::format("{}", fmt::join(said, " "));
}

/// What is left running of an incident that nobody goes on with. @errors Busy (something cannot be ended), Io, Key
Status abandon(Context& context, const service::IncidentStore& store, const LoadedPlan& loaded, service::IncidentRecord& record) {
  RecoveryMessenger nobody({});
  RecoveryOnHost world(context, loaded.plan, store, record, nobody);
  TRY(service::end_interrupted(record, world));
  return store.save(record);
}

/// A plan that has another name now is another plan, and what was killed of it goes on all the same. @errors Busy, Io, Key
Status abandon_renamed(Context& context, const service::IncidentStore& store, const LoadedPlan& loaded) {
  for (auto& record : TRY(store.all())) {
    const bool of_this_file = record.state == service::IncidentState::Open && record.plan_file == loaded.file && record.plan_name != loaded.plan.name;
    if (!of_this_file || std::ranges::count(record.steps, service::StepState::Running, &service::StepRecord::state) == 0) continue;
    log_warning("incident {} of {}, as this plan was called, was interrupted; it is given up", record.id, record.plan_name);
    // Gone on with later, under its old name, it would find what this plan has restored, and take it for its own.
    record.state = service::IncidentState::GivenUp;
    TRY(abandon(context, store, loaded, record));
  }
  return ok();
}

/// The incident to go on with, or none: then a new one begins.
Result<std::optional<service::IncidentRecord>> choose_incident(Context& context, service::IncidentStore& store, const LoadedPlan& loaded) {
  auto open = store.open_incident(loaded.plan.name);
  if (context.arguments().has("--restart")) {
    if (open && *open) {
      (*open)->state = service::IncidentState::GivenUp;
      TRY(abandon(context, store, loaded, **open));
      log_info("incident {} is given up, a new one begins", (*open)->id);
    } else if (!open) {
      if (open.error().code() != Errc::Corruption) return std::move(open).failure();
      log_warning("{}; a new incident begins, and what the old one may have left running is not known and not ended", open.error().describe());
    }
    return std::optional<service::IncidentRecord>();
  }
  auto found = TRY(std::move(open));
  if (!found) return found;
  const auto age = system_clock().now() - found->began();
  const Hint hint{"--yes goes on with it, --restart begins anew"};
  if (found->plan_digest != loaded.digest && !context.yes())
    return Error(Errc::Precondition, fmt::format("incident {} has not ended, and the plan has changed since", found->id), hint);
  if (age > kStale && !context.yes())
    return Error(Errc::Precondition, fmt::format("incident {} has not ended; it began {} ago", found->id, human(age)), hint);
  const auto done = std::ranges::count(found->steps, service::StepState::Done, &service::StepRecord::state);
  log_info("goes on with incident {}, which began {} ago; done: {} of {} steps", found->id, human(age), done, found->steps.size());
  return found;
}

Status expect_someone_to_ask(Context& context, const service::RecoveryPlan& plan, const service::RecoveryOptions& options) {
  if (context.yes() || ::isatty(STDIN_FILENO) != 0) return ok();
  for (const auto& step : plan.steps)
    if (step.needs_confirmation && (!options.only || step.name == *options.only))
      return Error(Errc::Precondition, fmt::format("step \"{}\" needs a confirmation, and there is no terminal to ask at", step.name), Hint{"--yes confirms all steps"});
  return ok();
}

void begin(Context& context, service::IncidentRecord& record, const LoadedPlan& loaded) {
  record.plan_name = loaded.plan.name;
  record.plan_file = loaded.file;
  record.plan_digest = loaded.digest;
  const auto said = context.arguments().get("--scope");
  if (record.scope.empty()) record.scope = loaded.plan.scope;
  if (said) record.scope += (record.scope.empty() ? "" : "; ") + *said;
  const auto ssh = variable("SSH_CONNECTION").empty() ? variable("SSH_CLIENT") : variable("SSH_CONNECTION");
  record.runs.push_back({actor_label(), variable("SUDO_USER"), ssh.substr(0, ssh.find(' ')), options_text(context.arguments()), ::getsid(0), system_clock().now(), std::nullopt, "", false});
}

void write_reports(Context& context, const service::IncidentStore& store, service::IncidentRecord& record) {
  std::vector<fs::path> places = {store.directory_of(record)};
  if (const auto asked = context.arguments().get("--report")) places.emplace_back(*asked);
  for (const auto& place : places)
    if (auto written = store.write_report(record, place); !written) print_warning(fmt::format("the report cannot be written: {}", written.error().describe()));
}

void answer(Context& context, const service::IncidentStore& store, const service::IncidentRecord& record, const Result<service::RecoveryOutcome>& ended) {
  auto& out = context.output();
  std::vector<std::vector<std::string>> rows;
  for (const auto& step : record.steps) {
    const auto took = step.attempts.empty() || !step.attempts.back().ended ? std::string("-") : human(*step.attempts.back().ended - step.attempts.back().started);
    auto what = step.attempts.empty() ? step.note : step.attempts.back().outcome;
    if (!step.attempts.empty() && !step.note.empty()) what += "; " + step.note;
    rows.push_back({step.name, std::string(service::group_name(step.group)), std::string(service::state_name(step.state)), std::to_string(step.attempts.size()), took, what});
  }
  const auto& run = record.runs.back();
  out.line(text_table({"STEP", "GROUP", "STATE", ">ATTEMPTS", ">TOOK", "OUTCOME"}, rows));
  out.line(fmt::format("incident {}: {}, took {}", record.id, run.outcome, run.ended ? human(*run.ended - run.started) : "?"));
  out.line(fmt::format("report: {}", (store.directory_of(record) / "report.md").string()));
  if (!ended && ended.error().code() == Errc::Cancelled && context.output().json()) return;  // the error is the answer
  Json document = Json::parse(service::report_json(record));
  document["failed"] = ended ? ended->failed : std::vector<std::string>{};
  document["exit_code"] = ended ? ended->exit_code : exit_code(ended.error().code());
  document["report"] = store.directory_of(record).string();
  out.document(document);
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  const auto loaded = TRY(load_plan(context));
  const service::RecoveryOptions options{arguments.get("--from"), arguments.get("--only")};
  if (options.from && options.only) return Error(Errc::Usage, "--from and --only: one of them");
  TRY(expect_step(loaded.plan, "--from", options.from));
  TRY(expect_step(loaded.plan, "--only", options.only));
  if (arguments.has("--dry-run")) return dry_run(context, loaded, options);

  const Hint elsewhere{"PGMINT_STATE_DIRECTORY=DIR names another place for the journal"};
  service::IncidentStore store(TRY(context.state_directory()) / "recovery");
  auto locked = store.lock();
  if (!locked && locked.error().code() != Errc::Busy) return std::move(locked).failure().with_hint(elsewhere);
  const auto lock = TRY(std::move(locked));
  TRY(expect_someone_to_ask(context, loaded.plan, options));
  auto record = TRY(choose_incident(context, store, loaded)).value_or(service::IncidentRecord{});
  begin(context, record, loaded);
  if (record.id.empty()) {
    TRY(abandon_renamed(context, store, loaded));
    if (auto created = store.create(record, system_clock().now()); !created) return std::move(created).failure().with_hint(elsewhere);
    log_info("incident {} of {}: journal and output in {}", record.id, loaded.plan.name, store.directory_of(record).string());
  }
  for (const auto& step : loaded.plan.steps)
    for (const auto& problem : misgivings(step)) log_warning("step {}: {}", step.name, problem);

  // A connection that drops must not cost three hours of restore: it goes on, and whoever comes back is told that it runs.
  std::signal(SIGHUP, SIG_IGN);
  RecoveryMessenger messenger(TRY(context.configuration())->alerts);
  RecoveryOnHost world(context, loaded.plan, store, record, messenger);
  const auto ended = service::run_recovery(loaded.plan, record, options, world, system_clock(), context.cancel());
  for (const auto& failure : messenger.finish(kMessagesLimit)) {
    log_warning("{}", failure);
    record.warnings.push_back(failure);
  }
  log_incidents(context, store, record);
  write_reports(context, store, record);
  answer(context, store, record, ended);
  if (!ended) {
    auto error = ended.error();
    if (error.code() == Errc::Cancelled) return std::move(error).with_hint(Hint{"the same command goes on where it was"});
    if (error.code() == Errc::Busy) return error;
    return std::move(error).with_hint(elsewhere);
  }
  return ended->exit_code;
}

/// A paragraph for each table of a plan.
const std::vector<std::string>& key_paragraphs() {
  static const auto paragraphs = [] {
    std::vector<std::string> texts;
    std::string table = "?";
    for (const auto& key : documented_plan_keys()) {
      if (key.table != table) texts.push_back(fmt::format("Keys of {}.", key.table.empty() ? "the plan, at the top" : key.table));
      table = key.table;
      texts.back() += fmt::format(" {} ({}): {}", key.key, key.kind, key.text);
    }
    return texts;
  }();
  return paragraphs;
}

std::vector<std::string_view> description() {
  std::vector<std::string_view> paragraphs = {
      "Runs the steps of a plan in their order. A step has a command, a time limit, and a check (a query, a page, a port, a program) that shows that it has "
      "worked; it is tried again as often as the plan says. A step that fails ends the recovery, unless the plan goes on without it.",
      "What is done is written down before and after each step. Run again, the same command goes on with an incident that has not ended: steps that are done "
      "are checked again, and run again only when their check does not pass; what was interrupted runs again. What an interrupted run has left running is ended before "
      "anything is run; while something of it cannot be ended, nothing is.",
      "A line tells when a step starts and ends, and every ten seconds how far it is. Who, when, why, and each step's times go to a report, as JSON and as "
      "Markdown, and into the repository's log. The contacts are told through the configuration's [[alert]] channels and the plan's [notify] command."};
  for (const auto& text : key_paragraphs()) paragraphs.emplace_back(text);
  return paragraphs;
}

}  // namespace

const CommandSpec& recover_command() {
  static const CommandSpec command = {
      .verb = "recover",
      .summary = "run a recovery plan: database, application, interfaces, jobs, monitoring",
      .description = description(),
      .positionals = {{.name = "PLAN", .text = "The plan, a TOML file; recovery-plan.example.toml is one. Default: plan of [recovery] in the configuration.", .required = false, .completes = Completes::File}},
      .options = {{.name = "--dry-run", .value = "", .text = "Show what would be run, and which programs are not here. Runs nothing, and no check."},
                  {.name = "--scope", .value = "TEXT", .text = "What has failed, for the report."},
                  {.name = "--from", .value = "STEP", .text = "Begin with this step. Those ahead of it are not run, whatever their checks say; while the incident is open, a run without --from runs them."},
                  {.name = "--only", .value = "STEP", .text = "Run this step alone, also when it is done."},
                  {.name = "--restart", .value = "", .text = "Give up an incident that has not ended, end what it has left running, and begin a new one."},
                  {.name = "--report", .value = "DIR", .text = "Write the report here too.", .completes = Completes::Directory}},
      .exits = {{0, "Every step that was to run is done, and its check has passed."},
                {4, "The plan is wrong, or it has changed since an incident that has not ended; nothing was run."},
                {5, "Another recovery is running, or something that an interrupted one has left cannot be ended; nothing was run."},
                {6, "The journal cannot be written, and nothing was run; or a restore's own code."},
                {7, "As 6."},
                {8, "The journal is damaged, and nothing was run; or a restore's own code."},
                {9, "A restore's own code: PostgreSQL refused."},
                {10, "A step failed."},
                {130, "Interrupted; the same command goes on."}},
      .examples = {{"pgmint recover /etc/pgmint/recovery-plan.toml --dry-run", "What would be done."},
                   {"pgmint recover /etc/pgmint/recovery-plan.toml --scope \"disk of db1 failed\"", "In an emergency; and again, after an interruption."},
                   {"pgmint recover /etc/pgmint/recovery-plan.toml --from \"start the API\"", "The database is well; the rest is not."}},
      .see_also = {"restore", "restore-db", "doctor", "audit list"},
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
