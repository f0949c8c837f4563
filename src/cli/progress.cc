#include "cli/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/context.h"

namespace pgmint::cli {
namespace {

using std::chrono::microseconds;

constexpr auto kBarPause = std::chrono::milliseconds(200);
constexpr auto kLinePause = std::chrono::seconds(5);
constexpr auto kEventPause = std::chrono::milliseconds(500);
constexpr auto kQuietPhase = std::chrono::seconds(2);  // phases without bytes are worth a line only when they last

void to_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

microseconds pause_of(ProgressMode mode) {
  switch (mode) {
    case ProgressMode::Bar:
      return kBarPause;
    case ProgressMode::Events:
      return kEventPause;
    case ProgressMode::Plain:
    case ProgressMode::None:
      return kLinePause;
  }
  return kLinePause;
}

}  // namespace

ProgressMode progress_mode(Context& context) {
  std::string how = "auto", log_format = "auto";
  if (const auto configuration = context.configuration()) {
    how = (*configuration)->progress.value_or(how);
    log_format = (*configuration)->log_format.value_or(log_format);
  }
  log_format = context.arguments().get("--log-format").value_or(log_format);
  how = context.arguments().get("--progress").value_or(how);
  if (how == "none") return ProgressMode::None;
  if (how == "json") return ProgressMode::Events;
  if (how == "plain") return ProgressMode::Plain;
  if (log_format == "json") return ProgressMode::Events;  // who reads objects line by line gets nothing else
  return ::isatty(STDERR_FILENO) != 0 ? ProgressMode::Bar : ProgressMode::Plain;
}

ProgressDisplay::ProgressDisplay(ProgressMode mode, Clock& clock, Sink sink)
    : mode_(mode), clock_(clock), sink_(std::move(sink)) {}
ProgressDisplay::ProgressDisplay(ProgressMode mode) : ProgressDisplay(mode, system_clock(), to_stderr) {}
ProgressDisplay::~ProgressDisplay() {
  finish();
}

double ProgressDisplay::rate() const {
  const double seconds = std::chrono::duration<double>(clock_.now() - phase_began_).count();
  return seconds > 0 ? static_cast<double>(done_) / seconds : 0;
}

std::optional<double> ProgressDisplay::seconds_left() const {
  const double now = rate();
  if (now <= 0 || total_ <= done_) return total_ > 0 && done_ >= total_ ? std::optional(0.0) : std::nullopt;
  return static_cast<double>(total_ - done_) / now;
}

/// "43%, 1.2 GiB of 2.8 GiB, 210 MiB/s, ratio 3.1, 8.2 s left"
std::string ProgressDisplay::figures() const {
  const double percent = 100.0 * static_cast<double>(done_) / static_cast<double>(total_);
  std::string text = fmt::format("{:.0f}%, {} of {}, {}/s", std::min(percent, 100.0), human(ByteCount(done_)),
                                 human(ByteCount(total_)), human(ByteCount(static_cast<std::uint64_t>(rate()))));
  if (stored_ && *stored_ > 0)
    text += fmt::format(", ratio {:.1f}", static_cast<double>(done_) / static_cast<double>(*stored_));
  if (const auto left = seconds_left(); left && *left > 0 && done_ < total_)
    text += fmt::format(", {} left", human(microseconds(static_cast<std::int64_t>(*left * 1e6))));
  return text;
}

void ProgressDisplay::show_bar() {
  constexpr std::size_t kBarWidth = 24;
  const double part = total_ == 0 ? 0 : std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
  const auto filled = static_cast<std::size_t>(part * kBarWidth);
  std::string text = total_ == 0 ? fmt::format("{} {}", phase_, detail_)
                                 : fmt::format("{} [{}{}] {}", phase_, std::string(filled, '='),
                                               std::string(kBarWidth - filled, ' '), figures());
  text.resize(std::min(text.size(), terminal_columns() - 1));
  sink_("\r" + text + "\033[K");
  bar_drawn_ = true;
}

void ProgressDisplay::show(bool last) {
  shown_ = clock_.now();
  if (mode_ == ProgressMode::Bar) return show_bar();
  if (mode_ == ProgressMode::Plain) {
    if (total_ > 0)
      sink_(fmt::format("pgmint: {}: {}\n", phase_, figures()));
    else if (!last)
      sink_(fmt::format("pgmint: {}{}{}\n", phase_, detail_.empty() ? "" : ": ", redact(detail_)));
    shown_once_ = true;
    return;
  }
  const auto left = seconds_left();
  nlohmann::ordered_json event = {{"event", "progress"},
                                  {"phase", phase_},
                                  {"done_bytes", done_},
                                  {"total_bytes", total_},
                                  {"rate_bytes_s", static_cast<std::uint64_t>(total_ == 0 ? 0 : rate())}};
  event["eta_s"] = left ? nlohmann::ordered_json(*left) : nlohmann::ordered_json(nullptr);
  event["stored_bytes"] = stored_ ? nlohmann::ordered_json(*stored_) : nlohmann::ordered_json(nullptr);
  event["detail"] = redact(detail_);
  sink_(event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  shown_once_ = true;
}

void ProgressDisplay::update(const ProgressNews& news) {
  if (mode_ == ProgressMode::None) return;
  if (news.phase != phase_) {
    done_ = total_;  // the next phase begins when this one has done all there was to do
    finish();
    phase_ = news.phase;
    phase_began_ = shown_ = clock_.now();
    shown_once_ = false;
  }
  const bool measured_anew = news.total > 0 && total_ == 0;
  done_ = news.done;
  total_ = news.total;
  stored_ = news.stored;
  detail_ = news.detail;
  const auto now = clock_.now();
  if (mode_ == ProgressMode::Events && !shown_once_) return show(false);
  if (mode_ == ProgressMode::Bar && (!bar_drawn_ || measured_anew)) return show(false);
  if (mode_ == ProgressMode::Plain && total_ == 0 && !shown_once_ && now - phase_began_ >= kQuietPhase)
    return show(false);
  if (now - shown_ >= pause_of(mode_)) show(false);
}

void ProgressDisplay::finish() {
  if (mode_ == ProgressMode::None || phase_.empty()) return;
  if (mode_ == ProgressMode::Bar) {
    if (bar_drawn_) sink_("\r\033[K");
    bar_drawn_ = false;
  } else if (total_ > 0) {
    show(true);
  }
  phase_.clear();
  done_ = total_ = 0;
  stored_.reset();
  detail_.clear();
}

}  // namespace pgmint::cli
