#include "service/validation_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "service/document.h"

namespace pgmint::service {
namespace {

using Json = nlohmann::ordered_json;

double seconds(std::chrono::microseconds time) { return std::chrono::duration<double>(time).count(); }

constexpr std::string_view kStyle =
    "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #bbb;overflow-wrap:anywhere}"
    "td.state{font-weight:600;white-space:nowrap}.failed{color:#a00000}.warning{color:#7a4b00}.unknown{color:#555}.ok{color:#0b5d1e}"
    ".outcome{font-size:1.2rem;font-weight:700;border:2px solid;padding:.5rem 1rem;display:inline-block}"
    "@media print{body{margin:0;max-width:none;font-size:11pt}tr{break-inside:avoid}}";

}  // namespace

Json validation_json(const ValidationReport& report) {
  Json checks = Json::array();
  for (const auto& check : report.checks) checks.push_back({{"name", check.name}, {"state", policy::check_state_name(check.state)}, {"detail", check.detail}});
  Json timings = Json::array();
  for (const auto& timing : report.timings)
    timings.push_back({{"name", timing.name}, {"median_s", seconds(timing.median)}, {"baseline_s", timing.baseline ? Json(seconds(*timing.baseline)) : Json(nullptr)}});
  Json replay = nullptr;
  if (report.replay) replay = {{"bytes", report.replay->bytes}, {"took_s", seconds(report.replay->took)}};
  return {{"ok", report.passed()},
          {"backup", report.backup},
          {"server", report.server},
          {"started", format_rfc3339(report.started)},
          {"took_s", seconds(report.took)},
          {"moment", report.moment ? Json(format_rfc3339(*report.moment)) : Json(nullptr)},
          {"restored_from_it", report.is_restored},
          {"restored", report.restored ? Json(format_rfc3339(*report.restored)) : Json(nullptr)},
          {"proven", report.proves()},
          {"unproven", report.unproven.empty() ? Json(nullptr) : Json(report.unproven)},
          {"replay", std::move(replay)},
          {"checks", std::move(checks)},
          {"timings", std::move(timings)}};
}

std::string validation_page(const ValidationReport& report, const std::string& cluster) {
  const auto outcome = report.passed() ? "passed" : "failed";
  std::string page = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>Validation of {0}: {1}</title>\n"
      "<style>{2}</style>\n</head>\n<body>\n<h1>Validation of a restore of cluster {3}</h1>\n<p class=\"outcome {4}\">{1}</p>\n",
      html_text(report.backup), outcome, kStyle, html_text(cluster), report.passed() ? "ok" : "failed");
  page += "<table>\n";
  const auto fact = [&](std::string_view name, const std::string& value) { page += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", name, html_text(value)); };
  fact("Backup", report.backup);
  fact("Server", report.server);
  fact("Validated", fmt::format("{}, took {}", format_rfc3339(report.started), human(report.took)));
  fact("Last transaction that was replayed", report.moment ? format_rfc3339(*report.moment) : "not known");
  if (report.replay) fact("WAL replayed", fmt::format("{} in {}", human(ByteCount(report.replay->bytes)), human(report.replay->took)));
  fact("Restored from this backup", !report.is_restored ? "not shown" : report.restored ? format_rfc3339(*report.restored) : "yes");
  fact("Proof of a restore", report.proves() ? "yes" : report.passed() && report.is_restored ? report.unproven : "no");
  fact("Checks", fmt::format("{} ok, {} warnings, {} failed, {} not made (unknown)", report.count(policy::CheckState::Ok), report.count(policy::CheckState::Warning),
                             report.count(policy::CheckState::Failed), report.count(policy::CheckState::Unknown)));
  page += "</table>\n<h2>Checks</h2>\n<table>\n<thead><tr><th scope=\"col\">State</th><th scope=\"col\">Check</th><th scope=\"col\">What was found</th></tr></thead>\n<tbody>\n";
  for (const auto& check : report.checks) {
    const auto state = policy::check_state_name(check.state);
    page += fmt::format("<tr><td class=\"state {0}\">{0}</td><td>{1}</td><td>{2}</td></tr>\n", state, html_text(check.name), html_text(check.detail));
  }
  page += "</tbody>\n</table>\n";
  if (!report.timings.empty()) {
    page += "<h2>Times</h2>\n<table>\n<thead><tr><th scope=\"col\">Query</th><th scope=\"col\">Median here</th><th scope=\"col\">On the origin</th></tr></thead>\n<tbody>\n";
    for (const auto& timing : report.timings)
      page += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n", html_text(timing.name), human(timing.median), timing.baseline ? human(*timing.baseline) : "not recorded");
    page += "</tbody>\n</table>\n";
  }
  return page + "</body>\n</html>\n";
}

}  // namespace pgmint::service
