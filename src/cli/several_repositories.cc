#include "cli/several_repositories.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/exit_rules.h"

namespace pgmint::cli {
namespace {

Arguments for_repository(const Arguments& arguments, const std::string& name) {
  Arguments own = arguments;
  own.set("--repository", name);
  own.one_of_several = true;
  return own;
}

/// PostgreSQL's log is no place for headings.
bool has_heading(std::string_view verb) { return !verb.starts_with("wal push"); }

/// The command line, the user's wish: no other repository changes that.
bool is_about_all(const Error& error) { return error.code() == Errc::Usage || error.code() == Errc::Cancelled || error.code() == Errc::Internal; }

Error of_repository(Error error, const std::string& name) { return std::move(error).with_context(fmt::format("repository {}", name)); }

}  // namespace

Repositories repositories_of(const Arguments& arguments) {
  const auto usual = arguments.command->repositories;
  return usual == Repositories::Each && arguments.has("--backup") ? Repositories::Fitting : usual;
}

std::vector<std::string> repositories_meant(const Arguments& arguments) {
  std::vector<std::string> names;
  if (repositories_of(arguments) == Repositories::One) return names;
  const auto configuration = load_configuration(arguments);
  if (!configuration || configuration->repositories.size() < 2) return names;
  for (const auto& repository : configuration->repositories) names.push_back(repository.name);
  return names;
}

Result<int> run_for_each(const Arguments& arguments, const std::vector<std::string>& names, CancelToken& cancel, const RunCommand& run) {
  Output output(arguments.has("--json"));
  Json answers = Json::array();
  std::optional<Error> failed;
  int worst = 0;
  const auto began = system_clock().now();
  std::vector<std::string> done_in;
  for (const auto& name : names) {
    auto own = for_repository(arguments, name);
    own.began = began;
    own.done_in = done_in;
    Context context(std::move(own), cancel);
    Json answer;
    context.output().keep_document_in(&answer);
    if (has_heading(arguments.command->verb)) output.line(fmt::format("{}repository {}", name == names.front() ? "" : "\n", name));
    auto result = run(context);
    const int code = result ? *result : exit_code_for(arguments.command->verb, result.error());
    if (!result && answer.is_null()) answer = error_document(result.error());
    answers.push_back({{"repository", name}, {"exit_code", code}, {"answer", std::move(answer)}});
    if (result) {
      done_in.push_back(name);
      worst = std::max(worst, code);
      continue;
    }
    auto error = of_repository(std::move(result.error()), name);
    const bool ends_it = error.code() == Errc::Cancelled;
    if (!failed) failed = std::move(error);
    else print_error(error);
    if (ends_it) break;
  }
  output.document({{"repositories", std::move(answers)}});
  TRY(output.finish());
  if (failed) return *std::move(failed);
  return worst;
}

Result<int> run_for_fitting(const Arguments& arguments, const std::vector<std::string>& names, CancelToken& cancel, const RunCommand& run) {
  std::optional<Error> failed;
  std::string has_none;  ///< the last one that says that it lacks what is wanted
  for (const auto& name : names) {
    auto own = for_repository(arguments, name);
    own.others_are_away = failed.has_value() && failed->code() != Errc::NotFound;
    Context context(std::move(own), cancel);
    auto result = run(context);
    if (result && *result != exit_code(Errc::NotFound)) return result;
    if (result) {
      has_none = name;
      continue;
    }
    if (is_about_all(result.error())) return result;
    auto error = of_repository(std::move(result.error()), name);
    if (name != names.back()) log_warning("{}; looking in the next repository", error.describe());
    if (!failed) failed = std::move(error);
    else if (name == names.back()) log_warning("{}", error.describe());
  }
  if (!failed) return exit_code(Errc::NotFound);
  // Of WAL: an end that not all agree on may be no end.
  if (!has_none.empty())
    failed = std::move(*failed).with_hint(Hint{fmt::format("only where all repositories say that there is no more does it end; to end it where {0} does: add --repository {0}", has_none)});
  return std::move(*failed);
}

}  // namespace pgmint::cli
