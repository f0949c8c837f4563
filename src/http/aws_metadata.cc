#include "http/aws_metadata.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "http/aws_text.h"
#include "http/client.h"

namespace pgmint::http {
namespace {

constexpr std::string_view kInstanceEndpoint = "http://169.254.169.254";
constexpr std::string_view kInstanceEndpointV6 = "http://[fd00:ec2::254]";
constexpr std::string_view kTokenLifetime = "21600";  ///< seconds; the most there is
constexpr auto kInstanceTimeMax = std::chrono::seconds(1);
constexpr int kTokenAttempts = 2;
constexpr std::string_view kContainerEndpoint = "http://169.254.170.2";
constexpr auto kContainerTimeMax = std::chrono::seconds(5);
constexpr std::uint64_t kAnswerMax = 64 << 10;

using Look = AwsCredentialPlace::Look;

Look absent(std::string why) { return {std::nullopt, std::move(why)}; }

bool is_true(std::optional<std::string> text) {
  if (!text) return false;
  std::ranges::transform(*text, text->begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return *text == "true";
}

class InstanceMetadata final : public AwsCredentialPlace {
 public:
  explicit InstanceMetadata(const AwsSurroundings& surroundings) : surroundings_(surroundings) {}
  std::string name() const override { return "the instance's metadata"; }

  Result<Look> look() override {
    if (is_true(variable(surroundings_, "AWS_EC2_METADATA_DISABLED"))) return absent("AWS_EC2_METADATA_DISABLED is set");
    const auto base = endpoint();
    const auto host = std::string(authority_of(base));
    auto token = session_token(base);
    if (!token) {
      // Outside of EC2 nobody has this address; what is wrong with a certificate or a name somebody has to know of.
      if (token.failure().code() == Errc::Configuration) return std::move(token).failure().with_context(name());
      return absent(fmt::format("{} does not answer", host));
    }
    if (token->status != 200) return absent(fmt::format("{} gives no session token (status {})", host, token->status));
    const Header session{"x-aws-ec2-metadata-token", std::string(trimmed(as_text(token->body)))};
    const auto roles = base + "/latest/meta-data/iam/security-credentials/";
    const auto role = TRY(get(roles, session));
    if (role.status == 404) return absent("the instance has no role");
    TRY(expect_success(role));
    const auto role_text = as_text(role.body);
    const auto role_name = trimmed(role_text.substr(0, role_text.find('\n')));
    if (role_name.empty()) return absent("the instance has no role");
    const auto given = TRY(get(roles + percent_encoded(role_name), session));
    TRY(expect_success(given));
    return Look{TRY(parse_metadata_credentials(as_text(given.body), fmt::format("{} (role {})", name(), shown(role_name)))), ""};
  }

 private:
  std::string endpoint() const {
    auto base = variable(surroundings_, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (!base) {
      const auto mode = variable(surroundings_, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
      base = mode == "IPv6" || mode == "ipv6" ? kInstanceEndpointV6 : kInstanceEndpoint;
    }
    while (base->ends_with('/')) base->pop_back();
    return *base;
  }
  Result<Answer> session_token(const std::string& base) const {
    Request request;
    request.method = "PUT";
    request.url = base + "/latest/api/token";
    request.headers = {{"x-aws-ec2-metadata-token-ttl-seconds", std::string(kTokenLifetime)}};
    request.answer_max = kAnswerMax;
    request.time_max = kInstanceTimeMax;
    for (int attempt = 1;; ++attempt) {
      auto answer = surroundings_.machine.perform(request);
      if (answer || attempt == kTokenAttempts || !is_transient(answer.failure().code())) return answer;
    }
  }
  Result<Answer> get(const std::string& url, const Header& session) const {
    Request request;
    request.url = url;
    request.headers = {session};
    request.answer_max = kAnswerMax;
    request.time_max = kInstanceTimeMax;
    auto answer = surroundings_.machine.perform(request);
    if (!answer) return not_answered(std::move(answer).failure()).with_context(name());
    return answer;
  }
  Status expect_success(const Answer& answer) const {
    if (answer.success()) return ok();
    return Error(Errc::Storage, fmt::format("{}: status {}", name(), answer.status));
  }

  const AwsSurroundings surroundings_;
};

class ContainerCredentials final : public AwsCredentialPlace {
 public:
  explicit ContainerCredentials(const AwsSurroundings& surroundings) : surroundings_(surroundings) {}
  std::string name() const override { return "the container's credentials"; }

  Result<Look> look() override {
    const auto relative = variable(surroundings_, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const auto full = variable(surroundings_, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full) return absent("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI are not set");
    if (relative && !relative->starts_with('/'))
      return Error(Errc::Configuration, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /");
    const auto url = relative ? std::string(kContainerEndpoint) + *relative : *full;
    if (!may_carry_secrets(url))
      return Error(Errc::Configuration, fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI names {}, which is neither https nor this machine",
                                                    shown(authority_of(url))));
    Request request;
    request.url = url;
    request.answer_max = kAnswerMax;
    request.time_max = kContainerTimeMax;
    if (auto token = TRY(authorization())) request.headers = {{"authorization", std::move(*token)}};
    auto answer = surroundings_.machine.perform(request);
    if (!answer) return not_answered(std::move(answer).failure()).with_context(name());
    if (answer->status == 429 || answer->status >= 500) return Error(Errc::Storage, fmt::format("{}: status {}", name(), answer->status));
    if (!answer->success())
      return Error(Errc::Key, fmt::format("{} are refused: status {} of {}", name(), answer->status, authority_of(url)));
    return Look{TRY(parse_metadata_credentials(as_text(answer->body), name())), ""};
  }

 private:
  Result<std::optional<std::string>> authorization() const {
    auto token = variable(surroundings_, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (const auto file = variable(surroundings_, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
      auto text = read_text_file(*file, kAnswerMax);
      if (!text) {
        auto error = std::move(text).failure();
        return std::move(error).with_code(Errc::Key).with_context("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
      }
      token = std::string(trimmed(*text));
    }
    if (token && std::ranges::any_of(*token, [](char c) { return c < ' ' || c > '~'; }))
      return Error(Errc::Configuration, "the container's authorization token has characters that no header has");
    return token;
  }

  const AwsSurroundings surroundings_;
};

}  // namespace

bool may_carry_secrets(std::string_view url) {
  if (url.starts_with("https://")) return true;
  if (!url.starts_with("http://")) return false;
  auto host = authority_of(url);
  if (host.find('@') != std::string_view::npos || host.find('\\') != std::string_view::npos) return false;
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    if (end == std::string_view::npos) return false;
    const auto behind = host.substr(end + 1);
    if (!behind.empty() && !behind.starts_with(':')) return false;
    in6_addr address{}, eks{};
    ::inet_pton(AF_INET6, "fd00:ec2::23", &eks);
    if (::inet_pton(AF_INET6, std::string(host.substr(1, end - 1)).c_str(), &address) != 1) return false;
    return IN6_IS_ADDR_LOOPBACK(&address) || IN6_ARE_ADDR_EQUAL(&address, &eks);
  }
  host = host.substr(0, host.find(':'));
  if (host == "localhost") return true;
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(host).c_str(), &address) != 1) return false;  // four plain numbers, as libcurl reads them
  return (ntohl(address.s_addr) >> 24) == 127 || host == "169.254.170.2" || host == "169.254.170.23";
}

std::optional<std::string> variable(const AwsSurroundings& surroundings, const std::string& name) {
  auto value = surroundings.environment(name);
  if (value && value->empty()) value.reset();
  return value;
}

std::unique_ptr<AwsCredentialPlace> instance_metadata(const AwsSurroundings& surroundings) {
  return std::make_unique<InstanceMetadata>(surroundings);
}

std::unique_ptr<AwsCredentialPlace> container_credentials(const AwsSurroundings& surroundings) {
  return std::make_unique<ContainerCredentials>(surroundings);
}

}  // namespace pgmint::http
