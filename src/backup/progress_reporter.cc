#include "backup/progress_reporter.h"

#include <algorithm>

namespace pgmint::backup {
namespace {

constexpr std::chrono::milliseconds kInterval{200};

}  // namespace

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::Preflight:
      return "preflight";
    case Phase::Start:
      return "start";
    case Phase::Scan:
      return "scan";
    case Phase::Copy:
      return "copy";
    case Phase::Stop:
      return "stop";
    case Phase::WaitForWal:
      return "wait-for-wal";
    case Phase::Describe:
      return "describe";
    case Phase::Commit:
      return "commit";
  }
  return "unknown";
}

ProgressReporter::ProgressReporter(const ProgressCallback& callback, const CopyCounters& counters, Clock& clock)
    : callback_(callback), counters_(counters), clock_(clock), started_(clock.now()), phase_started_(started_) {}

void ProgressReporter::enter(Phase phase) {
  close_phase();
  phase_ = phase;
  tell("");
}

void ProgressReporter::expect(std::uint64_t bytes, std::uint64_t files) {
  total_bytes_ = bytes;
  total_files_ = files;
}

void ProgressReporter::tick(const std::string& detail) {
  if (clock_.now() - told_ >= kInterval) tell(detail);
}

std::vector<PhaseTime> ProgressReporter::finish() {
  close_phase();
  phase_.reset();
  return times_;
}

void ProgressReporter::tell(const std::string& detail) {
  told_ = clock_.now();
  if (!callback_ || !phase_) return;
  // A file that grew since the scan counts more than was expected of it.
  callback_({*phase_, std::min(counters_.bytes_done.load(), total_bytes_), total_bytes_, counters_.sealed.load(),
             counters_.files_done.load(), total_files_, told_ - started_, detail});
}

void ProgressReporter::close_phase() {
  const auto now = clock_.now();
  if (phase_) times_.push_back({*phase_, now - phase_started_});
  phase_started_ = now;
}

}  // namespace pgmint::backup
