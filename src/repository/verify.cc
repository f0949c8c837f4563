#include "repository/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/queue.h"
#include "base/scratch.h"
#include "base/task_group.h"
#include "codec/crc32c.h"
#include "repository/layout.h"
#include "repository/pack.h"
#include "repository/segment_map.h"

namespace pgmint::repository {
namespace {

/// Which records a pack holds, as 32-bit marks of place and nonce: enough to hold a map against it at four bytes a record.
using RecordMarks = std::vector<std::uint32_t>;

std::uint32_t mark_of(std::uint64_t offset, std::uint32_t stored_length, ByteView nonce) {
  ByteArray<12> place{};
  for (std::size_t i = 0; i < 8; ++i) place[i] = static_cast<std::byte>(offset >> (8 * i));
  for (std::size_t i = 0; i < 4; ++i) place[8 + i] = static_cast<std::byte>(stored_length >> (8 * i));
  return codec::crc32c(nonce, codec::crc32c(place));
}

class Verification {
 public:
  Verification(Cluster& cluster, const VerifyOptions& options) : cluster_(cluster), options_(options) {}

  Result<VerifyReport> run() {
    if (!TRY(check_log())) return std::move(report_);
    TRY(check_keys());
    collect_packs();
    TRY(check_presence());
    if (options_.read_data) TRY(read_packs());
    if (!cluster_.keys().map_key.is_zero()) {
      for (const auto& [session, live] : cluster_.state().snapshots())
        if (wanted(session)) TRY(check_snapshot(session, live));
    } else {
      for (const auto& [session, live] : cluster_.state().snapshots())
        if (wanted(session)) TRY(read_root_object(session, live));
    }
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

  /// Errors that mean "this object is bad" become findings; all others end the run.
  static bool is_damage(const Error& error) { return error.code() == Errc::Corruption || error.code() == Errc::NotFound || error.code() == Errc::ResourceLimit; }

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
      for (const auto& [id, pack] : live.packs) {
        packs_.emplace(id, pack);
        backups_of_[id].push_back(live.snap.name);
      }
    }
    report_.packs = packs_.size();
    for (const auto& [id, pack] : packs_) report_.pack_bytes += pack.size;
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

  /// What one worker keeps from pack to pack.
  struct Worker {
    RecordOpener opener;
    Scratch pack, plain;
  };

  Status read_packs() {
    BoundedQueue<PackSummary> queue(16);
    BoundedQueue<std::uint64_t> done(64);  // bytes of each pack that was read
    TaskGroup group(options_.cancel);
    group.on_failure([&] {
      queue.cancel();
      done.cancel();
    });
    std::atomic<unsigned> working{std::max(1u, options_.workers)};
    const unsigned workers = working.load();
    for (unsigned i = 0; i < workers; ++i)
      group.spawn([&]() -> Status {
        auto status = [&]() -> Status {
          Worker worker{RecordOpener(cluster_.context(), cluster_.keys()), {}, {}};
          while (auto pack = queue.pop()) {
            TRY(group.check());
            TRY(read_pack(*pack, worker));
            done.push(pack->size);
          }
          return ok();
        }();
        if (--working == 0) done.close();
        return status;
      });
    group.spawn([&]() -> Status {
      // The largest first, so that the workers end at about the same time.
      std::vector<PackSummary> wanted;
      for (const auto& [id, pack] : packs_)
        if (!broken_.contains(id)) wanted.push_back(pack);
      std::stable_sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return a.size > b.size; });
      for (const auto& pack : wanted)
        if (!queue.push(pack)) break;
      queue.close();
      return group.check();
    });
    std::uint64_t bytes_read = 0;
    while (const auto bytes = done.pop()) {
      bytes_read += *bytes;
      if (options_.progress) options_.progress(bytes_read, report_.pack_bytes);
    }
    TRY(group.join());
    shared_.with([&](Shared& shared) {
      for (auto& finding : shared.findings) report_.findings.push_back(std::move(finding));
      for (const auto& id : shared.broken) broken_.insert(id);
      marks_ = std::move(shared.marks);
      report_.records = shared.records;
    });
    return ok();
  }

  Status read_pack(const PackSummary& pack, Worker& worker) {
    const auto name = pack_name(cluster_.id(), pack.id);
    auto bad = [&](std::string problem) {
      shared_.with([&](Shared& shared) {
        shared.findings.push_back({Finding::Severity::Damage, name, std::move(problem), backups_of_.at(pack.id)});
        shared.broken.insert(pack.id);
      });
      return ok();
    };
    const auto data = worker.pack.of(pack.size);
    if (auto read = cluster_.store().read_range(name, 0, data); !read) {
      if (!is_damage(read.failure())) return read;
      return bad(read.failure().code() == Errc::NotFound ? "the pack is missing" : read.failure().describe());
    }
    // Each record goes through SHA-256, is opened and decompressed while it is in the core's cache. What was committed is the
    // hash: a pack with another one is not looked into further.
    crypto::Sha256 hash;
    std::size_t hashed = 0;
    const auto hash_to = [&](std::size_t end) {
      hash.update(ByteView(data).subspan(hashed, end - hashed));
      hashed = end;
    };
    const auto lines = parse_pack(data, cluster_.context(), pack.id, cluster_.keys().maintenance_key);
    std::string problem = lines ? "" : lines.failure().describe();
    RecordMarks marks;
    if (lines) TRY(open_records(pack, *lines, data, worker, marks, hash_to, problem));
    hash_to(data.size());
    if (hash.finish() != pack.sha256) return bad("its content is not what was committed (SHA-256)");
    if (!problem.empty()) return bad(std::move(problem));
    std::sort(marks.begin(), marks.end());
    shared_.with([&](Shared& shared) {
      shared.records += lines->size();
      shared.marks.emplace(pack.id, std::move(marks));
    });
    return ok();
  }

  /// Opens every record of a pack in place, each after `hash_to` has seen it, up to the first that is damaged, which `problem`
  /// then tells. @errors Key
  template <class HashTo>
  Status open_records(const PackSummary& pack, const std::vector<PackFooterLine>& lines, MutableByteView data, Worker& worker,
                      RecordMarks& marks, const HashTo& hash_to, std::string& problem) {
    marks.reserve(lines.size());
    const bool readable = cluster_.keys().can_read_data();
    std::uint64_t offset = kPackHeaderSize;
    for (const auto& line : lines) {
      RecordLocation l{pack.id, offset, line.stored_length, line.raw_length, line.type, line.codec, line.epoch, {}};
      const auto stored = data.subspan(offset, line.stored_length);
      std::memcpy(l.nonce.data(), stored.data(), l.nonce.size());
      marks.push_back(mark_of(offset, line.stored_length, l.nonce));
      offset += line.stored_length;
      hash_to(offset);
      if (!readable) continue;
      auto opened = worker.opener.open(l, stored, worker.plain.of(line.raw_length));
      if (opened) continue;
      if (!is_damage(opened.failure())) return opened;
      problem = fmt::format("record at {}: {}", l.offset, opened.failure().describe());
      return ok();
    }
    return ok();
  }

  // --- what each backup says ---------------------------------------------------------------------------------------------

  Result<std::optional<Bytes>> read_root_object(const SessionId& session, const LiveSnapshot& live) {
    const auto name = manifest_name(cluster_.id(), session);
    auto object = cluster_.store().read(name, live.snap.root_size);
    if (!object && !is_damage(object.failure())) return std::move(object).failure();
    if (!object || !*object) {
      damage(name, object ? "the manifest is missing" : "the manifest has another size than was committed", {live.snap.name});
      return std::optional<Bytes>();
    }
    if ((*object)->size() != live.snap.root_size || crypto::sha256(**object) != live.snap.root_sha256) {
      damage(name, "the manifest is not what was committed (SHA-256)", {live.snap.name});
      return std::optional<Bytes>();
    }
    return std::move(*object);
  }

  Status check_snapshot(const SessionId& session, const LiveSnapshot& live) {
    TRY(cancelled());
    auto object = TRY(read_root_object(session, live));
    if (!object) return ok();
    const auto name = manifest_name(cluster_.id(), session);
    auto root = open_root(*object, cluster_.context(), session, cluster_.keys());
    if (!root) {
      if (!is_damage(root.failure())) return std::move(root).failure();
      damage(name, root.failure().describe(), {live.snap.name});
      return ok();
    }
    RecordOpener opener(cluster_.context(), cluster_.keys());
    std::uint64_t files = 0;
    auto walked = walk_manifest(
        cluster_.store(), cluster_.context(), opener, *root,
        [&](const FileEntry& entry) -> Status {
          TRY(cancelled());
          ++files;
          if (auto checked = check_file(entry, live, opener); !checked) {
            if (!is_damage(checked.failure())) return checked;
            damage(name, fmt::format("{}: {}", entry.path, checked.failure().describe()), {live.snap.name});
          }
          return ok();
        },
        [&](const RecordLocation& node) { return refers(node, live); });
    report_.files += files;
    if (!walked) {
      if (!is_damage(walked.failure())) return walked;
      damage(name, walked.failure().describe(), {live.snap.name});
    }
    return ok();
  }

  Status check_file(const FileEntry& entry, const LiveSnapshot& live, RecordOpener& opener) {
    if (entry.kind == FileKind::Bundled) return refers(std::get<BundleMember>(entry.content).bundle, live);
    if (entry.kind != FileKind::Mapped) return ok();
    const auto& location = std::get<RecordLocation>(entry.content);
    TRY(refers(location, live));
    if (broken_.contains(location.pack)) return ok();  // reported as such
    const auto raw = TRY(read_record(cluster_.store(), cluster_.context(), opener, location));
    const auto map = TRY(parse_segment_map(raw));
    if (map.file_length != entry.size) return Error(Errc::Corruption, "its map has another length than its entry");
    for (const auto& extent : map.extents)
      if (extent.location) TRY(refers(*extent.location, live));
    for (const auto& delta : map.deltas) TRY(refers(delta.location, live));
    return ok();
  }

  /// A location must lie in a pack of the snapshot and, once its pack was read, on a record of it.
  Status refers(const RecordLocation& location, const LiveSnapshot& live) {
    auto pack = live.packs.find(location.pack);
    if (pack == live.packs.end())
      return Error(Errc::Corruption, fmt::format("it refers to pack {}-{:08x}, which the log does not name for this backup", location.pack.session.hex(), location.pack.number));
    if (location.offset < kPackHeaderSize || location.offset + location.stored_length > pack->second.size)
      return Error(Errc::Corruption, "it refers to a place outside its pack");
    if (auto marks = marks_.find(location.pack); marks != marks_.end() &&
        !std::binary_search(marks->second.begin(), marks->second.end(), mark_of(location.offset, location.stored_length, location.nonce)))
      return Error(Errc::Corruption, "it refers to a record that is not in its pack");
    return ok();
  }

  struct Shared {
    std::vector<Finding> findings;
    std::set<PackId> broken;
    std::map<PackId, RecordMarks> marks;
    std::uint64_t records = 0;
  };

  Cluster& cluster_;
  const VerifyOptions& options_;
  VerifyReport report_;
  std::map<PackId, PackSummary> packs_;
  std::map<PackId, std::vector<std::string>> backups_of_;
  std::set<PackId> broken_;
  std::map<PackId, RecordMarks> marks_;
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
