#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <regex>

namespace pgmint {
namespace {

spdlog::logger& logger() {
  static auto instance = [] {
    auto created = std::make_shared<spdlog::logger>("pgmint", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    created->set_pattern("%Y-%m-%d %H:%M:%S.%e %-7l %v");
    created->set_level(spdlog::level::info);
    return created;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::Debug: return spdlog::level::debug;
    case LogLevel::Info: return spdlog::level::info;
    case LogLevel::Warning: return spdlog::level::warn;
    case LogLevel::Error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void set_log_level(LogLevel level) { logger().set_level(to_spdlog(level)); }
bool log_enabled(LogLevel level) { return logger().should_log(to_spdlog(level)); }
void log_line(LogLevel level, std::string_view text) { logger().log(to_spdlog(level), redact(text)); }

std::string redact(std::string_view text) {
  std::string out(text);
  if (out.find("pass") == std::string::npos && out.find("secret") == std::string::npos &&
      out.find("://") == std::string::npos)
    return out;
  static const std::regex assignment(R"(((?:password|passphrase|secret_access_key)\s*=\s*)('(?:[^'\\]|\\.)*'|"[^"]*"|[^\s,;]+))");
  static const std::regex uri(R"((://[^/\s:@]*:)[^@\s]*@)");
  out = std::regex_replace(out, assignment, "$1***");
  return std::regex_replace(out, uri, "$1***@");
}

}  // namespace pgmint
