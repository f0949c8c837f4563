// The keys of [schedule] and [cluster.NAME.schedule].
#pragma once

#include "cli/config_value.h"
#include "cli/schedule_settings.h"

namespace pgmint::cli {

const std::vector<Key<ScheduleSettings>>& schedule_keys();
/// @param table  how messages name it. @errors Configuration
Status read_schedule(ScheduleSettings& target, const Value& value, std::string table);

}  // namespace pgmint::cli
