#include "cli/command_logs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"

namespace pgmint::cli {
namespace {

constexpr mode_t kLogMode = 0640;

/// Files of one host: days are the host's own.
std::string day_text(TimePoint time) { return format_local(time).substr(0, 10); }

/// The day in "backup-2026-11-26.log"; nullopt: another file.
std::optional<std::chrono::local_days> day_of(std::string_view file, LogBook book) {
  const auto prefix = fmt::format("{}-", book_name(book));
  if (!file.starts_with(prefix) || !file.ends_with(".log")) return std::nullopt;
  file.remove_prefix(prefix.size());
  file.remove_suffix(4);
  int year = 0;
  unsigned month = 0, day = 0;
  char rest = 0;
  if (file.size() != 10 || std::sscanf(std::string(file).c_str(), "%4d-%2u-%2u%c", &year, &month, &day, &rest) != 3) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok()) return std::nullopt;
  return std::chrono::local_days(date);
}

/// Where lines of a book go. Writers of several processes append whole lines.
class BookFile {
 public:
  BookFile(const LogSettings& settings, LogBook book, std::string command)
      : settings_(settings), book_(book), command_(std::move(command)) {}

  Status open() {
    const auto today = day_text(system_clock().now());
    const auto name = fmt::format("{}-{}.log", book_name(book_), today);
    const auto path = *settings_.directory / name;
    TRY(create_directories(*settings_.directory, 0750));
    const bool is_new = !TRY(stat_if_exists(path)).has_value();
    file_ = TRY(open_file(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kLogMode));
    if (is_new) {
      lead_to(name);
      TRY(drop_old(today));
    }
    return ok();
  }

  void write(LogLevel level, std::string_view text) {
    const auto now = system_clock().now();
    std::string line;
    if (settings_.json) {
      const nlohmann::json object = {{"time", format_rfc3339(now)}, {"level", level_name(level)}, {"pid", ::getpid()}, {"command", command_}, {"message", redact(text)}};
      line = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    } else {
      line = fmt::format("{} {:<7} [{} {}] {}\n", format_local(now), level_name(level), ::getpid(), command_, redact(text));
      std::replace(line.begin(), line.end() - 1, '\n', ' ');
    }
    if (const auto written = write_all(file_, as_bytes(line), "log file"); !written && !failed_) {
      failed_ = true;  // once: the next line would say the same, and be written into the same file
      log_warning("{}", written.failure().describe());
    }
  }

 private:
  /// "backup.log": for those who follow it. A file of that name that is no link is somebody else's.
  void lead_to(const std::string& name) {
    const auto link = *settings_.directory / fmt::format("{}.log", book_name(book_));
    std::error_code failed;
    if (fs::exists(fs::symlink_status(link, failed)) && !fs::is_symlink(link, failed)) return;
    const auto fresh = *settings_.directory / fmt::format(".{}.{}", book_name(book_), ::getpid());
    fs::remove(fresh, failed);
    fs::create_symlink(name, fresh, failed);
    if (!failed) fs::rename(fresh, link, failed);
    if (failed) log_warning("{}: {}", link.string(), failed.message());
  }

  Status drop_old(const std::string& today) {
    const auto keep = settings_.keep(book_name(book_));
    const auto now = day_of(fmt::format("{}-{}.log", book_name(book_), today), book_);
    std::vector<std::string> old;
    TRY(list_directory(*settings_.directory, [&](const std::string& file, unsigned char) -> Status {
      const auto day = day_of(file, book_);
      if (day && now && policy::later_by(*day, keep) < *now) old.push_back(file);
      return ok();
    }));
    std::error_code failed;
    for (const auto& file : old) {
      fs::remove(*settings_.directory / file, failed);
      if (failed) log_warning("{}: {}", file, failed.message());
    }
    return ok();
  }

  const LogSettings settings_;
  const LogBook book_;
  const std::string command_;
  Fd file_;
  bool failed_ = false;
};

/// Of the process: a command is one.
std::unique_ptr<BookFile>& own_book() {
  static std::unique_ptr<BookFile> book;
  return book;
}
std::unique_ptr<BookFile>& audit_book() {
  static std::unique_ptr<BookFile> book;
  return book;
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

LogBook book_of(const CommandSpec& command) {
  static constexpr std::string_view kRestore[] = {"restore", "restore-db", "export", "recover", "validate"};
  static constexpr std::string_view kAudit[] = {"hold", "release", "repair", "cluster adopt"};
  const auto is = [&](std::string_view verb) { return verb == command.verb; };
  if (std::ranges::any_of(kRestore, is)) return LogBook::Restore;
  if (std::ranges::any_of(kAudit, is) || command.verb.starts_with("key ") || command.verb.starts_with("audit ")) return LogBook::Audit;
  return command.only_reads ? LogBook::Access : LogBook::Backup;
}

Status open_command_log(Context& context) {
  const auto& command = *context.arguments().command;
  if (command.verb.starts_with("wal ")) return ok();
  const auto loaded = context.configuration();
  if (!loaded || !(*loaded)->logs.directory) return ok();
  const auto& settings = (*loaded)->logs;
  const auto open = [&](LogBook book, std::unique_ptr<BookFile>& file) -> Status {
    auto opened = std::make_unique<BookFile>(settings, book, std::string(command.verb));
    TRY(opened->open());
    file = std::move(opened);
    return ok();
  };
  TRY(open(LogBook::Audit, audit_book()));
  TRY(open(book_of(command), own_book()));
  own_book()->write(LogLevel::Info, fmt::format("began: pgmint {}, by {}", context.arguments().command_line, actor_label()));
  set_log_observer([](LogLevel level, std::string_view text) {
    if (level != LogLevel::Debug && own_book()) own_book()->write(level, text);
  });
  return ok();
}

void write_audit_line(std::string_view text) {
  if (audit_book()) audit_book()->write(LogLevel::Info, text);
}

void close_command_log(const Result<int>& result, TimePoint began) {
  if (!own_book()) return;
  const auto took = human(system_clock().now() - began);
  const int code = result ? *result : exit_code(result.error().code());
  own_book()->write(code == 0 ? LogLevel::Info : LogLevel::Error, fmt::format("ended: exit {} after {}", code, took));
  set_log_observer({});
  own_book().reset();
  audit_book().reset();
}

}  // namespace pgmint::cli
