// What the configuration says of any key service: URIs of keys, and where a service listens.
#pragma once

#include "cli/config_value.h"

namespace pgmint::cli {

/// A key of [encryption] such as kms: one URI, or a list of them. @param check  is it one? @errors Configuration
Status read_key_uris(std::vector<std::string>& target, const Value& value, Status (*check)(std::string_view uri));

/// What keeps a service from being asked at `url` (keys must not travel without TLS); empty: nothing.
std::string complaint_of_service_url(std::string_view url);
Status read_service_url(std::optional<std::string>& target, const Value& value);

}  // namespace pgmint::cli
