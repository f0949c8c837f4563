#include "http/vault_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "crypto/secret.h"
#include "http/aws_text.h"
#include "http/client.h"

namespace pgmint::http {

using Json = nlohmann::json;

namespace {

constexpr std::uint64_t kAnswerMax = 64 << 10;
constexpr auto kTimeMax = std::chrono::seconds(10);
constexpr auto kFarewellMax = std::chrono::seconds(2);  ///< nobody waits longer for a token to be revoked
constexpr int kAttempts = 3;
constexpr auto kFirstPause = std::chrono::milliseconds(200);  ///< doubles
/// A token is renewed, or its owner warned, in the last third of its time.
constexpr std::int64_t kNearItsEnd = 3;

void wipe_text(std::string& text) { crypto::wipe(std::as_writable_bytes(std::span(text.data(), text.size()))); }

/// What stands in "errors": Vault's own words.
std::string errors_of(ByteView body) {
  const auto document = Json::parse(as_text(body), nullptr, false);
  std::string all;
  if (!document.is_object()) return all;
  const auto errors = document.find("errors");
  if (errors == document.end() || !errors->is_array()) return all;
  for (const auto& each : *errors)
    if (each.is_string()) all += (all.empty() ? "" : "; ") + each.get<std::string>();
  return shown(trimmed(all));
}

bool is_sealed(const VaultAnswer& answer) { return answer.status == 503 && answer.said.find("sealed") != std::string::npos; }

/// A cipher that does not open says so with 400, older servers with 500.
bool is_about_a_cipher(const VaultAnswer& answer) { return answer.said.find("authentication failed") != std::string::npos; }

/// Whether asking again may help.
bool is_passing(const VaultAnswer& answer) {
  return (answer.status >= 500 || answer.status == 429 || answer.status == 412) && !is_sealed(answer) && !is_about_a_cipher(answer);
}

std::int64_t number_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

std::string readable(std::int64_t seconds) {
  if (seconds >= 2 * 86400) return fmt::format("{} days", seconds / 86400);
  if (seconds >= 2 * 3600) return fmt::format("{} hours", seconds / 3600);
  return fmt::format("{} s", seconds);
}

/// The object that a document has as `outer`; an empty one when it is not there.
const Json& inside(const Json& document, const char* outer) {
  static const Json none = Json::object();
  if (!document.is_object()) return none;
  const auto found = document.find(outer);
  return found != document.end() && found->is_object() ? *found : none;
}

}  // namespace

VaultAnswer::~VaultAnswer() { crypto::wipe(body); }

std::string VaultAnswer::text(const char* outer, const char* name) const {
  auto document = Json::parse(as_text(body), nullptr, false);
  if (!document.is_object()) return "";
  const auto object = document.find(outer);
  if (object == document.end() || !object->is_object()) return "";
  const auto found = object->find(name);
  if (found == object->end() || !found->is_string()) return "";
  auto& member = found->get_ref<std::string&>();
  std::string copy = member;
  wipe_text(member);
  return copy;
}

VaultSession::VaultSession(Client& client, Clock& clock, VaultIdentity identity) : client_(client), clock_(clock), identity_(std::move(identity)) {
  while (identity_.address.ends_with('/')) identity_.address.pop_back();
}

VaultSession::~VaultSession() {
  if (logged_in_) {
    Request farewell;
    farewell.method = "POST";
    farewell.url = identity_.address + "/v1/auth/token/revoke-self";
    farewell.headers = {{"x-vault-token", identity_.token}};
    if (!identity_.name_space.empty()) farewell.headers.push_back({"x-vault-namespace", identity_.name_space});
    farewell.body = as_bytes("{}");
    farewell.time_max = kFarewellMax;
    // It ends by itself when this does not reach Vault.
    if (const auto said = client_.perform(farewell); !said) log_debug("the Vault token of this command is not revoked: {}", said.error().describe());
    wipe_text(farewell.headers.front().value);
  }
  for (auto* secret : {&identity_.token, &identity_.secret_id}) wipe_text(*secret);
}

Result<VaultAnswer> VaultSession::once(std::string_view method, const std::string& path, std::string_view body, const std::string& what) {
  Request request;
  request.method = method;
  request.url = fmt::format("{}/v1/{}", identity_.address, path);
  request.headers = {{"x-vault-token", identity_.token}, {"x-vault-request", "true"}, {"content-type", "application/json"}};
  if (identity_.token.empty()) request.headers.erase(request.headers.begin());
  if (!identity_.name_space.empty()) request.headers.push_back({"x-vault-namespace", identity_.name_space});
  request.body = as_bytes(body);
  request.answer_max = kAnswerMax;
  request.time_max = kTimeMax;
  auto given = client_.perform(request);
  wipe_text(request.headers.front().value);
  if (!given) return not_answered(std::move(given).failure()).with_context(what);
  VaultAnswer answer(given->status, std::move(given->body));
  if (!answer.success()) answer.said = errors_of(answer.body);
  if (answer.status >= 300 && answer.status < 400) {
    const auto to = given->header("location");
    return Error(Errc::Storage, fmt::format("{}: this node of Vault is not the active one{}", what, to ? fmt::format(" and sends us to {}", shown(authority_of(*to))) : ""),
                 Hint{"name the active node, or what stands before all of them, as address in [vault]"});
  }
  return answer;
}

Error VaultSession::refused(const VaultAnswer& answer, const std::string& path, const std::string& what) const {
  const auto text = fmt::format("{}: status {}{}{}", what, answer.status, answer.said.empty() ? "" : ": ", answer.said);
  if (is_sealed(answer)) return Error(Errc::Storage, text, Hint{fmt::format("VAULT_ADDR={} vault operator unseal, then run it again", identity_.address)});
  if (is_passing(answer)) return Error(Errc::Storage, text);
  if (answer.status == 403) {
    const auto allow = fmt::format("path \"{}\" {{ capabilities = [\"update\"] }}", path);
    if (logged_in_ || identity_.token_source.empty()) return Error(Errc::Key, text, Hint{fmt::format("the AppRole's policy must hold: {}", allow)});
    return Error(Errc::Key, text,
                 Hint{fmt::format("either the token of {} has ended (vault token lookup; put a new one there), or its policy must hold: {}", identity_.token_source, allow)});
  }
  if (answer.status == 404)
    return Error(Errc::Key, text,
                 Hint{fmt::format("nothing is mounted there{}: check the URI vault:///MOUNT/KEY, and namespace in [vault] (vault secrets list)",
                                  identity_.name_space.empty() ? "" : fmt::format(" in namespace {}", identity_.name_space))});
  return Error(Errc::Key, text, Hint{"another slot or the recovery key opens the repository: PGMINT_RECOVERY_KEY_FILE=FILE"});
}

Result<VaultAnswer> VaultSession::repeated(std::string_view method, const std::string& path, std::string_view body, const std::string& what) {
  auto pause = std::chrono::duration_cast<std::chrono::microseconds>(kFirstPause);
  for (int attempt = 1;; ++attempt) {
    auto answer = once(method, path, body, what);
    const bool again = answer ? is_passing(*answer) : is_transient(answer.failure().code());
    if (again && attempt < kAttempts) {
      clock_.sleep(pause);
      pause *= 2;
      continue;
    }
    if (!answer) return answer;
    if (again || is_sealed(*answer) || answer->status == 403 || answer->status == 404) return refused(*answer, path, what);
    return answer;
  }
}

Status VaultSession::log_in() {
  const auto path = fmt::format("auth/{}/login", percent_encoded(identity_.approle_mount, true));
  const auto what = fmt::format("Vault {}, login by AppRole", authority_of(identity_.address));
  // Ids are what the configuration and a file say: whatever stands there must not become another document.
  auto body = Json({{"role_id", identity_.role_id}, {"secret_id", identity_.secret_id}}).dump(-1, ' ', false, Json::error_handler_t::replace);
  auto answer = repeated("POST", path, body, what);
  wipe_text(body);
  if (!answer) {
    auto error = std::move(answer).failure();
    if (error.code() != Errc::Key) return error;
    return Error(Errc::Key, error.describe(), Hint{"check approle_mount in [vault], and that AppRole is enabled there: vault auth list"});
  }
  if (!answer->success())
    return Error(Errc::Key, fmt::format("{}: status {}: {}", what, answer->status, answer->said),
                 Hint{"check role_id in [vault]; a secret id that has ended or was used up is replaced by: vault write -f -field=secret_id auth/approle/role/ROLE/secret-id"});
  identity_.token = answer->text("auth", "client_token");
  if (identity_.token.empty()) return Error(Errc::Storage, fmt::format("{}: no answer that can be read", what));
  // Batch tokens cannot be revoked; who does not say of what type they are is older than they.
  logged_in_ = answer->text("auth", "token_type") != "batch";
  return ok();
}

Result<VaultAnswer> VaultSession::post(const std::string& path, std::string_view body, const std::string& what) {
  if (identity_.token.empty()) TRY(log_in());
  auto answer = TRY(repeated("POST", path, body, what));
  if (answer.success() && !logged_in_ && !identity_.token_source.empty() && !std::exchange(looked_after_, true)) look_after_token();
  return answer;
}

/// Best effort: whether the token is good for what it is needed for has just been seen.
void VaultSession::look_after_token() {
  const auto found = once("GET", "auth/token/lookup-self", "", "Vault, lookup-self");
  if (!found || !found->success()) return log_debug("the Vault token of {} may not look itself up", identity_.token_source);
  const auto document = Json::parse(as_text(found->body), nullptr, false);
  const auto& token = inside(document, "data");
  const auto left = number_of(token, "ttl");
  const auto whole = std::max(number_of(token, "creation_ttl"), number_of(token, "period"));
  if (left <= 0 || left * kNearItsEnd >= whole) return;  // 0: it does not end
  const auto renewable = token.find("renewable");
  if (renewable != token.end() && renewable->is_boolean() && renewable->get<bool>()) {
    const auto renewed = once("POST", "auth/token/renew-self", "{}", "Vault, renew-self");
    if (renewed && renewed->success()) {
      const auto answer = Json::parse(as_text(renewed->body), nullptr, false);
      const auto now = number_of(inside(answer, "auth"), "lease_duration");
      if (now * kNearItsEnd >= whole) return log_debug("renewed the Vault token of {}: {}", identity_.token_source, readable(now));
      return log_warning("the Vault token of {} ends in {} and cannot be renewed beyond: put a new one there, or let pgmint log in by AppRole", identity_.token_source,
                         readable(std::max(now, left)));
    }
    return log_warning("the Vault token of {} ends in {} and is not renewed: {}", identity_.token_source, readable(left),
                       renewed ? fmt::format("status {}: {}", renewed->status, renewed->said) : renewed.error().describe());
  }
  log_warning("the Vault token of {} ends in {} and is not renewable: put a new one there, or let pgmint log in by AppRole", identity_.token_source, readable(left));
}

}  // namespace pgmint::http
