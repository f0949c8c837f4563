// One log file of a day: BOOK-2026-11-26.log. Lines of many processes and threads, whole; a new file when the day is over; old ones go.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/config.h"

namespace pgmint::cli {

enum class LogBook { Backup, Restore, Access, Audit };
/// "backup", "restore", "access", "audit".
std::string_view book_name(LogBook book);

/// Thread-safe.
class LogBookFile {
 public:
  /// @param settings  with a directory. Borrows the clock.
  LogBookFile(const LogSettings& settings, LogBook book, std::string command, Clock& clock)
      : settings_(settings), book_(book), command_(std::move(command)), clock_(clock) {}

  /// Today's file; with a new one `BOOK.log` leads to it, and files go whose time is over. @errors Io, Key
  Status open();
  /// One line. When the day has changed, into the new day's file: a daemon lives for months. A line that cannot be written is told once.
  void write(LogLevel level, std::string_view text);

 private:
  Status open_day(const std::string& today);
  std::string line_of(LogLevel level, std::string_view text, TimePoint now) const;
  void lead_to(const std::string& name);
  Status drop_old(std::chrono::local_days today);

  const LogSettings settings_;
  const LogBook book_;
  const std::string command_;
  Clock& clock_;
  std::mutex mutex_;
  std::string day_;
  Fd file_;
  bool failed_ = false;
};

}  // namespace pgmint::cli
