// Exit codes of the commands that PostgreSQL runs, where a code has a meaning of its own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pgmint::cli {

/// The exit code of a failed command.
///
/// wal get: 1 would say that the file does not exist and end a recovery early, any other small number likewise: so
/// every failure is above 125. wal push: above 125 the archiver itself ends, so nothing is.
int exit_code_for(std::string_view verb, const Error& error);
/// The command that the program stands for when it is called by another name ("/usr/bin/restore-db"); nullopt: none.
std::optional<std::string_view> verb_of_program(std::string_view program);
/// "wal push", "wal get" or "" from words that could not be parsed.
std::string verb_of(const std::vector<std::string>& words);

}  // namespace pgmint::cli
