// The manual, made from the command table: what --help prints, manual pages, the completion script.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/command_table.h"

namespace pgmint::cli {

/// "pgmint restore [CLUSTER] --to DIR [--backup NAME] ..."
std::string synopsis(const CommandSpec& command);

/// Plain text of at most `columns` per line, in the sections of a manual page.
std::string help_text(const CommandSpec& command, std::size_t columns = 80);
std::string overview_text(std::size_t columns = 80);
std::string group_text(std::string_view group, std::size_t columns = 80);

/// roff for section 1, "pgmint-wal-push.1", and the overview "pgmint.1".
std::string man_page(const CommandSpec& command);
std::string man_overview();
/// roff for section 5, "pgmint.toml.5".
std::string man_configuration();
/// "pgmint-wal-push".
std::string page_name(const CommandSpec& command);

/// A bash script that completes verbs, options, values, clusters and paths. Static: it never runs pgmint.
std::string bash_completion();

}  // namespace pgmint::cli
