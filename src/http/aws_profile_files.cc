#include "http/aws_profile_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/aws_text.h"

namespace pgmint::http {
namespace {

constexpr std::uint64_t kFileMax = 1 << 20;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

/// A comment behind a value begins with a blank.
std::string_view without_comment(std::string_view value) {
  for (std::size_t i = 1; i < value.size(); ++i)
    if ((value[i] == '#' || value[i] == ';') && (value[i - 1] == ' ' || value[i - 1] == '\t')) return value.substr(0, i);
  return value;
}

/// "[profile backup]" is backup in the config file, and "[backup]" nothing there but for default; the credentials file has plain names.
std::string profile_of(const std::string& section, bool is_config) {
  if (!is_config || section == "default") return section;
  constexpr std::string_view kPrefix = "profile";
  if (!section.starts_with(kPrefix) || section.size() == kPrefix.size()) return "";
  const auto rest = std::string_view(section).substr(kPrefix.size());
  return rest.front() == ' ' || rest.front() == '\t' ? std::string(trimmed(rest)) : "";
}

fs::path place_of(const AwsEnvironment& environment, const std::string& name, std::string_view in_home) {
  if (auto set = environment(name); set && !set->empty()) return *set;
  const auto home = environment("HOME");
  return home && !home->empty() ? fs::path(*home) / ".aws" / in_home : fs::path();
}

Status add_file(AwsProfiles& profiles, const fs::path& file, bool is_config) {
  if (file.empty()) return ok();
  auto text = read_text_file(file, kFileMax);
  if (!text) {
    auto error = std::move(text).failure();
    if (error.code() == Errc::NotFound) return ok();
    return std::move(error).with_context("AWS profiles");
  }
  bool has_secret = false;
  for (auto& [section, values] : TRY(parse_profile_file(*text, file.string()))) {
    const auto profile = profile_of(section, is_config);
    if (profile.empty()) continue;
    has_secret = has_secret || values.contains("aws_secret_access_key");
    profiles.by_name[profile].merge(values);  // what is there already stays
  }
  struct stat status {};
  if (has_secret && ::stat(file.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    profiles.warnings.push_back(fmt::format("{}: mode {:04o} lets others at the secret keys; chmod 600 {}", file.string(), status.st_mode & 07777, file.string()));
  return ok();
}

}  // namespace

const AwsProfile* AwsProfiles::find(const std::string& name) const {
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : &found->second;
}

Result<std::map<std::string, AwsProfile>> parse_profile_file(std::string_view text, const std::string& file) {
  std::map<std::string, AwsProfile> sections;
  AwsProfile* section = nullptr;
  for (int number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const auto content = trimmed(line);
    if (content.empty() || content.front() == '#' || content.front() == ';') continue;
    const auto wrong = [&](std::string_view why) { return Error(Errc::Configuration, fmt::format("{}:{}: {}", file, number, why)); };
    if (content.front() == '[') {
      const auto close = content.find(']');
      if (close == std::string_view::npos) return wrong("a section's name has no closing ]");
      section = &sections[std::string(trimmed(content.substr(1, close - 1)))];
      continue;
    }
    if (line.front() == ' ' || line.front() == '\t') continue;  // of the setting above: "s3 =" and what is below it
    const auto equals = content.find('=');
    if (equals == std::string_view::npos) return wrong("neither a section nor a setting");
    if (section == nullptr) return wrong("a setting before the first section");
    (*section)[lower(trimmed(content.substr(0, equals)))] = trimmed(without_comment(content.substr(equals + 1)));
  }
  return sections;
}

Result<AwsProfiles> read_profiles(const AwsEnvironment& environment) {
  AwsProfiles profiles;
  profiles.credentials_file = place_of(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
  profiles.config_file = place_of(environment, "AWS_CONFIG_FILE", "config");
  TRY(add_file(profiles, profiles.credentials_file, false));
  TRY(add_file(profiles, profiles.config_file, true));
  return profiles;
}

std::string profile_name(const std::optional<std::string>& chosen, const AwsEnvironment& environment) {
  if (chosen && !chosen->empty()) return *chosen;
  if (auto set = environment("AWS_PROFILE"); set && !set->empty()) return *set;
  return "default";
}

}  // namespace pgmint::http
