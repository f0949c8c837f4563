// The key that a service unwrapped, kept for the time in which the service is away. docs/adr/0034-cached-keys.md
#pragma once

#include <chrono>
#include <memory>

#include "base/clock.h"
#include "repository/key_service.h"

namespace pgmint::cli {

/// Asks `inner` each time. While it cannot be reached, what it last gave on this host is used for `limit` from then on, with a warning; what it refuses is forgotten.
/// Kept in the kernel's memory of this user (crypto/kernel_keyring.h), where there is such. Borrows the clock.
std::shared_ptr<repository::KeyService> make_cached_key_service(std::shared_ptr<repository::KeyService> inner, std::chrono::seconds limit, Clock& clock);

}  // namespace pgmint::cli
