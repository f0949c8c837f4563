// A command line, taken apart and checked against the command table.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "cli/command_table.h"

namespace pgmint::cli {

/// What was typed after the command's name, by option and position name.
class Arguments {
 public:
  const CommandSpec* command = nullptr;  ///< null: --help or --version without a command
  bool help = false;
  bool version = false;
  std::string help_group;  ///< "wal", when help was asked for a group of commands

  bool has(const std::string& option) const { return values_.contains(option); }
  /// The last value given.
  std::optional<std::string> get(const std::string& option) const;
  std::vector<std::string> all(const std::string& option) const;
  /// A position's value, by its name in capitals.
  std::optional<std::string> position(const std::string& name) const { return get(name); }
  /// As if typed once more.
  void set(const std::string& option, std::string value) { values_[option] = {std::move(value)}; }
  /// It runs for one of several configured repositories, which --repository names.
  bool one_of_several = false;
  /// When the run for all of them began, and those before it in which the command went well.
  TimePoint began{};
  std::vector<std::string> done_in;
  /// And some of those before it could not be asked.
  bool others_are_away = false;
  /// The command line as typed, without the program's name, with nothing secret in it.
  std::string command_line;

 private:
  friend Result<Arguments> parse_arguments(const std::vector<std::string>& words);
  std::map<std::string, std::vector<std::string>> values_;
};

/// @param words  without the program's name
/// @errors Usage: unknown verb or flag (names the nearest), missing or superfluous argument, value not among the
/// allowed
///         ones; Precondition: a verb that a later version brings
Result<Arguments> parse_arguments(const std::vector<std::string>& words);

}  // namespace pgmint::cli
