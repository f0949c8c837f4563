// Log files on this host, by what commands do: backup, restore, access, audit. One file a day, kept as long as the configuration says.
#pragma once

#include <string_view>

#include "cli/config.h"
#include "cli/context.h"
#include "cli/log_book.h"

namespace pgmint::cli {

/// Restores and what brings data out; keys, holds and who asks for the audit log; what else only reads; and all the rest.
LogBook book_of(const CommandSpec& command);

/// From here on the lines of this command also go to its book in [logs] directory, `BOOK-2026-11-26.log`, to which `BOOK.log` leads; those that are
/// older than their book is kept go. Without [logs], or for what PostgreSQL runs thousands of times, nothing happens. @errors Io, Key
Status open_command_log(Context& context);
/// One line of the audit book, whatever this command's own book is. Nothing without [logs].
void write_audit_line(std::string_view text);
/// The last line of this command: how it ended, and after how long.
void close_command_log(const Result<int>& result, TimePoint began);

}  // namespace pgmint::cli
