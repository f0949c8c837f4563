#include "backup/incremental.h"

#include <fmt/format.h>

#include <algorithm>

#include "backup/sent_files.h"
#include "crypto/hash.h"
#include "repository/pack.h"
#include "repository/pack_account.h"

namespace pgmint::backup {
namespace {

using repository::is_damage;

std::int64_t day_of(TimePoint time) {
  return std::chrono::floor<std::chrono::days>(time).time_since_epoch().count();
}

}  // namespace

Status Incremental::choose(const postgres::ControlFile& control) {
  auto choice = TRY(choose_parent(cluster_, control));
  parent_ = std::move(choice.root);
  damage_ = choice.damaged;
  if (!parent_) give_up(std::move(choice.reason));
  return ok();
}

void Incremental::give_up(std::string reason) {
  parent_.reset();
  files_ = {};
  has_files_ = false;
  index_.reset();
  changes_ = {};
  pack_use_ = {};
  reason_ = std::move(reason);
}

void Incremental::give_up_damaged(const Error& error) {
  damage_ = true;
  give_up(fmt::format("{} cannot be read: {}", parent_->name, error.describe()));
}

Status Incremental::read_parent() {
  if (!active() || has_files_) return ok();
  auto files = read_parent_files(cluster_, *parent_);
  if (!files) {
    if (!is_damage(files.failure())) return std::move(files).failure();
    give_up_damaged(files.failure());
    return ok();
  }
  files_ = std::move(*files);
  if (auto account = read_account(); !account) {
    if (!is_damage(account.failure())) return account;
    give_up_damaged(account.failure());
    return ok();
  }
  has_files_ = true;
  return ok();
}

Status Incremental::write_manifest(const postgres::BackupManifestWriter::Put& put, const postgres::ControlFile& control, TimePoint started) const {
  std::vector<std::string> damaged;
  for (const auto& page : parent_->bad_pages) damaged.push_back(page.path);
  std::ranges::sort(damaged);
  const auto rules = options(control, started);
  postgres::BackupManifestWriter manifest(control.system_identifier, put);
  for (const auto& file : files_.entries)
    if (may_come_in_part(file, rules, damaged)) TRY(manifest.file(file.path(), file.size));
  return manifest.finish(postgres::TimelineId(parent_->timeline), postgres::Lsn(parent_->start_lsn), postgres::Lsn(parent_->stop_lsn));
}

Status Incremental::look(const fs::path& data_directory, const postgres::ControlFile& control, const ServerStart& start, const CancelToken* cancel,
                         const Changes& sent) {
  if (!active()) return ok();
  streamed_ = sent != nullptr;
  start_ = start.start_lsn;
  repository::WalArchive archive(cluster_, repository::current_identity(cluster_.state()));
  const ChangeSources sources{archive, data_directory, control};
  const auto history = history_of(sources, start.timeline);
  if (!history) {
    if (!is_damage(history.failure())) return history.failure();
    give_up(fmt::format("the history of timeline {} is not known: {}", start.timeline.value(), history.failure().describe()));
    return ok();
  }
  if (auto problem = history_problem(*parent_, *history, start.start_lsn)) {
    give_up(std::move(*problem));
    return ok();
  }
  const postgres::Lsn from(parent_->start_lsn);
  changes_ = TRY(streamed_ ? sent(*history, from, start.start_lsn) : changes_between(sources, *history, from, start.start_lsn, wal_damage_, cancel));
  return read_parent();
}

void Incremental::begin_stream(const postgres::ControlFile& control, TimePoint started) {
  stream_options_ = {};
  index_.reset();
  if (!active()) return;
  stream_options_ = options(control, started);
  if (scan_reason()) return;
  index_.emplace(changes_, control.relation_segment_blocks);
  stream_options_.changes = &*index_;
}

IncrementalOptions Incremental::options(const postgres::ControlFile& control, TimePoint started) const {
  return {.block_size = control.block_size,
          .extent_size = parent_->extent_size,
          .blocks_per_segment = control.relation_segment_blocks,
          .parent_day = day_of(parent_->started),
          .day = day_of(started)};
}

Status Incremental::read_account() {
  auto& store = cluster_.store();
  repository::RecordOpener opener(cluster_.context(), cluster_.keys());
  auto stated = TRY(repository::read_pack_account(
      store, cluster_.context(), opener, *parent_,
      [&](const repository::RecordLocation& piece, ByteView raw) { files_.account.emplace(crypto::sha256(raw), piece); }));
  // Of a parent that an older pgmint wrote it is not written down.
  pack_use_ = stated ? std::move(*stated) : TRY(repository::measure_pack_use(store, cluster_.context(), opener, *parent_));
  return ok();
}

repository::PackUse Incremental::all_use() const {
  auto use = pack_use_;
  for (const auto& [digest, piece] : files_.account) use.add(piece);
  return use;
}

Result<repository::SegmentMap> Incremental::read_map(const repository::RecordLocation& location) {
  repository::RecordOpener opener(cluster_.context(), cluster_.keys());
  return repository::parse_segment_map(
      TRY(repository::read_record(cluster_.store(), cluster_.context(), opener, location)));
}

FilePlan Incremental::plan_streamed(const postgres::DirectoryEntry& entry) const {
  return active() ? plan_arrived(entry, files_, stream_options_) : FilePlan();
}

std::variant<FilePlan, std::string> Incremental::plan_part(const postgres::DirectoryEntry& entry, postgres::IncrementalFile sent) const {
  return plan_sent(entry, std::move(sent), files_, stream_options_);
}

std::vector<FilePlan> Incremental::plan(const postgres::DirectoryScan& scan, const postgres::ControlFile& control,
                                        TimePoint started) const {
  const postgres::ChangeIndex index(changes_, control.relation_segment_blocks);
  auto rules = options(control, started);
  if (!scan_reason()) rules.changes = &index;
  return plan_incremental(scan, files_, rules);
}

std::string Incremental::method() const {
  if (scan_reason()) return fmt::format("all files {} and compared: {}", streamed_ ? "sent" : "read", *scan_reason());
  return fmt::format("the blocks that the {} from {} to {} {}", streamed_ ? "server's WAL summaries" : "WAL",
                     postgres::format(postgres::Lsn(parent_->start_lsn)), postgres::format(start_), streamed_ ? "name" : "names");
}

}  // namespace pgmint::backup
