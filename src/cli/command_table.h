// Every command as data: what --help, the manual pages and the completion are made from, and what parsing checks
// against.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pgmint::cli {

class Context;

/// What a shell offers after an option or in a position.
enum class Completes { Nothing, File, Directory, Cluster, Words };

struct OptionSpec {
  std::string_view name;   ///< "--to"
  std::string_view value;  ///< "DIR"; empty: a flag
  std::string_view text;
  bool repeatable = false;
  bool required = false;
  Completes completes = Completes::Nothing;
  std::vector<std::string_view> words{};  ///< the only values allowed, when not empty
};

struct PositionalSpec {
  std::string_view name;  ///< "CLUSTER"
  std::string_view text;
  bool required = true;
  Completes completes = Completes::Nothing;
};

struct ExitSpec {
  int code;
  std::string_view text;
};

struct ExampleSpec {
  std::string_view command;
  std::string_view text;
};

/// What a command is about when several repositories are configured, and --repository names none of them.
enum class Repositories {
  One,     ///< it asks which
  Each,    ///< all, one after the other; what fails in one keeps it from none of the others
  Fitting  ///< the first that has what is wanted
};

/// What of a backup may be answered from copies on this host, where the store is far away.
enum class BackupCopies {
  None,       ///< it brings backups back: that the store has them is what its success says
  Manifests,  ///< it tells of backups
  OwnPacks    ///< it builds on them: manifests, and for a day the small packs that this host has made
};

/// A command and its manual page. Lives beside its code, in cmd_<verb>.cc.
struct CommandSpec {
  std::string_view verb;                      ///< "wal push"
  std::string_view summary;                   ///< completes "pgmint VERB - ..."
  std::vector<std::string_view> description;  ///< paragraphs
  std::vector<PositionalSpec> positionals;
  std::vector<OptionSpec> options;
  std::vector<ExitSpec> exits;  ///< beside those that every command has
  std::vector<ExampleSpec> examples;
  std::vector<std::string_view> see_also;  ///< verbs
  /// It changes nothing in the repository but notes in the log: a signal ends it at its next request to the store, unless that is
  /// held off (CancelToken::HoldOff).
  bool only_reads = false;
  /// It is there to change the repository: on a mirror it is refused before it begins, but for its --dry-run.
  bool changes_repository = false;
  /// But for what it does on a mirror too, where it changes nothing that is the source's.
  bool serves_mirrors = false;
  /// It works while nobody watches: what becomes of it is noted in the state directory (run_key.h), and told by alerts and metrics.
  bool leaves_note = false;
  Repositories repositories = Repositories::One;
  BackupCopies copies = BackupCopies::Manifests;
  /// Returns the exit code: 0, or that of an answer that is no failure (nothing found, damage found, objective
  /// breached).
  Result<int> (*run)(Context&) = nullptr;
};

/// In the order of the manual.
const std::vector<const CommandSpec*>& all_commands();
/// Options that every command takes.
const std::vector<OptionSpec>& global_options();
/// Exit statuses that every command may end with.
const std::vector<ExitSpec>& common_exits();
/// "wal push" from {"wal", "push", ...}: the command, and how many words name it. A group alone ("audit") may stand for
/// one of its commands. @errors Usage (unknown; names the nearest), Precondition (a verb of a later version)
struct FoundCommand {
  const CommandSpec* command = nullptr;
  std::size_t words = 0;
};
Result<FoundCommand> find_command(const std::vector<std::string>& words);
/// Commands whose verb starts with `group` and a blank.
std::vector<const CommandSpec*> commands_of_group(std::string_view group);

}  // namespace pgmint::cli
