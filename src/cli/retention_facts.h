// A cluster's backups as the retention rules see them: from the log, and from what their manifests say beside it.
#pragma once

#include <map>
#include <vector>

#include "cli/backup_facts.h"
#include "policy/retention.h"

namespace pgmint::cli {

/// What manifests say. A backup that appears later has none yet, and is taken for sound.
struct ManifestFacts {
  struct Fact {
    bool sound = true;
    TimePoint published{};  ///< by the manifest, or by the backup's name
  };
  std::map<repository::SessionId, Fact> read;

  void note(const BackupFacts& backup);
  bool sound(const repository::SessionId& id) const;
  TimePoint published(const repository::LiveSnapshot& snapshot) const;
};

/// In the order in which they were published; `sessions` in the same.
struct RetentionFacts {
  std::vector<repository::SessionId> sessions;
  std::vector<policy::BackupFact> backups;
};
RetentionFacts retention_facts(const repository::LogState& state, const ManifestFacts& manifests);

}  // namespace pgmint::cli
