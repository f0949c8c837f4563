// What names may look like, shared by the backends.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace pgmint::storage {

/// What list() takes: "" or the beginning of a valid name, whose last part may be cut short or empty.
bool valid_blob_prefix(std::string_view prefix);
/// What list_parts() takes: "" or a valid prefix that ends in '/'.
bool valid_parts_prefix(std::string_view prefix);

/// @errors Internal (names are made by this program, so a malformed one is a bug, and must never reach a file system)
Status check_blob_name(std::string_view name);
Status check_blob_prefix(std::string_view prefix);
Status check_parts_prefix(std::string_view prefix);

/// Everything before the last '/', without it; "" when there is none.
std::string parent_of(std::string_view name);
/// Everything after the last '/'.
std::string leaf_of(std::string_view name);

}  // namespace pgmint::storage
