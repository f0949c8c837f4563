// Diagnostics on standard error. What a command answers goes to standard output and never through here.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace pgmint {

enum class LogLevel { Debug, Info, Warning, Error };

/// Lines below this level are dropped. Default Info. Thread-safe.
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);
/// How lines look on standard error: as below; an object {"time", "level", "message"} a line; "<4>text", which journald takes for the priority.
enum class LogFormat { Text, Json, Journal };
/// Default Text. Call before threads start.
void set_log_format(LogFormat format);
/// Whether people read these lines: Text. Programs read the other two, line by line.
bool log_is_for_people();
/// Also told of every line that is not dropped, redacted. Call while no other thread logs; empty: nobody.
using LogObserver = std::function<void(LogLevel, std::string_view)>;
void set_log_observer(LogObserver observer);
/// What a command says on standard error by itself, for the observer alone.
void tell_observer(LogLevel level, std::string_view text);
/// "DEBUG", "INFO", "WARNING", "ERROR".
std::string_view level_name(LogLevel level);
/// One line: "2026-11-22 08:41:19.005 INFO  text". Secrets of the form password=... are redacted. Thread-safe.
void log_line(LogLevel level, std::string_view text);
/// A line of a command's own, whatever the level is set to, and not for the observer (tell_observer). In the form that is set. Thread-safe.
void print_line(LogLevel level, std::string_view text);
/// Replaces the value of password=, passphrase= and secret_access_key= (also as user:password@ in a URI) by ***.
std::string redact(std::string_view text);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::Debug)) log_line(LogLevel::Debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::Info)) log_line(LogLevel::Info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::Warning)) log_line(LogLevel::Warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::Error)) log_line(LogLevel::Error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace pgmint
