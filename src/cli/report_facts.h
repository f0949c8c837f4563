// What `report` tells: gathered from the log, the manifests and the configuration.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/health.h"

namespace pgmint::cli {

struct KeptBackup {
  BackupFacts facts;
  bool stays = true;                             ///< by today's rules
  std::vector<std::string> reasons;
  std::optional<std::chrono::local_days> until;  ///< nullopt: not by its age, or beyond ten years
};

/// A restore that somebody made, or had validated.
struct MadeRestore {
  TimePoint time{};
  std::string actor, what, outcome;
};

struct ClusterReport {
  ClusterHealth health;
  bool rules_known = false;          ///< the configuration has the cluster
  std::vector<KeptBackup> backups;   ///< oldest first
  std::vector<MadeRestore> restores; ///< the newest kRestoresShown, newest first
  std::uint64_t log_entries = 0;
  std::size_t void_entries = 0;
  std::string log_head;              ///< hash of the newest entry
};
inline constexpr std::size_t kRestoresShown = 20;

struct RepositoryReport {
  TimePoint time{};
  std::string repository;
  std::vector<ClusterReport> clusters;
  std::vector<repository::SlotInfo> slots;
  std::map<std::string, TimePoint> opened;  ///< slots by when they were first seen to open
};

/// @errors Storage, Key, Configuration
Result<RepositoryReport> report_facts(Context& context, const std::optional<std::string>& cluster);

}  // namespace pgmint::cli
