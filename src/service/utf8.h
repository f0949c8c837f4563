// Texts of others as valid UTF-8: file names and server messages may hold any bytes, JSON and Prometheus may not.
#pragma once

#include <string>
#include <string_view>

namespace pgmint::service {

/// `text` with U+FFFD in place of every byte that belongs to no well-formed sequence (RFC 3629: shortest form, no surrogates).
std::string valid_utf8(std::string_view text);
/// At most `bytes` bytes, cut between characters, "..." at the end where something was cut. Takes any bytes, returns UTF-8.
std::string shortened(std::string_view text, std::size_t bytes);

}  // namespace pgmint::service
