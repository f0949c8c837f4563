// The names that the runbook gives to dumps: mint_replica_20240120_010000.sql.gz.enc.
#pragma once

#include <optional>
#include <string>

#include "cli/backup_facts.h"

namespace pgmint::cli {

inline constexpr std::string_view kDumpSuffix = ".sql.gz.enc";

/// Database, and the moment that the backup began, by the machine's local time.
std::string dump_name(std::string_view database, TimePoint started);
/// The moment that such a name tells; nullopt: it is none.
std::optional<TimePoint> time_of_dump_name(std::string_view name);
/// "2024-01-20 01:00:00", local time.
std::string dump_time(TimePoint started);
/// "1.2GB", as `ls -h` has it.
std::string dump_size(std::uint64_t bytes);
/// The databases of a logical backup.
std::vector<std::string> dumped_databases(const repository::ManifestRoot& root);
/// The moment that all of them show, and they: {"at", "databases"}; null where each shows its own.
Json consistency_json(const repository::ManifestRoot& root);

struct FoundDump {
  repository::SessionId session;
  std::string database;
};
/// The dump of that name, with or without its suffix; nullopt: the cluster has none. @errors Storage; Precondition: two have it (one was
/// imported, or clocks went through that hour twice)
Result<std::optional<FoundDump>> find_dump(repository::Cluster& cluster, std::string_view name);

}  // namespace pgmint::cli
