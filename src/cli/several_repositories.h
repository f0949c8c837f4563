// One command line, and several repositories: what it is run for, in which order, and what becomes of the answers. docs/manual/several-repositories.md
#pragma once

#include <functional>

#include "base/cancel.h"
#include "cli/context.h"

namespace pgmint::cli {

/// Runs one command in a context of its own.
using RunCommand = std::function<Result<int>(Context&)>;

/// As the command's entry says; of one backup, which no two repositories share, the one that has it.
Repositories repositories_of(const Arguments& arguments);

/// The names of those that `arguments` are about, in the order of the configuration; none: the command is run once, as it stands, since it is about one, or
/// about none, or the configuration cannot be read, which it will say.
std::vector<std::string> repositories_meant(const Arguments& arguments);

/// Repositories::Each: runs it for all, whatever becomes of one. With --json the answers are elements of one document. @return 0, else the worst of what was
/// answered; the first failure, when there is one, once all have been told
Result<int> run_for_each(const Arguments& arguments, const std::vector<std::string>& names, CancelToken& cancel, const RunCommand& run);

/// Repositories::Fitting: until one has what is wanted. What one cannot give, because it is away, damaged or has none, the next may. @return the first failure
/// when all fail; NotFound's exit code when all agree on that
Result<int> run_for_fitting(const Arguments& arguments, const std::vector<std::string>& names, CancelToken& cancel, const RunCommand& run);

}  // namespace pgmint::cli
