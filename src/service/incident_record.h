// What became of one recovery: the journal that lets it go on after an interruption, and the report of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "service/recovery_plan.h"

namespace pgmint::service {

enum class StepState { Waiting, Running, Done, Failed, Skipped };
std::string_view state_name(StepState state);

struct Attempt {
  TimePoint started{};
  std::optional<TimePoint> ended;  ///< nullopt: it runs, or was interrupted without a word
  std::string outcome;             ///< "done", or why not
  std::optional<int> exit_code;    ///< of the command
  bool target_was_free = false;    ///< of a restore: what is in the directory now has come by this attempt
};

struct StepRecord {
  std::string name, digest;  ///< of the step as it was when it ran
  StepGroup group = StepGroup::Database;
  std::string command, check;  ///< as shown; check empty: none
  StepState state = StepState::Waiting;
  std::vector<Attempt> attempts;
  std::string note;  ///< "checked again", "taken from the journal: it has no check"
};

/// One call of pgmint recover.
struct RunRecord {
  std::string actor, sudo_user, ssh_client, options;
  int session = 0;  ///< getsid(): tells its own processes from those that moved away
  TimePoint started{};
  std::optional<TimePoint> ended;
  std::string outcome;
  bool logged = false;  ///< stands in the repository's log
};

enum class IncidentState { Open, Ended, GivenUp };

struct IncidentRecord {
  std::string id;
  std::string plan_name, plan_file, plan_digest;
  std::string scope;  ///< the plan's, and what --scope said
  IncidentState state = IncidentState::Open;
  std::vector<RunRecord> runs;
  std::vector<StepRecord> steps;  ///< in the plan's order
  std::vector<std::string> warnings;

  StepRecord* find(std::string_view step);
  TimePoint began() const { return runs.empty() ? TimePoint{} : runs.front().started; }
  bool is_through() const;  ///< each step is done, or was left out
  bool in_repository() const;  ///< each of its runs stands in the log
};

/// The journal's text: JSON and a line with its SHA-256, so that what was cut or changed anywhere is noticed.
std::string journal_text(const IncidentRecord& record);
/// @errors Corruption
Result<IncidentRecord> parse_journal(std::string_view text);

/// One run in a line, for a log: who, when, why, and what became of each step; at most `limit` bytes.
std::string run_line(const IncidentRecord& record, const RunRecord& run, std::size_t limit);

/// The report, for programs and for people.
std::string report_json(const IncidentRecord& record);
std::string report_markdown(const IncidentRecord& record);

}  // namespace pgmint::service
