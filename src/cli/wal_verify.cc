#include "cli/wal_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/guarded.h"
#include "base/log.h"
#include "base/task_group.h"
#include "repository/layout.h"
#include "repository/wal_memory.h"

namespace pgmint::cli {
namespace {

using repository::ProofDepth;
using repository::VerifyDepth;

struct StoredFile {
  std::string name;
  std::uint64_t size = 0;
  std::optional<repository::StoredSegment> segment;  ///< what the log remembers of it, if anything
  VerifyDepth depth = VerifyDepth::Presence;         ///< how far this run looks into it
};

/// What checks of files found.
struct Found {
  std::vector<WalFinding> findings;
  std::vector<std::string> warnings;
  std::vector<repository::StoredSegment> sound;
  std::vector<std::pair<repository::StoredSegment, ProofDepth>> damaged;
};

ProofDepth reach_of(VerifyDepth depth) {
  switch (depth) {
    case VerifyDepth::Presence: return ProofDepth::Hashed;
    case VerifyDepth::Open: return ProofDepth::Opened;
    case VerifyDepth::Decompress: return ProofDepth::Decompressed;
  }
  return ProofDepth::Hashed;
}

bool is_damage(const Error& error) {
  return error.code() == Errc::Corruption || error.code() == Errc::NotFound || error.code() == Errc::Precondition;
}

/// The least that shows the damage of a file in which `depth` has shown one. @errors Storage, Key
Result<ProofDepth> least_depth(repository::WalArchive& archive, const std::string& file, VerifyDepth depth) {
  for (const auto less : {VerifyDepth::Presence, VerifyDepth::Open}) {
    if (less == depth) break;
    const auto checked = archive.check(file, less);
    if (checked) continue;
    if (!is_damage(checked.failure())) return checked.failure();
    return reach_of(less);
  }
  return reach_of(depth);
}

/// Everything about one identity of the cluster.
class IdentityCheck {
 public:
  IdentityCheck(repository::Cluster& cluster, repository::WalIdentity identity, const std::vector<BackupFacts>& backups,
                const WalVerifyOptions& options, repository::WalMemory& memory, WalVerifyReport& report)
      : cluster_(cluster), identity_(identity), options_(options), memory_(memory), report_(report),
        clock_(cluster.repository().environment().clock) {
    for (const auto& backup : backups)
      if (backup.snap.system_id == identity.system_id && backup.snap.incarnation == identity.incarnation &&
          backup.root && backup.snap.stop_lsn != 0 && (!options.only || backup.snap.session == *options.only))
        backups_.push_back(&backup);
  }

  Status run() {
    repository::WalArchive archive(cluster_, identity_);
    std::vector<repository::WalArchive::Listed> listed;
    inventory_.emplace(TRY(repository::load_wal_inventory(archive, std::nullopt, &listed)));
    for (auto& file : listed) {
      const auto id = repository::wal_segment_of(identity_, size(), file.file_name);
      files_.push_back({std::move(file.file_name), file.stored, id ? std::optional(repository::StoredSegment{*id, file.written}) : std::nullopt});
    }
    if (options_.only) keep_needed_files();
    choose_files();
    TRY(check_files());
    find_gaps();
    return ok();
  }

 private:
  postgres::WalSegmentSize size() const { return inventory_->segment_size(); }

  /// What the backup needs to become consistent.
  std::vector<repository::WalRange> needed(const BackupFacts& backup) const {
    const postgres::TimelineId timeline(backup.snap.timeline);
    const auto history = inventory_->history_of(timeline).value_or(postgres::TimelineHistory(timeline));
    return repository::needed_segments(history, postgres::Lsn(backup.snap.start_lsn),
                                       postgres::Lsn(backup.snap.stop_lsn), size());
  }

  void keep_needed_files() {
    std::set<std::string> wanted;
    for (const auto* backup : backups_)
      for (const auto& range : needed(*backup))
        for (auto segment = range.first; segment <= range.last; segment = postgres::next(segment))
          wanted.insert(postgres::segment_file_name(range.timeline, segment, size()));
    std::erase_if(files_, [&](const StoredFile& file) { return !wanted.contains(file.name); });
  }

  std::vector<std::string> backups_that_need(const std::string& file) const {
    std::vector<std::string> names;
    const auto parsed = postgres::parse_wal_file_name(file, size());
    if (!parsed || parsed->kind != postgres::WalFileKind::Segment) return names;
    for (const auto* backup : backups_)
      for (const auto& range : needed(*backup))
        if (range.timeline == parsed->timeline && range.first <= parsed->segment && parsed->segment <= range.last)
          names.push_back(backup->snap.name);
    return names;
  }

  std::string object_name(const std::string& file) const {
    return repository::wal_name(cluster_.id(), identity_.system_id, identity_.incarnation, file);
  }

  void choose_files() {
    if (options_.depth == VerifyDepth::Presence) return;
    std::vector<repository::ListedSegment> segments;
    for (const auto& file : files_)
      if (file.segment) segments.push_back({*file.segment, file.size});
    const auto& state = cluster_.state();
    const auto clock = repository::ProofClock::of(clock_.now(), cluster_.store().store_time(), state);
    const auto chosen = repository::choose_wal(std::move(segments), state.wal_proofs(), reach_of(options_.depth), clock, options_.choice);
    report_.left.add(chosen.left);
    std::vector<repository::WalSegmentId> read;
    for (const auto& one : chosen.read) read.push_back(one.segment.id);
    std::ranges::sort(read);
    for (auto& file : files_)
      if (!file.segment || std::ranges::binary_search(read, file.segment->id)) {
        file.depth = options_.depth;
        ++report_.files_read;
      }
  }

  /// In turns, each of which the log remembers: also one that is cut short, since every file stands for itself.
  Status check_files() {
    for (const auto& file : files_) bytes_total_ += file.size;
    report_.files += files_.size();
    do {
      const auto begun = clock_.now();
      const auto checked = check_some(begun + options_.turn);
      take(found_.with([](Found& found) { return std::exchange(found, {}); }), begun);
      TRY(checked);
    } while (next_ < files_.size());
    report_.bytes_read += bytes_sound_.load();
    return ok();
  }

  /// Several at a time. Damage is a finding, everything else ends the run.
  Status check_some(TimePoint until) {
    TaskGroup group(options_.cancel);
    for (unsigned i = 0; i < std::max(1U, options_.workers); ++i)
      group.spawn([&, tells = i == 0]() -> Status {
        repository::WalArchive archive(cluster_, identity_);
        for (std::size_t at = next_++; at < files_.size(); at = next_++) {
          TRY(group.check());
          TRY(check_file(archive, files_[at]));
          bytes_done_ += files_[at].size;
          if (tells && options_.progress) options_.progress(bytes_done_, bytes_total_);
          if (clock_.now() >= until) break;
        }
        return ok();
      });
    return group.join();
  }

  Status check_file(repository::WalArchive& archive, const StoredFile& file) {
    const auto checked = archive.check(file.name, file.depth);
    if (checked) {
      note_sound(file);
      return ok();
    }
    const auto& failure = checked.failure();
    if (!is_damage(failure)) return Error(failure).with_context(file.name);
    std::optional<ProofDepth> depth;
    // What is absent now is a gap, and what a later version wrote is no damage.
    if (file.segment && failure.code() == Errc::Corruption) depth = TRY(least_depth(archive, file.name, file.depth).context(file.name));
    found_.with([&](Found& found) {
      found.findings.push_back({"wal-object", object_name(file.name), failure.describe(), backups_that_need(file.name)});
      if (depth) found.damaged.emplace_back(*file.segment, *depth);
    });
    return ok();
  }

  void note_sound(const StoredFile& file) {
    if (file.depth != VerifyDepth::Presence) bytes_sound_ += file.size;
    if (!file.segment) return;
    const auto& known = cluster_.state().wal_proofs().of(file.segment->id).damaged;
    found_.with([&](Found& found) {
      if (file.depth != VerifyDepth::Presence) found.sound.push_back(*file.segment);
      if (known && (file.depth == VerifyDepth::Presence || known->depth > reach_of(file.depth)))
        found.warnings.push_back(fmt::format("{}: it was found damaged before, when it was {}; this verification did not look so far", object_name(file.name),
                                             known->depth == ProofDepth::Hashed ? "looked at" : repository::proof_depth_name(known->depth)));
    });
  }

  /// @param begun  when the checking of these began
  void take(Found found, TimePoint begun) {
    std::ranges::sort(found.findings, {}, &WalFinding::object);
    std::ranges::sort(found.warnings);
    std::ranges::move(found.findings, std::back_inserter(report_.findings));
    std::ranges::move(found.warnings, std::back_inserter(report_.warnings));
    if (!options_.remember) return;
    for (const auto& segment : found.sound) memory_.sound(segment, reach_of(options_.depth));
    for (const auto& [segment, depth] : found.damaged) memory_.damaged(segment, depth);
    const CancelToken::HoldOff to_its_end(options_.cancel);
    const auto written = memory_.write(begun);
    if (written || std::exchange(forgetful_, true)) return;
    auto why = fmt::format("which WAL is sound and which is damaged cannot be remembered: {}", written.failure().describe());
    if (options_.cancel != nullptr && options_.cancel->requested()) log_warning("{}", why);  // there will be no report
    report_.warnings.push_back(std::move(why));
  }

  void add_gap(const repository::WalRange& gap) {
    const auto first = postgres::segment_file_name(gap.timeline, gap.first, size());
    WalFinding finding{
        "wal-gap", object_name(first), fmt::format("WAL is missing: {}", repository::describe(gap, size())), {}};
    for (const auto* backup : backups_)
      for (const auto& range : needed(*backup))
        if (range.timeline == gap.timeline && range.first <= gap.last && gap.first <= range.last)
          finding.backups.push_back(backup->snap.name);
    report_.findings.push_back(std::move(finding));
  }

  /// Holes between what is stored, and what a backup needs although nothing later is stored.
  void find_gaps() {
    std::vector<repository::WalRange> told;
    if (!options_.only) {
      told = inventory_->gaps(repository::floors_of(cluster_.state(), identity_));
      for (const auto& gap : told) add_gap(gap);
      for (const auto& [timeline, files] : inventory_->timelines())
        if (files.history_damaged)
          report_.findings.push_back({"wal-history",
                                      object_name(postgres::history_file_name(timeline)),
                                      "the timeline's history file is damaged",
                                      {}});
    }
    const auto known = [&](const repository::WalRange& range) {
      return std::ranges::any_of(told, [&](const auto& gap) {
        return gap.timeline == range.timeline && gap.first <= range.first && range.last <= gap.last;
      });
    };
    for (const auto* backup : backups_) {
      if (backup->root->from_standby) continue;  // may carry the WAL itself: the manifest's check covers it
      const postgres::TimelineId timeline(backup->snap.timeline);
      const auto history = inventory_->history_of(timeline).value_or(postgres::TimelineHistory(timeline));
      for (const auto& range :
           inventory_->missing(history, postgres::Lsn(backup->snap.start_lsn), postgres::Lsn(backup->snap.stop_lsn)))
        if (!known(range)) {
          add_gap(range);
          told.push_back(range);
        }
    }
  }

  repository::Cluster& cluster_;
  repository::WalIdentity identity_;
  const WalVerifyOptions& options_;
  repository::WalMemory& memory_;
  WalVerifyReport& report_;
  Clock& clock_;
  std::vector<const BackupFacts*> backups_;
  std::optional<repository::WalInventory> inventory_;
  std::vector<StoredFile> files_;
  std::atomic<std::size_t> next_{0};  ///< file to be checked
  std::atomic<std::uint64_t> bytes_done_{0}, bytes_sound_{0};
  std::uint64_t bytes_total_ = 0;
  Guarded<Found> found_;
  bool forgetful_ = false;  ///< memory_ could not be written
};

}  // namespace

Result<WalVerifyReport> verify_wal(repository::Cluster& cluster, const std::vector<BackupFacts>& backups,
                                   const WalVerifyOptions& options) {
  WalVerifyReport report;
  repository::WalMemory memory(cluster);
  for (const auto& [system_id, incarnation] : cluster.state().identities())
    TRY(IdentityCheck(cluster, {system_id, incarnation}, backups, options, memory, report).run());
  return report;
}

}  // namespace pgmint::cli
