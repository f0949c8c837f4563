// Where incidents are kept on this host: a directory for each, with its journal, its report, and what its steps said.
#pragma once

#include <optional>
#include <vector>

#include "base/file.h"
#include "service/incident_record.h"

namespace pgmint::service {

/// Not thread-safe; writing is for whoever holds the lock.
class IncidentStore {
 public:
  explicit IncidentStore(fs::path directory) : directory_(std::move(directory)) {}

  /// One recovery at a time on this host, until the Fd closes. Makes the directory. @errors Busy, Io, Key
  Result<Fd> lock();
  /// The newest incident of the plan of that name, where it has not ended. @errors Corruption (its journal is damaged: named), Io, Key
  Result<std::optional<IncidentRecord>> open_incident(std::string_view plan_name) const;
  /// All that can be read, oldest first. @errors Io, Key
  Result<std::vector<IncidentRecord>> all() const;
  /// Makes a directory for an incident that begins now, and gives it its id. @errors Io, Key
  Status create(IncidentRecord& record, TimePoint now);
  /// Durable when it returns. @errors Io, Key
  Status save(const IncidentRecord& record) const;
  /// report.json and report.md into `to`, which is made. @errors Io, Key
  Status write_report(const IncidentRecord& record, const fs::path& to) const;

  fs::path directory_of(const IncidentRecord& record) const { return directory_ / record.id; }
  /// Of the last attempt at a step, counted from 1.
  fs::path output_of(const IncidentRecord& record, std::size_t step) const;

 private:
  fs::path directory_;
};

}  // namespace pgmint::service
