// How sizes, rates and durations read to people.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/strong.h"

namespace pgmint {

/// "0 B", "812 KiB", "1.3 GiB": at most one decimal.
std::string human(ByteCount size);
/// "412 ms", "8.3 s", "4 min 05 s", "3 h 12 min", "5 d 03 h".
std::string human(std::chrono::microseconds duration);
/// "100", "64K", "32MB", "32MiB", "1.5G" (K, M, G, T are powers of 1024); Errc::Usage otherwise.
Result<ByteCount> parse_size(std::string_view text);

}  // namespace pgmint
