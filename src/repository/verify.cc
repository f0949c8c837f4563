#include "repository/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/log.h"
#include "base/queue.h"
#include "base/task_group.h"
#include "repository/layout.h"
#include "repository/manifest.h"
#include "repository/pack_account.h"
#include "repository/segment_map.h"
#include "repository/stream_chunk.h"
#include "repository/stream_map.h"
#include "repository/verify_keys.h"
#include "repository/verify_memory.h"
#include "repository/verify_packs.h"

namespace pgmint::repository {
namespace {

/// Jobs that wait for a worker in a walk.
constexpr std::size_t kWalkQueue = 256;
/// Reading pauses at the earliest when it has taken so many times as long as the last walk.
constexpr int kReadingToWalk = 10;
/// After a signal the walk that makes count what was read may go on for so long.
constexpr auto kLastWalkMax = std::chrono::seconds(10);

class Verification {
 public:
  Verification(Cluster& cluster, const VerifyOptions& options)
      : cluster_(cluster), options_(options), clock_(cluster.repository().environment().clock),
        marker_(cluster.repository().environment().random), memory_(cluster) {}

  Result<VerifyReport> run() {
    if (!TRY(check_log())) return std::move(report_);
    TRY(verify_keys(cluster_, report_.findings));
    collect_packs();
    TRY(check_presence());
    auto waiting = packs_to_read();
    do {
      TRY(take_turn(waiting));
      TRY(cancelled());
    } while (!waiting.empty());
    warn_of_known_damage();
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

  /// Reads packs, and holds all manifests and maps against them; what is sound after both is proven. A signal ends the reading:
  /// what was read by then is worth the rest of the turn.
  Status take_turn(std::vector<PackSummary>& waiting) {
    const auto begun = clock_.now();
    const auto read = waiting.empty() ? ok() : read_packs(waiting);
    take_shared();
    auto walked = read;
    if (read || (read.failure().code() == Errc::Cancelled && worth_a_walk())) walked = walk_and_judge();
    if (!walked) memory_.drop_sound();
    if (options_.remember) remember(begun);
    TRY(read);
    return walked;
  }

  /// Packs were read that count once manifests and maps were held against them.
  bool worth_a_walk() const { return options_.remember && memory_.has_sound(); }

  Status walk_and_judge() {
    const CancelToken::HoldOff to_its_end(worth_a_walk() ? options_.cancel : nullptr);
    const auto begun = clock_.now();
    TRY(check_snapshots());
    last_walk_ = clock_.now() - begun;
    TRY(judge_suspects());
    marks_.clear();
    return ok();
  }

  /// For the walk: after a signal it is over at once, or soon where it is worth more.
  Status may_walk_on() {
    if (!worth_a_walk()) return cancelled();
    if (options_.cancel == nullptr || !options_.cancel->requested()) return ok();
    if (!last_walk_until_) last_walk_until_ = clock_.now() + kLastWalkMax;
    if (clock_.now() <= *last_walk_until_) return ok();
    return Error(Errc::Cancelled, "cancelled");
  }

  // --- what is remembered

  /// How far this run looks into packs that it can open.
  ProofDepth depth() const { return options_.depth == VerifyDepth::Decompress ? ProofDepth::Decompressed : ProofDepth::Opened; }
  /// And into the others.
  ProofDepth reach() const {
    const bool opens = cluster_.keys().can_read_data() && !cluster_.keys().map_key.is_zero();
    return opens ? depth() : ProofDepth::Hashed;
  }

  void found_broken(const PackId& id, ProofDepth depth) {
    broken_.insert(id);
    memory_.damaged(id, depth);
  }

  /// Best effort: a verification that nobody remembers is one all the same. @param read  when the reading began
  void remember(TimePoint read) {
    const CancelToken::HoldOff to_its_end(options_.cancel);
    const auto written = memory_.write(read);
    if (written || std::exchange(forgetful_, true)) return;
    auto why = fmt::format("which packs are sound and which are damaged cannot be remembered: {}", written.failure().describe());
    if (options_.cancel != nullptr && options_.cancel->requested()) log_warning("{}", why);  // there will be no report
    warning(log_prefix(cluster_.id()), std::move(why));
  }

  /// Of damage that the log knows of, and this run did not look for.
  void warn_of_known_damage() {
    for (const auto& [id, pack] : packs_) {
      const auto known = cluster_.state().pack_proofs().of(id).damaged;
      if (known && !memory_.was_damaged(id) && (options_.depth == VerifyDepth::Presence || known->depth > reach()))
        warning(pack_name(cluster_.id(), id), fmt::format("it was found damaged before, when it was {}; this verification did not look so far", proof_depth_name(known->depth)));
    }
  }

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
        found_broken(id, ProofDepth::Hashed);
      } else if (it->second != pack.size) {
        damage(name, fmt::format("the pack has {} bytes, {} were committed", it->second, pack.size), backups_of_[id]);
        found_broken(id, ProofDepth::Hashed);
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
      if (!broken_.contains(id)) waiting.push_back(pack);
    if (!options_.choice.everything()) {
      const auto clock = ProofClock::of(clock_.now(), cluster_.store().store_time(), cluster_.state());
      auto chosen = choose_packs(std::move(waiting), cluster_.state().pack_proofs(), reach(), clock, options_.choice);
      waiting = std::move(chosen.read);
      report_.left = chosen.left;
    }
    for (const auto& pack : waiting) bytes_to_read_ += pack.size;
    std::ranges::stable_sort(waiting, {}, &PackSummary::size);
    return waiting;
  }

  /// Takes packs off `waiting` until there are none, their records are as many as may be remembered, or it is time that they count.
  Status read_packs(std::vector<PackSummary>& waiting) {
    const auto until = clock_.now() + std::max<std::chrono::microseconds>(options_.turn, kReadingToWalk * last_walk_);
    std::atomic<std::size_t> remembered{0};
    PackReading reading;
    reading.workers = options_.workers;
    reading.cancel = options_.cancel;
    reading.goes_on = [&] { return remembered.load() < options_.records_at_once && clock_.now() < until; };
    reading.note = [&](const PackSummary& pack, PackVerdict verdict) {
      remembered += verdict.marks.size();
      note(pack, std::move(verdict));
    };
    reading.progress = [&](std::uint64_t bytes) {
      bytes_done_ += bytes;
      if (options_.progress) options_.progress(bytes_done_, bytes_to_read_);
    };
    return check_packs(cluster_, marker_, options_.depth, waiting, reading);
  }

  void note(const PackSummary& pack, PackVerdict verdict) {
    shared_.with([&](Shared& shared) {
      shared.report.bytes_read += verdict.bytes;
      ++shared.report.packs_read;
      if (!verdict.problem.empty()) {
        shared.report.findings.push_back({Finding::Severity::Damage, pack_name(cluster_.id(), pack.id),
                                          std::move(verdict.problem), backups_of_.at(pack.id)});
        shared.broken.emplace(pack.id, verdict.as_committed ? depth() : ProofDepth::Hashed);
        return;
      }
      shared.sound.emplace(pack.id, verdict.opened ? depth() : ProofDepth::Hashed);
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
      report_.packs_read += shared.report.packs_read;
      report_.packs_opened += shared.report.packs_opened;
      report_.packs_only_hashed += shared.report.packs_only_hashed;
      report_.records += shared.report.records;
      for (const auto& [id, depth] : shared.broken) found_broken(id, depth);
      for (const auto& [id, depth] : shared.sound) memory_.sound(id, depth);
      suspects_.merge(shared.suspects);
      marks_.merge(shared.marks);
      shared = Shared();
    });
  }

  /// Packs in which a record is not as something says that refers to it, although all that they hold is authentic: are they the
  /// ones that were committed? If not, each of their backups is touched. Either way they are not proven: whoever does not read them
  /// again would not find it again.
  Status judge_suspects() {
    PackChecker checker(cluster_, marker_, options_.depth);
    for (const auto& id : std::exchange(suspects_, {})) {
      const auto committed = checker.is_as_committed(packs_.at(id));
      if (!committed && !is_damage(committed.failure())) return committed.failure();
      const bool as_committed = committed && *committed;
      memory_.damaged(id, as_committed ? depth() : ProofDepth::Hashed);
      if (!as_committed)
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
    TRY(may_walk_on());
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
          TRY(may_walk_on());
          ++files;
          if (const auto* member = std::get_if<BundleMember>(&entry.content))
            if (bundles.emplace(member->bundle.pack, member->bundle.offset).second) seen.add(member->bundle);
          if (entry.kind == FileKind::Mapped || entry.kind == FileKind::Stream || (entry.kind == FileKind::Bundled && options_.depth == VerifyDepth::Decompress)) {
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
    if (entry.kind == FileKind::Stream) return check_stream(entry, location, live, worker);
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

  Status check_stream(const FileEntry& entry, const RecordLocation& location, const LiveSnapshot& live, FileWorker& worker) {
    auto& store = cluster_.store();
    const auto index = TRY(read_stream_index(store, cluster_.context(), worker.opener, location));
    if (index.length != entry.size) return Error(Errc::Corruption, "its index has another length than its entry");
    const bool compare = options_.depth == VerifyDepth::Decompress && report_.walks == 1;
    StreamChunkReader reader(store, cluster_.context(), cluster_.keys());
    DistinctRecords records;
    TRY(walk_stream(
        store, cluster_.context(), worker.opener, index,
        [&](const StreamPart& part) -> Status {
          TRY(refers(part.location, live));
          records.add(part.location);
          // What is read beside the map may take longer than a walk that goes on after a signal may.
          return compare && options_.cancel != nullptr && options_.cancel->requested() ? Status(Error(Errc::Cancelled, "cancelled")) : ok();
        },
        [&](const StreamChunk& chunk) -> Status {
          TRY(refers(chunk.record, live));
          records.add(chunk.record);
          bool readable = !broken_.contains(chunk.record.pack);
          for (const auto& base : chunk.bases) {
            TRY(refers(base, live));
            records.add(base);
            readable = readable && !broken_.contains(base.pack);
          }
          if (compare && readable) TRY(reader.read(chunk));
          return ok();
        }));
    auto use = std::move(records).settle();
    use.add(location);
    shared_.with([&](Shared& shared) { shared.accounts[live.snap.session].seen.add(use); });
    return ok();
  }

  /// The sum of a bundled file's bytes, which is not that of the whole record.
  Status check_member(const FileEntry& entry, const LiveSnapshot& live, FileWorker& worker) {
    const auto& member = std::get<BundleMember>(entry.content);
    TRY(refers(member.bundle, live));
    if (!marks_.contains(member.bundle.pack)) return ok();  // not read in this turn
    if (worker.bundle != member.bundle || worker.bundled.empty()) {
      worker.bundled.clear();
      worker.bundled = TRY(read_record(cluster_.store(), cluster_.context(), worker.opener, member.bundle));
      worker.bundle = member.bundle;
    }
    const auto content = ByteView(worker.bundled).subspan(member.offset, static_cast<std::size_t>(entry.size));
    if (worker.opener.fingerprint(bundle_member_nonce(member.bundle.nonce, member.offset), content) == member.fingerprint) return ok();
    shared_.with([&](Shared& shared) { shared.suspects.insert(member.bundle.pack); });
    return Error(Errc::Corruption, "its content in the bundle does not fit its fingerprint");
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
    std::map<PackId, ProofDepth> sound, broken;  ///< broken: how far one had to look to see it
    std::set<PackId> suspects;
    std::map<PackId, std::vector<std::uint64_t>> marks;
  };

  Cluster& cluster_;
  const VerifyOptions& options_;
  const Clock& clock_;
  const RecordMarker marker_;
  VerifyMemory memory_;
  bool forgetful_ = false;  ///< memory_ could not be written
  VerifyReport report_;
  std::map<PackId, PackSummary> packs_;
  std::map<PackId, std::vector<std::string>> backups_of_;
  std::set<PackId> broken_, suspects_;
  std::chrono::microseconds last_walk_{};
  std::optional<TimePoint> last_walk_until_;
  std::map<PackId, std::vector<std::uint64_t>> marks_;  ///< of packs that were read and not yet held against the manifests
  std::uint64_t bytes_to_read_ = 0, bytes_done_ = 0;
  std::set<std::pair<std::string, std::string>> told_;  ///< object and problem, under shared_'s lock: a later walk finds the same again
  Guarded<Shared> shared_;
};

}  // namespace

Result<VerifyReport> verify(Cluster& cluster, const VerifyOptions& options) { return Verification(cluster, options).run(); }

}  // namespace pgmint::repository
