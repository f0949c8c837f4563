#include "service/json_fields.h"

#include <nlohmann/json.hpp>

namespace pgmint::service {
namespace {

/// From 1970 to the year 9999: what can be written as a date.
constexpr std::int64_t kTimeMax = 253'402'300'799'000'000;

std::optional<TimePoint> time_of(const Json& json) {
  if (!json.is_number_integer()) return std::nullopt;
  const auto count = json.get<std::int64_t>();
  if (count < 0 || count > kTimeMax) return std::nullopt;
  return TimePoint(std::chrono::microseconds(count));
}

const Json* field(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(key);
  return found == json.end() ? nullptr : &*found;
}

}  // namespace

std::string text_field(const Json& json, const char* key) {
  const auto* found = field(json, key);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint64_t number_field(const Json& json, const char* key) {
  const auto* found = field(json, key);
  return found != nullptr && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

bool flag_field(const Json& json, const char* key) {
  const auto* found = field(json, key);
  return found != nullptr && found->is_boolean() && found->get<bool>();
}

std::optional<TimePoint> time_field(const Json& json, const char* key) {
  const auto* found = field(json, key);
  return found == nullptr ? std::nullopt : time_of(*found);
}

std::vector<TimePoint> times_field(const Json& json, const char* key) {
  std::vector<TimePoint> times;
  for (const auto& one : part_field(json, key))
    if (const auto time = time_of(one)) times.push_back(*time);
  return times;
}

const Json& part_field(const Json& json, const char* key) {
  static const Json nothing = Json::array();
  const auto* found = field(json, key);
  return found != nullptr && (found->is_object() || found->is_array()) ? *found : nothing;
}

}  // namespace pgmint::service
