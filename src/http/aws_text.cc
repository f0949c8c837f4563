#include "http/aws_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "http/aws_credentials.h"

namespace pgmint::http {
namespace {

constexpr std::size_t kShownMax = 300;

std::string member(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

std::string shown(std::string_view text) {
  std::string out(text.substr(0, kShownMax));
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  if (text.size() > kShownMax) out += "...";
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

Error not_answered(Error error) {
  return error.code() == Errc::Unknown ? std::move(error).with_code(Errc::Storage) : error;
}

Result<AwsCredentials> parse_metadata_credentials(std::string_view json, const std::string& source) {
  const auto document = nlohmann::json::parse(json, nullptr, false);
  if (!document.is_object()) return Error(Errc::Storage, fmt::format("{} gives no answer that can be read", source));
  if (const auto code = member(document, "Code"); !code.empty() && code != "Success")
    return Error(Errc::Key, fmt::format("{} gives no credentials: {} {}", source, shown(code), shown(member(document, "Message"))));
  AwsCredentials given;
  given.access_key_id = member(document, "AccessKeyId");
  given.secret_access_key = member(document, "SecretAccessKey");
  given.session_token = member(document, "Token");
  given.source = source;
  if (const auto expires = member(document, "Expiration"); !expires.empty()) {
    const auto parsed = parse_time(expires);
    if (!parsed) return Error(Errc::Storage, fmt::format("{} does not say when its credentials expire", source));
    given.expires = *parsed;
  }
  return checked_credentials(std::move(given));
}

}  // namespace pgmint::http
