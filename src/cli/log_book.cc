#include "cli/log_book.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace pgmint::cli {
namespace {

constexpr mode_t kLogMode = 0640;
/// Files go only where the book has one from so many days before today: a clock that was set to 2099 must not cost what is to be kept for seven years.
constexpr std::chrono::days kBookGap(31);

/// Files are of one host: days are its own.
std::string day_text(TimePoint time) { return format_local(time).substr(0, 10); }

std::optional<std::chrono::local_days> parse_day(std::string_view text) {
  int year = 0;
  unsigned month = 0, day = 0;
  char rest = 0;
  if (text.size() != 10 || std::sscanf(std::string(text).c_str(), "%4d-%2u-%2u%c", &year, &month, &day, &rest) != 3) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok()) return std::nullopt;
  return std::chrono::local_days(date);
}

/// The day in "backup-2026-11-26.log"; nullopt: another file.
std::optional<std::chrono::local_days> day_of(std::string_view file, LogBook book) {
  const auto prefix = fmt::format("{}-", book_name(book));
  if (!file.starts_with(prefix) || !file.ends_with(".log")) return std::nullopt;
  file.remove_prefix(prefix.size());
  file.remove_suffix(4);
  return parse_day(file);
}

}  // namespace

std::string_view book_name(LogBook book) {
  switch (book) {
    case LogBook::Backup: return "backup";
    case LogBook::Restore: return "restore";
    case LogBook::Access: return "access";
    case LogBook::Audit: return "audit";
  }
  return "backup";
}

Status LogBookFile::open() {
  const std::lock_guard lock(mutex_);
  return open_day(day_text(clock_.now()));
}

void LogBookFile::write(LogLevel level, std::string_view text) {
  const auto now = clock_.now();
  auto written = [&]() -> Status {
    const std::lock_guard lock(mutex_);
    if (const auto today = day_text(now); today != day_) TRY(open_day(today));
    return write_all(file_, as_bytes(line_of(level, text, now)), "log file");
  }();
  const std::lock_guard lock(mutex_);
  if (written || failed_) return;
  failed_ = true;
  // Not by the log: it would come back to this book.
  print_line(LogLevel::Warning, fmt::format("[logs]: {}", written.failure().describe()));
}

std::string LogBookFile::line_of(LogLevel level, std::string_view text, TimePoint now) const {
  if (settings_.json) {
    const nlohmann::json object = {{"time", format_rfc3339(now)}, {"level", level_name(level)}, {"pid", ::getpid()}, {"command", command_}, {"message", redact(text)}};
    return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  auto line = fmt::format("{} {:<7} [{} {}] {}\n", format_local(now), level_name(level), ::getpid(), command_, redact(text));
  std::replace(line.begin(), line.end() - 1, '\n', ' ');
  return line;
}

Status LogBookFile::open_day(const std::string& today) {
  const auto name = fmt::format("{}-{}.log", book_name(book_), today);
  const auto path = *settings_.directory / name;
  TRY(create_directories(*settings_.directory, 0750));
  const bool is_new = !TRY(stat_if_exists(path)).has_value();
  // Who may write to the folder may put a link there: it leads nobody to another file, root least of all.
  file_ = TRY(open_file(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, kLogMode));
  day_ = today;
  if (!is_new) return ok();
  lead_to(name);
  const auto day = parse_day(today);
  return day ? drop_old(*day) : ok();
}

/// "backup.log": for those who follow it. A file of that name that is no link is somebody else's. Without the link the lines are there all the same.
void LogBookFile::lead_to(const std::string& name) {
  const auto link = *settings_.directory / fmt::format("{}.log", book_name(book_));
  std::error_code failed;
  if (fs::exists(fs::symlink_status(link, failed)) && !fs::is_symlink(link, failed)) return;
  const auto fresh = *settings_.directory / fmt::format(".{}.{}", book_name(book_), ::getpid());
  fs::remove(fresh, failed);
  fs::create_symlink(name, fresh, failed);
  if (!failed) fs::rename(fresh, link, failed);
}

Status LogBookFile::drop_old(std::chrono::local_days today) {
  const auto keep = settings_.keep(book_name(book_));
  std::vector<std::string> old;
  bool is_plausible = false;
  TRY(list_directory(*settings_.directory, [&](const std::string& file, unsigned char) -> Status {
    const auto day = day_of(file, book_);
    if (!day) return ok();
    is_plausible = is_plausible || (*day < today && today - *day <= kBookGap);
    if (policy::later_by(*day, keep) < today) old.push_back(file);
    return ok();
  }));
  if (!is_plausible) return ok();
  std::error_code ignored;  // tried again with the next day's file
  for (const auto& file : old) fs::remove(*settings_.directory / file, ignored);
  return ok();
}

}  // namespace pgmint::cli
