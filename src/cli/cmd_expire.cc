#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/retention_facts.h"
#include "policy/wal_floors.h"
#include "repository/collect.h"
#include "repository/expire.h"

namespace pgmint::cli {
namespace {

using repository::LogState;
using repository::SessionId;

struct Decided {
  std::vector<SessionId> sessions;
  std::vector<policy::BackupFact> facts;
  std::vector<policy::Verdict> verdicts;

  std::vector<SessionId> going() const {
    std::vector<SessionId> ids;
    for (std::size_t i = 0; i < sessions.size(); ++i)
      if (!verdicts[i].keep) ids.push_back(sessions[i]);
    return ids;
  }
};

/// One cluster's run.
class Expiry {
 public:
  Expiry(Context& context, repository::Cluster& cluster, const RetentionSettings& settings, TimeZone zone)
      : context_(context), cluster_(cluster), settings_(settings), zone_(std::move(zone)) {}

  Status run() {
    now_ = TRY(repository::expire_time(cluster_));
    TRY(for_each_backup(cluster_, [&](const BackupFacts& backup) { manifests_.note(backup); }));
    decided_ = decide(cluster_.state());
    TRY(list_wal());
    TRY(context_.cancel().check());
    return context_.arguments().has("--dry-run") ? plan() : write();
  }

  const std::string& name() const { return cluster_.state().cluster_name(); }
  const std::set<SessionId>& forgotten() const { return forgotten_; }
  const Decided& decided() const { return decided_; }

  void print(Output& out, bool dry_run) const {
    out.line(fmt::format("cluster {}: {} at {}, days of {}", name(), counted(decided_.facts.size(), "backup"), readable_time(now_), zone_.name()));
    std::vector<std::vector<std::string>> rows;
    for (std::size_t i = 0; i < decided_.facts.size(); ++i) rows.push_back({decided_.facts[i].name, word(i, dry_run), reason(i)});
    if (!rows.empty()) out.line(text_table({"BACKUP", "", "WHY"}, rows));
    const auto go = dry_run ? "would go" : "may go now";
    for (const auto& line : floors_.lines) out.line(fmt::format("WAL before {} {}", segment_at(line), go));
    for (const auto& line : floors_.window_lines)
      out.line(fmt::format("WAL before {} {}, but for what backups need to become consistent", segment_at(line), go));
    if (dry_run)
      out.line(fmt::format("collect would then remove {}, {} (WAL: {}, {})", counted(freed_.objects, "object"),
                           human(ByteCount(freed_.bytes)), counted(freed_.wal_objects, "object"), human(ByteCount(freed_.wal_bytes))));
    else if (!forgotten_.empty() || !floors_.lines.empty() || !floors_.window_lines.empty())
      out.line("next: pgmint collect removes what nothing needs any more");
  }

  Json json(bool dry_run) const {
    Json backups = Json::array(), floors = Json::array();
    for (std::size_t i = 0; i < decided_.facts.size(); ++i)
      backups.push_back({{"name", decided_.facts[i].name}, {"keep", stays(i)}, {"reasons", reasons(i)}});
    const auto add = [&](const std::vector<repository::FloorLine>& lines, std::string_view kind) {
      for (const auto& line : lines)
        floors.push_back({{"kind", kind},
                          {"system_identifier", std::to_string(line.system_id)},
                          {"incarnation", line.incarnation.value()},
                          {"timeline", line.timeline},
                          {"lsn", postgres::format(postgres::Lsn(line.lsn))}});
    };
    add(floors_.lines, "all");
    add(floors_.window_lines, "window");
    Json answer = {{"name", name()}, {"time", format_rfc3339(now_)}, {"timezone", zone_.name()}, {"backups", std::move(backups)}, {"floors", std::move(floors)}};
    if (dry_run)
      answer["collect"] = {{"objects", freed_.objects},
                           {"size_bytes", freed_.bytes},
                           {"wal_objects", freed_.wal_objects},
                           {"wal_size_bytes", freed_.wal_bytes}};
    return answer;
  }

  bool stays(std::size_t i) const { return !forgotten_.contains(decided_.sessions[i]); }
  std::vector<std::string> reasons(std::size_t i) const {
    if (!decided_.verdicts[i].keep && stays(i)) return {"others have changed the log meanwhile, and it is wanted now"};
    return decided_.verdicts[i].reasons;
  }
  std::string reason(std::size_t i) const { return fmt::format("{}", fmt::join(reasons(i), "; ")); }

 private:
  Decided decide(const LogState& state) const {
    Decided decided;
    auto facts = retention_facts(state, manifests_);
    decided.sessions = std::move(facts.sessions);
    decided.facts = std::move(facts.backups);
    decided.verdicts = policy::decide(decided.facts, settings_.rules, now_, zone_);
    if (context_.yes()) lift_minimum(decided);
    return decided;
  }

  /// With --yes the minimum is one.
  void lift_minimum(Decided& decided) const {
    auto rules = settings_.rules;
    rules.minimum = 1;
    const auto strict = policy::decide(decided.facts, rules, now_, zone_);
    for (std::size_t i = 0; i < strict.size(); ++i)
      if (decided.verdicts[i].by_minimum_only) decided.verdicts[i] = strict[i];
  }

  Status list_wal() {
    for (const auto& [system_id, incarnation] : cluster_.state().identities()) {
      const repository::WalIdentity identity{system_id, incarnation};
      repository::WalArchive archive(cluster_, identity);
      wal_.push_back({identity, TRY(repository::load_wal_inventory(archive).context("WAL"))});
    }
    return ok();
  }

  repository::FloorEntry floors(const LogState& state) const {
    std::map<SessionId, policy::WalBackup> backups;
    for (const auto& [id, snapshot] : state.snapshots())
      backups[id] = {manifests_.published(snapshot), manifests_.sound(id) && !repository::clock_was_behind(snapshot)};
    return policy::plan_floors(state, wal_, backups, policy::window_start(now_, settings_.wal));
  }

  Status plan() {
    std::vector<repository::EntryContent> entries;
    for (const auto& id : decided_.going()) {
      entries.emplace_back(repository::ForgetEntry{id});
      forgotten_.insert(id);
    }
    auto after = TRY(repository::as_if(cluster_, cluster_.state(), entries));
    floors_ = floors(after);
    after = TRY(repository::as_if(cluster_, std::move(after), {floors_}));
    freed_ = TRY(repository::count_collection(cluster_, after));
    return ok();
  }

  Status write() {
    const auto forgotten = TRY(repository::forget(cluster_, decided_.going(), [&](const LogState& state) {
      const auto ids = decide(state).going();
      return std::set<SessionId>(ids.begin(), ids.end());
    }));
    forgotten_.insert(forgotten.begin(), forgotten.end());
    TRY(context_.cancel().check());
    floors_ = TRY(repository::raise_floors(cluster_, [&](const LogState& state) { return floors(state); }));
    return ok();
  }

  std::string word(std::size_t i, bool dry_run) const {
    if (stays(i)) return "stays";
    return dry_run ? "would go" : "goes";
  }

  std::string segment_at(const repository::FloorLine& line) const {
    const auto wal = std::ranges::find_if(wal_, [&](const auto& one) {
      return one.identity.system_id == line.system_id && one.identity.incarnation == line.incarnation;
    });
    const auto size = wal == wal_.end() ? postgres::WalSegmentSize::default_size() : wal->inventory.segment_size();
    return postgres::segment_file_name(postgres::TimelineId(line.timeline), postgres::segment_of(postgres::Lsn(line.lsn), size), size);
  }

  Context& context_;
  repository::Cluster& cluster_;
  const RetentionSettings& settings_;
  TimeZone zone_;
  TimePoint now_{};
  ManifestFacts manifests_;
  Decided decided_;
  std::vector<policy::WalOfIdentity> wal_;
  std::set<SessionId> forgotten_;  ///< with --dry-run those that would be
  repository::FloorEntry floors_;
  repository::CollectCount freed_;
};

Result<int> run(Context& context) {
  const bool dry_run = context.arguments().has("--dry-run");
  const auto all = TRY(configured_clusters(context, context.arguments().position("CLUSTER")));
  Json forget = Json::array(), keep = Json::array(), clusters = Json::array();
  for (const auto* settings : all) {
    TRY(context.cancel().check());
    const auto zone = settings->retention.timezone
                          ? TRY(TimeZone::named(*settings->retention.timezone).context(fmt::format("[cluster.{}.retention]", settings->name)))
                          : TimeZone::of_system();
    auto cluster = existing_cluster(context, settings->name);
    if (!cluster && all.size() > 1 && cluster.failure().code() == Errc::Precondition) {
      context.output().line(fmt::format("cluster {}: nothing in the repository yet", settings->name));
      continue;
    }
    auto opened = TRY(std::move(cluster));
    Expiry expiry(context, *opened, settings->retention, zone);
    TRY(expiry.run().context(fmt::format("cluster {}", settings->name)));
    expiry.print(context.output(), dry_run);
    clusters.push_back(expiry.json(dry_run));
    for (std::size_t i = 0; i < expiry.decided().facts.size(); ++i) {
      const auto& name = expiry.decided().facts[i].name;
      if (expiry.stays(i)) keep.push_back({{"name", name}, {"reason", expiry.reason(i)}});
      else forget.push_back(name);
    }
  }
  context.output().document({{"dry_run", dry_run}, {"forget", std::move(forget)}, {"keep", std::move(keep)}, {"clusters", std::move(clusters)}});
  return 0;
}

}  // namespace

const CommandSpec& expire_command() {
  static const CommandSpec command = {
      .verb = "expire",
      .summary = "let old backups and their WAL go",
      .description =
          {"Decides by the rules of [cluster.NAME.retention] which backups stay and says of each why: by default the "
           "newest of each day for 30 days, of each week for 90, of each month for 365, and of each year for 7 years. Days "
           "are local ones, and a backup is of the day on which it was finished. Any backup restores alone, whatever else goes.",
           "What no rule keeps is forgotten in the log. WAL goes up to the start of the newest backup from before the last "
           "30 days (wal in the rules), so that any moment since can be recovered; of what is older only that stays which "
           "the backups of before need to become consistent. Objects are removed by collect.",
           "Held backups always stay, and so do the newest ones, however old, as many as minimum says. A damaged backup "
           "takes no other one's place. Ages are judged by the lowest of this host's clock, the store's, and the last entry "
           "of the log that is not the work of expire, collect or verify: when no backups are made any more, none are let go by age. "
           "Clocks that are more than an hour apart stop the command."},
      .positionals = {{.name = "CLUSTER",
                       .text = "Default: every configured one.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options = {{.name = "--dry-run",
                   .value = "",
                   .text = "Say what would go and why, and how much collect would then remove; change nothing."}},
      .exits = {{4, "Clocks disagree, or the repository holds nothing of the cluster yet; nothing was changed."}},
      .examples = {{"pgmint expire --dry-run", "Each backup, and why it would stay or go."},
                   {"pgmint expire", "What a nightly job runs after its backup, before pgmint collect."},
                   {"pgmint expire --yes", "Let go also what only minimum keeps, but for the newest backup."}},
      .see_also = {"collect", "hold", "list", "audit list"},
      .changes_repository = true,
      .leaves_note = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
