#include "repository/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/queue.h"
#include "base/task_group.h"
#include "repository/layout.h"
#include "repository/manifest.h"
#include "repository/pack_account.h"
#include "repository/segment_map.h"
#include "repository/verify_packs.h"

namespace pgmint::repository {
namespace {

/// Jobs that wait for a worker in a walk.
constexpr std::size_t kWalkQueue = 256;
/// Packs that are not in the page cache come from the disk: meanwhile another thread has the core.
constexpr unsigned kThreadsPerWorker = 2;

class Verification {
 public:
  Verification(Cluster& cluster, const VerifyOptions& options)
      : cluster_(cluster), options_(options), marker_(cluster.repository().environment().random) {}

  Result<VerifyReport> run() {
    if (!TRY(check_log())) return std::move(report_);
    TRY(check_keys());
    collect_packs();
    TRY(check_presence());
    auto waiting = packs_to_read();
    do {
      if (!waiting.empty()) TRY(read_packs(waiting));
      TRY(check_snapshots());
      marks_.clear();
    } while (!waiting.empty());
    TRY(judge_suspects());
    return std::move(report_);
  }

 private:
  bool wanted(const SessionId& session) const { return !options_.only || *options_.only == session; }

  void damage(std::string object, std::string problem, std::vector<std::string> backups = {}) {
    report_.findings.push_back({Finding::Severity::Damage, std::move(object), std::move(problem), std::move(backups)});
  }

  void warning(std::string object, std::string problem) {
    report_.findings.push_back({Finding::Severity::Warning, std::move(object), std::move(problem), {}});
  }

  Status cancelled() const { return options_.cancel != nullptr ? options_.cancel->check() : ok(); }

  /// False when nothing can be said beyond the log's own damage.
  Result<bool> check_log() {
    if (auto refreshed = cluster_.log().refresh(); !refreshed) {
      if (!is_damage(refreshed.failure())) return std::move(refreshed).failure();
      damage(log_prefix(cluster_.id()), refreshed.failure().describe());
      return false;
    }
    report_.entries = cluster_.state().next_seq();
    for (const auto& entry : cluster_.state().void_entries())
      damage(log_entry_name(cluster_.id(), cluster_.state().generation(), entry.seq), "void log entry: " + entry.reason);
    return true;
  }

  /// Slots and rings against what the log says was made.
  Status check_keys() {
    auto& repository = cluster_.repository();
    auto& store = cluster_.store();
    const auto& id = repository.format().repository;
    auto noted = TRY(noted_keys(cluster_.log()));
    std::vector<std::string> foreign;
    for (const auto& slot : TRY(read_slots(store, id, &foreign))) {
      const auto name = slot_name(slot.info.name);
      noted.slots.erase(slot.info.name);
      if (noted.removed_slots.contains(slot.info.name))
        warning(name, fmt::format("the removal of this key slot was cut off: pgmint key remove {}", slot.info.name));
      if (slot.object.empty()) damage(name, slot.info.note);
      else if (!slot_is_authentic(slot.object, repository.bundle().repository_mac_key))
        damage(name, "the key slot is damaged, or somebody without the key wrote it");
    }
    for (const auto& name : foreign)
      if (!noted.slots.contains(name.substr(kKeysPrefix.size()))) warning(name, "the key slot is of another repository: an init that was cut off left it");
    for (const auto& slot : noted.slots) damage(slot_name(slot), "the key slot is missing: its secret opens nothing any more");
    for (auto epoch : noted.rings) {
      const auto name = keyring_name(cluster_.id(), Epoch(epoch));
      auto object = TRY(store.read(name, 1 << 20));
      if (!object) {
        damage(name, "the key ring is missing");
        continue;
      }
      auto opened = open_keyring(*object, id, cluster_.id(), Epoch(epoch), repository.bundle());
      if (!opened && is_damage(opened.failure())) damage(name, opened.failure().describe());
    }
    return ok();
  }

  void collect_packs() {
    for (const auto& [session, live] : cluster_.state().snapshots()) {
      if (!wanted(session)) continue;
      ++report_.snapshots;
      for (const auto& pack : cluster_.state().packs_of(live)) {
        packs_.emplace(pack.id, pack);
        backups_of_[pack.id].push_back(live.snap.name);
      }
    }
    report_.packs = packs_.size();
  }

  Status check_presence() {
    std::map<PackId, std::uint64_t> present;
    TRY(cluster_.store().list(packs_prefix(cluster_.id()), "", [&](const storage::BlobInfo& blob) -> Status {
      TRY(cancelled());
      if (auto id = parse_pack_name(blob.name)) present[*id] = blob.size;
      return ok();
    }));
    for (const auto& [id, pack] : packs_) {
      const auto name = pack_name(cluster_.id(), id);
      auto it = present.find(id);
      if (it == present.end()) {
        damage(name, "the pack is missing", backups_of_[id]);
        broken_.insert(id);
      } else if (it->second != pack.size) {
        damage(name, fmt::format("the pack has {} bytes, {} were committed", it->second, pack.size), backups_of_[id]);
        broken_.insert(id);
      }
    }
    return ok();
  }

  // --- every byte ----------------------------------------------------------------------------------------------------------

  /// The largest last, which is where they are taken from, so that the workers end at about the same time.
  std::vector<PackSummary> packs_to_read() {
    std::vector<PackSummary> waiting;
    if (options_.depth == VerifyDepth::Presence) return waiting;
    for (const auto& [id, pack] : packs_)
      if (!broken_.contains(id)) {
        waiting.push_back(pack);
        bytes_to_read_ += pack.size;
      }
    std::ranges::stable_sort(waiting, {}, &PackSummary::size);
    return waiting;
  }

  /// Takes packs off `waiting` until there are none, or their records are as many as may be remembered.
  Status read_packs(std::vector<PackSummary>& waiting) {
    const unsigned workers = kThreadsPerWorker * std::max(1u, options_.workers);
    BoundedQueue<PackSummary> queue(workers);
    BoundedQueue<std::uint64_t> done(64);  // bytes of each pack that was read
    TaskGroup group(options_.cancel);
    group.on_failure([&] {
      queue.cancel();
      done.cancel();
    });
    std::atomic<unsigned> working{workers};
    std::atomic<std::size_t> remembered{0};
    for (unsigned i = 0; i < workers; ++i)
      group.spawn([&]() -> Status {
        auto status = [&]() -> Status {
          PackChecker checker(cluster_, marker_, options_.depth);
          while (auto pack = queue.pop()) {
            TRY(group.check());
            auto verdict = TRY(checker.check(*pack));
            remembered += verdict.marks.size();
            note(*pack, std::move(verdict));
            done.push(pack->size);
          }
          return ok();
        }();
        if (--working == 0) done.close();
        return status;
      });
    group.spawn([&]() -> Status {
      while (!waiting.empty() && remembered.load() < options_.records_at_once && queue.push(waiting.back())) waiting.pop_back();
      queue.close();
      return group.check();
    });
    while (const auto bytes = done.pop()) {
      bytes_done_ += *bytes;
      if (options_.progress) options_.progress(bytes_done_, bytes_to_read_);
    }
    TRY(group.join());
    take_shared();
    return ok();
  }

  void note(const PackSummary& pack, PackVerdict verdict) {
    shared_.with([&](Shared& shared) {
      shared.report.bytes_read += verdict.bytes;
      if (!verdict.problem.empty()) {
        shared.report.findings.push_back({Finding::Severity::Damage, pack_name(cluster_.id(), pack.id),
                                          std::move(verdict.problem), backups_of_.at(pack.id)});
        shared.broken.insert(pack.id);
        return;
      }
      ++(verdict.opened ? shared.report.packs_opened : shared.report.packs_only_hashed);
      shared.report.records += verdict.marks.size();
      if (verdict.opened) shared.marks.emplace(pack.id, std::move(verdict.marks));
    });
  }

  /// What workers found becomes part of the report, in an order that does not depend on them.
  void take_shared() {
    shared_.with([&](Shared& shared) {
      std::ranges::sort(shared.report.findings, {}, [](const Finding& f) { return std::tie(f.object, f.problem, f.backups); });
      for (auto& finding : shared.report.findings) report_.findings.push_back(std::move(finding));
      report_.bytes_read += shared.report.bytes_read;
      report_.packs_opened += shared.report.packs_opened;
      report_.packs_only_hashed += shared.report.packs_only_hashed;
      report_.records += shared.report.records;
      broken_.merge(shared.broken);
      suspects_.merge(shared.suspects);
      marks_.merge(shared.marks);
      shared = Shared();
    });
  }

  /// Packs that lack a record which something refers to, although all that they hold is authentic: are they the ones that were
  /// committed? If not, each of their backups is touched.
  Status judge_suspects() {
    PackChecker checker(cluster_, marker_, options_.depth);
    for (const auto& id : suspects_) {
      const auto committed = checker.is_as_committed(packs_.at(id));
      if (!committed && !is_damage(committed.failure())) return committed.failure();
      if (!committed || !*committed)
        damage(pack_name(cluster_.id(), id), "its content is not what was committed (SHA-256): it lacks records", backups_of_.at(id));
    }
    return ok();
  }

  // --- what each backup says ---------------------------------------------------------------------------------------------

  Result<std::optional<Bytes>> read_root_object(const SessionId& session, const LiveSnapshot& live) {
    const auto name = manifest_name(cluster_.id(), session);
    auto object = cluster_.store().read(name, live.snap.root_size);
    if (!object && !is_damage(object.failure())) return std::move(object).failure();
    if (!object || !*object) {
      found_in_manifest(live, object ? "the manifest is missing" : "the manifest has another size than was committed");
      return std::optional<Bytes>();
    }
    if ((*object)->size() != live.snap.root_size || crypto::sha256(**object) != live.snap.root_sha256) {
      found_in_manifest(live, "the manifest is not what was committed (SHA-256)");
      return std::optional<Bytes>();
    }
    return std::move(*object);
  }

  /// A file whose map, or place in a bundle, is to be looked at.
  struct FileJob {
    const LiveSnapshot* live = nullptr;
    FileEntry entry;
  };

  /// What a worker of the walk keeps from file to file.
  struct FileWorker {
    RecordOpener opener;
    RecordLocation bundle;  ///< whose contents these are
    Bytes bundled;
  };

  /// Walks every manifest here; what is in a map is for workers.
  Status check_snapshots() {
    ++report_.walks;
    BoundedQueue<FileJob> queue(kWalkQueue);
    TaskGroup group(options_.cancel);
    group.on_failure([&] { queue.cancel(); });
    const bool readable = !cluster_.keys().map_key.is_zero();
    for (unsigned i = 0; readable && i < std::max(1u, options_.workers); ++i)
      group.spawn([&]() -> Status {
        FileWorker worker{RecordOpener(cluster_.context(), cluster_.keys()), {}, {}};
        while (auto job = queue.pop()) {
          TRY(group.check());
          const auto checked = check_file(job->entry, *job->live, worker);
          if (checked) continue;
          shared_.with([&](Shared& shared) { shared.unaccounted.insert(job->live->snap.session); });
          if (!is_damage(checked.failure())) return checked;
          found_in_manifest(*job->live, fmt::format("{}: {}", job->entry.path, checked.failure().describe()));
        }
        return ok();
      });
    const auto walked = [&]() -> Status {
      for (const auto& [session, live] : cluster_.state().snapshots()) {
        if (!wanted(session)) continue;
        if (readable) {
          TRY(check_snapshot(session, live, queue));
        } else {
          TRY(read_root_object(session, live));
        }
      }
      return ok();
    }();
    if (walked) {
      queue.close();
    } else {
      group.cancel();
      queue.cancel();
    }
    const auto joined = group.join();
    if (!walked && walked.failure().code() != Errc::Cancelled) return walked;
    TRY(joined);
    TRY(walked);
    compare_accounts();
    take_shared();
    return ok();
  }

  /// What a manifest says of its packs decides which of them its successors let go. Too much is harmless, and what a writer says who could
  /// not read what it dropped; too little would cost data.
  void compare_accounts() {
    auto [accounts, unaccounted] = shared_.with([](Shared& shared) {
      return std::pair(std::exchange(shared.accounts, {}), std::exchange(shared.unaccounted, {}));
    });
    for (const auto& [session, account] : accounts) {
      if (unaccounted.contains(session) || account.stated.covers(account.seen)) continue;
      found_in_manifest(cluster_.state().snapshots().at(session), "its account of packs lacks some of what it refers to");
    }
  }

  Status check_snapshot(const SessionId& session, const LiveSnapshot& live, BoundedQueue<FileJob>& queue) {
    TRY(cancelled());
    auto object = TRY(read_root_object(session, live));
    if (!object) return ok();
    auto root = open_root(*object, cluster_.context(), session, cluster_.keys());
    if (!root) {
      if (!is_damage(root.failure())) return std::move(root).failure();
      found_in_manifest(live, root.failure().describe());
      return ok();
    }
    RecordOpener opener(cluster_.context(), cluster_.keys());
    std::uint64_t files = 0;
    PackUse seen;
    std::set<std::pair<PackId, std::uint64_t>> bundles;
    auto walked = walk_manifest(
        cluster_.store(), cluster_.context(), opener, *root,
        [&](const FileEntry& entry) -> Status {
          TRY(cancelled());
          ++files;
          if (const auto* member = std::get_if<BundleMember>(&entry.content))
            if (bundles.emplace(member->bundle.pack, member->bundle.offset).second) seen.add(member->bundle);
          if (entry.kind == FileKind::Mapped || (entry.kind == FileKind::Bundled && options_.depth == VerifyDepth::Decompress)) {
            if (!queue.push({&live, entry})) return Error(Errc::Cancelled, "another part of the verification failed");
          } else if (entry.kind == FileKind::Bundled) {
            if (const auto fits = refers(std::get<BundleMember>(entry.content).bundle, live); !fits)
              found_in_manifest(live, fmt::format("{}: {}", entry.path, fits.failure().describe()));
          }
          return ok();
        },
        [&](const RecordLocation& node) {
          seen.add(node);
          return refers(node, live);
        });
    const auto stated = TRY(read_account(*root, live, opener));
    shared_.with([&](Shared& shared) {
      auto& account = shared.accounts[session];
      account.seen.add(seen);
      if (stated && walked) account.stated = *stated;
      else shared.unaccounted.insert(session);
    });
    if (report_.walks == 1) report_.files += files;
    if (!walked) {
      if (!is_damage(walked.failure())) return walked;
      found_in_manifest(live, walked.failure().describe());
    }
    return ok();
  }

  /// nullopt: there is none, or it is damaged, which was reported.
  Result<std::optional<PackUse>> read_account(const ManifestRoot& root, const LiveSnapshot& live, RecordOpener& opener) {
    if (root.account)
      for (const auto& piece : *root.account) {
        if (const auto fits = refers(piece, live); !fits) {
          found_in_manifest(live, fmt::format("its account of packs: {}", fits.failure().describe()));
          return std::optional<PackUse>();
        }
      }
    auto stated = read_pack_account(cluster_.store(), cluster_.context(), opener, root);
    if (stated || !is_damage(stated.failure())) return stated;
    found_in_manifest(live, fmt::format("its account of packs: {}", stated.failure().describe()));
    return std::optional<PackUse>();
  }

  Status check_file(const FileEntry& entry, const LiveSnapshot& live, FileWorker& worker) {
    if (entry.kind == FileKind::Bundled) return check_member(entry, live, worker);
    const auto& location = std::get<RecordLocation>(entry.content);
    TRY(refers(location, live));
    if (broken_.contains(location.pack)) {  // reported as such
      shared_.with([&](Shared& shared) { shared.unaccounted.insert(live.snap.session); });
      return ok();
    }
    const auto raw = TRY(read_record(cluster_.store(), cluster_.context(), worker.opener, location));
    const auto map = TRY(parse_segment_map(raw));
    if (map.file_length != entry.size) return Error(Errc::Corruption, "its map has another length than its entry");
    for (const auto& extent : map.extents)
      if (extent.location) TRY(refers(*extent.location, live, extent.fingerprint));
    for (const auto& delta : map.deltas) TRY(refers(delta.location, live, delta.fingerprint));
    shared_.with([&](Shared& shared) {
      auto& seen = shared.accounts[live.snap.session].seen;
      seen.add(location);
      seen.add(map);
    });
    return ok();
  }

  /// The sum of a bundled file's bytes, which is not that of the whole record.
  Status check_member(const FileEntry& entry, const LiveSnapshot& live, FileWorker& worker) {
    const auto& member = std::get<BundleMember>(entry.content);
    TRY(refers(member.bundle, live));
    if (report_.walks > 1 || broken_.contains(member.bundle.pack)) return ok();
    if (worker.bundle != member.bundle || worker.bundled.empty()) {
      worker.bundled.clear();
      worker.bundled = TRY(read_record(cluster_.store(), cluster_.context(), worker.opener, member.bundle));
      worker.bundle = member.bundle;
    }
    const auto content = ByteView(worker.bundled).subspan(member.offset, static_cast<std::size_t>(entry.size));
    if (worker.opener.fingerprint(bundle_member_nonce(member.bundle.nonce, member.offset), content) != member.fingerprint)
      return Error(Errc::Corruption, "its content in the bundle does not fit its fingerprint");
    return ok();
  }

  /// Damage to what a backup says.
  void found_in_manifest(const LiveSnapshot& live, std::string problem) {
    shared_.with([&](Shared& shared) {
      auto name = manifest_name(cluster_.id(), live.snap.session);
      if (!told_.emplace(name, problem).second) return;
      shared.report.findings.push_back({Finding::Severity::Damage, std::move(name), std::move(problem), {live.snap.name}});
    });
  }

  /// A location must lie in a pack of the snapshot and, once its pack was read, on a record of it. With `fingerprint`, which is
  /// only compared where plaintext was seen, the record's content must fit that.
  Status refers(const RecordLocation& location, const LiveSnapshot& live, ByteView fingerprint = {}) {
    const auto* pack = cluster_.state().find_pack(live, location.pack);
    if (pack == nullptr)
      return Error(Errc::Corruption, fmt::format("it refers to pack {}-{:08x}, which the log does not name for this backup", location.pack.session.hex(), location.pack.number));
    if (location.offset < kPackHeaderSize || location.offset + location.stored_length > pack->size)
      return Error(Errc::Corruption, "it refers to a place outside its pack");
    const auto marks = marks_.find(location.pack);
    if (marks == marks_.end()) return ok();
    const auto mark = options_.depth == VerifyDepth::Decompress ? marker_.mark(location, fingerprint) : marker_.mark(location);
    if (std::ranges::binary_search(marks->second, mark)) return ok();
    shared_.with([&](Shared& shared) { shared.suspects.insert(location.pack); });
    return Error(Errc::Corruption, fmt::format("it refers to a record that is not in its pack {}-{:08x}, at {}", location.pack.session.hex(),
                                               location.pack.number, location.offset));
  }

  /// What workers add to, until take_shared().
  struct Account {
    PackUse stated, seen;
  };
  struct Shared {
    VerifyReport report;
    std::map<SessionId, Account> accounts;
    std::set<SessionId> unaccounted;  ///< of which not everything was seen
    std::set<PackId> broken, suspects;
    std::map<PackId, std::vector<std::uint64_t>> marks;
  };

  Cluster& cluster_;
  const VerifyOptions& options_;
  const RecordMarker marker_;
  VerifyReport report_;
  std::map<PackId, PackSummary> packs_;
  std::map<PackId, std::vector<std::string>> backups_of_;
  std::set<PackId> broken_, suspects_;
  std::map<PackId, std::vector<std::uint64_t>> marks_;  ///< of packs that were read and not yet held against the manifests
  std::uint64_t bytes_to_read_ = 0, bytes_done_ = 0;
  std::set<std::pair<std::string, std::string>> told_;  ///< object and problem, under shared_'s lock: a later walk finds the same again
  Guarded<Shared> shared_;
};

}  // namespace

bool VerifyReport::damaged() const {
  return std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.severity == Finding::Severity::Damage; });
}

Result<VerifyReport> verify(Cluster& cluster, const VerifyOptions& options) {
  Verification verification(cluster, options);
  return verification.run();
}

}  // namespace pgmint::repository
