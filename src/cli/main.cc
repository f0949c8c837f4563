// pgmint: takes the command line apart, runs one command, turns its Result into an exit code.
#include <fmt/format.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/signals.h"
#include "cli/audit_trail.h"
#include "cli/command_logs.h"
#include "cli/context.h"
#include "cli/exit_rules.h"
#include "cli/manual.h"
#include "cli/run_key.h"
#include "cli/several_repositories.h"

namespace pgmint::cli {
namespace {

/// Level: flag, environment, file; else info, and warning for what PostgreSQL runs thousands of times.
Status choose_log_level(Context& context) {
  const bool quiet = context.arguments().command->verb.starts_with("wal ");
  std::string level = quiet ? "warning" : "info";
  if (const auto configuration = context.configuration(); configuration && (*configuration)->log_level)
    level = *(*configuration)->log_level;
  level = context.arguments().get("--log-level").value_or(level);
  set_log_level(TRY(parse_log_level(level)));
  return ok();
}

/// The device and inode that systemd put there are those of standard error: so it is the journal that reads it.
bool journal_reads_us() {
  const auto stream = process_environment("JOURNAL_STREAM");
  struct stat status{};
  return stream && ::fstat(STDERR_FILENO, &status) == 0 && *stream == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

void choose_log_format(Context& context) {
  const auto configuration = context.configuration();
  std::string format = configuration ? (*configuration)->log_format.value_or("auto") : "auto";
  format = context.arguments().get("--log-format").value_or(format);
  if (format == "auto") format = journal_reads_us() ? "journal" : "text";
  set_log_format(format == "json" ? LogFormat::Json : format == "journal" ? LogFormat::Journal : LogFormat::Text);
}

Result<int> run_noted(Context& context) {
  const auto& command = *context.arguments().command;
  if (command.only_reads) context.stop_at_next_request();
  auto result = command.run(context);
  // Whatever it made of the requests that were refused, the caller hears that it was the signal: half a look must not
  // pass for a whole one.
  if (command.only_reads) TRY(context.cancel().check());
  TRY(context.output().finish());
  return result;
}

Result<int> run_command(Context& context) {
  const auto began = system_clock().now();
  TRY(choose_log_level(context));
  choose_log_format(context);
  // A file that cannot be written must not keep anybody from a backup, nor from a restore.
  if (const auto opened = open_command_log(context); !opened) log_warning("[logs]: {}", opened.failure().describe());
  NotedRun noted(context);
  auto result = run_noted(context);
  noted.end(result);
  note_command(context, result, began);
  if (!result) tell_observer(LogLevel::Error, result.error().describe());
  close_command_log(result, began);
  return result;
}

int show_help(const Arguments& arguments) {
  Output output(false);
  if (!arguments.help_group.empty())
    output.line(group_text(arguments.help_group));
  else if (arguments.command != nullptr)
    output.line(help_text(*arguments.command));
  else
    output.line(overview_text());
  return output.finish() ? 0 : 6;
}

int fail(const Error& error, Output* output, std::string_view verb) {
  print_error(error);
  if (output != nullptr && output->json() && !output->written()) {
    output->document(error_document(error));
    if (auto finished = output->finish(); !finished) print_error(finished.error());
  }
  return exit_code_for(verb, error);
}

/// A core dump would hold what keys were expanded to, passwords, rows. One byte: the kernel writes no file then, and, unlike with 0, starts no program that
/// core_pattern names either (core(5)).
void forbid_core_dumps() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_max == 0) return;
  limit.rlim_cur = 1;
  ::setrlimit(RLIMIT_CORE, &limit);
}

int run_main(const std::vector<std::string>& words) {
  forbid_core_dumps();
  auto arguments = parse_arguments(words);
  if (!arguments) return fail(arguments.error(), nullptr, verb_of(words));
  if (arguments->help) return show_help(*arguments);
  if (arguments->version) {
    Output output(false);
    output.line(fmt::format("pgmint {}", PGMINT_VERSION));
    return output.finish() ? 0 : 6;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error to report, not a way to die
  const std::string verb(arguments->command->verb);
  auto& cancel = install_signal_handlers();
  if (const auto names = repositories_meant(*arguments); !names.empty()) {
    auto run = repositories_of(*arguments) == Repositories::Each ? run_for_each : run_for_fitting;
    const auto result = run(*arguments, names, cancel, run_command);
    return result ? *result : fail(result.error(), nullptr, verb);
  }
  Context context(std::move(*arguments), cancel);
  auto result = run_command(context);
  if (!result) return fail(result.error(), &context.output(), verb);
  return *result;
}

}  // namespace
}  // namespace pgmint::cli

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  // The runbook's names for the same program.
  if (argc > 0)
    if (const auto verb = pgmint::cli::verb_of_program(argv[0])) words.insert(words.begin(), std::string(*verb));
  try {
    return pgmint::cli::run_main(words);
  } catch (const std::exception& error) {
    pgmint::cli::print_error(pgmint::Error(pgmint::Errc::Internal, fmt::format("a bug in pgmint: {}", error.what())));
    return pgmint::cli::exit_code_for(pgmint::cli::verb_of(words), pgmint::Error(pgmint::Errc::Internal, ""));
  }
}
