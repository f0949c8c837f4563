// For tests and bench/scale_bench.cc: a long log of incremental backups and the objects that it speaks of, packs without contents.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <vector>

#include "crypto/hash.h"
#include "repository/layout.h"
#include "repository/repository.h"

namespace pgmint::repository::testing {

struct HistoryShape {
  std::uint64_t backups = 2000;
  std::chrono::hours apart{6};
  std::uint32_t kept = 110;      ///< packs of a backup that those after it refer to
  std::uint32_t replaced = 60;   ///< packs of a backup that the next one has no use for: maps
  std::uint32_t emptied = 90;    ///< packs of any age that a backup has no use for any more
};

/// Root and SNAP of a session that was begun.
inline Status publish(Cluster& cluster, const ManifestRoot& root, std::vector<PackSummary> added, std::vector<PackId> removed, RandomSource& random) {
  const auto object = seal_root(root, cluster.context(), cluster.keys().map_key, random);
  TRY(cluster.store().create(manifest_name(cluster.id(), root.session), object));
  SnapEntry snap;
  snap.session = root.session;
  snap.root_sha256 = crypto::sha256(object);
  snap.root_size = object.size();
  snap.name = root.name;
  snap.type = root.type;
  snap.added = std::move(added);
  snap.removed = std::move(removed);
  snap.timeline = root.timeline;
  snap.start_lsn = root.start_lsn;
  snap.stop_lsn = root.stop_lsn;
  snap.system_id = root.system_id;
  snap.incarnation = root.incarnation;
  TRY(cluster.log().append(cluster.actor(), std::move(snap)));
  return ok();
}

/// Backups on top of the newest one. Borrows all.
class History {
 public:
  History(Cluster& cluster, SeededRandom& random, Clock& clock, std::function<void(const PackId&, std::uint64_t)> make_pack)
      : cluster_(cluster), random_(random), clock_(clock), make_pack_(std::move(make_pack)) {}

  Status write(const HistoryShape& shape) {
    const auto* newest = newest_of(cluster_.state());
    PGMINT_ASSERT(newest != nullptr);
    parent_ = TRY(read_root(cluster_.store(), cluster_.context(), newest->snap.session, cluster_.keys()));
    for (const auto& pack : cluster_.state().packs_of(*newest)) old_.push_back(pack.id);
    for (std::uint64_t i = 0; i < shape.backups; ++i) {
      clock_.sleep(shape.apart);
      TRY(backup(shape));
    }
    return ok();
  }

 private:
  static const LiveSnapshot* newest_of(const LogState& state) {
    const LiveSnapshot* newest = nullptr;
    for (const auto& [id, snapshot] : state.snapshots())
      if (newest == nullptr || newest->seq < snapshot.seq) newest = &snapshot;
    return newest;
  }

  Status backup(const HistoryShape& shape) {
    const auto session = random_.id<SessionId>();
    TRY(cluster_.log().append(cluster_.actor(), BeginEntry{session, SessionPurpose::Write, parent_.session, clock_.now() + std::chrono::hours(24)}));
    std::vector<PackSummary> added;
    auto removed = std::exchange(replaced_, {});
    for (std::uint32_t i = 0; i < shape.emptied && !old_.empty(); ++i) {
      std::swap(old_[random_.below(old_.size())], old_.back());
      removed.push_back(old_.back());
      old_.pop_back();
    }
    for (std::uint32_t i = 0; i < shape.kept + shape.replaced; ++i) {
      const PackId pack{session, i};
      (i < shape.kept ? old_ : replaced_).push_back(pack);
      added.push_back({pack, (24U << 20) + random_.below(8U << 20), crypto::sha256(pack.session.bytes)});
      make_pack_(pack, added.back().size);
    }
    auto root = parent_;
    root.parent = parent_.session;
    root.session = session;
    root.type = BackupType::Incremental;
    root.name = fmt::format("{}-incr", format_compact(clock_.now()));
    root.started = root.finished = clock_.now();
    TRY(publish(cluster_, root, std::move(added), std::move(removed), random_));
    parent_ = std::move(root);
    return ok();
  }

  Cluster& cluster_;
  SeededRandom& random_;
  Clock& clock_;
  std::function<void(const PackId&, std::uint64_t)> make_pack_;
  ManifestRoot parent_;
  std::vector<PackId> old_, replaced_;
};

}  // namespace pgmint::repository::testing
