// From when to when a cluster can be recovered, and which of its WAL is missing.
#pragma once

#include <optional>
#include <vector>

#include "cli/backup_facts.h"

namespace pgmint::cli {

/// Moments that can be reached without a hole: from the end of a backup to the newest commit that its WAL leads to.
struct Window {
  TimePoint from{}, to{};
  postgres::TimelineId timeline;
  postgres::Lsn end;  ///< where its WAL ends
  std::optional<postgres::CommitPoint> last_commit;
};

/// Its first and last whole second that --time takes, so that what was read can be typed; to the microsecond where there is none.
struct WindowText {
  std::string from, to;
};
WindowText window_text(const Window& window);

struct RecoveryFacts {
  repository::WalInventory inventory{postgres::WalSegmentSize::default_size()};
  std::vector<repository::WalRange> gaps;  ///< that a recovery from a live backup, or to a later one, would meet
  std::vector<Window> windows;             ///< oldest first
  std::optional<std::string> min, max;     ///< segment names over all timelines
  std::optional<Window> newest() const { return windows.empty() ? std::nullopt : std::optional(windows.back()); }
};

/// Of the cluster's present identity. @param listed  gets the listing of its WAL. @errors Storage, Key, Corruption
Result<RecoveryFacts> recovery_facts(repository::Cluster& cluster, const std::vector<BackupFacts>& backups,
                                     std::vector<repository::WalArchive::Listed>* listed = nullptr);

/// GAP and WAL of tests/integration/README.md.
Json gaps_json(const RecoveryFacts& facts);
Json wal_json(const RecoveryFacts& facts);
Json window_json(const Window& window);

}  // namespace pgmint::cli
