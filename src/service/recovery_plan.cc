#include "service/recovery_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "crypto/hash.h"

namespace pgmint::service {
namespace {

using Json = nlohmann::ordered_json;

struct CheckAsJson {
  Json operator()(const SqlCheck& c) const { return {"sql", c.query, c.connection, c.expect.value_or(""), c.expect.has_value()}; }
  Json operator()(const HttpCheck& c) const { return {"http", c.url, c.status, c.ca_file.value_or("")}; }
  Json operator()(const TcpCheck& c) const { return {"tcp", c.host, c.port}; }
  Json operator()(const CommandCheck& c) const { return {"command", c.command}; }
  Json operator()(const DataDirectoryCheck& c) const { return {"data-directory", c.path}; }
};

/// What a shell takes for one word.
std::string quoted(const std::string& word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("/._-+=:,@%*").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, plain)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// "--password", "-secret", "--api-token": what follows is not for everybody's eyes.
bool names_a_secret(std::string_view word) {
  if (!word.starts_with('-')) return false;
  return std::ranges::any_of(std::array<std::string_view, 4>{"password", "passphrase", "secret", "token"}, [&](std::string_view end) { return word.ends_with(end); });
}

}  // namespace

std::string_view group_name(StepGroup group) {
  switch (group) {
    case StepGroup::Database: return "database";
    case StepGroup::Application: return "application";
    case StepGroup::Api: return "api";
    case StepGroup::Jobs: return "jobs";
    case StepGroup::Monitoring: return "monitoring";
  }
  return "database";
}

std::string_view group_title(StepGroup group) {
  switch (group) {
    case StepGroup::Database: return "Database services";
    case StepGroup::Application: return "Core application";
    case StepGroup::Api: return "API services";
    case StepGroup::Jobs: return "Background jobs";
    case StepGroup::Monitoring: return "Monitoring systems";
  }
  return "Database services";
}

std::optional<StepGroup> parse_group(std::string_view text) {
  for (const auto group : kStepGroups)
    if (text == group_name(group)) return group;
  return std::nullopt;
}

const RecoveryStep* RecoveryPlan::find(std::string_view step) const {
  const auto found = std::ranges::find(steps, step, &RecoveryStep::name);
  return found == steps.end() ? nullptr : &*found;
}

Status check_plan(const RecoveryPlan& plan) {
  if (plan.steps.empty()) return Error(Errc::Configuration, "the plan has no [[step]]");
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const auto& step = plan.steps[i];
    if (plan.find(step.name) != &step) return Error(Errc::Configuration, fmt::format("two steps are named \"{}\"", step.name));
    if (step.command.empty() && !step.check) return Error(Errc::Configuration, fmt::format("step \"{}\" has neither a command nor a check", step.name));
    if (i > 0 && !plan.as_written && step.group < plan.steps[i - 1].group)
      return Error(Errc::Configuration,
                   fmt::format("step \"{}\" ({}) stands behind \"{}\" ({}): the order is database, application, api, jobs, monitoring", step.name,
                               group_name(step.group), plan.steps[i - 1].name, group_name(plan.steps[i - 1].group)),
                   Hint{"move it, or say order = \"as written\" at the top of the plan"});
  }
  return ok();
}

std::string step_digest(const RecoveryStep& step) {
  const Json what = {step.name, group_name(step.group), step.command, step.check ? std::visit(CheckAsJson{}, step.check->look) : Json(nullptr)};
  return to_hex(crypto::sha256(as_bytes(what.dump(-1, ' ', false, Json::error_handler_t::replace))));
}

std::string shown_command(const std::vector<std::string>& command) {
  std::string out;
  bool secret = false;
  for (const auto& word : command) {
    out += (out.empty() ? "" : " ") + (secret ? std::string("***") : quoted(redact(word)));
    secret = names_a_secret(word);
  }
  return out;
}

}  // namespace pgmint::service
