#include "crypto/pkcs11_module.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>

namespace pgmint::crypto {
namespace {

struct Code {
  CK_RV code;
  std::string_view name;
  Errc kind;
  std::string_view hint;
};

constexpr std::string_view kLookAtToken = "is the token there, and may this user reach it? pkcs11-tool --module MODULE --list-token-slots";
constexpr std::string_view kPinFile = "put the user PIN into pin_file of [pkcs11], or into the file that pin-source names; then try it once: pgmint key check";
constexpr std::string_view kPinLocked = "the security officer sets a new PIN: pkcs11-tool --module MODULE --login --login-type so --init-pin; until then another slot or the recovery key opens the repository";
constexpr std::string_view kKeyUse = "the wrapping key must be an AES key of 256 bits that may encrypt and decrypt by CKM_AES_GCM (CKA_ENCRYPT, CKA_DECRYPT)";

constexpr Code kCodes[] = {
    {CKR_HOST_MEMORY, "CKR_HOST_MEMORY", Errc::Storage, ""},
    {CKR_SLOT_ID_INVALID, "CKR_SLOT_ID_INVALID", Errc::Storage, kLookAtToken},
    {CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR", Errc::Storage, kLookAtToken},
    {CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED", Errc::Storage, kLookAtToken},
    {CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR", Errc::Storage, kLookAtToken},
    {CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY", Errc::Storage, kLookAtToken},
    {CKR_DEVICE_REMOVED, "CKR_DEVICE_REMOVED", Errc::Storage, kLookAtToken},
    {CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT", Errc::Storage, kLookAtToken},
    {CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED", Errc::Storage, kLookAtToken},
    {CKR_SESSION_CLOSED, "CKR_SESSION_CLOSED", Errc::Storage, kLookAtToken},
    {CKR_SESSION_HANDLE_INVALID, "CKR_SESSION_HANDLE_INVALID", Errc::Storage, kLookAtToken},
    {CKR_SESSION_COUNT, "CKR_SESSION_COUNT", Errc::Storage, "the token has no session left: end what else uses it"},
    {CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT", Errc::Key, kPinFile},
    {CKR_PIN_INVALID, "CKR_PIN_INVALID", Errc::Key, kPinFile},
    {CKR_PIN_LEN_RANGE, "CKR_PIN_LEN_RANGE", Errc::Key, kPinFile},
    {CKR_PIN_EXPIRED, "CKR_PIN_EXPIRED", Errc::Key, "set a new PIN by the token's own program, then put it into the PIN file"},
    {CKR_PIN_LOCKED, "CKR_PIN_LOCKED", Errc::Key, kPinLocked},
    {CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED", Errc::Key, kPinLocked},
    {CKR_USER_ANOTHER_ALREADY_LOGGED_IN, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", Errc::Key, ""},
    {CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN", Errc::Key, kPinFile},
    {CKR_KEY_FUNCTION_NOT_PERMITTED, "CKR_KEY_FUNCTION_NOT_PERMITTED", Errc::Key, kKeyUse},
    {CKR_KEY_TYPE_INCONSISTENT, "CKR_KEY_TYPE_INCONSISTENT", Errc::Key, kKeyUse},
    {CKR_KEY_SIZE_RANGE, "CKR_KEY_SIZE_RANGE", Errc::Key, kKeyUse},
    {CKR_KEY_HANDLE_INVALID, "CKR_KEY_HANDLE_INVALID", Errc::Key, kKeyUse},
    {CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID", Errc::Key, kKeyUse},
    {CKR_MECHANISM_PARAM_INVALID, "CKR_MECHANISM_PARAM_INVALID", Errc::Key, kKeyUse},
    {CKR_FUNCTION_NOT_SUPPORTED, "CKR_FUNCTION_NOT_SUPPORTED", Errc::Key, kKeyUse},
};

const Code* known(CK_RV code) {
  const auto* found = std::ranges::find(kCodes, code, &Code::code);
  return found == std::end(kCodes) ? nullptr : found;
}

}  // namespace

std::string pkcs11_code(CK_RV code) {
  const auto* found = known(code);
  return found != nullptr ? std::string(found->name) : fmt::format("error 0x{:08x}", code);
}

Error pkcs11_error(CK_RV code, std::string_view what) {
  const auto text = fmt::format("{}: {}", what, pkcs11_code(code));
  if (const auto* found = known(code)) return Error(found->kind, text, Hint{std::string(found->hint)});
  // What a maker adds is mostly about reaching the device.
  return Error(code >= CKR_VENDOR_DEFINED ? Errc::Storage : Errc::Key, text, Hint{std::string(kLookAtToken)});
}

Result<Pkcs11Module*> Pkcs11Module::load(const fs::path& path) {
  static std::mutex loading;
  static std::map<fs::path, std::unique_ptr<Pkcs11Module>> all;
  const std::lock_guard lock(loading);
  auto& module = all[path];
  if (!module) {
    const auto wrong = [&](std::string_view why) {
      return Error(Errc::Configuration, fmt::format("the PKCS#11 module {} cannot be loaded: {}", path.string(), why), Hint{"name the library of the token's maker as module in [pkcs11]"});
    };
    if (!path.is_absolute()) return wrong("not an absolute path");
    void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* reason = ::dlerror();
      return wrong(reason != nullptr ? reason : "no reason given");
    }
    const auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
    CK_FUNCTION_LIST* functions = nullptr;
    if (get == nullptr || get(&functions) != CKR_OK || functions == nullptr || functions->version.major < 2) return wrong("it is no PKCS#11 module");
    module = std::make_unique<Pkcs11Module>(functions, path.string());
  }
  TRY(module->set_up());
  return module.get();
}

Status Pkcs11Module::set_up() {
  if (process_ == ::getpid()) return ok();
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  auto code = functions_->C_Initialize(&arguments);
  if (code == CKR_CANT_LOCK) code = functions_->C_Initialize(nullptr);  // one that takes one thread alone, and gets no more
  if (code != CKR_OK && code != CKR_CRYPTOKI_ALREADY_INITIALIZED)
    return Error(Errc::Configuration, fmt::format("the PKCS#11 module {} cannot be set up: {}", name_, pkcs11_code(code)),
                 Hint{"its own configuration may not be readable to this user, or be named by an environment variable that is not set here (SoftHSM: SOFTHSM2_CONF)"});
  process_ = ::getpid();
  return ok();
}

void Pkcs11Module::note_refused_pin(const std::string& token) {
  const std::lock_guard lock(mutex_);
  refused_.insert(token);
}

bool Pkcs11Module::pin_was_refused(const std::string& token) {
  const std::lock_guard lock(mutex_);
  return refused_.contains(token);
}

}  // namespace pgmint::crypto
