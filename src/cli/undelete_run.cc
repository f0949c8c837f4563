#include "cli/undelete_run.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/progress.h"
#include "repository/layout.h"
#include "repository/undelete.h"
#include "repository/verify.h"
#include "storage/retry_versions.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kShown = 10;
constexpr std::string_view kEvent = "objects brought back";

Result<storage::S3Store*> versioned_bucket(Context& context) {
  auto* place = TRY(context.place());
  if (place->bucket == nullptr)
    return Error(Errc::Precondition, fmt::format("the repository {} is a directory: nothing in it keeps what was deleted", place->store->describe()), Hint{"copy back what is missing, or use a mirror: pgmint replicate promote"});
  if (!TRY(place->bucket->is_versioned()))
    return Error(Errc::Precondition, fmt::format("the bucket of {} keeps no versions: what was deleted is gone", place->store->describe()), Hint{"pgmint verify says what is missing; a mirror may have it: pgmint replicate promote"});
  return place->bucket;
}

Result<repository::UndeleteOptions> options_of(Context& context) {
  repository::UndeleteOptions options;
  options.cancel = &context.cancel();
  if (const auto since = context.arguments().get("--since")) options.since = TRY(parse_time(*since).context("--since"));
  return options;
}

Json to_json(const repository::UndeletePlan& plan) {
  Json objects = Json::array();
  for (const auto& object : plan.objects)
    objects.push_back({{"object", object.name}, {"size_bytes", object.size}, {"what", object.overwritten ? "overwritten" : "deleted"}, {"since", format_rfc3339(object.when)}});
  return objects;
}

void tell_plan(Output& out, const repository::UndeletePlan& plan, bool done) {
  out.line(fmt::format("{} {} ({}) {}", done ? "brought back" : "would bring back", counted(plan.objects.size(), "object"), human(ByteCount(plan.bytes)), done ? "" : "that were deleted or overwritten"));
  for (std::size_t i = 0; i < std::min(kShown, plan.objects.size()); ++i)
    out.line(fmt::format("  {}: {} {}", plan.objects[i].name, plan.objects[i].overwritten ? "overwritten" : "deleted", readable_time(plan.objects[i].when)));
  if (plan.objects.size() > kShown) out.line(fmt::format("  and {} more", plan.objects.size() - kShown));
  for (const auto& name : plan.beyond_help) out.line(fmt::format("  no version of it is this repository's: {}", name));
}

/// A slot that was removed with `key remove` is hidden as well where versions may not be removed: it must not open anything again.
Result<std::vector<std::string>> remove_slots_again(repository::Repository& repository, const std::vector<std::unique_ptr<repository::Cluster>>& clusters, const repository::UndeletePlan& plan) {
  std::vector<std::string> removed;
  for (const auto& object : plan.objects) {
    if (!object.name.starts_with(repository::kKeysPrefix)) continue;
    const auto slot = object.name.substr(repository::kKeysPrefix.size());
    if (std::ranges::none_of(clusters, [&](const auto& cluster) { return cluster->state().says_removed(slot); })) continue;
    TRY(repository.environment().store.remove(object.name).context(fmt::format("key slot {} was removed long ago, came back, and could not be removed again", slot)));
    removed.push_back(slot);
  }
  return removed;
}

}  // namespace

Result<int> run_undelete(Context& context) {
  const auto versions = storage::make_retry_versions(TRY(versioned_bucket(context))->versions(), {}, system_clock(), system_random(), &context.cancel());
  auto options = TRY(options_of(context));
  ProgressDisplay display(progress_mode(context));
  options.progress = [&](std::uint64_t looked_at) { display.update({"look", 0, 0, {}, counted(looked_at, "version")}); };
  const auto plan = TRY(repository::plan_undelete(*versions, options));
  display.finish();
  auto& out = context.output();
  if (!context.yes()) {
    tell_plan(out, plan, false);
    out.line(plan.objects.empty() ? "nothing to do" : "nothing was changed. Take away from whoever did it what they did it with, then: pgmint repair --undelete --yes");
    out.document({{"done", false}, {"objects", to_json(plan)}, {"size_bytes", plan.bytes}, {"beyond_help", plan.beyond_help}});
    return 0;
  }
  TRY(repository::undelete(*versions, plan, context.cancel(), [&](std::uint64_t bytes) { display.update({"bring back", bytes, plan.bytes, {}, ""}); }));
  display.finish();
  tell_plan(out, plan, true);
  auto& repository = *TRY(context.repository());
  const auto clusters = TRY(repository.clusters());
  const auto removed = TRY(remove_slots_again(repository, clusters, plan));
  for (const auto& slot : removed) out.line(fmt::format("key slot {}: the log says that it was removed, and it is again", slot));
  // Also what was hidden while nobody looked: presence of all that the logs promise.
  std::size_t damaged = 0;
  Json findings = Json::array();
  for (const auto& cluster : clusters) {
    const auto detail = fmt::format("{}, {}", counted(plan.objects.size(), "object"), human(ByteCount(plan.bytes)));
    TRY(cluster->log().append(cluster->actor(), repository::EntryContent(repository::AuditEntry{std::string(kEvent), detail})));
    repository::VerifyOptions depth;
    depth.cancel = &context.cancel();
    for (const auto& finding : TRY(repository::verify(*cluster, depth)).findings) {
      findings.push_back({{"object", finding.object}, {"message", finding.problem}, {"backups", finding.backups}});
      if (finding.severity != repository::Finding::Severity::Damage) continue;
      ++damaged;
      out.line(fmt::format("  {}: {}", finding.object, finding.problem));
    }
  }
  out.document({{"done", true}, {"objects", to_json(plan)}, {"size_bytes", plan.bytes}, {"beyond_help", plan.beyond_help}, {"removed_key_slots", removed}, {"findings", std::move(findings)}});
  out.line("next: pgmint verify --read-data reads all of it, WAL too");
  return damaged == 0 && plan.beyond_help.empty() ? 0 : exit_code(Errc::Corruption);
}

}  // namespace pgmint::cli
