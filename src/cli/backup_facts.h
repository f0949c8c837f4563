// What there is to say about a backup, from its log entry and its manifest root: for list, show, backup and status.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/output.h"
#include "repository/repository.h"
#include "repository/wal_coverage.h"

namespace pgmint::cli {

struct BackupFacts {
  repository::SnapEntry snap;
  std::string cluster;
  TimePoint committed{};
  std::optional<repository::Hold> hold;
  std::optional<TimePoint> held_since;
  /// nullopt: the root cannot be read; `problem` says why.
  std::optional<repository::ManifestRoot> root;
  std::string problem;

  /// When it began; without a root the time that its name tells.
  TimePoint started() const;
  /// nullopt: not known, since it was made elsewhere and imported, or its root cannot be read.
  std::optional<TimePoint::duration> took() const;
};

/// All live backups of a cluster, oldest first. @errors Storage (unreachable); a damaged manifest is not an error
Result<std::vector<BackupFacts>> backups_of(repository::Cluster& cluster);
/// One after the other, in no order, without `held_since`: the roots of thousands need not be in memory at once. @errors as above
Status for_each_backup(repository::Cluster& cluster, const std::function<void(const BackupFacts&)>& visit);
/// @errors as above
Result<BackupFacts> facts_of(repository::Cluster& cluster, const repository::LiveSnapshot& snapshot);

/// BACKUP of tests/integration/README.md; what is only known from a manifest that cannot be read is null.
Json to_json(const BackupFacts& backup);
/// Headings and one row of the table that list prints.
std::vector<std::string> backup_headings();
std::vector<std::string> backup_row(const BackupFacts& backup);

/// "held until 2027-11-22 00:00:00+00: court order".
std::string hold_text(const repository::Hold& hold);
/// "15.20".
std::string server_version_text(const repository::ManifestRoot& root);

/// Of a data directory; dumps and configurations need no WAL.
bool needs_wal(const BackupFacts& backup);
/// Names of the segments that hold the first and the last byte that the backup needs.
struct WalNames {
  std::string first, last;
};
std::optional<WalNames> wal_names(const BackupFacts& backup);

/// "2026-11-22 08:40:01+00": whole seconds, as --time takes it.
std::string readable_time(TimePoint time);

}  // namespace pgmint::cli
