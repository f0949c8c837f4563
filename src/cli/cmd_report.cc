#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/health.h"
#include "cli/opened_slots.h"
#include "cli/report_facts.h"
#include "cli/slots_json.h"
#include "service/document.h"

namespace pgmint::cli {
namespace {

using service::Document;
using service::Paragraph;
using service::Section;
using service::Table;

std::string day_text(const std::optional<std::chrono::local_days>& day) {
  if (!day) return "";
  const std::chrono::year_month_day date(*day);
  return fmt::format("{:04}-{:02}-{:02}", int(date.year()), unsigned(date.month()), unsigned(date.day()));
}

std::string kept_text(const KeptBackup& kept, bool rules_known) {
  if (const auto& hold = kept.facts.hold; hold && !hold->until)
    return fmt::format("released: held since {}: {}", kept.facts.held_since ? readable_time(*kept.facts.held_since) : "?", hold->reason);
  if (kept.until) return day_text(kept.until);
  if (!rules_known) return "not known here";
  return kept.stays ? "a newer one takes its place, or beyond ten years" : "the next expire";
}

Json backup_json(const KeptBackup& kept) {
  auto json = to_json(kept.facts);
  json["kept_until"] = kept.until ? Json(day_text(kept.until)) : Json(nullptr);
  json["kept_because"] = kept.reasons;
  return json;
}

Section backups_section(const ClusterReport& report) {
  Section section{"Backups", {}};
  Table table{{"Backup", "Began", "Size", "Stored", "Kept until", "Because"}, {}};
  for (const auto& kept : report.backups)
    table.rows.push_back({kept.facts.snap.name, readable_time(kept.facts.started()), kept.facts.root ? human(ByteCount(kept.facts.root->total_bytes)) : "?",
                          kept.facts.root ? human(ByteCount(kept.facts.root->stored_bytes)) : "?", kept_text(kept, report.rules_known), fmt::format("{}", fmt::join(kept.reasons, "; "))});
  if (table.rows.empty())
    section.blocks.emplace_back(Paragraph{"There is no backup.", true});
  else
    section.blocks.emplace_back(std::move(table));
  if (report.rules_known)
    section.blocks.emplace_back(Paragraph{"Dates follow from today's rules, when nothing new comes; in a day, week, month or year that is not over a newer backup takes an older one's place."});
  else
    section.blocks.emplace_back(Paragraph{"This host's configuration does not name the cluster: by which rules its backups go is not known here.", true});
  return section;
}

Section state_section(const ClusterHealth& health) {
  Section section{"State", {}};
  Table table{{"", ""}, {}};
  table.rows.push_back({"state", std::string(health.state())});
  table.rows.push_back({"environment", health.settings == nullptr ? "not configured here" : std::string(environment_name(health.settings->environment))});
  const auto newest = health.recovery.newest();
  const auto window = newest ? window_text(*newest) : WindowText{};
  table.rows.push_back({"can be brought back to any moment", newest ? fmt::format("from {} to {}", window.from, window.to) : "no moment"});
  table.rows.push_back({"could be lost now", !health.exposure ? std::string("everything") : health.exposure->count() == 0 ? std::string("nothing") : fmt::format("at most the last {}", human(*health.exposure))});
  table.rows.push_back({"objective", human(health.objectives.rpo)});
  section.blocks.emplace_back(std::move(table));
  for (const auto& problem : health.problems) section.blocks.emplace_back(Paragraph{fmt::format("{}: {}", problem.breach ? "Breach" : "Warning", problem.message), problem.breach});
  return section;
}

Section proofs_section(const ClusterReport& report) {
  Section section{"Proofs", {}};
  section.blocks.emplace_back(Paragraph{fmt::format("Read back and found sound: {}.", proofs_text(report.health.proofs)), report.health.proofs.packs == 0});
  section.blocks.emplace_back(Paragraph{fmt::format("WAL read back and found sound: {}.", proofs_text(report.health.wal_proofs))});
  Table table{{"When", "By", "What", "Outcome"}, {}};
  for (const auto& restore : report.restores) table.rows.push_back({readable_time(restore.time), restore.actor, restore.what, restore.outcome});
  if (table.rows.empty())
    section.blocks.emplace_back(Paragraph{"No restore was ever made: nobody has shown that these backups bring anything back.", true});
  else
    section.blocks.emplace_back(std::move(table));
  return section;
}

Section gaps_section(const ClusterReport& report) {
  Section section{"WAL", {}};
  const auto& recovery = report.health.recovery;
  if (recovery.gaps.empty()) section.blocks.emplace_back(Paragraph{"Nothing is missing that a recovery could need."});
  for (const auto& gap : recovery.gaps) section.blocks.emplace_back(Paragraph{fmt::format("Missing: {}", repository::describe(gap, recovery.inventory.segment_size())), true});
  return section;
}

Section keys_section(const RepositoryReport& report) {
  Section section{"Keys and encryption", {}};
  section.blocks.emplace_back(Paragraph{"All objects are sealed before they leave this host: XAES-256-GCM with keys derived for each pack, names and sizes of files included; the log is signed (Ed25519) and chained (SHA-256)."});
  Table table{{"Slot", "Kind", "Role", "Made", "Age", "First seen to open"}, {}};
  for (const auto& slot : report.slots) {
    const auto opened = report.opened.find(slot.name);
    table.rows.push_back({slot.name, std::string(slot_kind(slot.provider)), std::string(repository::role_name(slot.role)), slot.unreadable() ? "unreadable" : readable_time(slot.created),
                          slot.unreadable() ? "" : human(std::chrono::duration_cast<std::chrono::seconds>(report.time - slot.created)), opened == report.opened.end() ? "never noted" : readable_time(opened->second)});
  }
  section.blocks.emplace_back(std::move(table));
  return section;
}

Section audit_section(const RepositoryReport& report) {
  Section section{"Audit log", {}};
  Table table{{"Cluster", "Entries", "Void", "Head"}, {}};
  for (const auto& cluster : report.clusters)
    table.rows.push_back({cluster.health.name, std::to_string(cluster.log_entries), std::to_string(cluster.void_entries), cluster.log_head});
  section.blocks.emplace_back(std::move(table));
  return section;
}

Document document_of(const RepositoryReport& report) {
  Document document;
  document.title = "Backup report";
  document.subtitle = fmt::format("{}, {}, as seen by {} with pgmint {}", report.repository, readable_time(report.time), actor_label(), PGMINT_VERSION);
  for (const auto& cluster : report.clusters)
    for (auto section : {state_section(cluster.health), backups_section(cluster), gaps_section(cluster), proofs_section(cluster)}) {
      section.title = fmt::format("Cluster {}: {}", cluster.health.name, section.title);
      document.sections.push_back(std::move(section));
    }
  document.sections.push_back(keys_section(report));
  document.sections.push_back(audit_section(report));
  return document;
}

Json json_of(const RepositoryReport& report) {
  Json clusters = Json::array();
  for (const auto& cluster : report.clusters) {
    Json backups = Json::array(), restores = Json::array(), problems = Json::array();
    for (const auto& kept : cluster.backups) backups.push_back(backup_json(kept));
    for (const auto& restore : cluster.restores) restores.push_back({{"time", format_rfc3339(restore.time)}, {"actor", restore.actor}, {"what", restore.what}, {"outcome", restore.outcome}});
    for (const auto& problem : cluster.health.problems) problems.push_back({{"code", problem.code}, {"message", problem.message}, {"breach", problem.breach}});
    const auto window = cluster.health.recovery.newest();
    clusters.push_back({{"name", cluster.health.name},
                        {"state", cluster.health.state()},
                        {"objective_s", cluster.health.objectives.rpo.count()},
                        {"exposure_s", cluster.health.exposure ? Json(cluster.health.exposure->count()) : Json(nullptr)},
                        {"recovery_window", window ? window_json(*window) : Json(nullptr)},
                        {"gaps", gaps_json(cluster.health.recovery)},
                        {"verified", proofs_json(cluster.health.proofs)},
                        {"wal_verified", proofs_json(cluster.health.wal_proofs)},
                        {"restores", std::move(restores)},
                        {"problems", std::move(problems)},
                        {"log", {{"entries", cluster.log_entries}, {"void", cluster.void_entries}, {"head", cluster.log_head}}},
                        {"backups", std::move(backups)}});
  }
  return {{"time", format_rfc3339(report.time)}, {"repository", report.repository}, {"slots", to_json(report.slots, report.opened)}, {"clusters", std::move(clusters)}};
}

/// Of several repositories each has its own: "backups.html" becomes "backups-near.html".
fs::path file_of(const Arguments& arguments, const fs::path& file) {
  if (!arguments.one_of_several) return file;
  return file.parent_path() / fmt::format("{}-{}{}", file.stem().string(), *arguments.get("--repository"), file.extension().string());
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  if (arguments.one_of_several && arguments.has("--html") && !arguments.has("--to"))
    return Error(Errc::Usage, "a page of each of several repositories needs --to FILE, or --repository", Hint{"pgmint report --html --to /tmp/backups.html"});
  const auto report = TRY(report_facts(context, arguments.position("CLUSTER")));
  const auto document = document_of(report);
  const auto text = arguments.has("--html") ? service::to_html(document) : service::to_markdown(document);
  context.output().document(json_of(report));
  if (const auto to = arguments.get("--to")) {
    const auto file = file_of(arguments, *to);
    TRY(write_file_durably(file, as_bytes(text), 0640));
    context.output().line(fmt::format("written to {}", file.string()));
  } else {
    context.output().line(text);
  }
  return 0;
}

}  // namespace

const CommandSpec& report_command() {
  static const CommandSpec command = {
      .verb = "report",
      .summary = "write what an auditor asks: what is kept and until when, what was proven, who can open it",
      .description = {"For each cluster: its state against its objective, every backup with the day until which the rules keep it and why, holds, gaps in the WAL, what was read back and "
                      "when, restores that were made. For the repository: key slots with their ages, encryption, the audit log's length and head.",
                      "Markdown on standard output; --html makes one page that needs nothing else, and prints well; --json has the same facts."},
      .positionals = {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {{.name = "--html", .value = "", .text = "An HTML page."}, {.name = "--to", .value = "FILE", .text = "Into this file; of several repositories into one each, with its name before the extension.", .completes = Completes::File}},
      .exits = {},
      .examples = {{"pgmint report --html --to /tmp/backups.html", "For those who do not read terminals."}},
      .see_also = {"status", "audit list", "expire"},
      .only_reads = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
