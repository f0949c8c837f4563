#include "cli/dump_run.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/scheduling.h"
#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/cluster_choice.h"
#include "cli/dump_names.h"
#include "cli/option_values.h"
#include "cli/progress.h"
#include "logical/dump.h"

namespace pgmint::cli {
namespace {

Json databases_json(const logical::DumpReport& report) {
  Json all = Json::array();
  for (const auto& database : report.databases)
    all.push_back({{"name", database.name},
                   {"dump", dump_name(database.name, report.started)},
                   {"bytes", database.length},
                   {"bytes_shared", database.shared},
                   {"bytes_resembling", database.resembling},
                   {"tables", database.tables},
                   {"rows", database.rows}});
  return all;
}

void describe(Output& out, const logical::DumpReport& report) {
  out.line(fmt::format("backup {} is complete", report.name));
  out.line(fmt::format("  took {}; {} of dumps, stored as {}", human(report.finished - report.started), human(ByteCount(report.total_bytes)),
                       human(ByteCount(report.stored_bytes))));
  if (!report.parent.empty()) out.line(fmt::format("  built on {}: what it has is not stored again", report.parent));
  for (const auto& database : report.databases)
    out.line(fmt::format("  {}: {}, {}, {}; as {}", database.name, counted(database.tables, "table"), counted(database.rows, "row"),
                         human(ByteCount(database.length)), dump_name(database.name, report.started)));
  if (!report.moment.empty()) out.line(fmt::format("  all of them show one moment: {}{}; roles and tablespaces are not part of it", report.moment, report.attempts > 1 ? fmt::format(" (in {} attempts)", report.attempts) : ""));
  else if (report.databases.size() > 1) out.line("  the databases were dumped one after the other: each is consistent in itself");
  out.line(fmt::format("restore it with: restore-db --db DB --backup {}", report.name));
}

std::string conninfo_value(std::string_view value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

}  // namespace

Result<postgres::ConnectOptions> connect_options(const Arguments& arguments, const std::string& configured) {
  postgres::ConnectOptions options;
  const auto host = arguments.get("--host");
  // Another host's port and user are not the configured one's.
  if (!host) options.conninfo = configured;
  const bool is_uri = options.conninfo.find("://") != std::string::npos;
  for (const auto& [option, keyword] : {std::pair("--host", "host"), std::pair("--port", "port"), std::pair("--user", "user")})
    if (const auto value = arguments.get(option)) {
      if (is_uri)
        return Error(Errc::Usage, fmt::format("{} {} has no place: the configured connection is a URI, which says it itself", option, *value),
                     Hint{"add --host, for another server; or write the connection as key=value pairs"});
      options.conninfo += fmt::format(" {}={}", keyword, conninfo_value(*value));
    }
  return options;
}

Result<postgres::SystemIdentifier> identifier_of(Context& context, const postgres::ConnectOptions& connect) {
  auto connection = TRY(postgres::Connection::open(connect, &context.cancel()));
  const auto text = TRY(connection.value("SELECT system_identifier::text FROM pg_catalog.pg_control_system()"));
  std::uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc())
    return Error(Errc::Postgres, fmt::format("the server says that its system identifier is {}", text));
  return postgres::SystemIdentifier(value);
}

Result<int> run_dump(Context& context, const std::string& name, const DumpChoice& choice) {
  wait_for_ones_turn();  // else pg_dump, woken for every piece that comes, takes the core from the server that sends it
  const auto cluster = TRY(cluster_for_writing(context, name, TRY(identifier_of(context, choice.connect))));
  ProgressDisplay display(progress_mode(context));
  logical::DumpRequest request{.cluster = *cluster, .connect = choice.connect};
  request.databases = choice.databases;
  request.schemas = choice.schemas;
  request.tables = choice.tables;
  request.consistent = choice.consistent;
  request.note = choice.note;
  request.bin_directory = choice.bin_directory;
  request.codec = TRY(configured_codec(context));
  request.workers = TRY(context.jobs());
  request.cancel = &context.cancel();
  request.progress = [&](const logical::DumpProgress& now) { display.update({"dump", now.bytes, 0, now.stored, now.database}); };
  auto result = logical::dump(request);
  display.finish();
  const auto report = TRY(std::move(result));

  for (const auto& warning : report.warnings) print_warning(warning);
  TRY(cluster->log().refresh());
  const auto* snapshot = cluster->state().find(report.name);
  if (snapshot == nullptr) return Error(Errc::Internal, fmt::format("backup {} was committed but is not in the log", report.name));
  const auto facts = TRY(facts_of(*cluster, *snapshot));
  auto json = to_json(facts);
  json["databases"] = databases_json(report);
  json["consistent"] = facts.root ? consistency_json(*facts.root) : Json(nullptr);
  json["warnings"] = report.warnings;
  context.output().document(json);
  describe(context.output(), report);
  return 0;
}

}  // namespace pgmint::cli
