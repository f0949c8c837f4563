// [[contact]]: whom to call, in the configuration and in recovery plans.
#pragma once

#include "cli/config_value.h"
#include "service/contact.h"

namespace pgmint::cli {

const std::vector<Key<service::Contact>>& contact_keys();
/// @errors Configuration
Status read_contacts(std::vector<service::Contact>& target, const Value& value);

}  // namespace pgmint::cli
