#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/wal_verify.h"
#include "repository/layout.h"
#include "repository/verify.h"

namespace pgmint::cli {
namespace {

struct Reported {
  std::string kind, object, message;
  std::vector<std::string> backups;
};

struct Total {
  std::vector<Reported> findings;
  std::vector<std::string> warnings;
  std::uint64_t backups = 0, packs = 0, wal = 0, bytes = 0;
};

/// What kind of object a name stands for, in one word.
std::string kind_of_object(std::string_view name) {
  if (name == repository::kFormatName) return "format";
  if (name.starts_with(repository::kKeysPrefix)) return "key-slot";
  for (const auto& [part, kind] : {std::pair<std::string_view, std::string_view>{"/log/", "log-entry"},
                                   {"/snap/", "manifest"},
                                   {"/p/", "pack"},
                                   {"/wal/", "wal-object"},
                                   {"/keyring/", "key-ring"}})
    if (name.find(part) != std::string_view::npos) return std::string(kind);
  return "object";
}

Status verify_cluster(Context& context, repository::Cluster& cluster, const std::optional<repository::SessionId>& only,
                      ProgressDisplay& display, Total& total) {
  repository::VerifyOptions options;
  options.only = only;
  options.read_data = context.arguments().has("--read-data");
  options.workers = TRY(context.jobs());
  options.cancel = &context.cancel();
  options.progress = [&](std::uint64_t done, std::uint64_t all) {
    display.update({"packs", done, all, std::nullopt, ""});
  };
  const auto report = TRY(repository::verify(cluster, options));
  for (const auto& finding : report.findings) {
    if (finding.severity == repository::Finding::Severity::Damage)
      total.findings.push_back({kind_of_object(finding.object), finding.object, finding.problem, finding.backups});
    else
      total.warnings.push_back(fmt::format("{}: {}", finding.object, finding.problem));
  }
  total.backups += report.snapshots;
  total.packs += report.packs;
  if (options.read_data) total.bytes += report.pack_bytes;

  if (cluster.keys().map_key.is_zero()) {
    print_warning(fmt::format("cluster {}: a maintenance key cannot open WAL: it is not checked",
                              cluster.state().cluster_name()));
    return ok();
  }
  const auto backups = TRY(backups_of(cluster));
  WalVerifyOptions wal;
  wal.only = only;
  wal.read_data = options.read_data;
  wal.workers = options.workers;
  wal.cancel = options.cancel;
  wal.progress = [&](std::uint64_t done, std::uint64_t all) { display.update({"wal", done, all, std::nullopt, ""}); };
  const auto checked = TRY(verify_wal(cluster, backups, wal));
  for (const auto& finding : checked.findings)
    total.findings.push_back({finding.kind, finding.object, finding.message, finding.backups});
  total.wal += checked.files;
  total.bytes += checked.bytes;
  return ok();
}

/// All clusters, the ones whose log does not open as a finding: damage in one must not hide the state of the others.
Status verify_all(Context& context, ProgressDisplay& display, Total& total) {
  auto& repository = *TRY(context.repository());
  for (const auto& part : TRY(repository.environment().store.list_parts(std::string(repository::kClustersPrefix)))) {
    const auto id = repository::ClusterId::parse(part);
    if (!id) continue;
    auto cluster = repository.open_cluster(*id);
    if (cluster)
      if (auto read = (*cluster)->log().refresh(); !read) cluster = std::move(read.error());
    if (!cluster) {
      if (cluster.error().code() == Errc::Key) continue;  // another host's
      if (cluster.error().code() != Errc::Corruption) return std::move(cluster.error());
      total.findings.push_back({"log", fmt::format("c/{}/log", part), cluster.error().describe(), {}});
      continue;
    }
    if (!(*cluster)->state().has_genesis()) continue;
    TRY(verify_cluster(context, **cluster, std::nullopt, display, total));
  }
  return ok();
}

void answer(Context& context, const Total& total) {
  Json findings = Json::array();
  auto& out = context.output();
  for (const auto& finding : total.findings) {
    findings.push_back({{"kind", finding.kind},
                        {"object", finding.object},
                        {"message", finding.message},
                        {"backups", finding.backups}});
    out.line(
        fmt::format("{}: {}{}", finding.object, finding.message,
                    finding.backups.empty() ? "" : fmt::format(" (backups: {})", fmt::join(finding.backups, ", "))));
  }
  for (const auto& warning : total.warnings) print_warning(warning);
  const bool good = total.findings.empty();
  out.document({{"ok", good},
                {"backups_checked", total.backups},
                {"packs_checked", total.packs},
                {"wal_segments_checked", total.wal},
                {"bytes_read", total.bytes},
                {"findings", std::move(findings)},
                {"warnings", total.warnings}});
  const bool read = context.arguments().has("--read-data");
  out.line(fmt::format(
      "{}: {}, {}, {} checked{}", good ? "no damage found" : fmt::format("{} FINDINGS", total.findings.size()),
      counted(total.backups, "backup"), counted(total.packs, "pack"), counted(total.wal, "WAL file"),
      read ? fmt::format(", {} read", human(ByteCount(total.bytes))) : "; --read-data also reads their contents"));
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  ProgressDisplay display(progress_mode(context));
  Total total;
  if (const auto backup = arguments.get("--backup")) {
    const auto found = TRY(find_backup(context, *backup, arguments.position("CLUSTER")));
    TRY(verify_cluster(context, *found.cluster, found.session, display, total));
  } else if (const auto name = arguments.position("CLUSTER")) {
    const auto cluster = TRY(existing_cluster(context, name));
    TRY(verify_cluster(context, *cluster, std::nullopt, display, total));
  } else {
    TRY(verify_all(context, display, total));
  }
  display.finish();
  TRY(context.cancel().check());
  answer(context, total);
  return total.findings.empty() ? 0 : exit_code(Errc::Corruption);
}

}  // namespace

const CommandSpec& verify_command() {
  static const CommandSpec command = {
      .verb = "verify",
      .summary = "check that every backup is whole",
      .description = {"Checks the log, the manifests and that every object is there with its size; WAL is checked for "
                      "gaps. With --read-data every byte is read, decrypted and checked.",
                      "What is damaged is named, with the backups that it touches."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {{.name = "--backup", .value = "NAME", .text = "This backup alone, and the WAL that it needs."},
                  {.name = "--read-data", .value = "", .text = "Read and open everything, not only names and sizes."},
                  {.name = "--jobs", .value = "N", .text = "Threads. Default: the configured jobs, else the cores."}},
      .exits = {{1, "There is no such backup."}, {8, "Damage or missing WAL was found."}},
      .examples = {{"pgmint verify", "Fast: is everything there?"},
                   {"pgmint verify --read-data", "Thorough: can everything be read?"}},
      .see_also = {"audit verify", "repair", "status"},
      .only_reads = true,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
