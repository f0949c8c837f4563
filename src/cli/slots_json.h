// Key slots as init, key list and doctor show them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/output.h"
#include "repository/keys.h"

namespace pgmint::cli {

/// "key-file", "passphrase", "recovery", "kms", "vault", "pkcs11".
std::string_view slot_kind(repository::KeyProvider provider);
/// SLOT of tests/integration/README.md.
Json to_json(const repository::SlotInfo& slot, const std::map<std::string, TimePoint>& opened);
Json to_json(const std::vector<repository::SlotInfo>& slots, const std::map<std::string, TimePoint>& opened);
std::string slots_table(const std::vector<repository::SlotInfo>& slots, const std::map<std::string, TimePoint>& opened);

}  // namespace pgmint::cli
