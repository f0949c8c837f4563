// The command line by which PostgreSQL calls pgmint back: archive_command and restore_command.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace pgmint::cli {

/// Quotes a word for /bin/sh where that is needed.
std::string shell_quoted(std::string_view word);

/// This program with the configuration that it was run with: {"/usr/bin/pgmint", "--config", FILE}.
std::vector<std::string> own_command(Context& context);

/// "/usr/bin/pgmint --config FILE wal push "%p"": this program, this configuration.
std::string archive_command_line(Context& context);
/// "... wal get --cluster NAME "%f" "%p"". PGMINT_* variables that chose repository or key are set in it as well: the
/// server that runs it has an environment of its own.
std::string restore_command_line(Context& context, const std::string& cluster);

}  // namespace pgmint::cli
