#include "repository/promote.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "repository/layout.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kEvent = "mirror promoted";

class Promotion {
 public:
  Promotion(Repository& repository, const std::string& made_by) : repository_(repository), store_(repository.environment().store), made_by_(made_by) {}

  Result<PromoteReport> run() {
    report_.mark = *repository_.mirror_mark();
    if (report_.mark.state == MirrorState::Promoted) {
      report_.was_promoted = true;
      TRY(tidy());
      return std::move(report_);
    }
    TRY(check());
    TRY(remove_slots());
    const auto why = fmt::format("of {}, as of {}: ", report_.mark.source, report_.mark.as_of() ? format_rfc3339(*report_.mark.as_of()) : "never");
    for (auto& [id, cluster] : report_.mark.clusters) {
      auto log = TRY(rebuild_log(repository_, id, "", std::string(kEvent), why).context(fmt::format("cluster {}", id.hex())));
      cluster.opened = log.generation;
      report_.clusters.push_back({id, std::move(log)});
    }
    TRY(write_mark());
    TRY(tidy());
    return std::move(report_);
  }

 private:
  /// Everything that can be known before anything is written.
  Status check() {
    if (repository_.bundle().role != Role::Root)
      return Error(Errc::Key, "only a root key slot may promote a mirror", Hint{"open it with a root key: the recovery key is one (PGMINT_RECOVERY_KEY_FILE)"});
    TRY(check_features(repository_.format(), Operation::Write));
    if (report_.mark.one_writer)
      return Error(Errc::Precondition, fmt::format("{} is kept by one writer, since its store cannot create if absent: it can be restored from, and never be written by several", store_.describe()),
                   Hint{"copy it to another store first: a configuration with repository = this mirror and a [[mirror]] of that one, then pgmint replicate; promote the copy"});
    if (!report_.mark.as_of())
      return Error(Errc::Precondition, fmt::format("{} was never copied whole: there is nothing to promote", store_.describe()), Hint{"pgmint replicate, at the source"});
    std::set<std::string> present;
    for (const auto& [id, cluster] : report_.mark.clusters) {
      auto opened = TRY(repository_.open_cluster(id).context(fmt::format("cluster {}", id.hex())));
      TRY(opened->log().refresh().context(fmt::format("cluster {}", id.hex())));
      if (repository_.signing_key_among(opened->state().roots()) == nullptr)
        return Error(Errc::Key, fmt::format("the root of key slot {} is not in force in the log of cluster {}", repository_.opened_slot(), opened->state().cluster_name()), Hint{"open the mirror with the root key of today"});
      const auto noted = TRY(noted_keys(opened->log()));
      present.insert(noted.slots.begin(), noted.slots.end());
      gone_.insert(noted.removed_slots.begin(), noted.removed_slots.end());
    }
    std::erase_if(gone_, [&](const auto& slot) { return present.contains(slot); });
    if (gone_.contains(repository_.opened_slot()))
      return Error(Errc::Key, fmt::format("key slot {} was removed at the source: it opens what was copied before, and promotes nothing", repository_.opened_slot()), Hint{"open the mirror with a root key of today"});
    return ok();
  }

  /// No copy ever takes a key away. Here the log can be read, and says which ones were.
  Status remove_slots() {
    for (const auto& slot : TRY(repository_.slots())) {
      if (!gone_.contains(slot.name)) continue;
      TRY(store_.remove(slot_name(slot.name)));
      report_.removed_slots.push_back(slot.name);
    }
    return ok();
  }

  Status write_mark() {
    auto& mark = report_.mark;
    for (const auto& part : TRY(store_.list_parts(std::string(kClustersPrefix))))
      if (const auto id = ClusterId::parse(part); id && !mark.clusters.contains(*id)) mark.left_out.insert(*id);
    report_.left_out.assign(mark.left_out.begin(), mark.left_out.end());
    ++mark.number;
    mark.state = MirrorState::Promoted;
    mark.made_by = made_by_;
    mark.written = repository_.environment().clock.now();
    if (!TRY(create_object(store_, mirror_mark_name(mark.number), encode_mark(mark, repository_.format().repository, &repository_.bundle().repository_mac_key))))
      return Error(Errc::Busy, fmt::format("somebody copies into {} at this moment: it is a mirror still", store_.describe()), Hint{"stop pgmint replicate at the source, then run the command again"});
    return ok();
  }

  /// Notes of what had vanished at the source say nothing any more.
  Status tidy() {
    for (const auto& info : TRY(storage::list_all(store_, "mirror/absent/"))) TRY(store_.remove(info.name));
    return ok();
  }

  Repository& repository_;
  storage::BlobStore& store_;
  const std::string& made_by_;
  std::set<std::string> gone_;
  PromoteReport report_;
};

}  // namespace

Result<PromoteReport> promote(Repository& repository, const std::string& made_by) {
  PGMINT_ASSERT(repository.mirror_mark().has_value());
  return Promotion(repository, made_by).run();
}

}  // namespace pgmint::repository
