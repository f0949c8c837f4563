#include "repository/replicate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "repository/format_file.h"
#include "repository/key_objects.h"
#include "repository/layout.h"
#include "repository/mirror_absence.h"
#include "repository/mirror_survey.h"
#include "repository/object_copy.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kMirrorSign = "pgmint mirror\n";
constexpr std::size_t kFormatMax = 64 << 10;
constexpr std::size_t kEntryMax = 64 << 20;
constexpr int kRoundsMax = 10;
constexpr int kMarksRaced = 16;
/// Marks that stay: how the mirror moved on, for who looks into it.
constexpr std::uint64_t kMarksKept = 8;
/// Objects that are looked at one by one after a copy; of more the mirror is listed.
constexpr std::size_t kLookedAtSingly = 64;

class Replication {
 public:
  Replication(storage::BlobStore& source, storage::BlobStore& mirror, Clock& clock, RandomSource& random, const ReplicateOptions& options)
      : source_(source), mirror_(mirror), clock_(clock), random_(random), options_(options), copy_(source, mirror, options) {}

  Result<ReplicateReport> run() {
    TRY(meet());
    if (!options_.dry_run) TRY(begin());
    TRY(copy_keys());
    TRY(copy_format());
    for (const auto& id : TRY(clusters())) {
      auto& cluster = report_.clusters.emplace_back();
      cluster.id = id;
      auto done = copy_cluster(cluster);
      if (!done && done.failure().code() == Errc::Cancelled) return std::move(done).failure();
      if (!done) cluster.failure = std::move(done).failure();
    }
    if (options_.dry_run) {
      if (mark_) report_.as_of = mark_->as_of();
    } else {
      TRY(publish());
    }
    // Only now: what the mirror showed before may have needed what its source has let go.
    for (auto& cluster : report_.clusters) {
      const auto vanished = vanished_.find(cluster.id);
      if (cluster.failure || vanished == vanished_.end()) continue;
      auto tidied = tidy_vanished(mirror_, report_.repository, vanished->second, clock_, random_, options_, cluster);
      if (!tidied && tidied.failure().code() == Errc::Cancelled) return std::move(tidied).failure();
      if (!tidied) cluster.failure = std::move(tidied).failure();
    }
    return std::move(report_);
  }

 private:
  std::string place() const { return mirror_.describe(); }

  /// What the two stores are to each other.
  Status meet() {
    copy_.tell("list", "");
    auto format = TRY(source_.read(std::string(kFormatName), kFormatMax).context("source"));
    if (!format)
      return Error(Errc::Precondition, fmt::format("there is no repository in {}: nothing to copy", source_.describe()), Hint{"check `repository` in the configuration; if the source is lost: pgmint replicate promote"});
    format_ = std::move(*format);
    report_.repository = TRY(peek_repository_id(format_).context("source: format"));
    if (auto stored = TRY(newest_mark(source_, report_.repository).context("source"))) source_mark_ = std::move(stored->mark);

    const auto there = TRY(mirror_.read(std::string(kFormatName), kFormatMax).context("mirror"));
    if (there) {
      const auto theirs = TRY(peek_repository_id(*there).context("mirror: format"));
      if (theirs != report_.repository)
        return Error(Errc::Precondition, fmt::format("{} belongs to repository {}, and the source is repository {}", place(), theirs.hex(), report_.repository.hex()),
                     Hint{"give the mirror a place of its own: url in [[mirror]]"});
      if (*there != format_) return Error(Errc::Corruption, fmt::format("`format` in {} is not the source's", place()), Hint{"pgmint verify tells which one is damaged; nothing was copied"});
    }
    TRY(read_mark());
    if (mark_) return ok();
    std::string other = there ? std::string(kFormatName) : std::string();
    if (other.empty()) {
      auto listed = mirror_.list("", "", [&](const storage::BlobInfo& info) -> Status {
        other = info.name;
        return Error(Errc::Cancelled, "enough");
      });
      if (!listed && other.empty()) return std::move(listed).failure().with_context("mirror");
    }
    if (there) return Error(Errc::Precondition, fmt::format("{} is a repository of its own, not a mirror", place()), Hint{"give the mirror an empty place of its own: url in [[mirror]]"});
    if (!other.empty()) return Error(Errc::Precondition, fmt::format("{} is not empty: it holds {}", place(), other), Hint{"give the mirror an empty place of its own: url in [[mirror]]"});
    return ok();
  }

  /// @errors Precondition: it was promoted
  Status read_mark() {
    auto stored = TRY(newest_mark(mirror_, report_.repository).context("mirror"));
    if (!stored) return ok();
    if (stored->mark.state == MirrorState::Promoted)
      return Error(Errc::Precondition,
                   fmt::format("{} was promoted by {} at {}: it is a repository of its own, in a later generation, and {} was left behind", place(), stored->mark.made_by,
                               format_rfc3339(stored->mark.written), source_.describe()),
                   Hint{"repository in the configuration should name the promoted one; to copy that one, name an empty place in [[mirror]]"});
    mark_ = std::move(stored->mark);
    return ok();
  }

  MirrorMark next_mark() const {
    MirrorMark next;
    if (mark_) {
      next = *mark_;
      ++next.number;
    } else {
      next.made = clock_.now();
    }
    next.one_writer = next.one_writer || options_.one_writer;
    next.source = options_.source_name;
    next.made_by = options_.made_by;
    next.written = clock_.now();
    return next;
  }

  /// False: another one stands there.
  Result<bool> put_mark(MirrorMark next) {
    if (!TRY(create_object(mirror_, mirror_mark_name(next.number), encode_mark(next, report_.repository, nullptr)).context("mirror"))) {
      TRY(read_mark());
      return false;
    }
    mark_ = std::move(next);
    return true;
  }

  /// Before anything else: half a copy must not pass for a repository.
  Status begin() {
    if (mark_) return ok();
    auto first = next_mark();
    first.mirror = random_.id<MirrorId>();
    report_.first = TRY(put_mark(std::move(first)));
    return ok();
  }

  Status copy_format() {
    const auto there = TRY(mirror_.stat(std::string(kFormatName)).context("mirror"));
    if (there) return ok();
    report_.keys.add(format_.size());
    if (options_.dry_run) return ok();
    if (!TRY(create_object(mirror_, std::string(kFormatName), format_).context("mirror"))) {
      const auto now = TRY(mirror_.read(std::string(kFormatName), kFormatMax).context("mirror"));
      if (!now || *now != format_) return Error(Errc::Corruption, fmt::format("`format` in {} is not the source's", place()), Hint{"give the mirror an empty place of its own: url in [[mirror]]"});
    }
    return ok();
  }

  /// Key slots: all that are missing. None ever goes: who empties the source must not lock the mirror.
  Status copy_keys() {
    const auto compared = compare(TRY(storage::list_all(source_, std::string(kKeysPrefix)).context("source")), TRY(storage::list_all(mirror_, std::string(kKeysPrefix)).context("mirror")));
    std::set<std::string> differing(compared.differing.begin(), compared.differing.end());
    if (options_.dry_run) {
      for (const auto& info : compared.missing) report_.keys.add(info.size);
    } else {
      for (const auto& info : compared.missing) copy_.expect(info.size);
      auto done = TRY(copy_.copy_all(compared.missing, 1));
      report_.keys.add(done.count);
      differing.insert(done.differing.begin(), done.differing.end());
    }
    for (const auto& name : differing)
      if (std::ranges::find(report_.conflicts, name) == report_.conflicts.end()) report_.conflicts.push_back(name);
    return ok();
  }

  /// Those of the source, and those that the mirror has already: that one vanished is to be told.
  Result<std::set<ClusterId>> clusters() {
    std::set<ClusterId> ids;
    for (const auto& part : TRY(source_.list_parts(std::string(kClustersPrefix)).context("source")))
      if (const auto id = ClusterId::parse(part); id && (!source_mark_ || source_mark_->bounds_of(*id))) ids.insert(*id);
    if (mark_)
      for (const auto& [id, cluster] : mark_->clusters) ids.insert(id);
    return ids;
  }

  const MirroredCluster* known(const ClusterId& id) const {
    if (!mark_) return nullptr;
    const auto found = mark_->clusters.find(id);
    return found == mark_->clusters.end() ? nullptr : &found->second;
  }

  Result<LogHeads> source_heads(const ClusterId& id) {
    const auto bounds = source_mark_ ? source_mark_->bounds_of(id) : std::nullopt;
    return log_heads(source_, id, bounds ? &*bounds : nullptr).context("source");
  }

  /// The source's log goes on where that of the mirror ends. @errors Corruption
  Status check_goes_on(const ClusterId& id, const LogHeads& heads) {
    if (!heads.gap.empty()) return Error(Errc::Corruption, fmt::format("source: the log of cluster {} has a gap before {}: nothing of it is copied", id.hex(), heads.gap), Hint{"pgmint audit verify, at the source"});
    const auto* before = known(id);
    if (before == nullptr) return ok();
    for (const auto& [generation, log] : before->logs) {
      const auto now = heads.entries.find(generation);
      const auto entries = now == heads.entries.end() ? 0 : now->second;
      if (entries < log.entries)
        return Error(Errc::Corruption, fmt::format("the source's log of cluster {} ends at entry {} of generation {}, and the mirror has {}: the source went back in time or has lost objects; nothing of the cluster is copied, nothing removed",
                                                   id.hex(), entries, generation, log.entries),
                     Hint{"pgmint verify, at the source; when it is lost: pgmint replicate promote"});
      if (log.entries > 0 && TRY(hash_of(source_, id, generation, log.entries)) != log.last)
        return Error(Errc::Corruption, fmt::format("the source's log of cluster {} is not the one that was copied before: they differ at entry {} of generation {}", id.hex(), log.entries - 1, generation),
                     Hint{"pgmint audit verify, at the source and on the mirror, tells which one was changed"});
    }
    return ok();
  }

  static Result<crypto::Digest> hash_of(storage::BlobStore& store, const ClusterId& id, std::uint32_t generation, std::uint64_t entries) {
    const auto name = log_entry_name(id, generation, entries - 1);
    const auto object = TRY(store.read(name, kEntryMax));
    if (!object) return Error(Errc::Corruption, fmt::format("{} is gone", name));
    return crypto::sha256(*object);
  }

  Status told_listing(const std::string& what) {
    copy_.tell("list", what);
    return copy_.check();
  }

  /// What an entry of the log refers to is there before the entry was written, and goes only after another entry that lets it go. So
  /// when the log was the same before its objects were listed and after the last of them was copied, nothing that the log needs can be missing.
  Status copy_cluster(ReplicatedCluster& cluster) {
    for (int round = 0; round < kRoundsMax; ++round) {
      const auto as_of = clock_.now();
      const auto heads = TRY(source_heads(cluster.id));
      if (!heads.gap.empty() && round + 1 < kRoundsMax) continue;  // it may have been listed while it grew
      TRY(check_goes_on(cluster.id, heads));
      if (heads.entries.empty()) return ok();  // a creation under way: key rings alone
      const bool is_whole = TRY(copy_objects(cluster));
      if (!options_.dry_run) TRY(copy_keys());
      if (!is_whole || TRY(source_heads(cluster.id)) != heads) {
        if (!options_.dry_run) continue;
      }
      TRY(copy_log(cluster, heads));
      if (options_.dry_run) return ok();
      return note_moment(cluster, heads, as_of);
    }
    return Error(Errc::Busy, fmt::format("the log of cluster {} changed each time while its objects were copied; they are here, and count with the next run", cluster.id.hex()), Hint{"run the command again"});
  }

  /// False: something that was copied is not there as it should be, and another round is needed.
  Result<bool> copy_objects(ReplicatedCluster& cluster) {
    const auto tell = [&](const std::string& what) { return told_listing(what); };
    const auto theirs = TRY(cluster_objects(source_, cluster.id, tell).context("source"));
    const auto ours = TRY(cluster_objects(mirror_, cluster.id, tell).context("mirror"));
    Vanished vanished;
    std::vector<storage::BlobInfo> expected;
    // Nobody sees any of it before the first mark that names the cluster; after that WAL comes in its order, so that a copy that is cut off leaves no gap.
    const unsigned wal_workers = known(cluster.id) == nullptr ? options_.workers : 1;
    struct Kind { const std::vector<storage::BlobInfo>&theirs, &ours; unsigned workers; bool may_go; };
    std::vector<std::pair<Comparison, Kind>> kinds;
    for (const auto& kind : {Kind{theirs.rings, ours.rings, 1, false}, Kind{theirs.packs, ours.packs, options_.workers, true}, Kind{theirs.wal, ours.wal, wal_workers, true},
                             Kind{theirs.roots, ours.roots, options_.workers, true}})
      kinds.emplace_back(compare(kind.theirs, kind.ours), kind);
    for (const auto& [compared, kind] : kinds)
      for (const auto& info : compared.missing) copy_.expect(info.size);
    for (auto& [compared, kind] : kinds) {
      for (const auto& name : compared.differing) note_conflict(cluster, name);
      if (kind.may_go) {
        for (const auto& info : kind.ours) vanished.all.add(info.size);
        vanished.objects.insert(vanished.objects.end(), compared.vanished.begin(), compared.vanished.end());
      }
      if (options_.dry_run) {
        for (const auto& info : compared.missing) cluster.copied.add(info.size);
        continue;
      }
      auto done = TRY(copy_.copy_all(compared.missing, kind.workers));
      cluster.copied.add(done.count);
      for (const auto& name : done.differing) note_conflict(cluster, name);
      const std::set<std::string> copied(done.copied.begin(), done.copied.end());
      std::ranges::copy_if(compared.missing, std::back_inserter(expected), [&](const auto& info) { return copied.contains(info.name); });
    }
    vanished_[cluster.id] = std::move(vanished);
    return are_there(cluster.id, expected);
  }

  /// What was just copied is listed by the mirror, as long as it is at the source.
  Result<bool> are_there(const ClusterId& id, std::vector<storage::BlobInfo> expected) {
    if (expected.size() <= kLookedAtSingly) {
      for (const auto& info : expected) {
        const auto there = TRY(mirror_.stat(info.name).context("mirror"));
        if (!there || there->size != info.size) return false;
      }
      return true;
    }
    const auto listed = TRY(cluster_objects(mirror_, id, [&](const std::string& what) { return told_listing(what); }).context("mirror"));
    std::vector<storage::BlobInfo> all;
    for (const auto* kind : {&listed.rings, &listed.packs, &listed.wal, &listed.roots}) all.insert(all.end(), kind->begin(), kind->end());
    std::ranges::sort(all, {}, &storage::BlobInfo::name);
    std::ranges::sort(expected, {}, &storage::BlobInfo::name);
    const auto compared = compare(expected, all);
    return compared.missing.empty() && compared.differing.empty();
  }

  void note_conflict(ReplicatedCluster& cluster, const std::string& name) {
    if (std::ranges::find(cluster.conflicts, name) == cluster.conflicts.end()) cluster.conflicts.push_back(name);
  }

  /// Entries that no mark counts yet are invisible: their order is that of their names, and matters to nobody.
  Status copy_log(ReplicatedCluster& cluster, const LogHeads& heads) {
    const auto theirs = TRY(log_entries(source_, cluster.id, heads).context("source"));
    const auto ours = TRY(log_entries(mirror_, cluster.id, heads).context("mirror"));
    auto compared = compare(theirs, ours);
    const auto differ = [&](const std::string& name) {
      return Error(Errc::Corruption, fmt::format("{} differs from its source's: the mirror's log stays as it was", name), Hint{"pgmint audit verify, at the source and on the mirror, tells which one was changed"});
    };
    if (!compared.differing.empty()) return differ(compared.differing.front());
    if (options_.dry_run) {
      for (const auto& info : compared.missing) cluster.log.add(info.size);
      return ok();
    }
    // What a copy that was cut off has left is held against the source byte by byte.
    const auto* before = known(cluster.id);
    std::vector<storage::BlobInfo> wanted;
    std::size_t missing = 0;
    for (const auto& info : theirs) {
      const auto slot = parse_log_entry_name(info.name);
      const auto counted = before == nullptr || !before->logs.contains(slot->generation) ? 0 : before->logs.at(slot->generation).entries;
      const bool is_missing = missing < compared.missing.size() && compared.missing[missing].name == info.name;
      if (is_missing) ++missing;
      if (is_missing || slot->seq >= counted) wanted.push_back(info);
    }
    for (const auto& info : wanted) copy_.expect(info.size);
    copy_.tell("log", "");
    // Before any entry: who knows this place from the time before it was a mirror learns of it from a listing of its log.
    TRY(mirror_.create(mirror_sign_name(cluster.id), as_bytes(kMirrorSign)).context("mirror"));
    const auto done = TRY(copy_.copy_all(wanted, options_.workers));
    if (!done.differing.empty()) return differ(done.differing.front());
    if (done.vanished > 0) return Error(Errc::Corruption, fmt::format("source: entries of the log of cluster {} vanished while they were copied", cluster.id.hex()), Hint{"pgmint audit verify, at the source"});
    cluster.log = done.count;
    return ok();
  }

  Status note_moment(ReplicatedCluster& cluster, const LogHeads& heads, TimePoint as_of) {
    MirroredCluster copied;
    copied.as_of = as_of;
    if (source_mark_ && source_mark_->state == MirrorState::Mirror) copied.as_of = std::min(as_of, source_mark_->clusters.at(cluster.id).as_of);
    for (const auto& [generation, entries] : heads.entries) {
      MirroredLog log{entries, TRY(hash_of(mirror_, cluster.id, generation, entries).context("mirror"))};
      if (log.last != TRY(hash_of(source_, cluster.id, generation, entries).context("source")))
        return Error(Errc::Corruption, fmt::format("the log of cluster {} in the mirror is not the source's at entry {} of generation {}", cluster.id.hex(), entries - 1, generation),
                     Hint{"pgmint audit verify, at the source and on the mirror, tells which one was changed"});
      copied.logs[generation] = log;
      cluster.entries = entries;
    }
    copied_[cluster.id] = std::move(copied);
    return ok();
  }

  /// Another run may have come further with a cluster: then its word stands.
  static bool is_behind(const MirroredCluster& ours, const MirroredCluster& theirs) {
    if (ours.as_of < theirs.as_of) return true;
    return std::ranges::any_of(theirs.logs, [&](const auto& entry) {
      const auto found = ours.logs.find(entry.first);
      return found == ours.logs.end() || found->second.entries < entry.second.entries;
    });
  }

  /// The step that decides: from here on the mirror shows the new moment.
  Status publish() {
    for (int races = 0; races < kMarksRaced; ++races) {
      auto next = next_mark();
      for (const auto& [id, copied] : copied_) {
        const auto found = next.clusters.find(id);
        if (found == next.clusters.end() || !is_behind(copied, found->second)) next.clusters[id] = copied;
      }
      if (!TRY(put_mark(std::move(next)))) continue;
      report_.as_of = mark_->as_of();
      return remove_old_marks();
    }
    return Error(Errc::Busy, "others write the mirror's mark all the time", Hint{"run the command again"});
  }

  Status remove_old_marks() {
    for (const auto& info : TRY(storage::list_all(mirror_, std::string(kMarksPrefix)).context("mirror"))) {
      const auto number = parse_mirror_mark_name(info.name);
      if (number && *number + kMarksKept <= mark_->number) TRY(mirror_.remove(info.name).context("mirror"));
    }
    return ok();
  }

  storage::BlobStore& source_;
  storage::BlobStore& mirror_;
  Clock& clock_;
  RandomSource& random_;
  const ReplicateOptions& options_;
  ObjectCopy copy_;
  Bytes format_;
  std::optional<MirrorMark> mark_, source_mark_;
  std::map<ClusterId, MirroredCluster> copied_;
  std::map<ClusterId, Vanished> vanished_;
  ReplicateReport report_;
};

}  // namespace

bool ReplicateReport::has_conflicts() const {
  return !conflicts.empty() || std::ranges::any_of(clusters, [](const auto& cluster) { return !cluster.conflicts.empty(); });
}

Result<ReplicateReport> replicate(storage::BlobStore& source, storage::BlobStore& mirror, Clock& clock, RandomSource& random, const ReplicateOptions& options) {
  return Replication(source, mirror, clock, random, options).run();
}

}  // namespace pgmint::repository
