#include "cli/report_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/audit_text.h"
#include "cli/opened_slots.h"
#include "cli/retention_facts.h"
#include "restore/measured.h"

namespace pgmint::cli {
namespace {

/// Beyond it a backup counts as kept for good.
constexpr std::chrono::days kHorizon(3653);

/// It says that something was brought back, or was tried to be. Looking at what there is, or at what would happen, brings nothing back.
bool is_restore(const repository::LogEntry& entry, const repository::AuditEntry& audit) {
  if (!audit.run) return audit.event == restore::kValidatedEvent;
  if (audit.event != "command" || (audit.run->operation != "restore" && audit.run->operation != "restore-db")) return false;
  return entry.command.find("--list") == std::string::npos && entry.command.find("--check-only") == std::string::npos;
}

Result<std::vector<MadeRestore>> restores_of(repository::Cluster& cluster) {
  std::vector<MadeRestore> made;
  TRY(cluster.log().for_each([&](std::uint64_t, const Result<repository::LogEntry>& entry) -> Status {
    const auto* audit = entry ? std::get_if<repository::AuditEntry>(&entry->content) : nullptr;
    if (audit == nullptr || !is_restore(*entry, *audit)) return ok();
    made.push_back({entry->time, entry->actor_label, audit->run ? entry->command : audit->event, audit->detail});
    return ok();
  }));
  std::ranges::reverse(made);
  if (made.size() > kRestoresShown) made.resize(kRestoresShown);
  return made;
}

Result<std::vector<KeptBackup>> kept_backups(const ClusterHealth& health, repository::Cluster& cluster, TimePoint now) {
  ManifestFacts manifests;
  std::map<repository::SessionId, const BackupFacts*> by_session;
  for (const auto& backup : health.backups) {
    manifests.note(backup);
    by_session.emplace(backup.snap.session, &backup);
  }
  const auto facts = retention_facts(cluster.state(), manifests);
  std::vector<KeptBackup> kept;
  std::vector<policy::Verdict> verdicts;
  std::vector<std::optional<std::chrono::local_days>> until(facts.backups.size());
  if (health.settings != nullptr) {
    const auto& settings = health.settings->retention;
    const auto zone = settings.timezone ? TRY(TimeZone::named(*settings.timezone)) : TimeZone::of_system();
    verdicts = policy::decide(facts.backups, settings.rules, now, zone);
    until = policy::kept_until(facts.backups, settings.rules, now, zone, kHorizon);
  }
  for (std::size_t i = 0; i < facts.sessions.size(); ++i) {
    const auto read = by_session.find(facts.sessions[i]);
    if (read == by_session.end()) continue;  // published while this ran
    KeptBackup one{*read->second, true, {}, until[i]};
    if (!verdicts.empty()) {
      one.stays = verdicts[i].keep;
      one.reasons = verdicts[i].reasons;
    }
    kept.push_back(std::move(one));
  }
  return kept;
}

}  // namespace

Result<RepositoryReport> report_facts(Context& context, const std::optional<std::string>& name) {
  RepositoryReport report;
  report.time = system_clock().now();
  auto& repository = *TRY(context.repository());
  report.repository = TRY(context.place())->store->describe();
  report.slots = TRY(repository.slots());
  auto clusters = TRY(clusters_to_show(context, name));
  report.opened = TRY(opened_slots(repository, clusters, TRY(context.state_directory())));
  for (const auto& cluster : clusters) {
    TRY(context.cancel().check());
    ClusterReport one;
    one.health = TRY(health_of(context, cluster->state().cluster_name(), cluster.get()));
    one.rules_known = one.health.settings != nullptr;
    one.backups = TRY(kept_backups(one.health, *cluster, report.time));
    one.restores = TRY(restores_of(*cluster));
    one.log_entries = cluster->state().next_seq();
    one.void_entries = cluster->state().void_entries().size();
    one.log_head = to_hex(cluster->state().head());
    report.clusters.push_back(std::move(one));
  }
  return report;
}

}  // namespace pgmint::cli
