// Tells the caller how far the run is, and keeps the time that each phase took.
#pragma once

#include <optional>
#include <vector>

#include "backup/backup.h"
#include "backup/copy.h"

namespace pgmint::backup {

/// For the run's own thread only. Borrows all.
class ProgressReporter {
 public:
  ProgressReporter(const ProgressCallback& callback, const CopyCounters& counters, Clock& clock);

  /// The phase before is over.
  void enter(Phase phase);
  void expect(std::uint64_t bytes, std::uint64_t files);
  /// Tells the caller unless it was told within the last fifth of a second.
  void tick(const std::string& detail = "");
  /// The last phase is over. @return all phases in order
  std::vector<PhaseTime> finish();

 private:
  void tell(const std::string& detail);
  void close_phase();

  const ProgressCallback& callback_;
  const CopyCounters& counters_;
  Clock& clock_;
  TimePoint started_, phase_started_, told_{};
  std::optional<Phase> phase_;
  std::uint64_t total_bytes_ = 0, total_files_ = 0;
  std::vector<PhaseTime> times_;
};

}  // namespace pgmint::backup
