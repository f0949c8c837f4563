// What a backup is made of, beside the content of its files: a data directory, or a backup that another repository has.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backup/extra_files.h"
#include "postgres/control_file.h"
#include "postgres/data_directory.h"
#include "postgres/server_facts.h"

namespace pgmint::backup {

/// When it was read, where by whoever reads it now.
struct OriginTimes {
  TimePoint started, finished;
};

/// Used by the owner of the run alone.
class Origin {
 public:
  virtual ~Origin() = default;
  /// Before anything is changed: can it be read at all? @errors NotFound, Key, Precondition
  virtual Status check() = 0;
  /// @errors as postgres::read_control_file; Storage
  virtual Result<postgres::ControlFileImage> control_file() = 0;
  /// @errors as postgres::scan_data_directory; Storage
  virtual Result<postgres::DirectoryScan> scan(const CancelToken* cancel) = 0;
  /// As read_outside_configuration(); of a stored backup also the timeline histories that it carries.
  virtual Result<std::vector<ExtraFile>> outside_configuration(const postgres::ServerFacts& server, std::vector<std::string>& warnings) = 0;
  /// As last_needed_record(), of a standby's.
  virtual Result<std::optional<postgres::Lsn>> last_needed_record(const postgres::ControlFile& control, postgres::TimelineId timeline, postgres::Lsn start,
                                                                  postgres::Lsn stop) = 0;
  /// The origin's own copy of a WAL segment; nullptr: it has none. @errors Io, Storage
  virtual Result<std::unique_ptr<OwnSegment>> own_segment(const postgres::ControlFile& control, const std::string& name, postgres::Lsn stop, std::uint32_t step) = 0;
  /// nullopt: it is read now, on this host, from a server that runs.
  virtual std::optional<OriginTimes> times() const { return std::nullopt; }
  /// Whether it has WAL that no repository may have, which a copy of it has to carry on.
  virtual bool carries_wal() const { return false; }
  /// Named as damaged when it was read, whether or not that can be seen again.
  virtual std::vector<repository::BadPage> bad_pages() const { return {}; }
  /// The host that it was read on; empty: this one.
  virtual std::string host() const { return ""; }
  /// For people, of what is copied: "20261127-020000-full of repository near"; empty: it is read now.
  virtual std::string description() const { return ""; }
};

std::unique_ptr<Origin> data_directory_origin(fs::path data_directory, Clock& clock);

}  // namespace pgmint::backup
