// Errors as values: one closed set of kinds, from which exit code, retry and hint follow.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace pgmint {

/// What went wrong, in the terms of the exit codes (docs/manual/exit-codes.md). Add a kind only with its exit code.
enum class Errc {
  NotFound,       ///< a negative answer: nothing there            exit 1
  Usage,          ///< the command line is wrong                   exit 2
  Configuration,  ///< the configuration is wrong                  exit 3
  Precondition,   ///< cannot be done as things stand; nothing was changed  exit 4
  Busy,           ///< somebody else holds what is needed          exit 5
  Storage,        ///< repository unreachable or its I/O failed    exit 6
  Unknown,        ///< a store operation whose outcome is not known: read back before anything else  exit 6
  Io,             ///< the local file system failed                exit 6
  Key,            ///< key missing, wrong, or permission denied    exit 7
  Corruption,     ///< bytes are not what they were                exit 8
  Postgres,       ///< PostgreSQL refused or went away             exit 9
  Objective,      ///< an objective is breached                    exit 10
  ResourceLimit,  ///< a stated limit would be passed              exit 4
  Internal,       ///< a bug of ours                               exit 70
  Cancelled,      ///< by signal or by another worker's failure    exit 130
};

/// The process exit code for a kind.
int exit_code(Errc code);
/// True when the same operation may succeed if repeated (storage unreachable, unknown outcome, busy).
bool is_transient(Errc code);
/// Lower-case name, e.g. "corruption".
std::string_view errc_name(Errc code);

/// The next command to type, or what to look at. A type of its own so that it is not mistaken for the message.
struct Hint {
  std::string text;
};

class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string message) : code_(code), message_(std::move(message)) {}
  Error(Errc code, std::string message, Hint hint)
      : code_(code), message_(std::move(message)), hint_(std::move(hint.text)) {}

  Errc code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  /// Outermost first.
  const std::vector<std::string>& context() const { return context_; }

  /// Says what was being done; the newest context comes first in describe().
  Error with_context(std::string what) &&;
  Error with_hint(Hint hint) &&;
  /// Same text under another kind.
  Error with_code(Errc code) &&;

  /// "context: context: message" on one line, without the hint.
  std::string describe() const;

 private:
  Errc code_;
  std::string message_;
  std::string hint_;
  std::vector<std::string> context_;
};

/// errno as an Error: ENOSPC and EDQUOT say so, EACCES and EPERM become Errc::Key, everything else `code`.
Error errno_error(int error_number, std::string_view what, Errc code = Errc::Io);

/// A value or an Error. The compiler warns when one is dropped.
template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using Base = tl::expected<T, Error>;
  using Base::Base;
  /// Of its own, since gcc folds the inherited one into a constant, which clears the room for an Error at every success.
  Result() requires std::is_default_constructible_v<Base> {}
  Result(const Base& other) : Base(other) {}        // NOLINT(google-explicit-constructor)
  Result(Base&& other) : Base(std::move(other)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  Error& failure() & { return Base::error(); }
  const Error& failure() const& { return Base::error(); }
  Error failure() && { return std::move(Base::error()); }

  /// Adds context to a failure; a success passes unchanged.
  Result context(std::string what) && {
    if (!this->has_value()) return Result(std::move(Base::error()).with_context(std::move(what)));
    return std::move(*this);
  }
};
using Status = Result<void>;

inline Status ok() { return Status{}; }

namespace detail {
template <class T>
T take(Result<T>&& result) {
  return std::move(*result);
}
inline void take(Result<void>&&) {}
}  // namespace detail

/// An impossible state: our bug. Stays on in release builds; never for bytes from outside.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace pgmint

#define PGMINT_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::pgmint::assertion_failed(#expression, __FILE__, __LINE__))

#define PGMINT_CONCAT_(a, b) a##b
#define PGMINT_CONCAT(a, b) PGMINT_CONCAT_(a, b)

/// `auto x = TRY(f());` gives the value, or returns the Error from the enclosing function. `TRY(g());` for a Status.
#define PGMINT_TRY_(name, ...)                              \
  __extension__({                                           \
    auto name = (__VA_ARGS__);                              \
    if (!name) return std::move(name).failure();            \
    ::pgmint::detail::take(std::move(name));                \
  })
#define TRY(...) PGMINT_TRY_(PGMINT_CONCAT(try_result_, __COUNTER__), __VA_ARGS__)
