// Values of options that more than one command takes.
#pragma once

#include <chrono>
#include <optional>

#include "base/strong.h"
#include "cli/context.h"
#include "codec/compression.h"
#include "policy/retention.h"

namespace pgmint::cli {

/// Bytes per second; absent: as fast as it goes. @errors Usage (malformed, or zero)
Result<std::optional<ByteCount>> rate_option(const Arguments& arguments, const std::string& name);
/// @errors Usage
Result<std::chrono::seconds> seconds_option(const Arguments& arguments, const std::string& name,
                                            std::chrono::seconds fallback);
/// A whole number in decimal from `least` to `most`. @errors Usage
Result<std::uint64_t> parse_number(std::string_view text, const std::string& name, std::uint64_t least,
                                   std::uint64_t most);
/// A period (policy::parse_period) in which a month counts 30 days and a year 365; absent: none. @errors Usage
Result<std::optional<std::chrono::hours>> age_option(const Arguments& arguments, const std::string& name);
std::chrono::hours hours_of(policy::Period period);
/// "5%", "0.25%" in millionths, of which it takes at most four decimals; absent: none. @errors Usage (malformed, zero, above 100%)
Result<std::optional<std::uint32_t>> share_option(const Arguments& arguments, const std::string& name);
/// nullopt: not such a share.
std::optional<std::uint32_t> parse_share(std::string_view text);
/// The repository's compression, else the general one, else "balanced". @errors Configuration
Result<codec::CodecChoice> configured_codec(Context& context);

}  // namespace pgmint::cli
