#include "cli/recovery_plan_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/arguments.h"
#include "cli/config_value.h"
#include "cli/contacts.h"
#include "cli/nearest.h"

namespace pgmint::cli {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr std::size_t kPlanMax = 1U << 20;
constexpr std::size_t kStepsMax = 1000;
constexpr std::string_view kKeys = "pgmint recover --help lists the plan's keys";
constexpr auto kLimitMax = hours(7 * 24);
constexpr auto kRestoreLimit = hours(6);

/// restore = { ... }: pgmint's own commands, by their options.
struct RestoreDraft {
  std::optional<std::string> cluster, to, time, backup, db, from_db, host, port, user;
  std::vector<std::string> tables;
  bool latest = false, delta = false;
  std::optional<unsigned> jobs;
};

struct CheckDraft {
  std::optional<std::string> sql, connection, expect, http, ca_file, tcp;
  std::vector<std::string> command;
  std::optional<unsigned> status;
  std::optional<seconds> timeout;
};

struct StepDraft {
  service::RecoveryStep step;
  std::optional<service::StepGroup> group;
  std::optional<seconds> timeout;
  std::optional<RestoreDraft> restore;
  const toml::node* restore_node = nullptr;
  std::optional<CheckDraft> check;
  const toml::node* check_node = nullptr;
  bool unchecked = false;  ///< check = "none"
};

Result<std::vector<std::string>> command_of(const Value& value) {
  auto command = TRY(value.texts());
  if (command.empty()) return value.wrong("is empty: a program, and its arguments");
  return command;
}

/// A port may be written as a number.
Result<std::string> text_or_number(const Value& value) {
  if (const auto* number = value.node.as_integer()) return std::to_string(number->get());
  return value.text();
}

/// What a query gives, as text: also true, 5, and nothing at all.
Result<std::string> expected_value(const Value& value) {
  if (const auto* number = value.node.as_integer()) return std::to_string(number->get());
  if (const auto* boolean = value.node.as_boolean()) return std::string(boolean->get() ? "t" : "f");
  if (const auto* text = value.node.as_string()) return text->get();
  return value.wrong("must be a text in quotes, a number, true or false");
}

const std::vector<Key<RestoreDraft>>& restore_keys() {
  using T = RestoreDraft;
  static const std::vector<Key<T>> keys = {
      {"cluster", "text", "Of pgmint restore: the cluster. May be left out when one is configured.", [](T& t, const Value& v) { return assign(t.cluster, v.text()); }},
      {"to", "path", "Of pgmint restore: the data directory to write.", [](T& t, const Value& v) { return assign(t.to, v.absolute_path()); }},
      {"time", "text", "Of pgmint restore: stop at this moment. Default: the end of the archived WAL.", [](T& t, const Value& v) { return assign(t.time, v.text()); }},
      {"latest", "true or false", "Of pgmint restore: to the end of the archived WAL, said aloud.", [](T& t, const Value& v) { return assign(t.latest, v.boolean()); }},
      {"delta", "true or false", "Of pgmint restore: over what is there, which is lost but for its WAL.", [](T& t, const Value& v) { return assign(t.delta, v.boolean()); }},
      {"jobs", "number", "Threads.", [](T& t, const Value& v) { return assign(t.jobs, v.number(1, 256)); }},
      {"backup", "text", "The backup to begin with; of pgmint restore-db a name, or \"latest\".", [](T& t, const Value& v) { return assign(t.backup, v.text()); }},
      {"db", "text", "Of pgmint restore-db: the database to restore.", [](T& t, const Value& v) { return assign(t.db, v.text()); }},
      {"from_db", "text", "Of pgmint restore-db: its name in the dump, where that is another.", [](T& t, const Value& v) { return assign(t.from_db, v.text()); }},
      {"table", "list of tables", "Of pgmint restore-db: these alone.", [](T& t, const Value& v) { return assign(t.tables, v.texts()); }},
      {"host", "text", "Of pgmint restore-db: the server.", [](T& t, const Value& v) { return assign(t.host, v.text()); }},
      {"port", "number", "Of pgmint restore-db.", [](T& t, const Value& v) { return assign(t.port, text_or_number(v)); }},
      {"user", "text", "Of pgmint restore-db.", [](T& t, const Value& v) { return assign(t.user, v.text()); }},
  };
  return keys;
}

const std::vector<Key<CheckDraft>>& check_keys() {
  using T = CheckDraft;
  static const std::vector<Key<T>> keys = {
      {"sql", "text", "A query that must succeed. It runs read-only.", [](T& t, const Value& v) { return assign(t.sql, v.text()); }},
      {"expect", "text", "What the first value of the query's first row must be.", [](T& t, const Value& v) { return assign(t.expect, expected_value(v)); }},
      {"connection", "text", "Where the query runs. Default: the connection of the step's cluster, or of the only one configured.",
       [](T& t, const Value& v) { return assign(t.connection, v.text()); }},
      {"http", "URL", "A page that must answer; TLS 1.3, no redirection, no proxy.", [](T& t, const Value& v) { return assign(t.http, v.text()); }},
      {"status", "number", "What the page must answer. Default: 200.", [](T& t, const Value& v) { return assign(t.status, v.number(100, 599)); }},
      {"ca_file", "path", "Certificates to trust for the page, in PEM. Default: the system's.", [](T& t, const Value& v) { return assign(t.ca_file, v.absolute_path()); }},
      {"tcp", "host:port", "Where somebody must accept connections.", [](T& t, const Value& v) { return assign(t.tcp, v.text()); }},
      {"command", "list of texts", "A program that must exit 0.", [](T& t, const Value& v) { return assign(t.command, command_of(v)); }},
      {"timeout", "duration", "Of one look, at most 10 s. Default: 5 s.",
       [](T& t, const Value& v) { return assign(t.timeout, v.duration(seconds(1), service::kCheckLimitMax)); }},
  };
  return keys;
}

const std::vector<Key<StepDraft>>& step_keys() {
  using T = StepDraft;
  static const std::vector<Key<T>> keys = {
      {"name", "text", "Unique in the plan.", [](T& t, const Value& v) { return assign(t.step.name, v.text()); }},
      {"group", "text", "\"database\", \"application\", \"api\", \"jobs\" or \"monitoring\": in this order.",
       [](T& t, const Value& v) -> Status {
         const auto text = TRY(v.text());
         t.group = service::parse_group(text);
         if (t.group) return ok();
         std::vector<std::string> names;
         for (const auto group : service::kStepGroups) names.emplace_back(service::group_name(group));
         const auto meant = nearest(text, names);
         return v.wrong(fmt::format("must be one of {}, not \"{}\"{}", fmt::join(names, ", "), text, meant ? fmt::format("; the nearest is {}", *meant) : ""));
       }},
      {"command", "list of texts", "A program and its arguments, run without a shell.", [](T& t, const Value& v) { return assign(t.step.command, command_of(v)); }},
      {"restore", "table", "In place of command: pgmint restore, or pgmint restore-db; see below.",
       [](T& t, const Value& v) -> Status {
         t.restore_node = &v.node;
         t.restore.emplace();
         return read_table(*TRY(v.table()), *t.restore, restore_keys(), {v.place.source, fmt::format("restore of {}", v.place.table), v.place.other_file});
       }},
      {"check", "table", "How the step is seen to have worked, see below; or \"none\".",
       [](T& t, const Value& v) -> Status {
         t.check_node = &v.node;
         if (v.node.is_string()) {
           if (TRY(v.text()) != "none") return v.wrong("must be a table such as { tcp = \"host:port\" }, or \"none\"");
           t.unchecked = true;
           return ok();
         }
         t.check.emplace();
         return read_table(*TRY(v.table()), *t.check, check_keys(), {v.place.source, fmt::format("check of {}", v.place.table), v.place.other_file});
       }},
      {"timeout", "duration", "Of one attempt, check included. Default: \"10m\", of a restore \"6h\".",
       [](T& t, const Value& v) { return assign(t.timeout, v.duration(seconds(1), kLimitMax)); }},
      {"retries", "number", "How often again. Default: 0.", [](T& t, const Value& v) { return assign(t.step.retries, v.number(0, 1000)); }},
      {"retry_after", "duration", "After how long. Default: \"5s\".", [](T& t, const Value& v) { return assign(t.step.retry_after, v.duration(seconds(0), hours(24))); }},
      {"on_failure", "text", "\"stop\" (the default), or \"continue\" with the next step.",
       [](T& t, const Value& v) -> Status {
         const auto text = TRY(v.text());
         if (text != "stop" && text != "continue") return v.wrong(fmt::format("must be \"stop\" or \"continue\", not \"{}\"", text));
         t.step.goes_on = text == "continue";
         return ok();
       }},
      {"needs_confirmation", "true or false", "Ask before this step.", [](T& t, const Value& v) { return assign(t.step.needs_confirmation, v.boolean()); }},
  };
  return keys;
}

struct NotifyDraft {
  std::vector<std::string> command;
};
const std::vector<Key<NotifyDraft>>& notify_keys() {
  using T = NotifyDraft;
  static const std::vector<Key<T>> keys = {
      {"command", "list of texts", "Gets a JSON document on its standard input at the beginning, at the end of each group, when a step fails, and at the end.",
       [](T& t, const Value& v) { return assign(t.command, command_of(v)); }},
  };
  return keys;
}

/// The command of `restore = {...}`, checked as if it had been typed.
Result<std::vector<std::string>> restore_command(const RestoreDraft& draft, const PlanSurroundings& around) {
  std::vector<std::string> words;
  const auto option = [&](const char* name, const std::optional<std::string>& value) {
    if (value) words.insert(words.end(), {name, *value});
  };
  if (draft.db) {
    if (draft.to || draft.time || draft.latest || draft.delta) return Error(Errc::Configuration, "to, time, latest and delta do not go with db");
    words = {"restore-db", "--db", *draft.db};
    option("--backup", draft.backup.value_or("latest"));
    option("--from-db", draft.from_db);
    option("--cluster", draft.cluster);
    option("--host", draft.host);
    option("--port", draft.port);
    option("--user", draft.user);
    for (const auto& table : draft.tables) option("--table", table);
  } else {
    if (!draft.to) return Error(Errc::Configuration, "\"to\" says where the cluster goes, or \"db\" which database is restored");
    if (draft.from_db || draft.host || draft.port || draft.user || !draft.tables.empty())
      return Error(Errc::Configuration, "from_db, table, host, port and user go with db");
    if (draft.time && draft.latest) return Error(Errc::Configuration, "time and latest: one of them");
    words = {"restore"};
    if (draft.cluster) words.push_back(*draft.cluster);
    words.insert(words.end(), {"--to", *draft.to});
    option("--backup", draft.backup);
    if (draft.time) option("--time", draft.time);
    else words.emplace_back("--latest");
    if (draft.delta) words.emplace_back("--delta");
    if (draft.time) TRY(parse_time(*draft.time));
  }
  if (draft.jobs) option("--jobs", std::to_string(*draft.jobs));
  TRY(parse_arguments(words));
  if (draft.cluster && !around.configuration.clusters.empty() && around.configuration.find_cluster(*draft.cluster) == nullptr)
    return Error(Errc::Configuration, fmt::format("no cluster \"{}\" is configured", *draft.cluster));
  auto command = around.own_command;
  command.insert(command.end(), words.begin(), words.end());
  return command;
}

Result<std::string> connection_for(const CheckDraft& check, const std::optional<RestoreDraft>& restore, const PlanSurroundings& around) {
  if (check.connection) return *check.connection;
  const auto& clusters = around.configuration.clusters;
  if (restore && restore->cluster)
    if (const auto* settings = around.configuration.find_cluster(*restore->cluster)) return settings->connection;
  if (clusters.size() == 1) return clusters.front().connection;
  return Error(Errc::Configuration, "\"connection\" is missing: not exactly one cluster is configured");
}

Result<service::HealthCheck> check_of(const CheckDraft& draft, const std::optional<RestoreDraft>& restore, const PlanSurroundings& around) {
  const int kinds = (draft.sql ? 1 : 0) + (draft.http ? 1 : 0) + (draft.tcp ? 1 : 0) + (draft.command.empty() ? 0 : 1);
  if (kinds != 1) return Error(Errc::Configuration, "one of sql, http, tcp and command");
  if ((draft.expect || draft.connection) && !draft.sql) return Error(Errc::Configuration, "expect and connection go with sql");
  if ((draft.status || draft.ca_file) && !draft.http) return Error(Errc::Configuration, "status and ca_file go with http");
  service::HealthCheck check{service::DataDirectoryCheck{}, draft.timeout.value_or(service::kCheckLimitDefault)};
  if (draft.sql) check.look = service::SqlCheck{*draft.sql, TRY(connection_for(draft, restore, around)), draft.expect};
  else if (draft.http) check.look = service::HttpCheck{*draft.http, draft.status.value_or(200), draft.ca_file};
  else if (draft.tcp) check.look = TRY(service::parse_tcp(*draft.tcp));
  else check.look = service::CommandCheck{draft.command};
  TRY(service::check_syntax(check));
  return check;
}

Result<service::RecoveryStep> step_of(const toml::table& table, const Place& plan, std::size_t number, const PlanSurroundings& around) {
  const auto* name = table["name"].as_string();
  const Place place{plan.source, name == nullptr ? fmt::format("[[step]] {}", number) : fmt::format("[[step]] \"{}\"", name->get()), plan.other_file};
  StepDraft draft;
  TRY(read_table(table, draft, step_keys(), place));
  auto step = std::move(draft.step);
  const auto wrong = [&](const toml::node* node, std::string_view what, const Error& error) {
    return config_error(place, node == nullptr ? static_cast<const toml::node&>(table) : *node, fmt::format("{}{}: {}", what, place.table, error.describe()));
  };
  if (step.name.empty()) return config_error(place, table, fmt::format("{} lacks \"name\"", place.table));
  if (!draft.group) return config_error(place, table, fmt::format("{} lacks \"group\"", place.table));
  step.group = *draft.group;
  if (draft.restore) {
    if (!step.command.empty()) return config_error(place, *draft.restore_node, fmt::format("{} has both command and restore", place.table));
    auto command = restore_command(*draft.restore, around);
    if (!command) return wrong(draft.restore_node, "restore of ", command.error());
    step.command = std::move(*command);
    step.restores = true;
    if (draft.restore->to && !draft.restore->delta) step.restores_to = *draft.restore->to;
  }
  if (draft.check) {
    auto check = check_of(*draft.check, draft.restore, around);
    if (!check) return wrong(draft.check_node, "check of ", check.error());
    step.check = std::move(*check);
  } else if (draft.restore && draft.restore->to && !draft.unchecked) {
    step.check = service::HealthCheck{service::DataDirectoryCheck{*draft.restore->to}};
  } else if (!draft.unchecked) {
    return config_error(place, table, fmt::format("{} lacks \"check\": how is it seen to have worked? check = \"none\" where nothing shows it", place.table));
  }
  step.timeout = draft.timeout.value_or(draft.restore ? seconds(kRestoreLimit) : step.timeout);
  return step;
}

const std::vector<Key<service::RecoveryPlan>>& plan_keys() {
  using T = service::RecoveryPlan;
  static const std::vector<Key<T>> keys = {
      {"name", "text", "What is recovered. An incident goes on by this name.", [](T& t, const Value& v) { return assign(t.name, v.text()); }},
      {"scope", "text", "What is affected; --scope says more of an incident.", [](T& t, const Value& v) { return assign(t.scope, v.text()); }},
      {"order", "text", "\"as written\": the steps' order is meant, though it is not that of the groups.",
       [](T& t, const Value& v) -> Status {
         const auto text = TRY(v.text());
         if (text != "as written" && text != "by group") return v.wrong(fmt::format("must be \"by group\" or \"as written\", not \"{}\"", text));
         t.as_written = text == "as written";
         return ok();
       }},
      {"contact", "tables", "", [](T& t, const Value& v) { return read_contacts(t.contacts, v); }},
      {"notify", "table", "",
       [](T& t, const Value& v) -> Status {
         NotifyDraft notify;
         TRY(read_table(*TRY(v.table()), notify, notify_keys(), {v.place.source, "[notify]", v.place.other_file}));
         t.notify = std::move(notify.command);
         return ok();
       }},
      // Read by parse_recovery_plan(), which knows what steps take from around the plan.
      {"step", "tables", "", [](T&, const Value& v) -> Status { return v.tables() ? ok() : Status(v.wrong("must be tables [[step]]")); }},
  };
  return keys;
}

}  // namespace

Result<service::RecoveryPlan> parse_recovery_plan(std::string_view text, std::string_view source, const PlanSurroundings& surroundings) {
  if (text.size() > kPlanMax) return Error(Errc::Configuration, fmt::format("{}: larger than 1 MiB", source));
  const toml::parse_result parsed = toml::parse(text, std::string(source));
  if (!parsed)
    return Error(Errc::Configuration, fmt::format("{}:{}: {}", source, parsed.error().source().begin.line, parsed.error().description()));
  service::RecoveryPlan plan;
  const Place place{source, "the top level", kKeys};
  TRY(read_table(parsed.table(), plan, plan_keys(), place));
  if (plan.name.empty()) return Error(Errc::Configuration, fmt::format("{}: \"name\" is missing", source));
  if (const auto* steps = parsed.table()["step"].as_array()) {
    if (steps->size() > kStepsMax) return Error(Errc::Configuration, fmt::format("{}: more than {} steps", source, kStepsMax));
    for (std::size_t i = 0; i < steps->size(); ++i) plan.steps.push_back(TRY(step_of(*(*steps)[i].as_table(), place, i + 1, surroundings)));
  }
  TRY(service::check_plan(plan).context(std::string(source)));
  return plan;
}

std::vector<KeyDocumentation> documented_plan_keys() {
  std::vector<KeyDocumentation> out;
  document(out, "", plan_keys());
  document(out, "[[contact]]", contact_keys());
  document(out, "[notify]", notify_keys());
  document(out, "[[step]]", step_keys());
  document(out, "restore", restore_keys());
  document(out, "check", check_keys());
  return out;
}

}  // namespace pgmint::cli
