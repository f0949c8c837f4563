#include "service/incident_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "crypto/hash.h"

namespace pgmint::service {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "pgmint recovery journal 1";
constexpr std::string_view kDigestLine = "\nsha256 ";
constexpr std::size_t kTextMax = 16U << 20;

constexpr StepState kStates[] = {StepState::Waiting, StepState::Running, StepState::Done, StepState::Failed, StepState::Skipped};

std::string_view incident_state_name(IncidentState state) {
  switch (state) {
    case IncidentState::Open: return "open";
    case IncidentState::Ended: return "ended";
    case IncidentState::GivenUp: return "given up";
  }
  return "open";
}

std::string dumped(const Json& json, int indent) { return json.dump(indent, ' ', false, Json::error_handler_t::replace); }

Json time_json(const std::optional<TimePoint>& time) { return time ? Json(format_rfc3339(*time)) : Json(nullptr); }

Json to_json(const Attempt& attempt) {
  Json json = {{"started", format_rfc3339(attempt.started)}, {"ended", time_json(attempt.ended)}};
  json["duration_s"] = attempt.ended ? Json(std::chrono::duration<double>(*attempt.ended - attempt.started).count()) : Json(nullptr);
  json["outcome"] = attempt.outcome;
  json["exit_code"] = attempt.exit_code ? Json(*attempt.exit_code) : Json(nullptr);
  json["target_was_free"] = attempt.target_was_free;
  return json;
}

Json to_json(const StepRecord& step) {
  Json attempts = Json::array();
  for (const auto& attempt : step.attempts) attempts.push_back(to_json(attempt));
  return {{"name", step.name},   {"group", group_name(step.group)}, {"state", state_name(step.state)}, {"command", step.command},
          {"check", step.check}, {"note", step.note},               {"digest", step.digest},           {"attempts", std::move(attempts)}};
}

Json to_json(const RunRecord& run) {
  return {{"actor", run.actor},       {"sudo_user", run.sudo_user},           {"ssh_client", run.ssh_client}, {"options", run.options},
          {"session", run.session},   {"started", format_rfc3339(run.started)}, {"ended", time_json(run.ended)}, {"outcome", run.outcome}, {"in_repository", run.logged}};
}

Json to_json(const IncidentRecord& record) {
  Json runs = Json::array(), steps = Json::array();
  for (const auto& run : record.runs) runs.push_back(to_json(run));
  for (const auto& step : record.steps) steps.push_back(to_json(step));
  return {{"incident", record.id},
          {"state", incident_state_name(record.state)},
          {"plan", record.plan_name},
          {"plan_file", record.plan_file},
          {"plan_sha256", record.plan_digest},
          {"scope", record.scope},
          {"began", format_rfc3339(record.began())},
          {"ended", record.state == IncidentState::Open || record.runs.empty() ? Json(nullptr) : time_json(record.runs.back().ended)},
          {"runs", std::move(runs)},
          {"steps", std::move(steps)},
          {"warnings", record.warnings},
          {"in_repository", record.in_repository()}};
}

std::optional<TimePoint> optional_time(const Json& json) {
  if (json.is_null()) return std::nullopt;
  const auto time = parse_time(json.get<std::string>());
  if (!time) throw std::runtime_error(time.error().describe());
  return *time;
}

TimePoint time_of(const Json& json) {
  const auto time = optional_time(json);
  if (!time) throw std::runtime_error("a time is missing");
  return *time;
}

StepRecord step_of(const Json& json) {
  StepRecord step;
  step.name = json.at("name").get<std::string>();
  step.digest = json.at("digest").get<std::string>();
  step.command = json.at("command").get<std::string>();
  step.check = json.at("check").get<std::string>();
  step.note = json.at("note").get<std::string>();
  const auto group = parse_group(json.at("group").get<std::string>());
  const auto state = std::ranges::find(kStates, json.at("state").get<std::string>(), state_name);
  if (!group || state == std::end(kStates)) throw std::runtime_error("unknown group or state");
  step.group = *group;
  step.state = *state;
  for (const auto& one : json.at("attempts")) {
    Attempt attempt{time_of(one.at("started")), optional_time(one.at("ended")), one.at("outcome").get<std::string>(), std::nullopt, one.at("target_was_free").get<bool>()};
    if (!one.at("exit_code").is_null()) attempt.exit_code = one.at("exit_code").get<int>();
    step.attempts.push_back(std::move(attempt));
  }
  return step;
}

RunRecord run_of(const Json& json) {
  RunRecord run;
  run.actor = json.at("actor").get<std::string>();
  run.sudo_user = json.at("sudo_user").get<std::string>();
  run.ssh_client = json.at("ssh_client").get<std::string>();
  run.options = json.at("options").get<std::string>();
  run.session = json.at("session").get<int>();
  run.started = time_of(json.at("started"));
  run.ended = optional_time(json.at("ended"));
  run.outcome = json.at("outcome").get<std::string>();
  run.logged = json.at("in_repository").get<bool>();
  return run;
}

IncidentRecord record_of(const Json& json) {
  IncidentRecord record;
  if (json.at("format").get<std::string>() != kFormat) throw std::runtime_error("another format");
  record.id = json.at("incident").get<std::string>();
  record.plan_name = json.at("plan").get<std::string>();
  record.plan_file = json.at("plan_file").get<std::string>();
  record.plan_digest = json.at("plan_sha256").get<std::string>();
  record.scope = json.at("scope").get<std::string>();
  const auto state = json.at("state").get<std::string>();
  bool known = false;
  for (const auto one : {IncidentState::Open, IncidentState::Ended, IncidentState::GivenUp})
    if (state == incident_state_name(one)) {
      record.state = one;
      known = true;
    }
  if (!known) throw std::runtime_error("unknown state");
  for (const auto& one : json.at("runs")) record.runs.push_back(run_of(one));
  for (const auto& one : json.at("steps")) record.steps.push_back(step_of(one));
  record.warnings = json.at("warnings").get<std::vector<std::string>>();
  return record;
}

std::string sum(std::string_view text) { return to_hex(crypto::sha256(as_bytes(text))); }

/// A cell of a table: no line end, no column.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n' || c == '\r') out += ' ';
    else if (c == '|' || c == '<' || c == '>' || c == '\\' || c == '`' || c == '*' || c == '_') out += fmt::format("\\{}", c);
    else out += c;
  }
  return out;
}

std::string second(TimePoint time) { return format_rfc3339(std::chrono::floor<std::chrono::seconds>(time)); }

/// Of an incident that has ended, how much of the plan was done.
std::string extent(const IncidentRecord& record) {
  if (record.state != IncidentState::Ended) return "";
  const auto done = static_cast<std::size_t>(std::ranges::count(record.steps, StepState::Done, &StepRecord::state));
  if (done == record.steps.size()) return ", every step done";
  return fmt::format(", {} {} done, {} left out", done, done == 1 ? "step" : "steps", record.steps.size() - done);
}

std::string took(const Attempt& attempt) { return attempt.ended ? human(*attempt.ended - attempt.started) : "not ended"; }

}  // namespace

std::string_view state_name(StepState state) {
  switch (state) {
    case StepState::Waiting: return "waiting";
    case StepState::Running: return "running";
    case StepState::Done: return "done";
    case StepState::Failed: return "failed";
    case StepState::Skipped: return "skipped";
  }
  return "waiting";
}

StepRecord* IncidentRecord::find(std::string_view step) {
  const auto found = std::ranges::find(steps, step, &StepRecord::name);
  return found == steps.end() ? nullptr : &*found;
}

bool IncidentRecord::is_through() const {
  return std::ranges::all_of(steps, [](const StepRecord& step) { return step.state == StepState::Done || step.state == StepState::Skipped; });
}

bool IncidentRecord::in_repository() const { return std::ranges::all_of(runs, &RunRecord::logged); }

std::string run_line(const IncidentRecord& record, const RunRecord& run, std::size_t limit) {
  std::string out = fmt::format("{} of plan {}: {}", record.id, record.plan_name, run.outcome.empty() ? "interrupted" : run.outcome);
  out += fmt::format("; by {}{}{}", run.actor, run.sudo_user.empty() ? "" : fmt::format(", sudo of {}", run.sudo_user), run.ssh_client.empty() ? "" : fmt::format(", from {}", run.ssh_client));
  out += fmt::format("; from {} to {}; scope: {}; steps:", second(run.started), run.ended ? second(*run.ended) : "?", record.scope.empty() ? "not stated" : record.scope);
  for (const auto& step : record.steps) {
    const auto in_run = [&](const Attempt& attempt) { return attempt.started >= run.started && (!run.ended || attempt.started <= *run.ended); };
    const auto count = std::ranges::count_if(step.attempts, in_run);
    if (count == 0) continue;
    const auto& last = *std::ranges::find_if(step.attempts.rbegin(), step.attempts.rend(), in_run);
    out += fmt::format(" {}: {} at {}, {}{};", step.name, last.outcome == "done" || last.outcome.starts_with("done,") ? last.outcome : last.outcome.empty() || last.outcome.starts_with("interrupted") ? "interrupted" : "failed",
                       second(last.started), took(last), count == 1 ? "" : fmt::format(", attempt {}", count));
  }
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  if (out.size() > limit) {
    auto end = limit;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0U) == 0x80U) --end;  // not inside a character
    out.resize(end);
  }
  return out;
}

std::string journal_text(const IncidentRecord& record) {
  Json json = {{"format", kFormat}};
  json.update(to_json(record));
  const auto text = dumped(json, 1);
  return fmt::format("{}{}{}\n", text, kDigestLine, sum(text));
}

Result<IncidentRecord> parse_journal(std::string_view text) {
  const auto damaged = [](std::string_view why) { return Error(Errc::Corruption, fmt::format("the journal is damaged: {}", why)); };
  if (text.size() > kTextMax) return damaged("it is too large");
  const auto line = text.rfind(kDigestLine);
  if (line == std::string_view::npos) return damaged("its end is missing");
  const auto body = text.substr(0, line);
  if (text.substr(line) != fmt::format("{}{}\n", kDigestLine, sum(body))) return damaged("its sum is another");
  try {
    return record_of(Json::parse(body));
  } catch (const std::exception& error) {
    return Error(Errc::Corruption, fmt::format("the journal is damaged: {}", error.what()));
  }
}

std::string report_json(const IncidentRecord& record) { return dumped(to_json(record), 2) + "\n"; }

std::string report_markdown(const IncidentRecord& record) {
  std::string out = fmt::format("# Incident {}: {}\n\n", record.id, cell(record.plan_name));
  out += fmt::format("- State: {}{}\n", incident_state_name(record.state), extent(record));
  out += fmt::format("- Scope: {}\n", record.scope.empty() ? "not stated" : cell(record.scope));
  out += fmt::format("- Began: {}\n", second(record.began()));
  if (!record.runs.empty() && record.runs.back().ended)
    out += fmt::format("- {}: {}, after {}\n", record.state == IncidentState::Open ? "Last seen" : "Ended", second(*record.runs.back().ended),
                       human(*record.runs.back().ended - record.began()));
  out += fmt::format("- Plan: {}, SHA-256 {}\n", cell(record.plan_file), record.plan_digest);
  out += fmt::format("- In the repository's log: {}\n", record.in_repository() ? "yes" : "no, only here");

  out += "\n## Who\n\n| started | ended | who | from | options | outcome |\n|---|---|---|---|---|---|\n";
  for (const auto& run : record.runs)
    out += fmt::format("| {} | {} | {}{} | {} | {} | {} |\n", second(run.started), run.ended ? second(*run.ended) : "interrupted", cell(run.actor),
                       run.sudo_user.empty() ? "" : fmt::format(", sudo of {}", cell(run.sudo_user)), run.ssh_client.empty() ? "-" : cell(run.ssh_client),
                       run.options.empty() ? "-" : cell(run.options), run.outcome.empty() ? "interrupted" : cell(run.outcome));

  out += "\n## Steps\n\n| step | group | state | attempt | took | outcome |\n|---|---|---|---|---|---|\n";
  for (const auto& step : record.steps) {
    if (step.attempts.empty())
      out += fmt::format("| {} | {} | {} | - | - | {} |\n", cell(step.name), group_name(step.group), state_name(step.state), cell(step.note));
    for (const auto& attempt : step.attempts)
      out += fmt::format("| {} | {} | {} | {} | {} | {}{} |\n", cell(step.name), group_name(step.group), state_name(step.state), second(attempt.started), took(attempt),
                         attempt.outcome.empty() ? "interrupted" : cell(attempt.outcome),
                         &attempt == &step.attempts.back() && !step.note.empty() ? "; " + cell(step.note) : "");
  }
  if (!record.warnings.empty()) out += "\n## Warnings\n\n";
  for (const auto& warning : record.warnings) out += fmt::format("- {}\n", cell(warning));
  return out;
}

}  // namespace pgmint::service
