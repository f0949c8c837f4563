#include "base/error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pgmint {

int exit_code(Errc code) {
  switch (code) {
    case Errc::NotFound: return 1;
    case Errc::Usage: return 2;
    case Errc::Configuration: return 3;
    case Errc::Precondition:
    case Errc::ResourceLimit: return 4;
    case Errc::Busy: return 5;
    case Errc::Storage:
    case Errc::Unknown:
    case Errc::Io: return 6;
    case Errc::Key: return 7;
    case Errc::Corruption: return 8;
    case Errc::Postgres: return 9;
    case Errc::Objective: return 10;
    case Errc::Internal: return 70;
    case Errc::Cancelled: return 130;
  }
  return 70;
}

bool is_transient(Errc code) { return code == Errc::Storage || code == Errc::Unknown || code == Errc::Busy; }

std::string_view errc_name(Errc code) {
  switch (code) {
    case Errc::NotFound: return "not found";
    case Errc::Usage: return "usage";
    case Errc::Configuration: return "configuration";
    case Errc::Precondition: return "precondition";
    case Errc::Busy: return "busy";
    case Errc::Storage: return "storage";
    case Errc::Unknown: return "unknown outcome";
    case Errc::Io: return "i/o";
    case Errc::Key: return "key or permission";
    case Errc::Corruption: return "corruption";
    case Errc::Postgres: return "postgresql";
    case Errc::Objective: return "objective breached";
    case Errc::ResourceLimit: return "limit";
    case Errc::Internal: return "internal";
    case Errc::Cancelled: return "cancelled";
  }
  return "internal";
}

Error Error::with_context(std::string what) && {
  context_.insert(context_.begin(), std::move(what));
  return std::move(*this);
}

Error Error::with_hint(Hint hint) && {
  hint_ = std::move(hint.text);
  return std::move(*this);
}

Error Error::with_code(Errc code) && {
  code_ = code;
  return std::move(*this);
}

std::string Error::describe() const {
  std::string text;
  for (const auto& part : context_) text += part + ": ";
  return text + message_;
}

Error errno_error(int error_number, std::string_view what, Errc code) {
  if (error_number == EACCES || error_number == EPERM) code = Errc::Key;
  Error error(code, fmt::format("{}: {}", what, std::strerror(error_number)));
  if (error_number == ENOSPC || error_number == EDQUOT)
    return std::move(error).with_hint({"free space on that file system (df -h), then run the command again"});
  return error;
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "pgmint: internal error: %s does not hold at %s:%d; please report this\n", expression, file, line);
  std::abort();
}

}  // namespace pgmint
