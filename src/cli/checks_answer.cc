#include "cli/checks_answer.h"

#include <nlohmann/json.hpp>

namespace pgmint::cli {

Json checks_json(const std::vector<policy::Check>& checks) {
  Json array = Json::array();
  for (const auto& check : checks) array.push_back({{"name", check.name}, {"state", policy::check_state_name(check.state)}, {"detail", check.detail}});
  return array;
}

void print_checks(Output& out, const std::vector<policy::Check>& checks) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& check : checks) rows.push_back({std::string(policy::check_state_name(check.state)), check.name, check.detail});
  out.line(text_table({"STATE", "CHECK", "WHAT WAS FOUND"}, rows));
}

Result<int> answer_checks(Context& context, const std::vector<policy::Check>& checks, const std::optional<Error>& refusal) {
  const bool failed = refusal.has_value() || policy::any_failed(checks);
  context.output().document({{"ok", !failed}, {"checks", checks_json(checks)}});
  print_checks(context.output(), checks);
  if (refusal) print_error(*refusal);
  if (!failed) return 0;
  return refusal ? exit_code(refusal->code()) : exit_code(Errc::Precondition);
}

}  // namespace pgmint::cli
