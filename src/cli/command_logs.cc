#include "cli/command_logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/log.h"
#include "base/units.h"
#include "cli/service_user.h"

namespace pgmint::cli {
namespace {

/// Of the process: a command is one.
std::unique_ptr<LogBookFile>& own_book() {
  static std::unique_ptr<LogBookFile> book;
  return book;
}
std::unique_ptr<LogBookFile>& audit_book() {
  static std::unique_ptr<LogBookFile> book;
  return book;
}

}  // namespace

LogBook book_of(const CommandSpec& command) {
  static constexpr std::string_view kRestore[] = {"restore", "restore-db", "export", "recover", "validate"};
  static constexpr std::string_view kAudit[] = {"hold", "release", "repair", "replicate promote", "cluster adopt"};
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
  // Else the owner of the server, who runs everything but this, could log nothing.
  if (const auto owner = whom_root_serves(**loaded); owner && !TRY(stat_if_exists(*settings.directory))) TRY(make_directory_for(*owner, *settings.directory));
  const auto open = [&](LogBook book, std::unique_ptr<LogBookFile>& file) -> Status {
    auto opened = std::make_unique<LogBookFile>(settings, book, std::string(command.verb), system_clock());
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
