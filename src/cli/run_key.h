// What a run of a command is remembered as, and the note that it leaves (service/run_notes.h).
#pragma once

#include <optional>

#include "cli/context.h"
#include "service/run_notes.h"

namespace pgmint::cli {

/// nullopt: this run leaves no note, being one of another command, or one that changes nothing (--dry-run).
std::optional<service::RunKey> run_key(const Arguments& arguments, const Configuration& configuration);

/// Where notes of runs are kept.
fs::path run_notes_directory(const fs::path& state_directory);

/// The note of the command that `context` runs. That it cannot be written is told, and never fails the run.
class NotedRun {
 public:
  explicit NotedRun(Context& context);
  void end(const Result<int>& result);

 private:
  std::optional<service::RunKey> key_;
  std::optional<service::RunNotes> notes_;
};

}  // namespace pgmint::cli
