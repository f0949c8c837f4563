#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/clock.h"

namespace pgmint {
namespace {

constexpr const char* kTextPattern = "%Y-%m-%d %H:%M:%S.%e %-7l %v";

spdlog::logger& logger() {
  static auto instance = [] {
    auto created = std::make_shared<spdlog::logger>("pgmint", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    created->set_pattern(kTextPattern);
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

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto time = std::chrono::time_point_cast<std::chrono::microseconds>(message.time);
    const auto level = spdlog::level::to_string_view(message.level);
    const nlohmann::json object = {{"time", format_rfc3339(TimePoint(time.time_since_epoch()))},
                                   {"level", std::string_view(level.data(), level.size())},
                                   {"message", std::string_view(message.payload.data(), message.payload.size())}};
    const auto text = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

/// syslog's priorities, as sd-daemon(3) has them.
class JournalFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const char priority = message.level >= spdlog::level::err ? '3' : message.level == spdlog::level::warn ? '4' : message.level == spdlog::level::info ? '6' : '7';
    std::string text = fmt::format("<{}>{}", priority, std::string_view(message.payload.data(), message.payload.size()));
    std::replace(text.begin(), text.end(), '\n', ' ');  // a line without its priority would count as information
    text += '\n';
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JournalFormatter>(); }
};

LogFormat& current_format() {
  static LogFormat format = LogFormat::Text;
  return format;
}

LogObserver& observer() {
  static LogObserver function;
  return function;
}

}  // namespace

void set_log_format(LogFormat format) {
  current_format() = format;
  if (format == LogFormat::Json) logger().set_formatter(std::make_unique<JsonFormatter>());
  else if (format == LogFormat::Journal) logger().set_formatter(std::make_unique<JournalFormatter>());
  else logger().set_pattern(kTextPattern);
}
bool log_is_for_people() { return current_format() == LogFormat::Text; }
void set_log_observer(LogObserver function) { observer() = std::move(function); }
void tell_observer(LogLevel level, std::string_view text) {
  if (observer()) observer()(level, redact(text));
}
std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::Debug: return "DEBUG";
    case LogLevel::Info: return "INFO";
    case LogLevel::Warning: return "WARNING";
    case LogLevel::Error: return "ERROR";
  }
  return "ERROR";
}

void set_log_level(LogLevel level) { logger().set_level(to_spdlog(level)); }
bool log_enabled(LogLevel level) { return logger().should_log(to_spdlog(level)); }
void log_line(LogLevel level, std::string_view text) {
  const auto line = redact(text);
  logger().log(to_spdlog(level), line);
  if (observer()) observer()(level, line);
}

void print_line(LogLevel level, std::string_view text) {
  const auto line = redact(text);
  for (const auto& sink : logger().sinks()) {
    sink->log(spdlog::details::log_msg(logger().name(), to_spdlog(level), line));
    sink->flush();
  }
}

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
