#include "repository/collect.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "repository/collect_wal.h"
#include "repository/layout.h"

namespace pgmint::repository {
namespace {

/// Keeps a PURGE far below the limit of an entry.
constexpr std::size_t kPurgeBatch = 100'000;
/// Names that are handed to the store at once.
constexpr std::size_t kRemoveBatch = 10'000;

/// A pack in the store. Its name follows from its id, and hundreds of thousands of names are long.
struct ListedPack {
  PackId id;
  std::uint64_t size = 0;
};

struct Listing {
  ClusterId cluster;
  std::vector<ListedPack> packs;
  std::vector<std::pair<SessionId, storage::BlobInfo>> roots;
  std::vector<ListedWal> wal;
};

/// @param state  as it is known before: of WAL only what it may let go is looked at
Result<Listing> list_objects(Cluster& cluster, const LogState& state) {
  Listing listing{cluster.id(), {}, {}, {}};
  const auto packs_prefix_of = packs_prefix(cluster.id());
  TRY(cluster.store().list(packs_prefix_of, "", [&](const storage::BlobInfo& info) -> Status {
    if (const auto id = parse_pack_name(info.name)) listing.packs.push_back({*id, info.size});
    return ok();
  }));
  const auto roots_prefix = manifests_prefix(cluster.id());
  TRY(cluster.store().list(roots_prefix, "", [&](const storage::BlobInfo& info) -> Status {
    if (const auto id = SessionId::parse(std::string_view(info.name).substr(roots_prefix.size())))
      listing.roots.emplace_back(*id, info);
    return ok();
  }));
  listing.wal = TRY(list_wal_below_floors(cluster, state));
  return listing;
}

/// The cautious time for ending what others have begun: a clock that runs ahead must not cut anybody off.
TimePoint cautious_now(Cluster& cluster) {
  const auto local = cluster.repository().environment().clock.now();
  return std::min(local, cluster.store().store_time().value_or(local));
}

std::vector<SessionId> expired_sessions(const LogState& state, TimePoint now) {
  std::vector<SessionId> expired;
  for (const auto& [id, session] : state.open_sessions())
    if (session.lease_until < now) expired.push_back(id);
  return expired;
}

/// Reads the whole log once more. What is folded in memory was checked as well, but since then an entry may have been lost
/// or changed; and a void entry may stand where the SNAP of a backup was, whose packs would then look like nobody's.
Status check_chain(Cluster& cluster) {
  return cluster.log().for_each([](std::uint64_t seq, const Result<LogEntry>& entry) -> Status {
    if (entry) return ok();
    return Error(Errc::Corruption, fmt::format("log entry {} is void ({}): nothing is deleted", seq, entry.failure().describe()),
                 Hint{"pgmint audit verify lists such entries; once they are explained, pgmint repair --rebuild-log opens a log without them"});
  });
}

/// What an object's session says about it.
enum class Fate { Keep, Live, PurgeFirst, Remove, Unknown };

/// State with some sessions taken as aborted already.
struct View {
  const LogState& state;
  std::set<SessionId> aborted;
  PackSet needed;
  std::set<SessionId> parents;  ///< of open sessions

  View(const LogState& s, const std::vector<SessionId>& expired)
      : state(s), aborted(expired.begin(), expired.end()), needed(s.needed_packs(aborted)) {
    for (const auto& [id, session] : s.open_sessions())
      if (!aborted.contains(id) && session.parent) parents.insert(*session.parent);
  }

  std::optional<Closed> closed(const SessionId& id) const {
    if (aborted.contains(id)) return Closed::ByAbort;
    const auto found = state.closed_sessions().find(id);
    if (found == state.closed_sessions().end()) return std::nullopt;
    return found->second;
  }

  Fate of_pack(const PackId& pack) const {
    if (needed.contains(pack)) return Fate::Live;
    if (state.purged_packs().contains(pack)) return Fate::Remove;
    const auto how = closed(pack.session);
    if (!how) return state.open_sessions().contains(pack.session) ? Fate::Keep : Fate::Unknown;
    if (*how == Closed::ByAbort) return Fate::Remove;
    return *how == Closed::BySnap || state.was_referred(pack) ? Fate::PurgeFirst : Fate::Unknown;
  }

  /// The root of a forgotten snapshot goes as soon as no open session reads it.
  Fate of_root(const SessionId& session) const {
    if (state.snapshots().contains(session)) return Fate::Live;
    const auto how = closed(session);
    if (!how || parents.contains(session)) return Fate::Keep;
    return *how == Closed::ByAbort || *how == Closed::BySnap ? Fate::Remove : Fate::Keep;
  }
};

/// @param remove_one  called for each object that goes, with what makes its storage::BlobInfo; `plan.remove` is left to it
template <class Remove>
CollectPlan judge(const Listing& listing, const LogState& state, std::vector<SessionId> expired, const Remove& remove_one) {
  const View view(state, expired);
  CollectPlan plan;
  plan.expired = std::move(expired);
  const auto remove = [&](std::uint64_t size, const auto& info) {
    plan.remove_bytes += size;
    remove_one(plan, info);
  };
  // Roots before packs: a root whose packs are gone would look like damage to whoever rebuilds the log.
  for (const auto& [session, info] : listing.roots)
    if (view.of_root(session) == Fate::Remove) remove(info.size, [&] { return info; });
  for (const auto& listed : listing.packs) {
    const auto info = [&] { return storage::BlobInfo{pack_name(listing.cluster, listed.id), listed.size}; };
    switch (view.of_pack(listed.id)) {
      case Fate::Keep: break;
      case Fate::Live:
        ++plan.live_packs;
        plan.live_bytes += listed.size;
        break;
      case Fate::PurgeFirst: plan.purge.push_back(listed.id); [[fallthrough]];
      case Fate::Remove: remove(listed.size, info); break;
      case Fate::Unknown:
        plan.unknown.push_back(info());
        plan.unknown_bytes += listed.size;
        break;
    }
  }
  for (const auto& file : listing.wal) {
    if (!may_go(file, state)) continue;
    ++plan.remove_wal;
    plan.remove_wal_bytes += file.info.size;
    remove(file.info.size, [&] { return file.info; });
  }
  return plan;
}

CollectPlan make_plan(const Listing& listing, const LogState& state, std::vector<SessionId> expired) {
  return judge(listing, state, std::move(expired), [](CollectPlan& plan, const auto& info) { plan.remove.push_back(info()); });
}

/// Stops an append whose reason has gone; never leaves this file.
constexpr auto kNoReason = Errc::NotFound;

/// Returns false when `make` found no reason any more.
Result<bool> append_if(Cluster& cluster, const std::function<Result<EntryContent>(const LogState&)>& make) {
  bool gone = false;
  auto written = cluster.log().append(cluster.actor(), [&](const LogState& state) -> Result<EntryContent> {
    auto content = make(state);
    gone = !content && content.failure().code() == kNoReason;
    return content;
  });
  if (!written && gone) return false;
  TRY(std::move(written));
  return true;
}

/// One ABORT for each session past its lease, writers and readers alike: in the audit trail ABORT says that somebody else ended
/// it, and END that the reader did.
Result<std::vector<SessionId>> abort_expired(Cluster& cluster) {
  std::vector<SessionId> aborted;
  for (const auto& id : expired_sessions(cluster.state(), cautious_now(cluster))) {
    const bool written = TRY(append_if(cluster, [&](const LogState& state) -> Result<EntryContent> {
      const auto session = state.open_sessions().find(id);
      if (session == state.open_sessions().end() || session->second.lease_until >= cautious_now(cluster))
        return Error(kNoReason, "renewed or closed meanwhile");
      return AbortEntry{id};
    }));
    if (!written) continue;
    log_info("session {} is aborted: its lease has passed", id.hex());
    aborted.push_back(id);
  }
  return aborted;
}

/// In the order of kinds: no pack goes before all roots have. Returns the names that stay since they are locked.
Result<std::set<std::string>> remove_objects(Cluster& cluster, const std::vector<storage::BlobInfo>& objects) {
  const auto roots = manifests_prefix(cluster.id());
  std::vector<std::string> batch;
  std::set<std::string> locked;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    batch.push_back(objects[i].name);
    const bool kind_ends = i + 1 == objects.size() || objects[i + 1].name.starts_with(roots) != objects[i].name.starts_with(roots);
    if (!kind_ends && batch.size() < kRemoveBatch) continue;
    for (auto& name : TRY(cluster.store().remove_unlocked(batch).context(fmt::format("remove {}", batch.front())))) locked.insert(std::move(name));
    batch.clear();
  }
  return locked;
}

/// What was not removed is no part of what was.
void set_aside(CollectPlan& done, const std::set<std::string>& locked) {
  if (locked.empty()) return;
  std::erase_if(done.remove, [&](storage::BlobInfo& info) {
    if (!locked.contains(info.name)) return false;
    done.remove_bytes -= info.size;
    done.locked_bytes += info.size;
    if (is_wal(info.name)) {
      --done.remove_wal;
      done.remove_wal_bytes -= info.size;
    }
    done.locked.push_back(info);
    return true;
  });
}

Result<std::vector<PackId>> purge(Cluster& cluster, const Listing& listing) {
  std::vector<PackId> purged;
  for (;;) {
    std::vector<PackId> batch;
    const bool written = TRY(append_if(cluster, [&](const LogState& state) -> Result<EntryContent> {
      batch = make_plan(listing, state, {}).purge;
      if (batch.size() > kPurgeBatch) batch.resize(kPurgeBatch);
      if (batch.empty()) return Error(kNoReason, "nothing to purge");
      return PurgeEntry{batch};
    }));
    if (!written) return purged;
    purged.insert(purged.end(), batch.begin(), batch.end());
  }
}

}  // namespace

Result<CollectPlan> plan_collection(Cluster& cluster) {
  TRY(check_chain(cluster));
  const auto listing = TRY(list_objects(cluster, cluster.state()));
  TRY(cluster.log().refresh());
  return make_plan(listing, cluster.state(), expired_sessions(cluster.state(), cautious_now(cluster)));
}

Result<CollectCount> count_collection(Cluster& cluster, const LogState& state) {
  TRY(check_chain(cluster));
  const auto listing = TRY(list_objects(cluster, state));
  CollectCount count;
  const auto plan = judge(listing, state, expired_sessions(state, cautious_now(cluster)), [&](CollectPlan&, const auto&) { ++count.objects; });
  count.wal_objects = plan.remove_wal;
  count.bytes = plan.remove_bytes;
  count.wal_bytes = plan.remove_wal_bytes;
  return count;
}

Result<CollectPlan> collect(Cluster& cluster) {
  TRY(check_features(cluster.repository().format(), Operation::Delete));
  TRY(check_chain(cluster));
  auto aborted = TRY(abort_expired(cluster));
  // Listed before the fold that judges it: sessions only go from open to closed, and a purged pack stays purged, so that what
  // may be removed by a newer state may be removed for ever. Floors only rise, and a backup that comes later needs WAL above them.
  const auto listing = TRY(list_objects(cluster, cluster.state()));
  auto purged = TRY(purge(cluster, listing));
  auto done = make_plan(listing, cluster.state(), {});
  PGMINT_ASSERT(done.purge.empty());
  set_aside(done, TRY(remove_objects(cluster, done.remove)));
  done.expired = std::move(aborted);
  done.purge = std::move(purged);
  return done;
}

}  // namespace pgmint::repository
