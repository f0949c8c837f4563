// A source and its mirror on stores that misbehave, the power cut at each operation: copies beside backups and collections, and a
// promotion beside a copy. Whatever is left, the mirror shows whole backups of one moment, and what was confirmed is not lost.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "repository/layout.h"
#include "repository/promote.h"
#include "repository/replicate.h"
#include "sim/sim_repository.h"

namespace pgmint::sim {
namespace {

/// A store of its own in the same world: so that power is cut, and the turn passes, at operations of both.
class Within final : public storage::BlobStore {
 public:
  explicit Within(BlobStore& world) : world_(world) {}
  Result<storage::Created> create(const std::string& name, ByteView data) override { return world_.create(kPrefix + name, data); }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override { return world_.read(kPrefix + name, limit); }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override { return world_.read_range(kPrefix + name, offset, out); }
  Result<std::optional<storage::BlobInfo>> stat(const std::string& name) override {
    auto info = TRY(world_.stat(kPrefix + name));
    if (info) info->name = name;
    return info;
  }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const storage::BlobInfo&)>& visit) override {
    return world_.list(kPrefix + prefix, after.empty() ? "" : kPrefix + after, [&](const storage::BlobInfo& info) { return visit({info.name.substr(kPrefix.size()), info.size}); });
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override { return world_.list_parts(kPrefix + prefix); }
  Status remove(const std::string& name) override { return world_.remove(kPrefix + name); }
  std::string describe() const override { return "the mirror"; }

 private:
  inline static const std::string kPrefix = "far/";
  BlobStore& world_;
};

Result<std::unique_ptr<Cluster>> main_cluster(Repository& repository) { return repository.find_cluster("main", kSystemId); }

Status copy_once(SimWorld& world, BlobStore& raw) {
  Process at_source(world, raw);
  Within far(raw);
  Process at_mirror(world, far);
  ReplicateOptions options;
  options.source_name = "the source";
  options.made_by = "sim@host";
  const auto report = TRY(replicate(*at_source.store, *at_mirror.store, world.clock(), world.random(), options));
  if (report.has_conflicts()) return Error(Errc::Corruption, "objects differ");
  for (const auto& cluster : report.clusters)
    if (cluster.failure) return *cluster.failure;
  return ok();
}
/// One of several that are at it may find that others were, or that it was promoted.
Status copy_or_refused(SimWorld& world, BlobStore& raw) {
  auto done = copy_once(world, raw);
  if (!done && (done.failure().code() == Errc::Busy || done.failure().code() == Errc::Precondition)) return ok();
  return done;
}

Scenario::Process backup_process(std::string name) {
  return [name](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(main_cluster(*repository));
    if (cluster->state().find(name) != nullptr) return ok();
    return back_up(*cluster, name, as_bytes("15\n"));
  };
}
/// Forgets `name`, then collects.
Scenario::Process forgetting(std::string name) {
  return [name](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(main_cluster(*repository));
    std::optional<SessionId> session;
    for (const auto& [id, snapshot] : cluster->state().snapshots())
      if (snapshot.snap.name == name) session = id;
    if (session) {
      auto forgotten = cluster->log().append(cluster->actor(), EntryContent(ForgetEntry{*session}));
      if (!forgotten && forgotten.failure().code() != Errc::Precondition) return std::move(forgotten).failure();
    }
    TRY(collect(*cluster));
    return ok();
  };
}

Status prepare(SimWorld& world, BlobStore& raw) {
  Process process(world, raw);
  auto repository = TRY(Repository::create(process.environment, slots_for({Secret::File, Secret::Recovery})));
  TRY(repository->create_cluster("main", kSystemId));
  TRY(backup_process("a")(world, raw));
  TRY(copy_once(world, raw));
  // One that came and went between two copies: its entries are copied, its packs never.
  TRY(backup_process("brief")(world, raw));
  TRY(forgetting("brief")(world, raw));
  return backup_process("b")(world, raw);
}

std::set<std::string> names_of(Cluster& cluster) {
  std::set<std::string> names;
  for (const auto& [id, snapshot] : cluster.state().snapshots()) names.insert(snapshot.snap.name);
  return names;
}

/// What the mirror shows is whole; its names.
Result<std::set<std::string>> mirror_names(SimWorld& world, BlobStore& raw, bool* is_mirror = nullptr) {
  Within far(raw);
  Process process(world, far);
  auto repository = TRY(open_with(process, Secret::Recovery).context("the mirror"));
  if (is_mirror != nullptr) *is_mirror = repository->is_mirror();
  TRY(listed_backups_are_whole(*repository).context("the mirror"));
  auto cluster = TRY(main_cluster(*repository));
  if (!cluster) return Error(Errc::NotFound, "the mirror has lost its cluster");
  return names_of(*cluster);
}

Scenario copies(std::size_t copiers) {
  std::vector<Scenario::Process> actors(copiers, copy_or_refused);
  actors.push_back(backup_process("c"));
  actors.push_back(forgetting("b"));
  return {fmt::format("{} copying beside a backup and a collection", copiers), prepare, std::move(actors), [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            const auto names = TRY(mirror_names(world, raw));
            for (const auto& name : names)
              if (name != "a" && name != "b" && name != "c") return Error(Errc::Internal, "a backup of nobody: " + name);
            if (!names.contains("a")) return Error(Errc::NotFound, "the mirror has lost what it had");
            if (!after.settled) return ok();
            TRY(copy_once(world, raw).context("copying again"));
            Process process(world, raw);
            auto repository = TRY(open_with(process, Secret::File));
            auto cluster = TRY(main_cluster(*repository));
            if (TRY(mirror_names(world, raw)) != names_of(*cluster)) return Error(Errc::NotFound, "the mirror is not its source");
            // A month later what went is taken from the mirror, and nothing else.
            world.clock().sleep(std::chrono::hours(24));
            TRY(copy_once(world, raw).context("a day later"));
            world.clock().sleep(std::chrono::hours(31 * 24));
            TRY(forgetting("b")(world, raw));
            TRY(copy_once(world, raw).context("a month later"));
            TRY(mirror_names(world, raw));
            return ok();
          }};
}

Status promotion(SimWorld& world, BlobStore& raw) {
  Within far(raw);
  Process process(world, far);
  std::vector<Unlock> unlocks;
  unlocks.push_back(unlock(Secret::File));
  auto repository = TRY(Repository::open_to_promote(process.environment, std::move(unlocks)));
  TRY(promote(*repository, "heir@host"));
  return ok();
}
Status promotion_or_busy(SimWorld& world, BlobStore& raw) {
  auto done = promotion(world, raw);
  if (!done && done.failure().code() == Errc::Busy) return ok();
  return done;
}

Scenario promoting() {
  return {"promote beside a copy", prepare, {promotion_or_busy, copy_or_refused}, [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            bool is_mirror = false;
            const auto names = TRY(mirror_names(world, raw, &is_mirror));
            if (!names.contains("a")) return Error(Errc::NotFound, "the mirror has lost what it had");
            if (!after.settled) return ok();
            TRY(promotion(world, raw).context("promoting again"));
            const auto promoted = TRY(mirror_names(world, raw, &is_mirror));
            if (is_mirror) return Error(Errc::Internal, "it is a mirror still");
            for (const auto& name : names)
              if (!promoted.contains(name)) return Error(Errc::NotFound, name + " was lost in the promotion");
            {
              Within far(raw);
              Process process(world, far);
              auto repository = TRY(open_with(process, Secret::Recovery));
              auto cluster = TRY(main_cluster(*repository));
              TRY(back_up(*cluster, "after", as_bytes("15\n")).context("going on"));
            }
            const auto copied = copy_once(world, raw);
            if (copied || copied.failure().code() != Errc::Precondition) return Error(Errc::Internal, "the old source still copies into it");
            if (!TRY(mirror_names(world, raw)).contains("after")) return Error(Errc::NotFound, "the backup after it is lost");
            return ok();
          }};
}

TEST(MirrorSim, CopiesSurviveThePowerCutEverywhere) { expect_survives_cuts(copies(1), 3); }
TEST(MirrorSim, CopiesSurviveBadDays) { expect_survives_days(copies(1), 40); }
TEST(MirrorSim, TwoCopiesAtOnceSurviveThePowerCutEverywhere) { expect_survives_cuts(copies(2), 29); }
TEST(MirrorSim, TwoCopiesAtOnceSurviveBadDays) { expect_survives_days(copies(2), 40); }
TEST(MirrorSim, PromotionSurvivesThePowerCutEverywhere) { expect_survives_cuts(promoting(), 7); }
TEST(MirrorSim, PromotionSurvivesBadDays) { expect_survives_days(promoting(), 40); }

}  // namespace
}  // namespace pgmint::sim
