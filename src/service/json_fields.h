// Fields of a state file, whatever stands there: what is missing or of another type reads as nothing.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace pgmint::service {

using Json = nlohmann::ordered_json;

std::string text_field(const Json& json, const char* key);                       ///< else empty
std::uint64_t number_field(const Json& json, const char* key);                   ///< else 0
bool flag_field(const Json& json, const char* key);                              ///< else false
std::optional<TimePoint> time_field(const Json& json, const char* key);          ///< microseconds since the epoch
std::vector<TimePoint> times_field(const Json& json, const char* key);           ///< what of it is a time
/// The object or array there, else an empty array, for walking over.
const Json& part_field(const Json& json, const char* key);

}  // namespace pgmint::service
