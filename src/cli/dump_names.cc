#include "cli/dump_names.h"

#include <fmt/format.h>

#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "logical/dump.h"

namespace pgmint::cli {
namespace {

std::string local(TimePoint time, const char* format) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

}  // namespace

std::string dump_name(std::string_view database, TimePoint started) {
  return fmt::format("{}_{}{}", database, local(started, "%Y%m%d_%H%M%S"), kDumpSuffix);
}

std::optional<TimePoint> time_of_dump_name(std::string_view name) {
  const auto dot = name.find('.');
  if (dot != std::string_view::npos) name = name.substr(0, dot);
  constexpr std::size_t kStamp = 16;  // _YYYYMMDD_HHMMSS
  if (name.size() < kStamp) return std::nullopt;
  const std::string stamp(name.substr(name.size() - kStamp));
  std::tm parts{};
  const auto* end = ::strptime(stamp.c_str(), "_%Y%m%d_%H%M%S", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  parts.tm_isdst = -1;
  const auto seconds = std::mktime(&parts);
  if (seconds == -1) return std::nullopt;
  return TimePoint(std::chrono::seconds(seconds));
}

std::string dump_time(TimePoint started) { return local(started, "%Y-%m-%d %H:%M:%S"); }

std::string dump_size(std::uint64_t bytes) {
  constexpr std::array kUnits{"B", "KB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.1f}{}", value, kUnits[unit]);
}

std::vector<std::string> dumped_databases(const repository::ManifestRoot& root) {
  std::vector<std::string> names;
  for (const auto& [name, value] : root.settings)
    if (name == logical::kDumpedDatabaseSetting) names.push_back(value);
  return names;
}

Json consistency_json(const repository::ManifestRoot& root) {
  for (const auto& [name, value] : root.settings)
    if (name == logical::kMomentSetting) return {{"at", value}, {"databases", dumped_databases(root)}};
  return nullptr;
}

Result<std::optional<FoundDump>> find_dump(repository::Cluster& cluster, std::string_view name) {
  const auto wanted = name.ends_with(kDumpSuffix) ? std::string(name) : fmt::format("{}{}", name, kDumpSuffix);
  std::optional<FoundDump> found;
  std::string first;
  for (const auto& [session, live] : cluster.state().snapshots()) {
    if (live.snap.type != repository::BackupType::Logical) continue;
    const auto facts = TRY(facts_of(cluster, live));
    if (!facts.root) continue;
    for (const auto& database : dumped_databases(*facts.root)) {
      if (dump_name(database, facts.started()) != wanted) continue;
      if (found)
        return Error(Errc::Precondition, fmt::format("two backups have a dump {}: {} and {}", name, first, live.snap.name), Hint{"name one of them instead"});
      found = FoundDump{session, database};
      first = live.snap.name;
    }
  }
  return found;
}

}  // namespace pgmint::cli
