// pg_restore, fed with the part of an archive that one task needs.
#pragma once

#include <atomic>
#include <mutex>

#include "logical/client_programs.h"
#include "logical/load_plan.h"
#include "logical/stream_reader.h"
#include "postgres/connection.h"

namespace pgmint::logical {

/// May be used by several threads at once.
class Restorer {
 public:
  struct Settings {
    const repository::Cluster& cluster;
    repository::RecordLocation archive;  ///< the stream's index
    const DumpContents& contents;
    const ClientPrograms& programs;
    postgres::ConnectOptions connect;    ///< to the database that is to be filled
    bool no_owner = false;
    const CancelToken* cancel = nullptr;
  };
  explicit Restorer(Settings settings) : settings_(std::move(settings)) {}

  /// Reads of the archive only what the task needs. @errors Postgres (in pg_restore's own words), as StreamReader::read
  Status run(const LoadTask& task);
  /// Several at once; `tick` is called from this thread a few times a second meanwhile. @errors of the first that failed
  Status run(const std::vector<LoadTask>& tasks, const std::function<void()>& tick);
  /// What pg_restore said and yet succeeded, once each. Call when nothing runs.
  std::vector<std::string> warnings() const { return warnings_; }
  std::uint64_t bytes_done() const { return bytes_done_.load(); }
  /// Its connections go to another database from now on.
  void set_database(std::string database) { settings_.connect.database = std::move(database); }

 private:
  Result<bool> begins_read_only() const;
  void keep_warning(std::string text);

  Settings settings_;
  std::atomic<std::uint64_t> bytes_done_{0};
  std::mutex mutex_;
  std::vector<std::string> warnings_;
};

}  // namespace pgmint::logical
