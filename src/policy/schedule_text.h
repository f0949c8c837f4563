// Schedules in words as cron lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pgmint::policy {

/// 0 for "Sunday" or "sun" in any case; nullopt: no day of the week.
std::optional<unsigned> week_day(std::string_view name);
/// 1 for "January" or "jan" in any case; nullopt: no month.
std::optional<unsigned> month_number(std::string_view name);

/// The cron line that the words stand for (schedule.h has the grammar). @errors Usage
Result<std::string> cron_of_words(std::string_view text);

}  // namespace pgmint::policy
