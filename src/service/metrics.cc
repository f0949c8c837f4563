#include "service/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "service/utf8.h"

namespace pgmint::service {
namespace {

bool is_name(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
  return !text.empty() && letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// Inside double quotes where `quotes`; in a HELP line a quote stands for itself.
std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : valid_utf8(text)) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else if (c == '"' && quotes) out += "\\\"";
    else out += c;
  }
  return out;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);  // the shortest text that reads as the same number
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view help) {
  PGMINT_ASSERT(is_name(name));
  const auto known = std::ranges::find(families_, name, &Family::name);
  at_ = static_cast<std::size_t>(known - families_.begin());
  if (known == families_.end()) families_.push_back({std::string(name), escaped(help, false), {}});
}

void MetricsText::add(const MetricsText& other) {
  for (const auto& theirs : other.families_) {
    family(theirs.name, "");
    if (families_[at_].help.empty()) families_[at_].help = theirs.help;
    families_[at_].samples += theirs.samples;
  }
}

void MetricsText::sample(const Labels& labels, double value) {
  PGMINT_ASSERT(!families_.empty());
  auto& family = families_[at_];
  family.samples += family.name;
  char before = '{';
  const auto label = [&](std::string_view name, const std::string& text) {
    PGMINT_ASSERT(is_name(name));
    family.samples += fmt::format("{}{}=\"{}\"", before, name, escaped(text, true));
    before = ',';
  };
  for (const auto& [name, text] : common_) label(name, text);
  for (const auto& [name, text] : labels) label(name, text);
  if (before == ',') family.samples += '}';
  family.samples += ' ' + number(value) + '\n';
}

void MetricsText::sample(const Labels& labels, TimePoint time) {
  // Milliseconds are what a double shows exactly in our time, and more than a dashboard does.
  sample(labels, static_cast<double>(std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count()) / 1000);
}

std::string MetricsText::text() const {
  std::string out;
  for (const auto& family : families_)
    if (!family.samples.empty())
      out += fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n{2}", family.name, family.help, family.samples);
  return out;
}

Status write_textfile(const fs::path& file, std::string_view text) {
  if (file.extension() != ".prom")
    return Error(Errc::Usage, fmt::format("--textfile {}: node_exporter reads only files whose name ends in .prom", file.string()),
                 Hint{"pgmint metrics --textfile /var/lib/prometheus/node-exporter/pgmint.prom"});
  return write_file_durably(file, as_bytes(text), 0644);
}

}  // namespace pgmint::service
