#include "cli/runbook_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/units.h"
#include "cli/recall_command.h"

namespace pgmint::cli {
namespace {

using service::Commands;
using service::Listing;
using service::Paragraph;
using service::Section;
using service::Table;

constexpr std::string_view kNothing = "-";

std::string or_dash(std::string_view text) { return std::string(text.empty() ? kNothing : text); }

/// Words as one types them.
std::string line(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : " ") + shell_quoted(word);
  return out;
}

class Writer {
 public:
  explicit Writer(const RunbookFacts& facts) : facts_(facts) {}

  service::Document write() {
    service::Document document;
    document.title = "Emergency runbook: PostgreSQL, pgmint";
    document.subtitle = fmt::format("Made {} by pgmint {} for {}. Make it anew after every change: pgmint runbook --to FILE.", readable_time(facts_.now), facts_.version, facts_.actor);
    document.sections = {first(), contacts(), proven(), plan(), choose()};
    for (const auto& cluster : facts_.clusters) document.sections.push_back(restore(cluster));
    for (auto section : {validate(), host_lost(), keys(), installation(), schedule(), trouble()}) document.sections.push_back(std::move(section));
    return document;
  }

 private:
  std::string own(std::vector<std::string> words) const {
    auto all = facts_.program;
    all.insert(all.end(), words.begin(), words.end());
    return line(all);
  }

  Section first() const {
    Section section{"1. First", {}};
    section.blocks.emplace_back(Table{{"", ""},
                                      {{"Identify the scope", "Which hosts, databases, services? Since when? What is the last moment at which all was well?"},
                                       {"Write down the time", "Of the failure, and of each step. pgmint recover writes its report by itself."},
                                       {"Tell the contacts", "They are below."},
                                       {"Change nothing yet", "A stopped server's data directory is evidence, and may hold the newest WAL. Do not delete it."}}});
    section.blocks.emplace_back(Commands{{{own({"status"}), "What could be brought back now, and to which moment"}, {own({"doctor"}), "What is not as it should be"}}});
    return section;
  }

  Section contacts() const {
    Section section{"2. Contacts", {}};
    if (facts_.contacts.empty()) {
      section.blocks.emplace_back(Paragraph{"NOBODY IS NAMED. Add [[contact]] tables with name, role, address, phone to the configuration.", true});
      return section;
    }
    Table table{{"name", "role", "address", "phone"}, {}};
    for (const auto& contact : facts_.contacts) table.rows.push_back({contact.name, or_dash(contact.role), or_dash(contact.address), or_dash(contact.phone)});
    section.blocks.emplace_back(std::move(table));
    return section;
  }

  Section proven() const {
    Section section{"3. What has been shown to work", {}};
    Table table{{"cluster", "last proven restore", "read and found sound", "recoverable from", "to", "could be lost now", "objective"}, {}};
    for (const auto& cluster : facts_.clusters) {
      if (facts_.repository_problem.empty() && !cluster.proven)
        section.blocks.emplace_back(Paragraph{fmt::format("Cluster {}: NO RESTORE HAS EVER BEEN PROVEN. The log knows of none. Restore it beside, on a quiet day.", cluster.name), true});
      const auto newest = cluster.windows.empty() ? WindowText{"NOTHING", "NOTHING"} : window_text(cluster.windows.back());
      table.rows.push_back({cluster.name, cluster.proven ? fmt::format("{}: {}", readable_time(cluster.proven->time), cluster.proven->what) : "NEVER", or_dash(cluster.proofs),
                            newest.from, newest.to, !cluster.exposure ? "everything" : cluster.exposure->count() == 0 ? "nothing" : "at most the last " + human(*cluster.exposure), human(cluster.objective)});
    }
    if (!facts_.repository_problem.empty())
      section.blocks.emplace_back(Paragraph{fmt::format("THE REPOSITORY COULD NOT BE READ when this was made: {}. What follows is from the configuration alone.", facts_.repository_problem), true});
    else section.blocks.emplace_back(std::move(table));
    for (const auto& cluster : facts_.clusters)
      for (const auto& problem : cluster.problems)
        section.blocks.emplace_back(Paragraph{fmt::format("Cluster {}: {}. Next: {}", cluster.name, problem.message, problem.hint), problem.breach});
    for (const auto& warning : facts_.warnings) section.blocks.emplace_back(Paragraph{fmt::format("{}. Next: {}", warning.message, warning.hint), false});
    return section;
  }

  Section plan() const {
    Section section{"4. The recovery plan", {}};
    section.blocks.emplace_back(Paragraph{"The order is: database services, core application, API services, background jobs, monitoring systems."});
    if (!facts_.plan) {
      section.blocks.emplace_back(Paragraph{"NO RECOVERY PLAN IS CONFIGURED: plan = FILE in [recovery] of the configuration. Until then: section 6, then the services by hand in this order.", true});
      return section;
    }
    if (!facts_.plan_problem.empty()) section.blocks.emplace_back(Paragraph{fmt::format("THE PLAN {} CANNOT BE USED: {}", *facts_.plan, facts_.plan_problem), true});
    section.blocks.emplace_back(Commands{{{own({"recover", *facts_.plan, "--dry-run"}), "What would be done"},
                                          {own({"recover", *facts_.plan, "--scope", "WHAT HAS FAILED"}), "Do it; the same command goes on after an interruption"}}});
    if (!facts_.plan_steps.empty()) section.blocks.emplace_back(Table{{"step", "group", "name", "seen to work when"}, facts_.plan_steps});
    return section;
  }

  Section choose() const {
    Section section{"5. Choose what to go back to", {}};
    Commands commands;
    for (const auto& cluster : facts_.clusters) {
      commands.lines.push_back({own({"list", cluster.name}), fmt::format("Backups of {}, and from when to when it can be recovered", cluster.name)});
      commands.lines.push_back({own({"wal", "status", cluster.name}), "Whether WAL is missing"});
    }
    commands.lines.push_back({own({"restore-db", "--list"}), "Dumps of databases"});
    commands.lines.push_back({own({"wal", "show", "FIRST", "LAST"}), "When a table was dropped: names of segments, as list shows them"});
    section.blocks.emplace_back(std::move(commands));
    section.blocks.emplace_back(Paragraph{"Data that was damaged by a mistake: a moment just before it. Hardware that failed: latest. By how much may be lost: production 1 h, staging 24 h, development 48 h."});
    if (!facts_.high.empty() || !facts_.medium.empty())
      section.blocks.emplace_back(Paragraph{fmt::format("restore-db brings back first: {}; then: {}; then the rest.", facts_.high.empty() ? "-" : fmt::format("{}", fmt::join(facts_.high, ", ")),
                                                        facts_.medium.empty() ? "-" : fmt::format("{}", fmt::join(facts_.medium, ", ")))});
    return section;
  }

  /// One that can be reached, as a person would write it. The newest commit cannot: a server stops at a time when it sees a later one.
  static std::optional<std::string> moment_of(const ClusterFacts& cluster) {
    if (cluster.windows.empty()) return std::nullopt;
    const auto& window = cluster.windows.back();
    const auto second = std::chrono::floor<std::chrono::seconds>(window.to);
    if (second > window.from && second < window.to) return format_postgres(second);
    if (window.to - window.from < std::chrono::microseconds(2)) return std::nullopt;
    return format_postgres(window.from + (window.to - window.from) / 2);
  }

  std::string server_program(const ClusterFacts& cluster, const std::string& name) const {
    return cluster.bin_directory ? (fs::path(*cluster.bin_directory) / name).string() : name;
  }

  Section restore(const ClusterFacts& cluster) const {
    Section section{fmt::format("6. Restore cluster {}", cluster.name), {}};
    const auto data = cluster.data_directory.empty() ? std::string("/DATA/DIRECTORY") : cluster.data_directory;
    const auto beside = data + ".restored";
    const auto moment = moment_of(cluster);
    Commands commands;
    commands.lines = {
        {own({"restore", cluster.name, "--to", beside, "--latest"}), "Everything, beside what is there"},
        {line({server_program(cluster, "pg_ctl"), "-D", beside, "-o", "-p 5499", "start"}), "Look at it, on another port: it fetches its WAL and recovers by itself"},
        moment ? Commands::One{own({"restore", cluster.name, "--to", beside, "--time", *moment}), "To a moment: put yours in place of this one, which could be reached when this was made"}
               : Commands::One{own({"restore", cluster.name, "--to", beside, "--immediate"}), "To the end of the backup: no later moment could be reached when this was made"},
        {line({server_program(cluster, "pg_ctl"), "-D", data, "-m", "fast", "stop"}), "In place: stop the server first"},
        {own({"restore", cluster.name, "--to", data, "--delta", "--latest"}), "In place: over the stopped cluster itself; its WAL is kept aside"},
        {line({server_program(cluster, "pg_ctl"), "-D", data, "start"}), "Start it (or by systemd, where that did)"}};
    section.blocks.emplace_back(Paragraph{fmt::format("Data directory {}; environment {}; newest backup {}. As user postgres, who owns the data directory.", or_dash(cluster.data_directory),
                                                      or_dash(cluster.environment), cluster.newest_backup ? fmt::format("{}, begun {}", *cluster.newest_backup, cluster.newest_started ? readable_time(*cluster.newest_started) : "?") : "NONE")});
    if (cluster.data_directory.empty()) section.blocks.emplace_back(Paragraph{"This cluster is not configured here: put its data directory in place of /DATA/DIRECTORY.", true});
    if (!cluster.newest_backup && facts_.repository_problem.empty()) section.blocks.emplace_back(Paragraph{"THERE IS NO BACKUP TO RESTORE FROM.", true});
    section.blocks.emplace_back(std::move(commands));
    if (cluster.newest_dump_database) {
      const auto& database = *cluster.newest_dump_database;
      section.blocks.emplace_back(Commands{{{own({"restore-db", "--cluster", cluster.name, "--db", database, "--backup", "latest", "--table", "TABLE"}), "One table that was lost, into the running server, from a dump"},
                                            {own({"restore-db", "--cluster", cluster.name, "--db", database, "--backup", "latest"}), "A whole database from a dump; the one that is there is kept under another name"}}});
    } else {
      section.blocks.emplace_back(Paragraph{"There is no dump of this cluster: one table comes back by restoring the cluster beside, and pg_dump -t from there."});
    }
    if (cluster.newest_config_backup)
      section.blocks.emplace_back(Commands{{{own({"export", *cluster.newest_config_backup, "--to", "/tmp/configuration"}), "The configuration of server and application, as files"}}});
    else section.blocks.emplace_back(Paragraph{"There is no configuration backup: pgmint backup --type config takes one."});
    return section;
  }

  Section validate() const {
    Section section{"7. Validate", {}};
    Commands commands;
    commands.lines.push_back({"psql -c \"SELECT pg_is_in_recovery()\"", "f: recovery has ended"});
    commands.lines.push_back({"psql -c \"SELECT count(*) FROM information_schema.tables\"", "Tables are there"});
    commands.lines.push_back({"pg_amcheck --all --heapallindexed", "Tables and indexes agree"});
    for (const auto& cluster : facts_.clusters) {
      commands.lines.push_back({own({"backup", cluster.name}), fmt::format("A new backup of {}, from which its new history begins", cluster.name)});
      commands.lines.push_back({own({"verify", cluster.name, "--read-data"}), "Every byte that its backups need is sound"});
    }
    commands.lines.push_back({own({"status"}), "All is well again"});
    section.blocks.emplace_back(std::move(commands));
    return section;
  }

  Section host_lost() const {
    Section section{"8. When this host is lost", {}};
    section.blocks.emplace_back(Paragraph{fmt::format("On another host: install pgmint and PostgreSQL of the same major version; bring the repository ({}) there, or reach it from there; write the configuration below to {}; "
                                                      "fetch the recovery key from where it is kept, and put it into a file of mode 0600.",
                                                      or_dash(facts_.repository), or_dash(facts_.configuration_file))});
    Commands commands;
    commands.lines.push_back({"PGMINT_RECOVERY_KEY_FILE=/root/recovery.key " + own({"key", "check"}), "Whether the recovery key opens the repository"});
    for (const auto& cluster : facts_.clusters)
      commands.lines.push_back({"PGMINT_RECOVERY_KEY_FILE=/root/recovery.key " + own({"restore", cluster.name, "--to", cluster.data_directory.empty() ? "/DATA/DIRECTORY" : cluster.data_directory, "--latest", "--keep-archiving"}),
                                fmt::format("Cluster {}, in its origin's place", cluster.name)});
    commands.lines.push_back({own({"key", "add", "--file", "/etc/pgmint/repository.key"}), "A key file for the new host, with PGMINT_RECOVERY_KEY_FILE as above"});
    section.blocks.emplace_back(std::move(commands));
    section.blocks.emplace_back(Listing{facts_.configuration_text});
    return section;
  }

  Section keys() const {
    Section section{"9. Where the keys are", {}};
    Table places{{"what", "where", "now"}, {}};
    for (const auto& key : facts_.keys) places.rows.push_back({key.what, key.path, key.state});
    if (!places.rows.empty()) section.blocks.emplace_back(std::move(places));
    Table slots{{"slot", "kind", "role", "made", "first opened", "note"}, {}};
    bool off_host = false, tried = false;
    for (const auto& slot : facts_.slots) {
      off_host = off_host || !slot.on_this_host;
      tried = tried || (!slot.on_this_host && slot.opened);
      slots.rows.push_back({slot.name, slot.kind, slot.role, slot.created ? readable_time(*slot.created) : "?", slot.on_this_host ? "-" : slot.opened ? readable_time(*slot.opened) : "NEVER", or_dash(slot.note)});
    }
    if (!facts_.slots.empty() && !off_host) section.blocks.emplace_back(Paragraph{"EVERY KEY IS A FILE ON A HOST: losing it loses the backups. pgmint key add --recovery", true});
    else if (!facts_.slots.empty() && !tried) section.blocks.emplace_back(Paragraph{"THE RECOVERY KEY HAS NEVER BEEN TRIED. PGMINT_RECOVERY_KEY_FILE=FILE pgmint key check", true});
    if (!facts_.slots.empty()) section.blocks.emplace_back(std::move(slots));
    section.blocks.emplace_back(Paragraph{"The recovery key was printed by pgmint init. Where the paper is: ______________________________ (write it here by hand)"});
    return section;
  }

  Section installation() const {
    Section section{"10. This installation", {}};
    section.blocks.emplace_back(Table{{"", ""}, {{"configuration", or_dash(facts_.configuration_file)}, {"repository", or_dash(facts_.repository)}, {"state directory", or_dash(facts_.state_directory)}}});
    Table clusters{{"cluster", "data directory", "connection", "environment", "may be lost", "retention"}, {}};
    for (const auto& cluster : facts_.clusters)
      clusters.rows.push_back({cluster.name, or_dash(cluster.data_directory), or_dash(cluster.connection), cluster.configured ? cluster.environment : "NOT CONFIGURED HERE", human(cluster.objective), or_dash(cluster.retention)});
    section.blocks.emplace_back(std::move(clusters));
    Table windows{{"cluster", "recoverable from", "to", "timeline"}, {}};
    for (const auto& cluster : facts_.clusters)
      for (const auto& window : cluster.windows) {
        const auto text = window_text(window);
        windows.rows.push_back({cluster.name, text.from, text.to, std::to_string(window.timeline.value())});
      }
    if (!windows.rows.empty()) section.blocks.emplace_back(std::move(windows));
    return section;
  }

  Section schedule() const {
    Section section{"11. Schedule", {}};
    if (facts_.schedule.empty()) section.blocks.emplace_back(Paragraph{"Nothing is scheduled by pgmint itself; look into cron and systemd timers."});
    else section.blocks.emplace_back(Table{{"what", "cluster", "when", "next"}, facts_.schedule});
    return section;
  }

  Section trouble() const {
    Section section{"12. Troubleshooting", {}};
    section.blocks.emplace_back(Commands{{{own({"doctor"}), "Configuration, repository, keys, servers, each with the next step"},
                                          {own({"key", "check"}), "A key is missing or wrong (exit 7)"},
                                          {own({"verify", "--read-data"}), "Corruption was found (exit 8): which backups are affected"},
                                          {own({"audit", "verify"}), "Whether anybody has changed the log"},
                                          {own({"audit", "list"}), "Who did what, and when"},
                                          {own({"repair", "--rebuild-log"}), "The log is damaged, and the backups are not"},
                                          {"df -h", "Space: of the repository, of the data directory, of /tmp"},
                                          {"pg_isready", "Whether a server answers"}}});
    return section;
  }

  const RunbookFacts& facts_;
};

}  // namespace

service::Document runbook(const RunbookFacts& facts) { return Writer(facts).write(); }

}  // namespace pgmint::cli
