#include "cli/pkcs11_keys.h"

#include <fmt/format.h>

#include <charconv>

#include "http/client.h"
#include "repository/key_service.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kScheme = "pkcs11:";
constexpr const char* kExample = "pkcs11:token=TOKEN;object=KEY";

Error wrong_uri(std::string_view why) { return Error(Errc::Usage, fmt::format("that is not the URI of a key in a PKCS#11 token: {}", why), Hint{kExample}); }

/// RFC 3986's %XX. @errors Usage
Result<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] <= ' ' || text[i] > '~') return wrong_uri("blanks and the like are written as %XX");
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto byte = from_hex(text.substr(i + 1, 2));
    if (!byte || byte->size() != 1) return wrong_uri("'%' comes before two hexadecimal digits");
    out += static_cast<char>(byte->front());
    i += 2;
  }
  return out;
}

bool has_control_character(std::string_view text) {
  return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

/// An absolute path, bare or as file:. @errors Usage
Result<std::string> file_of(std::string_view name, std::string_view value) {
  if (value.starts_with("file://")) value.remove_prefix(7);
  else if (value.starts_with("file:")) value.remove_prefix(5);
  if (!value.starts_with('/')) return wrong_uri(fmt::format("{} must be the absolute path of a file", name));
  return std::string(value);
}

Status take_attribute(Pkcs11Uri& uri, std::string_view name, const std::string& value) {
  auto& key = uri.key;
  if (name == "id") {
    key.id = to_bytes(as_bytes(value));
    return ok();
  }
  if (has_control_character(value)) return wrong_uri(fmt::format("{} holds a control character", name));
  for (const auto& [known, target] : std::initializer_list<std::pair<std::string_view, std::optional<std::string>*>>{
           {"token", &key.token}, {"manufacturer", &key.manufacturer}, {"serial", &key.serial}, {"model", &key.model}, {"object", &key.object}})
    if (name == known) {
      *target = value;
      return ok();
    }
  if (name == "slot-id") {
    unsigned long slot = 0;
    const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), slot);
    if (failure != std::errc{} || end != value.data() + value.size() || value.empty()) return wrong_uri("slot-id must be a number");
    key.slot = slot;
    return ok();
  }
  if (name == "type") return value == "secret-key" ? ok() : wrong_uri("the wrapping key is symmetric: type=secret-key");
  if (name == "pin-source") return assign(uri.pin_file, file_of(name, value));
  if (name == "module-path") return assign(uri.module, file_of(name, value));
  if (name == "pin-value") return wrong_uri("a PIN must not stand in it (pin-value): put it into a file, pin_file in [pkcs11] or pin-source=file:/PATH");
  return wrong_uri(fmt::format("{} is not one of token, manufacturer, serial, model, slot-id, object, id, type, pin-source, module-path", name));
}

/// @param separator  ';' in the path, '&' in the query
Status take_attributes(Pkcs11Uri& uri, std::string_view text, char separator, std::set<std::string>& seen) {
  while (!text.empty()) {
    const auto part = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const auto equals = part.find('=');
    if (equals == std::string_view::npos || equals == 0) return wrong_uri("attributes are NAME=VALUE");
    const auto name = part.substr(0, equals);
    if (!seen.insert(std::string(name)).second) return wrong_uri(fmt::format("{} stands there twice", name));
    TRY(take_attribute(uri, name, TRY(decoded(part.substr(equals + 1)))));
  }
  return ok();
}

}  // namespace

Result<Pkcs11Uri> parse_pkcs11_uri(std::string_view text) {
  if (!text.starts_with(kScheme)) return wrong_uri("it begins with pkcs11:");
  if (text.size() > repository::kServiceKeyNameMax) return wrong_uri("it is too long");
  text.remove_prefix(kScheme.size());
  Pkcs11Uri uri;
  std::set<std::string> seen;
  const auto question = text.find('?');
  TRY(take_attributes(uri, text.substr(0, question), ';', seen));
  if (question != std::string_view::npos) TRY(take_attributes(uri, text.substr(question + 1), '&', seen));
  // Of whatever token happens to be there, whatever key: no.
  if (!uri.key.token && !uri.key.serial && !uri.key.slot) return wrong_uri("it names no token: token=, serial= or slot-id=");
  if (!uri.key.object && !uri.key.id) return wrong_uri("it names no key: object= or id=");
  return uri;
}

std::string pkcs11_uri(const crypto::TokenKeyName& key) {
  std::string out(kScheme);
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) out += fmt::format("{}{}={}", out.size() == kScheme.size() ? "" : ";", name, value);
  };
  add("token", http::percent_encoded(key.token.value_or("")));
  add("serial", http::percent_encoded(key.serial.value_or("")));
  add("object", http::percent_encoded(key.object.value_or("")));
  std::string id;
  for (const auto byte : key.id.value_or(Bytes())) id += fmt::format("%{:02X}", std::to_integer<unsigned>(byte));
  add("id", id);
  return out;
}

const std::vector<Key<Pkcs11Settings>>& pkcs11_keys() {
  using T = Pkcs11Settings;
  static const std::vector<Key<T>> keys = {
      {"module", "path", "The library by which tokens are spoken to (PKCS#11), of the token's maker; it runs inside pgmint's process. A URI's module-path takes its place.",
       [](T& t, const Value& v) { return assign(t.module, v.absolute_path()); }},
      {"pin_file", "path", "A file whose first line is the user PIN. A URI's pin-source takes its place.",
       [](T& t, const Value& v) { return assign(t.pin_file, v.absolute_path()); }},
  };
  return keys;
}

}  // namespace pgmint::cli
