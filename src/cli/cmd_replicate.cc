#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/option_values.h"
#include "cli/progress.h"
#include "cli/repository_store.h"
#include "cli/store_probe.h"
#include "cli/backup_facts.h"
#include "repository/layout.h"
#include "repository/mirror_check.h"
#include "storage/posix_store.h"

namespace pgmint::cli {
namespace {

using repository::ObjectCount;

/// Objects on their way at once to or from a bucket; each may be as large as a pack.
constexpr unsigned kBucketWorkers = 8;
constexpr unsigned kDirectoryWorkers = 2;
constexpr std::size_t kNamesShown = 20;

Json to_json(const ObjectCount& count) { return {{"objects", count.objects}, {"bytes", count.bytes}}; }
std::string text_of(const ObjectCount& count) { return fmt::format("{}, {}", counted(count.objects, "object"), human(ByteCount(count.bytes))); }
Json time_json(const std::optional<TimePoint>& time) { return time ? Json(format_rfc3339(*time)) : Json(nullptr); }

Result<std::vector<const MirrorSettings*>> wanted(Context& context) {
  const auto& mirrors = TRY(context.configuration())->mirrors;
  const auto name = context.arguments().position("MIRROR");
  std::vector<const MirrorSettings*> found;
  std::string names;
  bool is_of_another = false;
  const auto& repository = TRY(context.repository_settings())->name;
  for (const auto& mirror : mirrors) {
    if (!mirror.is_of(repository)) {
      is_of_another = true;
      continue;
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", mirror.name);
    if (!name || mirror.name == *name) found.push_back(&mirror);
  }
  if (mirrors.empty()) return Error(Errc::Configuration, "no mirror is configured", Hint{"add [[mirror]] with name and url to the configuration: man pgmint.toml"});
  if (found.empty() && is_of_another && context.arguments().one_of_several) return found;  // the other repositories have theirs
  if (found.empty()) return Error(Errc::Configuration, fmt::format("there is no mirror \"{}\": there are {}", *name, names));
  return found;
}

/// What has become of one mirror: an exit code, and what is told of it.
struct Told {
  Json json;
  int code = 0;
};

/// One mirror's run.
class Run {
 public:
  Run(Context& context, const MirrorSettings& settings, ProgressDisplay& display) : context_(context), settings_(settings), display_(display) {}

  Result<Told> replicate() {
    TRY(open());
    TRY(prepare_place());
    const auto report = TRY(repository::replicate(*source_, *store_.store, system_clock(), system_random(), options_));
    display_.finish();
    return tell(report);
  }

  Result<Told> check() {
    TRY(open());
    const auto found = TRY(repository::check_mirror(*source_, *store_.store, context_.arguments().has("--read-data"), options_));
    display_.finish();
    return tell(found);
  }

 private:
  Status open() {
    const auto& arguments = context_.arguments();
    const auto& place = *TRY(context_.place());
    source_ = place.store.get();
    options_.source_name = place.store->describe();
    options_.made_by = actor_label();
    options_.one_writer = settings_.one_writer;
    options_.dry_run = arguments.has("--dry-run") || arguments.has("--check");
    options_.keep_removed = settings_.keep_removed;
    options_.remove_many = context_.yes();
    options_.cancel = &context_.cancel();
    auto rate = TRY(rate_option(arguments, "--max-rate"));
    if (!rate) rate = settings_.max_rate;
    if (rate) limiter_ = std::make_unique<storage::RateLimiter>(*rate, system_clock(), &context_.cancel());
    options_.limiter = limiter_.get();
    options_.progress = [&](const repository::ReplicateProgress& now) { display_.update({now.phase, now.done, now.total, {}, now.detail}); };
    store_ = TRY(open_mirror_store(settings_, TRY(context_.configuration())->s3, !options_.dry_run, false, context_.cancel()));
    options_.workers = store_.bucket != nullptr || place.bucket != nullptr ? kBucketWorkers : kDirectoryWorkers;
    return ok();
  }

  /// Before the first copy into a store: that it keeps its promise, on which all later ones rely.
  Status prepare_place() {
    if (options_.dry_run) return ok();
    RepositorySettings place;
    place.url = settings_.url;
    if (!place.is_s3()) TRY(storage::sweep_temporary_files(TRY(place.directory()), system_clock().now() - storage::kTemporaryFilesStay));
    if (settings_.one_writer || !TRY(store_.store->list_parts("mirror/")).empty()) return ok();
    return probe_create_if_absent(*store_.store, system_random())
        .context(fmt::format("mirror {}", settings_.name));
  }

  Result<Told> tell(const repository::ReplicateReport& report) {
    auto& out = context_.output();
    const bool dry = options_.dry_run;
    ObjectCount copied = report.keys, vanished, removed;
    std::vector<std::string> conflicts = report.conflicts;
    std::optional<TimePoint> next;
    bool held_back = false;
    std::optional<Error> failure;
    Json clusters = Json::array();
    for (const auto& cluster : report.clusters) {
      copied.add(cluster.copied);
      copied.add(cluster.log);
      vanished.add(cluster.vanished);
      removed.add(cluster.removed);
      held_back = held_back || cluster.held_back;
      if (cluster.next_removal) next = std::min(next.value_or(*cluster.next_removal), *cluster.next_removal);
      conflicts.insert(conflicts.end(), cluster.conflicts.begin(), cluster.conflicts.end());
      if (cluster.failure && !failure) failure = cluster.failure;
      if (cluster.failure) print_error(*cluster.failure);
      clusters.push_back({{"id", cluster.id.hex()}, {"log_entries", cluster.entries}, {"copied", to_json(cluster.copied)}, {"log", to_json(cluster.log)},
                          {"vanished", to_json(cluster.vanished)}, {"removed", to_json(cluster.removed)}, {"held_back", cluster.held_back},
                          {"error", cluster.failure ? Json(cluster.failure->describe()) : Json(nullptr)}});
    }
    out.line(fmt::format("mirror {}: {} {}", settings_.name, dry ? "would copy" : "copied", text_of(copied)));
    if (removed.objects > 0) out.line(fmt::format("  {} {} that vanished at the source long ago", dry ? "would remove" : "removed", text_of(removed)));
    if (vanished.objects > removed.objects)
      out.line(fmt::format("  vanished at the source, and kept here: {}{}", text_of({vanished.objects - removed.objects, vanished.bytes - removed.bytes}),
                           next ? fmt::format("; the first go at {}", readable_time(*next)) : std::string()));
    if (!dry && report.as_of) out.line(fmt::format("  it shows the repository as of {}", readable_time(*report.as_of)));
    if (held_back)
      print_warning(fmt::format("mirror {}: more than half of what it holds has vanished at the source: nothing of that is removed; if it is right: pgmint replicate {} --yes", settings_.name, settings_.name));
    for (std::size_t i = 0; i < std::min(conflicts.size(), kNamesShown); ++i) print_warning(fmt::format("mirror {}: differs from its source, and stays: {}", settings_.name, conflicts[i]));
    if (conflicts.size() > kNamesShown) print_warning(fmt::format("mirror {}: {} more differ", settings_.name, conflicts.size() - kNamesShown));
    Told told;
    told.code = failure ? exit_code(failure->code()) : !conflicts.empty() ? exit_code(Errc::Corruption) : held_back ? exit_code(Errc::Objective) : 0;
    told.json = {{"name", settings_.name}, {"url", settings_.url}, {"ok", told.code == 0}, {"error", failure ? Json(failure->describe()) : Json(nullptr)},
                 {"repository_id", report.repository.hex()}, {"first", report.first}, {"as_of", time_json(report.as_of)}, {"copied", to_json(copied)},
                 {"vanished", to_json(vanished)}, {"removed", to_json(removed)}, {"next_removal", time_json(next)}, {"held_back", held_back},
                 {"conflicts", conflicts}, {"clusters", std::move(clusters)}};
    return told;
  }

  Result<Told> tell(const repository::MirrorCheck& found) {
    auto& out = context_.output();
    out.line(fmt::format("mirror {}: {} compared by {}{}", settings_.name, text_of(found.compared), found.read_data ? "all their bytes" : "name and size",
                         found.as_of ? fmt::format("; it shows the repository as of {}", readable_time(*found.as_of)) : std::string()));
    const auto list = [&](std::string_view what, const std::vector<std::string>& names) {
      for (std::size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) out.line(fmt::format("  {}: {}", what, names[i]));
      if (names.size() > kNamesShown) out.line(fmt::format("  {}: {} more", what, names.size() - kNamesShown));
    };
    list("missing", found.missing);
    list("LOST", found.lost);
    list("DIFFERS", found.differing);
    if (found.vanished.objects > 0) out.line(fmt::format("  vanished at the source, and kept here: {}", text_of(found.vanished)));
    if (!found.missing.empty()) out.line(fmt::format("next: pgmint replicate {} copies what is missing", settings_.name));
    Told told;
    told.code = !found.lost.empty() || !found.differing.empty() ? exit_code(Errc::Corruption) : !found.missing.empty() ? exit_code(Errc::NotFound) : 0;
    told.json = {{"name", settings_.name}, {"url", settings_.url}, {"ok", told.code == 0}, {"error", nullptr}, {"as_of", time_json(found.as_of)}, {"compared", to_json(found.compared)},
                 {"read_data", found.read_data}, {"missing", found.missing}, {"lost", found.lost}, {"differing", found.differing}, {"vanished", to_json(found.vanished)}};
    return told;
  }

  Context& context_;
  const MirrorSettings& settings_;
  ProgressDisplay& display_;
  storage::BlobStore* source_ = nullptr;
  RepositoryStore store_;
  std::unique_ptr<storage::RateLimiter> limiter_;
  repository::ReplicateOptions options_;
};

Result<int> run(Context& context) {
  context.look_past_copies();
  const auto& arguments = context.arguments();
  const bool is_check = arguments.has("--check");
  if (arguments.has("--read-data") && !is_check) return Error(Errc::Usage, "--read-data belongs to --check", Hint{"pgmint replicate --check --read-data"});
  const auto mirrors = TRY(wanted(context));
  ProgressDisplay display(progress_mode(context));
  Json all = Json::array();
  int code = 0;
  // One that cannot be reached keeps no other from its copy.
  for (const auto* settings : mirrors) {
    Run one(context, *settings, display);
    auto told = is_check ? one.check() : one.replicate();
    display.finish();
    TRY(context.cancel().check());
    if (!told) {
      if (mirrors.size() == 1) return std::move(told.error());
      print_error(told.error());
      all.push_back({{"name", settings->name}, {"url", settings->url}, {"ok", false}, {"error", told.error().describe()}});
    } else {
      all.push_back(std::move(told->json));
    }
    const int its = told ? told->code : exit_code(told.error().code());
    if (code == 0) code = its;
  }
  context.output().document({{"dry_run", arguments.has("--dry-run")}, {"check", is_check}, {"mirrors", std::move(all)}});
  return code;
}

}  // namespace

const CommandSpec& replicate_command() {
  static const CommandSpec command = {
      .verb = "replicate",
      .summary = "copy the repository to its mirrors",
      .description =
          {"A mirror is the same repository once more, object by object and byte by byte, in another place: [[mirror]] in the configuration. No key is needed, and "
           "nothing is decrypted: it runs on a host that has none, too. The mirror can be listed, verified and restored from with the same keys, by naming it as "
           "repository; nothing else can be written there.",
           "At every moment, also when a copy is cut off, the mirror shows the whole repository as of some earlier moment. Objects that come or go meanwhile are no "
           "failure. Nothing is overwritten: what differs from its source is named and stays.",
           "What has vanished at the source stays for keep_removed (30 days), and then goes; the log, keys and format never do. When more than half of what the mirror "
           "holds for a cluster would go at once, nothing does, unless --yes is given: somebody may have emptied the source.",
           "When the source is lost, replicate promote makes the mirror a repository of its own."},
      .positionals = {{.name = "MIRROR", .text = "A name of [[mirror]]. Default: all of them, one after the other.", .required = false}},
      .options = {{.name = "--dry-run", .value = "", .text = "Say what would be copied and removed; change nothing."},
                  {.name = "--check", .value = "", .text = "Copy nothing: compare names and sizes of everything, and name what is missing or differs."},
                  {.name = "--read-data", .value = "", .text = "With --check: compare all bytes, which reads both places whole."},
                  {.name = "--max-rate", .value = "SIZE", .text = "Copy at most so many bytes a second, e.g. 20MiB. Takes the place of max_rate."}},
      .exits = {{1, "With --check: something is missing that the next replicate will copy."},
                {4, "The mirror belongs to another repository, or was promoted; or its place holds something else."},
                {5, "The log of a cluster changed all the time; the mirror shows what it showed before."},
                {8, "Objects differ, or the source has lost what the mirror has: named, and kept."},
                {10, "More than half has vanished at the source: it was copied, and nothing was removed."}},
      .examples = {{"pgmint replicate --dry-run", "How much there is to copy."}, {"pgmint replicate far --max-rate 20MiB", "To one of them, gently."}, {"pgmint replicate --check", "Whether everything is there."}},
      .see_also = {"replicate promote", "status", "verify"},
      .leaves_note = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
