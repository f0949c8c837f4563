#include "cli/retention_facts.h"

#include <algorithm>

#include "repository/expire.h"

namespace pgmint::cli {
namespace {

policy::BackupKind kind_of(repository::BackupType type) {
  switch (type) {
    case repository::BackupType::Full:
    case repository::BackupType::Incremental: break;
    case repository::BackupType::Logical: return policy::BackupKind::Logical;
    case repository::BackupType::Config: return policy::BackupKind::Configuration;
  }
  return policy::BackupKind::Cluster;
}

}  // namespace

bool ManifestFacts::sound(const repository::SessionId& id) const {
  const auto found = read.find(id);
  return found == read.end() || found->second.sound;
}

void ManifestFacts::note(const BackupFacts& backup) {
  const bool sound = backup.problem.empty() && (!backup.root || backup.root->bad_pages.empty());
  read.emplace(backup.snap.session, Fact{sound, backup.root ? backup.root->finished : backup.started()});
}

TimePoint ManifestFacts::published(const repository::LiveSnapshot& snapshot) const {
  if (snapshot.seq != 0) return snapshot.committed;
  // A rebuilt log brought it along and does not know when it was.
  const auto found = read.find(snapshot.snap.session);
  return found == read.end() ? snapshot.committed : found->second.published;
}

RetentionFacts retention_facts(const repository::LogState& state, const ManifestFacts& manifests) {
  RetentionFacts facts;
  std::vector<const repository::LiveSnapshot*> live;
  for (const auto& [id, snapshot] : state.snapshots()) live.push_back(&snapshot);
  std::ranges::sort(live, {}, [&](const auto* s) { return std::tuple(s->seq, manifests.published(*s), s->snap.name); });
  for (const auto* snapshot : live) {
    policy::BackupFact fact;
    fact.name = snapshot->snap.name;
    fact.time = manifests.published(*snapshot);
    fact.order = snapshot->seq;
    fact.kind = kind_of(snapshot->snap.type);
    fact.lineage = snapshot->snap.incarnation.value();
    fact.sound = manifests.sound(snapshot->snap.session);
    fact.clock_was_behind = repository::clock_was_behind(*snapshot);
    if (snapshot->hold) {
      fact.hold = snapshot->hold->reason;
      fact.hold_until = snapshot->hold->until;
    }
    fact.retain_until = snapshot->snap.retain_until;
    facts.sessions.push_back(snapshot->snap.session);
    facts.backups.push_back(std::move(fact));
  }
  return facts;
}

}  // namespace pgmint::cli
