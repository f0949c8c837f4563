#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/progress.h"
#include "cli/proofs.h"
#include "cli/wal_verify.h"
#include "repository/layout.h"
#include "repository/verify.h"

namespace pgmint::cli {
namespace {

using repository::VerifyDepth;

struct Reported {
  std::string kind, object, message;
  std::vector<std::string> backups;
};

struct Total {
  std::vector<Reported> findings;
  std::vector<std::string> warnings;
  std::uint64_t backups = 0, packs = 0, wal = 0, bytes = 0;
  std::uint64_t packs_read = 0, packs_opened = 0, packs_only_hashed = 0;
  repository::EarlierProofs left;  ///< packs that were not read
  std::uint64_t wal_read = 0;
  repository::EarlierWal wal_left;  ///< WAL that was not read
  bool wal_unread = false;  ///< of some cluster, whose WAL this key cannot open
};

VerifyDepth depth_of(const Arguments& arguments) {
  if (arguments.has("--decompress")) return VerifyDepth::Decompress;
  return arguments.has("--read-data") ? VerifyDepth::Open : VerifyDepth::Presence;
}

/// Which packs are read. @errors Usage
Result<repository::VerifyChoice> choice_of(const Arguments& arguments) {
  repository::VerifyChoice choice;
  choice.older_than = TRY(age_option(arguments, "--older-than"));
  choice.share = TRY(share_option(arguments, "--sample"));
  if (choice.everything() || depth_of(arguments) != VerifyDepth::Presence) return choice;
  const std::string option = choice.older_than ? "--older-than" : "--sample";
  return Error(Errc::Usage, fmt::format("{} says what to read, and nothing is read without --read-data or --decompress", option),
               Hint{fmt::format("pgmint verify --read-data {} {}", option, *arguments.get(option))});
}

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
  options.depth = depth_of(context.arguments());
  options.choice = TRY(choice_of(context.arguments()));
  options.remember = true;
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
  total.bytes += report.bytes_read;
  total.packs_read += report.packs_read;
  total.left.add(report.left);
  total.packs_opened += report.packs_opened;
  total.packs_only_hashed += report.packs_only_hashed;

  if (cluster.keys().map_key.is_zero()) {
    total.wal_unread = true;
    print_warning(fmt::format("cluster {}: a maintenance key cannot open WAL: it is not checked",
                              cluster.state().cluster_name()));
    return ok();
  }
  const auto backups = TRY(backups_of(cluster));
  WalVerifyOptions wal;
  wal.only = only;
  wal.depth = options.depth;
  wal.choice = options.choice;
  wal.remember = true;
  wal.workers = options.workers;
  wal.cancel = options.cancel;
  wal.progress = [&](std::uint64_t done, std::uint64_t all) { display.update({"wal", done, all, std::nullopt, ""}); };
  const auto checked = TRY(verify_wal(cluster, backups, wal));
  for (const auto& finding : checked.findings)
    total.findings.push_back({finding.kind, finding.object, finding.message, finding.backups});
  total.warnings.insert(total.warnings.end(), checked.warnings.begin(), checked.warnings.end());
  total.wal += checked.files;
  total.wal_read += checked.files_read;
  total.wal_left.add(checked.left);
  total.bytes += checked.bytes_read;
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

bool all_opened(const Total& total) { return total.packs_only_hashed == 0 && !total.wal_unread; }

/// The least that was shown of everything that was checked, now or (oldest_proof) before, for programs.
std::string_view proven(const Total& total, VerifyDepth depth) {
  if (depth == VerifyDepth::Presence || total.left.unproven_packs + total.wal_left.unproven_segments > 0) return "present";
  if (!all_opened(total)) return "committed";
  return depth == VerifyDepth::Open ? "opened" : "decompressed";
}

/// The same for people: no more than was done.
std::string what_was_done(const Total& total, VerifyDepth depth) {
  const bool packs_partly = total.left.packs + total.left.unproven_packs > 0;
  const bool wal_partly = total.wal_left.segments + total.wal_left.unproven_segments > 0;
  const auto of = packs_partly || wal_partly ? fmt::format("of {} and of {} ", packs_partly ? counted(total.packs_read, "pack") : "all packs", wal_partly ? counted(total.wal_read, "WAL file") : "all WAL") : "";
  const auto opened = fmt::format("every record {}{}", of, depth == VerifyDepth::Open ? "opened, none decompressed" : "opened and decompressed");
  if (all_opened(total)) return opened;
  const auto hashed = fmt::format("{} compared by SHA-256 alone, which this key cannot open", counted(total.packs_only_hashed, "pack"));
  return total.packs_opened == 0 ? hashed : fmt::format("{}, otherwise {}", hashed, opened);
}

/// "4 packs and 18 WAL files (18.7 MiB)"
std::string amount(std::uint64_t packs, std::uint64_t wal, std::uint64_t bytes) {
  std::vector<std::string> parts;
  if (packs > 0) parts.push_back(counted(packs, "pack"));
  if (wal > 0) parts.push_back(counted(wal, "WAL file"));
  return fmt::format("{} ({})", fmt::join(parts, " and "), human(ByteCount(bytes)));
}

std::optional<TimePoint> oldest_proof(const Total& total) {
  if (!total.left.oldest || !total.wal_left.oldest) return total.left.oldest ? total.left.oldest : total.wal_left.oldest;
  return std::min(*total.left.oldest, *total.wal_left.oldest);
}

/// And what was not done now.
std::string what_was_left(const Total& total) {
  const auto& packs = total.left;
  const auto& wal = total.wal_left;
  std::string text;
  if (packs.packs + wal.segments > 0)
    text += fmt::format("; not read now, found sound before: {}, the oldest {}", amount(packs.packs, wal.segments, packs.bytes + wal.bytes), ago(*oldest_proof(total)));
  if (packs.unproven_packs + wal.unproven_segments > 0)
    text += fmt::format("; not read now, and without a proof of this depth: {}", amount(packs.unproven_packs, wal.unproven_segments, packs.unproven_bytes + wal.unproven_bytes));
  return text;
}

void answer(Context& context, const Total& total) {
  const auto depth = depth_of(context.arguments());
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
                {"proven", good ? Json(proven(total, depth)) : Json(nullptr)},
                {"packs_only_hashed", total.packs_only_hashed},
                {"packs_read", total.packs_read},
                {"packs_skipped_as_proven", total.left.packs},
                {"bytes_skipped_as_proven", total.left.bytes},
                {"oldest_proof", proof_time_json(oldest_proof(total))},
                {"packs_unproven", depth == VerifyDepth::Presence ? total.packs : total.left.unproven_packs},
                {"wal_read", total.wal_read},
                {"wal_skipped_as_proven", total.wal_left.segments},
                {"wal_bytes_skipped_as_proven", total.wal_left.bytes},
                {"wal_unproven", depth == VerifyDepth::Presence ? total.wal : total.wal_left.unproven_segments},
                {"findings", std::move(findings)},
                {"warnings", total.warnings}});
  out.line(fmt::format("{}: {}, {}, {} checked{}",
                       good ? "no damage found" : fmt::format("{} FINDINGS", total.findings.size()),
                       counted(total.backups, "backup"), counted(total.packs, "pack"), counted(total.wal, "WAL file"),
                       depth == VerifyDepth::Presence
                           ? "; --read-data also reads their contents"
                           : fmt::format(", {} read: {}{}{}", human(ByteCount(total.bytes)),
                                         good ? "" : "but for these ", what_was_done(total, depth), what_was_left(total))));
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  TRY(choice_of(arguments));  // a wrong one is told before anything is opened
  context.look_past_copies();
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
                      "gaps. What is damaged is named, with the backups that it touches.",
                      "With --read-data every byte is read and every record opened: nothing was changed, cut off or "
                      "replaced since it was sealed, and in each place stands the record that the backups refer to. "
                      "Nothing is decompressed: what was spoilt in memory before it was sealed is authentic, and is not "
                      "noticed.",
                      "With --decompress every record is decompressed as well, its plaintext compared with the keyed sums "
                      "that maps and WAL files carry (which also shows that the records of one WAL file belong together), "
                      "and each pack with the SHA-256 that the log holds. It takes several times as long. That "
                      "PostgreSQL starts from a backup is shown by a restore, and by nothing else.",
                      "Which packs and which WAL segments were found sound, how far they were looked into, and when, is remembered in the log "
                      "(audit list), as far as it came also when it is interrupted; what was found damaged loses all such proofs, and is read "
                      "by every later run until it is sound. A proof of WAL is one of the object that was read: one that was written again under its "
                      "name, or touched, by the time that the store gives it, is read again.",
                      "--older-than 30d reads packs and WAL whose last proof of the asked depth is older than that, or "
                      "that have none. --sample 5% reads that share of the bytes of each cluster's packs, and of its WAL: what was never read first, then what was "
                      "read longest ago, so that twenty such runs read everything. With both, that share of all, out of what is due. What is "
                      "not read is not vouched for anew: the last line says how much that is, and how old its proofs are. Log, manifests, "
                      "maps, that every object is there with its size, and header, index and summary of every WAL file, are always checked in full; timeline "
                      "history and backup label files are always read. A proof counts as none when "
                      "clocks contradict its date.",
                      "A maintenance key opens no records: with it --read-data and --decompress compare packs with their "
                      "SHA-256, and WAL is not checked. The last line says which of these was done. A key that may not write into the log "
                      "verifies all the same, with a warning that nobody will remember it."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {{.name = "--backup", .value = "NAME", .text = "This backup alone, and the WAL that it needs."},
                  {.name = "--read-data", .value = "", .text = "Read and open everything, not only names and sizes."},
                  {.name = "--decompress", .value = "", .text = "Also decompress everything. Implies --read-data."},
                  {.name = "--older-than", .value = "PERIOD", .text = "Read only what was not proven within this: 30d, 12w, 6mo (of 30 days), 1y."},
                  {.name = "--sample", .value = "SHARE", .text = "Read this share of the bytes, the longest unproven: 5%, 0.5%."},
                  {.name = "--jobs", .value = "N", .text = "Threads. Default: the configured jobs, else the cores."}},
      .exits = {{1, "There is no such backup."}, {8, "Damage or missing WAL was found."}},
      .examples = {{"pgmint verify", "Fast: is everything there?"},
                   {"pgmint verify --read-data", "Thorough: is every byte what was sealed?"},
                   {"pgmint verify --decompress", "Everything short of a restore; monthly, say."},
                   {"pgmint verify --read-data --older-than 30d", "Daily: new packs at once, each of the others once in 30 days."},
                   {"pgmint verify --read-data --sample 5%", "A twentieth each night, however much there is."}},
      .see_also = {"audit verify", "repair", "status"},
      .only_reads = true,
      .leaves_note = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
