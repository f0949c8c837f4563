// Checks as a list, for people and as JSON.
#pragma once

#include <vector>

#include "cli/context.h"
#include "policy/checks.h"

namespace pgmint::cli {

/// CHECK of tests/integration/README.md.
Json checks_json(const std::vector<policy::Check>& checks);
void print_checks(Output& out, const std::vector<policy::Check>& checks);

/// Of --check-only. @return 0, or the exit code of the refusal; without one, that of a precondition where a check has failed
Result<int> answer_checks(Context& context, const std::vector<policy::Check>& checks, const std::optional<Error>& refusal);

}  // namespace pgmint::cli
