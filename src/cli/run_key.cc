#include "cli/run_key.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/log.h"

namespace pgmint::cli {
namespace {

/// The exit codes that a command answers with when it has done its work and has something bad to tell.
std::string_view meaning(int code) {
  const auto& exits = common_exits();
  const auto found = std::ranges::find(exits, code, &ExitSpec::code);
  return found == exits.end() ? "it is not complete" : found->text;
}

void warn(const Status& status) {
  if (!status) log_warning("the state directory cannot be written, so that alerts will not know of this run: {}", status.error().describe());
}

}  // namespace

std::optional<service::RunKey> run_key(const Arguments& arguments, const Configuration& configuration) {
  if (!arguments.command->leaves_note || arguments.has("--dry-run")) return std::nullopt;
  service::RunKey key{.verb = std::string(arguments.command->verb), .cluster = {}, .part = {}};
  if (key.verb == "replicate") {  // of the whole repository
    if (arguments.has("--check")) return std::nullopt;
    key.part = arguments.position("MIRROR").value_or("");
    return key;
  }
  if (const auto named = arguments.position("CLUSTER")) key.cluster = *named;
  else if (const auto option = arguments.get("--cluster")) key.cluster = *option;
  else if (configuration.clusters.size() == 1) key.cluster = configuration.clusters.front().name;

  if (key.verb == "backup") {
    const auto type = arguments.get("--type").value_or("auto");
    if (type == "logical" || type == "config") key.verb += " " + type;
    // Of its own: a dump of one database after the other is not what was asked for.
    const auto* cluster = configuration.find_cluster(key.cluster);
    if (type == "logical" && (arguments.has("--consistent") || (cluster != nullptr && cluster->consistent_dumps))) key.verb += " --consistent";
    // Of its own: the next incremental one that goes well makes no full backup.
    if (type == "full") key.verb += " --type full";
    std::vector<std::string> parts;
    for (const auto* option : {"--database", "--schema", "--table"})
      for (const auto& value : arguments.all(option)) parts.push_back(value);
    key.part = fmt::format("{}", fmt::join(parts, ", "));
  } else if (key.verb == "backup-db") {
    key.verb = "backup logical";
    key.part = arguments.get("--db").value_or("");
    if (const auto host = arguments.get("--host"); host || key.cluster.empty()) {  // any server
      key.cluster.clear();
      key.part = fmt::format("{}/{}", host.value_or("localhost"), key.part);
    }
  } else if (key.verb == "verify") {
    if (arguments.has("--read-data") || arguments.has("--decompress")) key.verb += " --read-data";
    key.part = arguments.get("--backup").value_or("");
    // What a share went well of says little of the rest. --older-than leaves out only what was proven.
    if (arguments.has("--sample")) key.part += key.part.empty() ? "sample" : ", sample";
  }
  // Of its own: what went well into one repository has not gone into the other.
  if (const auto repository = arguments.get("--repository")) key.part += fmt::format("{}repository {}", key.part.empty() ? "" : ", ", *repository);
  return key;
}

fs::path run_notes_directory(const fs::path& state_directory) { return state_directory / "runs"; }

NotedRun::NotedRun(Context& context) {
  if (!context.arguments().command->leaves_note) return;
  // Without a configuration there is no place to note anything; the command itself fails of it.
  const auto configuration = context.configuration();
  const auto state = context.state_directory();
  if (!configuration || !state) return;
  key_ = run_key(context.arguments(), **configuration);
  if (!key_) return;
  notes_.emplace(run_notes_directory(*state), system_clock());
  warn(notes_->begin(*key_));
}

void NotedRun::end(const Result<int>& result) {
  if (!notes_) return;
  // A command line that is wrong is no run. Nor is one that fails of its configuration, unless the same went well before: then the
  // configuration has changed under it, and cron, which nobody watches, does so for ever.
  const bool is_misuse = !result && (result.error().code() == Errc::Usage || (result.error().code() == Errc::Configuration && !notes_->has_succeeded(*key_)));
  if (is_misuse) return warn(notes_->never_began(*key_));
  if (!result) return warn(notes_->end(*key_, exit_code(result.error().code()), result.error().describe(), result.error().hint()));
  warn(notes_->end(*key_, *result, *result == 0 ? "" : fmt::format("ended with exit status {}: {}", *result, meaning(*result)), ""));
}

}  // namespace pgmint::cli
