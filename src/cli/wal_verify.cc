#include "cli/wal_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/guarded.h"
#include "base/task_group.h"
#include "repository/layout.h"

namespace pgmint::cli {
namespace {

struct StoredFile {
  std::string name;
  std::uint64_t size = 0;
};

/// Everything about one identity of the cluster.
class IdentityCheck {
 public:
  IdentityCheck(repository::Cluster& cluster, repository::WalIdentity identity, const std::vector<BackupFacts>& backups,
                const WalVerifyOptions& options, WalVerifyReport& report)
      : cluster_(cluster), identity_(identity), options_(options), report_(report) {
    for (const auto& backup : backups)
      if (backup.snap.system_id == identity.system_id && backup.snap.incarnation == identity.incarnation &&
          backup.root && backup.snap.stop_lsn != 0 && (!options.only || backup.snap.session == *options.only))
        backups_.push_back(&backup);
  }

  Status run() {
    repository::WalArchive archive(cluster_, identity_);
    inventory_.emplace(TRY(repository::load_wal_inventory(archive)));
    for (const auto timeline : TRY(archive.timelines()))
      for (const auto& listed : TRY(archive.list(timeline))) files_.push_back({listed.file_name, listed.stored});
    if (options_.only) keep_needed_files();
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

  /// Opens every file, several at a time. Damage is a finding, everything else ends the run.
  Status check_files() {
    std::uint64_t total = 0;
    for (const auto& file : files_) total += file.size;
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> done{0}, sound{0};
    Guarded<std::vector<WalFinding>> found;
    TaskGroup group(options_.cancel);
    for (unsigned i = 0; i < std::max(1U, options_.workers); ++i)
      group.spawn([&, tells = i == 0]() -> Status {
        repository::WalArchive archive(cluster_, identity_);
        for (std::size_t at = next++; at < files_.size(); at = next++) {
          TRY(group.check());
          const auto& file = files_[at];
          auto checked = archive.check(file.name, options_.depth);
          if (!checked) {
            const auto code = checked.error().code();
            if (code != Errc::Corruption && code != Errc::NotFound && code != Errc::Precondition)
              return std::move(checked.error()).with_context(file.name);
            found.with([&](auto& list) {
              list.push_back(
                  {"wal-object", object_name(file.name), checked.error().describe(), backups_that_need(file.name)});
            });
          } else {
            sound += file.size;
          }
          done += file.size;
          if (tells && options_.progress) options_.progress(done, total);
        }
        return ok();
      });
    TRY(group.join());
    auto list = found.with([](auto& all) { return std::move(all); });
    std::ranges::sort(list, {}, &WalFinding::object);
    report_.findings.insert(report_.findings.end(), list.begin(), list.end());
    report_.files += files_.size();
    if (options_.depth != repository::VerifyDepth::Presence) report_.bytes_read += sound.load();
    return ok();
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
  WalVerifyReport& report_;
  std::vector<const BackupFacts*> backups_;
  std::optional<repository::WalInventory> inventory_;
  std::vector<StoredFile> files_;
};

}  // namespace

Result<WalVerifyReport> verify_wal(repository::Cluster& cluster, const std::vector<BackupFacts>& backups,
                                   const WalVerifyOptions& options) {
  WalVerifyReport report;
  for (const auto& [system_id, incarnation] : cluster.state().identities())
    TRY(IdentityCheck(cluster, {system_id, incarnation}, backups, options, report).run());
  return report;
}

}  // namespace pgmint::cli
