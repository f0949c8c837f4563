#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/checks_answer.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "logical/client_programs.h"
#include "logical/load.h"
#include "restore/measured.h"
#include "service/validation_report.h"

namespace pgmint::cli {
namespace {

/// The event of the AUDIT entry that holds the baseline: {"query": microseconds}.
constexpr std::string_view kBaselineEvent = "validation baseline";

/// What is validated: the cluster, and the server.
struct Validated {
  ClusterPtr cluster;
  const ClusterSettings* settings = nullptr;  ///< null: not configured
  postgres::ConnectOptions connect;
  std::string name() const { return cluster->state().cluster_name(); }
};

std::vector<service::ExpectedAnswer> answers_for(const Configuration& configuration, const std::string& cluster) {
  std::vector<service::ExpectedAnswer> answers;
  for (const auto& query : configuration.validation_queries)
    if (query.cluster.value_or(cluster) == cluster)
      answers.push_back({query.name, query.sql, query.database.value_or(""), query.expect, query.expect_at_least, query.limit});
  return answers;
}

std::map<std::string, std::chrono::microseconds> baseline_of(const repository::LogState& state) {
  std::map<std::string, std::chrono::microseconds> baseline;
  const auto recorded = state.recent_audits(kBaselineEvent);
  if (recorded.empty()) return baseline;
  const auto json = Json::parse(recorded.back().detail, nullptr, false);
  if (!json.is_object()) return baseline;
  for (const auto& [name, value] : json.items())
    if (value.is_number_unsigned() && value.get<std::uint64_t>() < 1'000'000'000'000ULL) baseline[name] = std::chrono::microseconds(value.get<std::int64_t>());
  return baseline;
}

Result<int> record_baseline(Context& context, Validated& validated, service::ValidationRequest& request) {
  if (request.answers.empty()) return Error(Errc::Configuration, "there is no [[validation]] in the configuration to measure", Hint{"man pgmint.toml"});
  const auto timings = TRY(service::measure_answers(request));
  Json detail = Json::object(), answer = Json::array();
  for (const auto& timing : timings) {
    detail[timing.name] = timing.median.count();
    answer.push_back({{"name", timing.name}, {"median_s", std::chrono::duration<double>(timing.median).count()}});
    context.output().line(fmt::format("{}: {}", timing.name, human(timing.median)));
  }
  auto text = detail.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > repository::kAuditDetailMax) return Error(Errc::ResourceLimit, fmt::format("the baseline of {} queries is too long for the log", timings.size()));
  TRY(validated.cluster->log().append(validated.cluster->actor(), repository::AuditEntry{std::string(kBaselineEvent), std::move(text)}));
  context.output().document({{"cluster", validated.name()}, {"timings", std::move(answer)}});
  context.output().line("recorded as the baseline of later validations");
  return 0;
}

/// The backup whose label the server was restored with.
Result<std::string> restored_backup(Validated& validated, postgres::Connection& connection) {
  const Hint hint{"name the backup that was restored: --backup NAME"};
  auto label = connection.query("SELECT pg_catalog.pg_read_file('backup_label.old', 0, 65536, true)");
  if (!label && label.failure().code() == Errc::Cancelled) return std::move(label).failure();
  if (!label) return Error(Errc::Precondition, fmt::format("which backup the server was restored from cannot be told: {}", label.failure().describe()), hint);
  const auto& text = label->rows.at(0).at(0);
  if (!text) return Error(Errc::Precondition, "the server was not restored from a backup of its data directory: it has no backup_label.old", hint);
  const auto backups = TRY(backups_of(*validated.cluster));
  for (const auto& backup : backups)
    if (backup.root && needs_wal(backup) && as_text(backup.root->backup_label) == *text) return backup.snap.name;
  return Error(Errc::NotFound, fmt::format("no backup of cluster {} has the label that the server was restored with", validated.name()), hint);
}

/// What a dump knows of its databases.
Result<std::vector<service::ExpectedDatabase>> dumped_databases(Context& context, const Validated& validated, const repository::SessionId& session, const std::string& named) {
  const auto& arguments = context.arguments();
  const auto overview = TRY(logical::read_overview(*validated.cluster, session));
  auto source = arguments.get("--from-db").value_or(named);
  const auto target = arguments.get("--db");
  if (source.empty() && target) source = overview.databases.size() == 1 ? overview.databases.front() : *target;
  std::vector<service::ExpectedDatabase> databases;
  for (const auto& name : overview.databases) {
    if (!source.empty() && name != source) continue;
    const auto contents = TRY(logical::read_contents(*validated.cluster, overview, name, &context.cancel()));
    service::ExpectedDatabase database{name, target.value_or(name), true, 0, {}, true};
    for (const auto& entry : contents.entries) {
      if (entry.kind != "TABLE" && entry.kind != "MATERIALIZED VIEW") continue;
      const auto* data = contents.find_data(entry.schema, entry.name);
      database.listed.push_back({entry.schema, entry.name, data != nullptr ? data->rows : std::nullopt, {}});
    }
    database.tables = database.listed.size();
    databases.push_back(std::move(database));
  }
  if (databases.empty()) return Error(Errc::NotFound, fmt::format("backup {} has no database {}", overview.root.name, source), Hint{"--from-db names one of the backup, --db the one on the server"});
  if (target && databases.size() > 1) return Error(Errc::Usage, fmt::format("backup {} has several databases", overview.root.name), Hint{"--from-db says which of them --db was restored from"});
  return databases;
}

Status write_report(const fs::path& directory, const std::string& cluster, const service::ValidationReport& report) {
  TRY(create_directories(directory, 0755));
  const auto json = service::validation_json(report).dump(2, ' ', false, Json::error_handler_t::replace) + "\n", page = service::validation_page(report, cluster);
  TRY(write_file_durably(directory / "validation.json", as_bytes(json), 0644));
  return write_file_durably(directory / "validation.html", as_bytes(page), 0644);
}

/// A restore that was held against its backup is worth knowing on every host. Another look at the same server proves no other restore: it is told when it saw more.
void remember(Validated& validated, service::ValidationReport& report) {
  if (!report.is_restored || !report.unproven.empty()) return;
  PGMINT_ASSERT(report.restored);
  const auto unknown = report.count(policy::CheckState::Unknown);
  restore::Proof proof{report.backup, report.passed(), report.checks.size() - unknown, report.count(policy::CheckState::Warning), unknown, report.restored, report.server, report.replay};
  if (proof.passed) {
    const auto known = restore::proofs(validated.cluster->state());
    if (const auto* earlier = restore::proof_of_restore(known, report.backup, *report.restored)) {
      if (earlier->proof.checks >= proof.checks) {
        report.unproven = fmt::format("this restore of {} is proven already, by the validation of {}", report.backup, format_rfc3339(earlier->time));
        return;
      }
      if (earlier->proof.replay) proof.replay.reset();  // one recovery is one measure
    }
  }
  const auto logged = validated.cluster->log().append(validated.cluster->actor(), repository::AuditEntry{std::string(restore::kValidatedEvent), restore::format_proof(proof)});
  if (logged) return;
  report.unproven = "the validation could not be written to the log: " + logged.error().describe();
  print_warning(report.unproven);
}

void tell(Output& out, const service::ValidationReport& report) {
  print_checks(out, report.checks);
  for (const auto& check : report.checks)
    if (check.state == policy::CheckState::Failed) print_warning(fmt::format("{}: {}", check.name, check.detail));
  out.line(fmt::format("{}: {} on {}, {} ok, {} warnings, {} failed, {} not made (unknown); took {}", report.passed() ? "passed" : "FAILED", report.backup, report.server,
                       report.count(policy::CheckState::Ok), report.count(policy::CheckState::Warning), report.count(policy::CheckState::Failed),
                       report.count(policy::CheckState::Unknown), human(report.took)));
  if (!report.passed()) return;
  if (!report.is_restored) {
    out.line("no proof of a restore: that the server was made from this backup could not be shown (see origin)");
  } else if (!report.unproven.empty()) {
    out.line(fmt::format("no new proof of a restore: {}", report.unproven));
  }
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  const auto& configuration = *TRY(context.configuration());
  Validated validated;
  std::optional<FoundBackup> found;
  if (const auto backup = arguments.get("--backup")) {
    found = TRY(find_backup(context, *backup, arguments.position("CLUSTER")));
    validated.cluster = std::move(found->cluster);
  } else {
    validated.cluster = TRY(existing_cluster(context, arguments.position("CLUSTER")));
  }
  validated.settings = configuration.find_cluster(validated.name());
  const auto connection = arguments.get("--connection");
  if (!connection && !arguments.has("--record-baseline")) return Error(Errc::Usage, "--connection: which server?", Hint{"pgmint validate --connection \"host=/tmp port=5433 user=postgres dbname=postgres\""});
  validated.connect.conninfo = connection ? *connection : validated.settings != nullptr ? validated.settings->connection : "";

  service::ValidationRequest request{.connect = validated.connect, .databases = {}, .uncounted = {}, .newest = {}, .login = {}, .answers = answers_for(configuration, validated.name()),
                                     .baseline = baseline_of(validated.cluster->state()), .pg_amcheck = {}, .clock = validated.cluster->repository().environment().clock,
                                     .cancel = &context.cancel()};
  if (arguments.has("--record-baseline")) return record_baseline(context, validated, request);
  if (validated.settings != nullptr) {
    request.newest = validated.settings->validation.newest;
    request.login = validated.settings->validation.login;
    request.slower_than = validated.settings->validation.slower_than;
  }
  request.amcheck = !arguments.has("--no-amcheck");
  request.install_amcheck = arguments.has("--install-amcheck");

  auto server = TRY(postgres::Connection::open(validated.connect, &context.cancel()));
  if (!found) {
    const auto name = TRY(restored_backup(validated, server));
    const auto* snapshot = validated.cluster->state().find(name);
    PGMINT_ASSERT(snapshot != nullptr);  // it was listed from the same state
    found = FoundBackup{nullptr, snapshot->snap.session};
  }
  const auto root = TRY(repository::read_root(validated.cluster->store(), validated.cluster->context(), found->session, validated.cluster->keys()));
  request.root = &root;
  if (root.type == repository::BackupType::Logical) {
    request.databases = TRY(dumped_databases(context, validated, found->session, found->database));
  } else if (root.type == repository::BackupType::Config) {
    return Error(Errc::Precondition, fmt::format("{} holds configuration, not data", root.name), Hint{"pgmint diff compares configurations"});
  } else if (const auto contents = postgres::parse_contents_settings(root.settings)) {
    request.databases = service::recorded_databases(*contents);
    request.contents_complete = contents->problems.empty();
    request.uncounted = service::uncounted(*contents, validated.settings != nullptr ? validated.settings->validation.count : std::vector<std::string>());
  } else {
    request.contents_known = false;
  }
  const auto bin_directory = validated.settings != nullptr ? validated.settings->bin_directory.value_or("") : fs::path();
  if (const auto programs = logical::find_client_programs(bin_directory, server.version().major, &context.cancel()))
    if (const auto path = programs->program("pg_amcheck"); ::access(path.c_str(), X_OK) == 0) request.pg_amcheck = path;

  auto report = TRY(service::validate(request));
  remember(validated, report);
  if (const auto directory = arguments.get("--report")) TRY(write_report(*directory, validated.name(), report));
  auto document = service::validation_json(report);
  document["cluster"] = validated.name();
  context.output().document(document);
  tell(context.output(), report);
  return report.data_differ ? exit_code(Errc::Corruption) : report.refused ? exit_code(Errc::Postgres) : 0;
}

}  // namespace

const CommandSpec& validate_command() {
  static const CommandSpec command = {
      .verb = "validate",
      .summary = "hold a restored server against its backup, and prove the restore",
      .description = {"Connects to a running restored server and checks, one by one: that it was restored from this backup; that the tables that the backup had are there; that rows "
                      "are as many as the backup says; the newest created_at of each table; collations and extensions; tables and indexes by pg_amcheck; that the application can log "
                      "in; the queries of [[validation]] with their expected answers, and their times against a baseline.",
                      "Of a dump every table has to have exactly the rows that were dumped; a table more is a warning. Of a data directory, recovered to a later moment, the rows of tables named in count "
                      "must not have shrunk; estimates of the others are compared, which is never more than a warning, and says nothing below a thousand rows.",
                      "What could not be looked at is unknown, and never counted as good. When everything that could be looked at is well, and the server is known to be made from "
                      "the backup within the last 7 days, the log is told how many checks were made and how many could not be: status names the last proven restore, by the age of the "
                      "restore. One restore is proven once, and again only by more checks.",
                      "Nothing is written to the server, but for the extension amcheck with --install-amcheck."},
      .positionals = {{.name = "CLUSTER",
                       .text = "Whose backup it is. May be left out when one is configured, or the repository holds one.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options = {{.name = "--connection", .value = "CONNINFO", .text = "The restored server, as libpq's key=value pairs or a URI."},
                  {.name = "--backup", .value = "NAME", .text = "The backup that was restored. Default: the one whose label the server was restored with; of a dump it must be named."},
                  {.name = "--db", .value = "DB", .text = "Of a dump: the database on the server."},
                  {.name = "--from-db", .value = "DB", .text = "Of a dump: the database in the backup."},
                  {.name = "--report", .value = "DIR", .text = "Write validation.json and validation.html there, a page that needs nothing from elsewhere.", .completes = Completes::Directory},
                  {.name = "--no-amcheck", .value = "", .text = "Leave pg_amcheck out, which looks at tables and their B-tree indexes: it reads everything."},
                  {.name = "--install-amcheck", .value = "", .text = "Make the extension amcheck in each database where it is not there."},
                  {.name = "--record-baseline",
                   .value = "",
                   .text = "Run the queries of [[validation]] on the origin (or --connection), and record the medians of five runs as what later validations compare with."}},
      .exits = {{1, "There is no such backup."},
                {4, "Which backup was restored cannot be told."},
                {8, "Data differ: tables, rows, pg_amcheck, or the answer to a query."},
                {9, "The server, or the application's login, was refused."}},
      .examples = {{"pgmint validate --connection \"host=/tmp port=5433 user=postgres dbname=postgres\" --report /srv/report", "After a restore beside the origin."},
                   {"pgmint validate --record-baseline", "On the origin, once."},
                   {"pgmint validate --connection \"host=db2 dbname=postgres\" --backup 20261122T084001Z-logical --db inspection --from-db shop", "After restore-db."}},
      .see_also = {"restore", "restore-db", "plan", "status"},
      .repositories = Repositories::Fitting,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
