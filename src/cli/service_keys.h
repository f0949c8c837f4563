// The configuration of what runs when nobody is looking: [health], [[alert]], [metrics], and their keys for the manual.
#pragma once

#include "cli/config_value.h"

namespace pgmint::cli {

Status read_health(HealthLimits& target, const Value& value);
Status read_alerts(std::vector<service::Channel>& target, const Value& value);
Status read_metrics(Configuration& target, const Value& value);
void document_service(std::vector<KeyDocumentation>& out);

}  // namespace pgmint::cli
