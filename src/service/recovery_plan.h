// A recovery plan as data: what is to be done, in which order, and how each step is seen to have worked. Decision: docs/adr/0024-recovery-plans.md
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "service/contact.h"
#include "service/health_check.h"

namespace pgmint::service {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// In the order in which a service comes back.
enum class StepGroup { Database, Application, Api, Jobs, Monitoring };
inline constexpr StepGroup kStepGroups[] = {StepGroup::Database, StepGroup::Application, StepGroup::Api, StepGroup::Jobs, StepGroup::Monitoring};
std::string_view group_name(StepGroup group);
/// What it is called in the runbook's order.
std::string_view group_title(StepGroup group);
std::optional<StepGroup> parse_group(std::string_view text);

struct RecoveryStep {
  std::string name;
  StepGroup group = StepGroup::Database;
  std::vector<std::string> command;  ///< program first; empty: the step waits for its check
  bool restores = false;             ///< the command is this program's own restore: its exit codes mean what ours do
  std::string restores_to{};         ///< into this data directory, which must be free; empty: over what is there, or a database
  std::optional<HealthCheck> check;  ///< nullopt: the plan says that there is nothing to look at
  seconds timeout{600};              ///< of one attempt, check included
  unsigned retries = 0;
  seconds retry_after{5};
  bool goes_on = false;  ///< on_failure = "continue"
  bool needs_confirmation = false;

  bool operator==(const RecoveryStep&) const = default;
};

struct RecoveryPlan {
  std::string name, scope;
  std::vector<Contact> contacts;
  std::vector<std::string> notify;  ///< a command; empty: none
  bool as_written = false;          ///< the steps' order is meant
  std::vector<RecoveryStep> steps;

  const RecoveryStep* find(std::string_view step) const;
};

/// That there are steps, their names are unique, their groups in order, and each has something to do or to look at. @errors Configuration
Status check_plan(const RecoveryPlan& plan);

/// Of everything that says what the step does and when it has worked: another digest, another step.
std::string step_digest(const RecoveryStep& step);

/// The command as one would type it, passwords replaced by ***.
std::string shown_command(const std::vector<std::string>& command);

}  // namespace pgmint::service
