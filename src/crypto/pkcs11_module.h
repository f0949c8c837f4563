// A PKCS#11 module: the library that speaks for tokens, loaded into this process. Source: OASIS PKCS #11 Base Specification 2.40, by p11-kit's header.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"

struct _CK_FUNCTION_LIST;  // CK_FUNCTION_LIST, as p11-kit calls it

namespace pgmint::crypto {

using Pkcs11Code = unsigned long;  ///< CK_RV

/// Thread-safe as far as the module is: it is told to use the system's locks.
///
/// Its code runs in our process, with our rights and our memory. It is set up once a process (again in one that was forked since, as the
/// specification asks for) and never let go: modules leave threads and exit handlers behind, and other parts of the process may use it too.
class Pkcs11Module {
 public:
  /// @param path  absolute. @errors Configuration (absent, no such library, not to be set up)
  static Result<Pkcs11Module*> load(const fs::path& path);
  /// One that is loaded already. Borrows `functions`.
  Pkcs11Module(_CK_FUNCTION_LIST* functions, std::string name) : functions_(functions), name_(std::move(name)) {}
  Pkcs11Module(const Pkcs11Module&) = delete;
  Pkcs11Module& operator=(const Pkcs11Module&) = delete;

  const _CK_FUNCTION_LIST& operator()() const { return *functions_; }
  const std::string& name() const { return name_; }

  /// A PIN that a token refused is not tried on it again by this process: tries are counted.
  void note_refused_pin(const std::string& token);
  bool pin_was_refused(const std::string& token);

 private:
  Status set_up();

  _CK_FUNCTION_LIST* const functions_;
  const std::string name_;
  pid_t process_ = 0;  ///< that it was set up in
  std::mutex mutex_;
  std::set<std::string> refused_;
};

/// What a call did not do, as an Error. @param what  for messages: the call, and on what
Error pkcs11_error(Pkcs11Code code, std::string_view what);
/// "CKR_PIN_INCORRECT"; a number where it is not one that a caller can do something about.
std::string pkcs11_code(Pkcs11Code code);

}  // namespace pgmint::crypto
