#include "http/aws_sts.h"

#include <fmt/format.h>

#include <algorithm>
#include <pugixml.hpp>

#include "base/file.h"
#include "http/aws_text.h"
#include "http/client.h"
#include "http/sigv4.h"

namespace pgmint::http {
namespace {

constexpr std::uint64_t kAnswerMax = 64 << 10;
constexpr std::uint64_t kTokenMax = 64 << 10;
constexpr auto kTimeMax = std::chrono::seconds(15);
constexpr std::string_view kGlobalEndpoint = "https://sts.amazonaws.com";
constexpr std::string_view kGlobalRegion = "us-east-1";  ///< what the global endpoint is signed for

std::string endpoint_in(const std::string& region) {
  if (region.empty()) return std::string(kGlobalEndpoint);
  return fmt::format("https://sts.{}.amazonaws.com{}", region, region.starts_with("cn-") ? ".cn" : "");
}

/// The text of the first element of that name, wherever it stands.
std::string element(const pugi::xml_document& document, std::string_view name) {
  const auto found = document.find_node([&](const pugi::xml_node& node) { return name == node.name(); });
  return found.text().get();
}

void add_field(std::string& form, std::string_view name, std::string_view value) {
  form += fmt::format("&{}={}", name, percent_encoded(value));
}

/// May pass by itself.
bool is_passing(int status, std::string_view code) {
  return status >= 500 || status == 429 || code.starts_with("Throttling") || code == "RequestLimitExceeded" || code == "IDPCommunicationError";
}

Error refusal(const Answer& answer, const pugi::xml_document& document, const AwsRole& role) {
  const auto code = element(document, "Code");
  const auto said = element(document, "Message");
  const auto what = fmt::format("STS does not give credentials of {}: {}{}{} (status {})", role.arn, code.empty() ? "no reason given" : shown(code),
                                said.empty() ? "" : ": ", shown(said), answer.status);
  if (is_passing(answer.status, code)) return Error(Errc::Storage, what);
  return Error(Errc::Key, what, Hint{"the role's trust policy must name the caller, and its external id where it asks for one"});
}

}  // namespace

AwsSts::AwsSts(const AwsSurroundings& surroundings, std::string endpoint, std::string region)
    : surroundings_(surroundings),
      endpoint_(endpoint.empty() ? endpoint_in(region) : std::move(endpoint)),
      region_(region.empty() ? std::string(kGlobalRegion) : std::move(region)) {}

Result<AwsCredentials> AwsSts::assume_role(const AwsCredentials& caller, const AwsRole& role) const {
  std::string form = "Action=AssumeRole&Version=2011-06-15";
  add_field(form, "RoleArn", role.arn);
  add_field(form, "RoleSessionName", role.session_name);
  if (!role.external_id.empty()) add_field(form, "ExternalId", role.external_id);
  return ask(form, &caller, role);
}

Result<AwsCredentials> AwsSts::assume_role_with_web_identity(const std::string& token, const AwsRole& role) const {
  std::string form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15";
  add_field(form, "RoleArn", role.arn);
  add_field(form, "RoleSessionName", role.session_name);
  add_field(form, "WebIdentityToken", token);
  return ask(form, nullptr, role);
}

Result<AwsCredentials> AwsSts::ask(const std::string& form, const AwsCredentials* caller, const AwsRole& role) const {
  Request request;
  request.method = "POST";
  request.url = endpoint_ + (endpoint_.ends_with('/') ? "" : "/");
  request.headers = {{"content-type", "application/x-www-form-urlencoded"}, {"accept", "text/xml"}};
  request.body = as_bytes(form);
  request.answer_max = kAnswerMax;
  request.time_max = kTimeMax;
  if (caller != nullptr) sign(request, *caller, {region_, "sts"}, surroundings_.clock.now(), payload_hash(request.body));
  auto answer = surroundings_.services.perform(request);
  if (!answer) return not_answered(std::move(answer).failure()).with_context("STS");

  pugi::xml_document document;
  const bool parsed = static_cast<bool>(document.load_buffer(answer->body.data(), answer->body.size()));
  if (!answer->success()) return refusal(*answer, document, role);
  if (!parsed) return Error(Errc::Storage, fmt::format("STS: {} gives no answer that can be read", authority_of(endpoint_)));
  AwsCredentials given;
  given.access_key_id = element(document, "AccessKeyId");
  given.secret_access_key = element(document, "SecretAccessKey");
  given.session_token = element(document, "SessionToken");
  given.source = fmt::format("role {}", role.arn);
  const auto expires = parse_time(element(document, "Expiration"));
  if (!expires) return Error(Errc::Storage, fmt::format("STS: {} does not say when the credentials expire", authority_of(endpoint_)));
  given.expires = *expires;
  return checked_credentials(std::move(given));
}

Result<AwsCredentials> web_identity_credentials(const AwsSts& sts, const WebIdentity& identity) {
  auto token = read_text_file(identity.token_file, kTokenMax);
  if (!token) {
    auto error = std::move(token).failure();
    return std::move(error).with_code(Errc::Key).with_context("web identity token");
  }
  const auto text = trimmed(*token);
  if (text.empty()) return Error(Errc::Key, fmt::format("{}: the web identity token is empty", identity.token_file));
  return sts.assume_role_with_web_identity(std::string(text), identity.role);
}

}  // namespace pgmint::http
