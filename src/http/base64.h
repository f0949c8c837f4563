// Base64 as RFC 4648 has it, with padding, on one line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace pgmint::http {

std::string base64(ByteView bytes);
/// nullopt: anything that base64() would not have made.
std::optional<Bytes> from_base64(std::string_view text);

}  // namespace pgmint::http
