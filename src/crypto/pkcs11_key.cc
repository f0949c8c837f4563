#include "crypto/pkcs11_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <p11-kit/pkcs11.h>

#include <algorithm>
#include <array>
#include <vector>

#include "crypto/pkcs11_module.h"

namespace pgmint::crypto {
namespace {

constexpr std::uint8_t kAesGcm = 1;  ///< the mechanism, in what wrap() gives
constexpr std::size_t kIvSize = 12, kIvMax = 64, kTagSize = 16;
constexpr std::size_t kSealedSize = Key256::kSize + kTagSize;
constexpr CK_ULONG kSlotsMax = 1024;
constexpr std::size_t kAttributeMax = 4096;

/// A field of fixed width, filled up with blanks.
template <std::size_t N>
std::string field(const unsigned char (&text)[N]) {
  std::string out(reinterpret_cast<const char*>(text), N);
  out.erase(out.find_last_not_of(std::string_view(" \0", 2)) + 1);
  return out;
}

bool fits(const std::optional<std::string>& wanted, const std::string& is) { return !wanted || *wanted == is; }

unsigned char* bytes_of(ByteView view) { return reinterpret_cast<unsigned char*>(const_cast<std::byte*>(view.data())); }

struct Token {
  CK_SLOT_ID slot = 0;
  std::string label, manufacturer, serial, model;
  CK_FLAGS flags = 0;
  std::string shown() const { return label.empty() ? fmt::format("of serial number {}", serial) : fmt::format("\"{}\"", label); }
};

Result<Token> token_in(const Pkcs11Module& module, CK_SLOT_ID slot) {
  CK_TOKEN_INFO info{};
  if (const auto code = module().C_GetTokenInfo(slot, &info); code != CKR_OK) return pkcs11_error(code, "C_GetTokenInfo");
  return Token{slot, field(info.label), field(info.manufacturerID), field(info.serialNumber), field(info.model), info.flags};
}

Result<std::vector<Token>> tokens_of(const Pkcs11Module& module) {
  std::vector<CK_SLOT_ID> slots;
  CK_ULONG count = 0;
  // Tokens come and go between the two calls.
  for (auto code = CKR_BUFFER_TOO_SMALL; code == CKR_BUFFER_TOO_SMALL;) {
    if (code = module().C_GetSlotList(1, nullptr, &count); code == CKR_OK) {
      if (count > kSlotsMax) return Error(Errc::ResourceLimit, fmt::format("{} has more than {} slots", module.name(), kSlotsMax));
      slots.resize(count);
      code = module().C_GetSlotList(1, slots.data(), &count);
    }
    if (code != CKR_OK && code != CKR_BUFFER_TOO_SMALL) return pkcs11_error(code, "C_GetSlotList");
  }
  slots.resize(count);
  std::vector<Token> tokens;
  for (const auto slot : slots)
    if (auto token = token_in(module, slot); token && (token->flags & CKF_TOKEN_INITIALIZED) != 0) tokens.push_back(std::move(*token));
  return tokens;
}

Result<Token> find_token(const Pkcs11Module& module, const TokenKeyName& name) {
  const auto all = TRY(tokens_of(module));
  std::vector<Token> fitting;
  std::vector<std::string> others;
  for (const auto& token : all) {
    others.push_back(fmt::format("{} (serial {})", token.shown(), token.serial));
    if (fits(name.token, token.label) && fits(name.manufacturer, token.manufacturer) && fits(name.serial, token.serial) && fits(name.model, token.model) &&
        (!name.slot || *name.slot == token.slot))
      fitting.push_back(token);
  }
  if (fitting.size() == 1) return fitting.front();
  const auto there = others.empty() ? std::string("there is none") : fmt::format("there are: {}", fmt::join(others, ", "));
  if (fitting.empty())
    return Error(Errc::Storage, fmt::format("no such token is there{}; {}", name.token ? fmt::format(" as \"{}\"", *name.token) : "", there),
                 Hint{fmt::format("plug it in, or let this user reach it: pkcs11-tool --module {} --list-token-slots; another slot or the recovery key opens the repository meanwhile", module.name())});
  return Error(Errc::Configuration, fmt::format("several tokens fit; {}", there), Hint{"name one of them: serial=... in the URI"});
}

class Session final : public Pkcs11Key {
 public:
  Session(Pkcs11Module& module, Token token) : module_(module), token_(std::move(token)) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() override {
    // The last session's end is the logout. There is nobody to tell that a token has gone meanwhile.
    if (session_ != CK_INVALID_HANDLE) static_cast<void>(module_().C_CloseSession(session_));
  }

  Status begin(const TokenKeyName& wanted, const PinSource& pin) {
    TRY(done(module_().C_OpenSession(token_.slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session_), "C_OpenSession"));
    if ((token_.flags & CKF_LOGIN_REQUIRED) != 0) TRY(log_in(pin));
    return find_key(wanted);
  }

  const TokenKeyName& name() const override { return name_; }

  Status expect_fit() override {
    const auto unfit = [&](std::string_view why) {
      return Error(Errc::Key, fmt::format("the key {} in token {} {}", key_shown(), token_.shown(), why),
                   Hint{fmt::format("make one for pgmint alone: pkcs11-tool --module {} --token-label TOKEN --login --keygen --key-type AES:32 --sensitive --label pgmint", module_.name())});
    };
    if (TRY(flag(CKA_EXTRACTABLE, "CKA_EXTRACTABLE")) || !TRY(flag(CKA_SENSITIVE, "CKA_SENSITIVE")))
      return unfit("can be taken out of it (CKA_EXTRACTABLE, or not CKA_SENSITIVE): then the token protects nothing");
    CK_ULONG size = 0;
    CK_ATTRIBUTE asked{CKA_VALUE_LEN, &size, sizeof size};
    TRY(done(module_().C_GetAttributeValue(session_, key_, &asked, 1), "C_GetAttributeValue CKA_VALUE_LEN"));
    if (size != Key256::kSize) return unfit(fmt::format("has {} bits, not 256", size * 8));
    CK_MECHANISM_INFO mechanism{};
    const auto code = module_().C_GetMechanismInfo(token_.slot, CKM_AES_GCM, &mechanism);
    if (code != CKR_OK || (mechanism.flags & CKF_ENCRYPT) == 0 || (mechanism.flags & CKF_DECRYPT) == 0)
      return Error(Errc::Key, fmt::format("token {} does not encrypt by CKM_AES_GCM", token_.shown()), Hint{"pgmint needs a token that does: pkcs11-tool --list-mechanisms"});
    return ok();
  }

  Result<Bytes> wrap(const Key256& key, ByteView bound_to, RandomSource& random) override {
    // Tokens that draw it themselves put it into the same place.
    ByteArray<kIvSize> iv{};
    random.fill(iv);
    CK_GCM_PARAMS parameters = gcm(iv, bound_to);
    CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof parameters};
    TRY(done(module_().C_EncryptInit(session_, &mechanism, key_), "C_EncryptInit CKM_AES_GCM"));
    Bytes sealed(kSealedSize + kIvMax);
    CK_ULONG size = sealed.size();
    TRY(done(module_().C_Encrypt(session_, bytes_of(key.bytes()), Key256::kSize, bytes_of(sealed), &size), "C_Encrypt CKM_AES_GCM"));
    if (size != kSealedSize)
      return Error(Errc::Key, fmt::format("token {}: CKM_AES_GCM gives {} bytes in place of {}", token_.shown(), size, kSealedSize));
    Bytes wrapped{std::byte{kAesGcm}, static_cast<std::byte>(iv.size())};
    append(wrapped, iv);
    append(wrapped, ByteView(sealed).first(size));
    return wrapped;
  }

  Result<std::optional<Key256>> unwrap(ByteView wrapped, ByteView bound_to) override {
    // Not from a wrapping: whatever the store holds may come here.
    const std::size_t iv_size = wrapped.size() < 2 ? 0 : std::to_integer<std::size_t>(wrapped[1]);
    if (wrapped.size() < 2 || wrapped[0] != std::byte{kAesGcm} || iv_size == 0 || iv_size > kIvMax || wrapped.size() != 2 + iv_size + kSealedSize)
      return std::optional<Key256>();
    Bytes iv = to_bytes(wrapped.subspan(2, iv_size));
    CK_GCM_PARAMS parameters = gcm(iv, bound_to);
    CK_MECHANISM mechanism{CKM_AES_GCM, &parameters, sizeof parameters};
    TRY(done(module_().C_DecryptInit(session_, &mechanism, key_), "C_DecryptInit CKM_AES_GCM"));
    ByteArray<kSealedSize> plain{};  // some tokens want room for all that they were given
    CK_ULONG size = plain.size();
    const auto sealed = wrapped.subspan(2 + iv_size);
    const auto code = module_().C_Decrypt(session_, bytes_of(sealed), sealed.size(), bytes_of(plain), &size);
    auto key = code == CKR_OK && size == Key256::kSize ? Key256::from_bytes(ByteView(plain).first(size)) : Result<Key256>(Error(Errc::Key, "no key"));
    wipe(plain);
    if (code != CKR_OK && !TRY(says_that_it_does_not_open(code))) return pkcs11_error(code, fmt::format("token {}, C_Decrypt CKM_AES_GCM", token_.shown()));
    if (!key || key->is_zero()) return std::optional<Key256>();
    return std::optional(std::move(*key));
  }

 private:
  static CK_GCM_PARAMS gcm(MutableByteView iv, ByteView bound_to) {
    CK_GCM_PARAMS parameters{};
    parameters.pIv = bytes_of(iv);
    parameters.ulIvLen = iv.size();
    parameters.ulIvBits = iv.size() * 8;
    parameters.pAAD = bytes_of(bound_to);
    parameters.ulAADLen = bound_to.size();
    parameters.ulTagBits = kTagSize * 8;
    return parameters;
  }

  Status done(CK_RV code, std::string_view call) const {
    if (code == CKR_OK) return ok();
    return pkcs11_error(code, fmt::format("token {}, {}", token_.shown(), call));
  }

  /// There is no one code for a tag that does not fit. The vague ones count when the token is still there.
  Result<bool> says_that_it_does_not_open(CK_RV code) const {
    constexpr CK_RV kAeadDecryptFailed = 0x42;  // of PKCS #11 3.0
    if (code == CKR_ENCRYPTED_DATA_INVALID || code == CKR_ENCRYPTED_DATA_LEN_RANGE || code == CKR_DATA_INVALID || code == CKR_SIGNATURE_INVALID || code == kAeadDecryptFailed) return true;
    if (code != CKR_GENERAL_ERROR && code != CKR_FUNCTION_FAILED && code != CKR_ARGUMENTS_BAD) return false;
    CK_SESSION_INFO info{};
    TRY(done(module_().C_GetSessionInfo(session_, &info), "C_GetSessionInfo"));
    return token_in(module_, token_.slot).has_value();
  }

  Status log_in(const PinSource& pin) {
    const auto refuse = [&](std::string_view why, CK_RV as) {
      auto error = pkcs11_error(as, fmt::format("token {}", token_.shown()));
      return Error(Errc::Key, fmt::format("token {}: {}", token_.shown(), why), Hint{error.hint()});
    };
    if ((token_.flags & CKF_USER_PIN_LOCKED) != 0) return refuse("its user PIN is locked", CKR_PIN_LOCKED);
    if ((token_.flags & CKF_USER_PIN_INITIALIZED) == 0) return refuse("it has no user PIN yet", CKR_USER_PIN_NOT_INITIALIZED);
    if (module_.pin_was_refused(token_.serial)) return refuse("it has refused the PIN a moment ago, and is not asked again", CKR_PIN_INCORRECT);
    if ((token_.flags & CKF_USER_PIN_FINAL_TRY) != 0)
      return Error(Errc::Key, fmt::format("token {}: one wrong PIN more would lock it, so pgmint does not try", token_.shown()),
                   Hint{fmt::format("log in by hand, which sets its counter back: pkcs11-tool --module {} --token-label TOKEN --login --test; then look at the PIN file", module_.name())});
    auto secret = TRY(pin.get());
    const auto code = module_().C_Login(session_, CKU_USER, reinterpret_cast<unsigned char*>(secret.data()), secret.size());
    wipe(std::as_writable_bytes(std::span(secret.data(), secret.size())));
    if (code == CKR_OK || code == CKR_USER_ALREADY_LOGGED_IN) return ok();
    auto error = pkcs11_error(code, fmt::format("token {}, login{}", token_.shown(), code == CKR_PIN_INCORRECT ? tries_left() : ""));
    if (error.code() == Errc::Key) {
      module_.note_refused_pin(token_.serial);
      if (pin.refused) pin.refused();
    }
    return error;
  }

  /// What the token says of itself after a wrong PIN.
  std::string tries_left() const {
    const auto now = token_in(module_, token_.slot);
    if (!now) return "";
    if ((now->flags & CKF_USER_PIN_LOCKED) != 0) return ", which is locked now";
    if ((now->flags & CKF_USER_PIN_FINAL_TRY) != 0) return ", which has one try left (pgmint will not take it)";
    if ((now->flags & CKF_USER_PIN_COUNT_LOW) != 0) return ", which counts wrong tries and locks itself after some";
    return "";
  }

  Status find_key(const TokenKeyName& wanted) {
    CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
    CK_KEY_TYPE aes = CKK_AES;
    unsigned char yes = 1;
    std::vector<CK_ATTRIBUTE> like = {{CKA_CLASS, &secret_key, sizeof secret_key}, {CKA_KEY_TYPE, &aes, sizeof aes}, {CKA_TOKEN, &yes, sizeof yes}};
    if (wanted.object) like.push_back({CKA_LABEL, bytes_of(as_bytes(*wanted.object)), wanted.object->size()});
    if (wanted.id) like.push_back({CKA_ID, bytes_of(*wanted.id), wanted.id->size()});
    TRY(done(module_().C_FindObjectsInit(session_, like.data(), like.size()), "C_FindObjectsInit"));
    std::array<CK_OBJECT_HANDLE, 2> found{};
    CK_ULONG count = 0;
    const auto code = module_().C_FindObjects(session_, found.data(), found.size(), &count);
    const auto ended = module_().C_FindObjectsFinal(session_);
    TRY(done(code, "C_FindObjects"));
    TRY(done(ended, "C_FindObjectsFinal"));
    if (count == 0)
      return Error(Errc::Key, fmt::format("token {} holds no AES key{}", token_.shown(), wanted.object ? fmt::format(" \"{}\"", *wanted.object) : wanted.id ? " of that id" : ""),
                   Hint{fmt::format("look at what it holds: pkcs11-tool --module {} --token-label TOKEN --login --list-objects --type secrkey; what a deleted key wrapped is lost: another slot or the "
                                    "recovery key opens the repository", module_.name())});
    if (count > 1) return Error(Errc::Configuration, fmt::format("token {} holds several AES keys that fit", token_.shown()), Hint{"name one of them: object=... or id=%... in the URI"});
    key_ = found[0];
    name_.token = token_.label;
    name_.serial = token_.serial;
    name_.object = std::string(as_text(TRY(attribute(CKA_LABEL))));
    name_.id = TRY(attribute(CKA_ID));
    return ok();
  }

  /// Empty where the key has none.
  Result<Bytes> attribute(CK_ATTRIBUTE_TYPE type) const {
    CK_ATTRIBUTE asked{type, nullptr, 0};
    if (module_().C_GetAttributeValue(session_, key_, &asked, 1) != CKR_OK || asked.ulValueLen > kAttributeMax) return Bytes();
    Bytes value(asked.ulValueLen);
    asked.pValue = value.data();
    TRY(done(module_().C_GetAttributeValue(session_, key_, &asked, 1), "C_GetAttributeValue"));
    value.resize(std::min<std::size_t>(value.size(), asked.ulValueLen));
    return value;
  }

  Result<bool> flag(CK_ATTRIBUTE_TYPE type, std::string_view called) const {
    unsigned char value = 0;
    CK_ATTRIBUTE asked{type, &value, sizeof value};
    TRY(done(module_().C_GetAttributeValue(session_, key_, &asked, 1), fmt::format("C_GetAttributeValue {}", called)));
    return value != 0;
  }

  std::string key_shown() const { return name_.object && !name_.object->empty() ? fmt::format("\"{}\"", *name_.object) : fmt::format("of id {}", to_hex(*name_.id)); }

  Pkcs11Module& module_;
  const Token token_;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE key_ = CK_INVALID_HANDLE;
  TokenKeyName name_;
};

}  // namespace

Result<std::unique_ptr<Pkcs11Key>> Pkcs11Key::open(Pkcs11Module& module, const TokenKeyName& name, const PinSource& pin) {
  auto session = std::make_unique<Session>(module, TRY(find_token(module, name)));
  TRY(session->begin(name, pin));
  return std::unique_ptr<Pkcs11Key>(std::move(session));
}

}  // namespace pgmint::crypto
