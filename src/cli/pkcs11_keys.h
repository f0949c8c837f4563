// The keys of [pkcs11], and the URI of a key. Source: RFC 7512.
#pragma once

#include "cli/config_value.h"
#include "cli/pkcs11_settings.h"
#include "crypto/pkcs11_key.h"

namespace pgmint::cli {

const std::vector<Key<Pkcs11Settings>>& pkcs11_keys();

struct Pkcs11Uri {
  crypto::TokenKeyName key;
  std::optional<std::string> pin_file;  ///< pin-source
  std::optional<std::string> module;    ///< module-path
};
/// Of the attributes: token, manufacturer, serial, model, slot-id, object, id, type=secret-key; pin-source, module-path. At least one names a token and
/// one a key. @errors Usage
Result<Pkcs11Uri> parse_pkcs11_uri(std::string_view uri);
/// Of a key that was found: what names it, and nothing of how it is reached.
std::string pkcs11_uri(const crypto::TokenKeyName& key);

}  // namespace pgmint::cli
