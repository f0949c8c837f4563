#include "http/aws_kms.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "http/aws_text.h"
#include "http/base64.h"
#include "http/client.h"
#include "http/sigv4.h"

namespace pgmint::http {

using Json = nlohmann::json;

namespace {

constexpr std::uint64_t kAnswerMax = 64 << 10;
constexpr auto kTimeMax = std::chrono::seconds(10);
constexpr int kAttempts = 3;
constexpr auto kFirstPause = std::chrono::milliseconds(200);  ///< doubles

std::string endpoint_in(const std::string& region) {
  return fmt::format("https://kms.{}.amazonaws.com{}", region, region.starts_with("cn-") ? ".cn" : "");
}

/// A member's text without a copy of it, so that it can be wiped; empty when it is not there.
std::string& text_of(Json& document, const char* name) {
  static thread_local std::string none;
  none.clear();
  const auto found = document.find(name);
  return found != document.end() && found->is_string() ? found->get_ref<std::string&>() : none;
}

void wipe_text(std::string& text) { crypto::wipe(std::as_writable_bytes(std::span(text.data(), text.size()))); }

/// "DisabledException" of "com.amazonaws.kms#DisabledException".
std::string error_code(Json& document) {
  const auto& type = text_of(document, "__type");
  return type.substr(type.find('#') + 1);
}

bool is_passing(int status, std::string_view code) {
  return status >= 500 || status == 429 || code == "ThrottlingException" || code == "LimitExceededException" || code == "KeyUnavailableException" ||
         code == "DependencyTimeoutException" || code == "KMSInternalException";
}

/// Credentials that may have been replaced meanwhile.
bool is_of_credentials(std::string_view code) {
  return code == "UnrecognizedClientException" || code == "ExpiredTokenException" || code == "InvalidClientTokenId" || code == "InvalidSignatureException" ||
         code == "ExpiredToken";
}

std::string way_out(std::string_view code, std::string_view action) {
  if (code == "AccessDeniedException") return fmt::format("allow kms:{} on this key to these credentials, in the key's policy or their own", action);
  if (code == "DisabledException") return "enable the key (aws kms enable-key), or open the repository with another slot or the recovery key";
  if (code == "KMSInvalidStateException")
    return "a key that is to be deleted comes back with aws kms cancel-key-deletion and enable-key; until then another slot or the recovery key opens the repository";
  if (code == "NotFoundException")
    return "check the key, its region and its account; what a deleted key wrapped is lost: another slot or the recovery key opens the repository";
  if (code == "InvalidCiphertextException") return "this slot is of another repository, or damaged: use another slot or the recovery key";
  if (code == "InvalidKeyUsageException") return "the key must be a symmetric one for encryption (SYMMETRIC_DEFAULT)";
  if (is_of_credentials(code)) return "check the AWS credentials and this machine's clock";
  return "another slot or the recovery key opens the repository: PGMINT_RECOVERY_KEY_FILE=FILE";
}

/// The 32 bytes, of which no copy stays.
Result<crypto::Key256> take_plaintext(Json& document) {
  auto& text = text_of(document, "Plaintext");
  auto bytes = from_base64(text);
  wipe_text(text);
  if (!bytes) return Error(Errc::Storage, "KMS gives no answer that can be read");
  auto key = crypto::Key256::from_bytes(*bytes);
  crypto::wipe(*bytes);
  if (!key || key->is_zero()) return Error(Errc::Key, "KMS gives something else than a key of 256 bits");
  return key;
}

}  // namespace

/// One action, as often as it makes sense.
class KmsRequest {
 public:
  struct Outcome {
    Json document;
    std::string code;  ///< empty: it was carried out
  };

  KmsRequest(const AwsKms& kms, std::string action, std::string key_id) : kms_(kms), action_(std::move(action)), key_id_(std::move(key_id)) {}

  /// A refusal that `expected` names is an outcome, any other one an Error.
  Result<Outcome> send(const Json& fields, std::string_view expected = {}) {
    const auto body = fields.dump();
    auto pause = std::chrono::duration_cast<std::chrono::microseconds>(kFirstPause);
    bool renewed = false;
    for (int attempt = 1;;) {
      const auto credentials = TRY(kms_.credentials_.get());
      auto outcome = once(body, credentials);
      if (outcome && is_of_credentials(outcome->code) && !renewed) {
        renewed = true;
        kms_.credentials_.forget(credentials);
        continue;
      }
      if (outcome && (outcome->code.empty() || outcome->code == expected)) return outcome;
      auto error = outcome ? refusal(*outcome) : std::move(outcome).failure();
      if (!is_transient(error.code()) || attempt == kAttempts) return error;
      ++attempt;
      kms_.clock_.sleep(pause);
      pause *= 2;
    }
  }

 private:
  Result<Outcome> once(const std::string& body, const AwsCredentials& credentials) {
    Request request;
    request.method = "POST";
    request.url = kms_.endpoint_ + (kms_.endpoint_.ends_with('/') ? "" : "/");
    request.headers = {{"content-type", "application/x-amz-json-1.1"}, {"x-amz-target", "TrentService." + action_}};
    request.body = as_bytes(body);
    request.answer_max = kAnswerMax;
    request.time_max = kTimeMax;
    sign(request, credentials, {kms_.region_, "kms"}, kms_.clock_.now(), payload_hash(request.body));
    auto answer = kms_.client_.perform(request);
    if (!answer) return not_answered(std::move(answer).failure()).with_context(what());
    auto document = Json::parse(as_text(answer->body), nullptr, false);
    crypto::wipe(answer->body);
    status_ = answer->status;
    if (!document.is_object()) {
      if (answer->success()) return Error(Errc::Storage, fmt::format("{}: no answer that can be read", what()));
      document = Json::object();
    }
    if (answer->success()) return Outcome{std::move(document), ""};
    auto code = error_code(document);
    return Outcome{std::move(document), code.empty() ? fmt::format("status {}", answer->status) : std::move(code)};
  }

  Error refusal(Outcome& outcome) const {
    auto& lower = text_of(outcome.document, "message");
    const auto said = shown(lower.empty() ? text_of(outcome.document, "Message") : lower);
    const auto text = fmt::format("{}: {}{}{}", what(), shown(outcome.code), said.empty() ? "" : ": ", said);
    if (is_passing(status_, outcome.code)) return Error(Errc::Storage, text);
    return Error(Errc::Key, text, Hint{way_out(outcome.code, action_)});
  }
  std::string what() const { return fmt::format("AWS KMS, {} with {}", action_, key_id_); }

  const AwsKms& kms_;
  const std::string action_, key_id_;
  int status_ = 0;
};

AwsKms::AwsKms(Client& client, AwsCredentialSource& credentials, Clock& clock, std::string endpoint, std::string region)
    : client_(client),
      credentials_(credentials),
      clock_(clock),
      endpoint_(endpoint.empty() ? endpoint_in(region) : std::move(endpoint)),
      region_(std::move(region)) {}

Result<AwsKms::DataKey> AwsKms::generate_data_key(const std::string& key_id, const KmsContext& context) const {
  auto outcome = TRY(KmsRequest(*this, "GenerateDataKey", key_id).send({{"KeyId", key_id}, {"KeySpec", "AES_256"}, {"EncryptionContext", context}}));
  DataKey made;
  made.key = TRY(take_plaintext(outcome.document));
  auto wrapped = from_base64(text_of(outcome.document, "CiphertextBlob"));
  made.key_id = text_of(outcome.document, "KeyId");
  if (!wrapped || wrapped->empty() || made.key_id.empty()) return Error(Errc::Storage, "KMS gives no answer that can be read");
  made.wrapped = std::move(*wrapped);
  return made;
}

Result<std::optional<crypto::Key256>> AwsKms::decrypt(const std::string& key_id, ByteView wrapped, const KmsContext& context) const {
  constexpr std::string_view kAnotherKey = "IncorrectKeyException";
  auto outcome =
      TRY(KmsRequest(*this, "Decrypt", key_id).send({{"KeyId", key_id}, {"CiphertextBlob", base64(wrapped)}, {"EncryptionContext", context}}, kAnotherKey));
  if (outcome.code == kAnotherKey) return std::optional<crypto::Key256>();
  return std::optional(TRY(take_plaintext(outcome.document)));
}

std::string region_of_arn(std::string_view arn) {
  if (!arn.starts_with("arn:")) return "";
  for (int part = 0; part < 3; ++part) {
    const auto colon = arn.find(':');
    if (colon == std::string_view::npos) return "";
    arn.remove_prefix(colon + 1);
  }
  return std::string(arn.substr(0, arn.find(':')));
}

}  // namespace pgmint::http
