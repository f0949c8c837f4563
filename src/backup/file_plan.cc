#include "backup/file_plan.h"

#include <algorithm>

#include "codec/crc32c.h"

namespace pgmint::backup {
namespace {

using repository::FileArea;
using repository::FileKind;

/// What a file's plan is when the WAL tells what changed in it.
FilePlan plan_listed(const postgres::DirectoryEntry& entry, const ParentFile& parent, const IncrementalOptions& options) {
  FilePlan plan;
  plan.parent = &parent;
  plan.has_list = true;
  auto changes = options.changes->of(*entry.relation);
  const auto blocks = [&](std::uint64_t bytes) { return static_cast<postgres::BlockNumber>(bytes / options.block_size); };
  const auto length = blocks(entry.size);
  plan.own_from = std::min(changes.limit, blocks(parent.size));
  std::erase_if(changes.blocks, [&](auto block) { return block >= std::min(plan.own_from, length); });
  if (!changes.blocks.empty()) plan.listed = std::make_shared<const std::vector<postgres::BlockNumber>>(std::move(changes.blocks));

  const bool touched = plan.listed != nullptr || plan.own_from < length;
  // A tail that is no whole page is being extended, or is left over from that.
  const bool same_length = entry.size == parent.size;
  const bool due = refresh_is_due(entry.path, options.parent_day, options.day);
  if (due) {
    plan.reading = Reading::Compared;
  } else if (!touched && same_length) {
    plan.reading = Reading::Kept;
  } else if (entry.size >= options.extent_size && parent.kind == FileKind::Mapped) {
    plan.reading = Reading::Listed;
  } else {
    plan.reading = Reading::Compared;  // small, or it was: read in one go
  }
  return plan;
}

const ParentFile* with_content(const ParentFiles& parent, const postgres::DirectoryEntry& entry) {
  const auto* before = parent.find(FileArea::Data, entry.path);
  const bool had_content = before != nullptr && (before->kind == FileKind::Bundled || before->kind == FileKind::Mapped);
  return had_content ? before : nullptr;
}

/// Whether all that changes in it is in the WAL.
bool is_logged(const postgres::DirectoryEntry& entry) {
  return entry.relation && (entry.relation->fork == postgres::Fork::Main || entry.relation->fork == postgres::Fork::Init);
}

}  // namespace

bool has_content(const postgres::DirectoryEntry& entry) {
  switch (entry.kind) {
    case postgres::EntryKind::RelationSegment:
      return entry.size > 0;
    case postgres::EntryKind::Slru:
    case postgres::EntryKind::Required:
    case postgres::EntryKind::Other:
      return true;  // even when empty: it may have been replaced by a longer one since
    case postgres::EntryKind::Directory:
    case postgres::EntryKind::Symlink:
    case postgres::EntryKind::TablespaceLink:
    case postgres::EntryKind::ControlFile:
      return false;
  }
  return false;
}

const std::vector<postgres::BlockNumber>& FilePlan::blocks() const {
  static const std::vector<postgres::BlockNumber> kNone;
  return listed != nullptr ? *listed : kNone;
}

bool FilePlan::lists(postgres::BlockNumber block) const {
  return block >= own_from || std::ranges::binary_search(blocks(), block);
}

bool refresh_is_due(std::string_view path, std::int64_t parent_day, std::int64_t day) {
  if (day <= parent_day) return false;
  if (day - parent_day >= kRefreshDays) return true;
  const auto turn = static_cast<std::int64_t>(codec::crc32c(as_bytes(path)) % kRefreshDays);
  // Days since the last turn that is not behind `day`.
  const auto since = ((day - turn) % kRefreshDays + kRefreshDays) % kRefreshDays;
  return day - since > parent_day;
}

std::vector<FilePlan> plan_incremental(const postgres::DirectoryScan& scan, const ParentFiles& parent,
                                       const IncrementalOptions& options) {
  std::vector<FilePlan> plans(scan.entries.size());
  for (std::size_t i = 0; i < scan.entries.size(); ++i) {
    const auto& entry = scan.entries[i];
    if (!has_content(entry)) continue;
    const auto* before = with_content(parent, entry);
    if (before == nullptr) continue;
    if (is_logged(entry) && options.changes != nullptr) {
      plans[i] = plan_listed(entry, *before, options);
    } else {
      plans[i].reading = Reading::Compared;
      plans[i].parent = before;
    }
  }
  return plans;
}

FilePlan plan_arrived(const postgres::DirectoryEntry& entry, const ParentFiles& parent, const IncrementalOptions& options) {
  FilePlan plan;
  const auto* before = has_content(entry) ? with_content(parent, entry) : nullptr;
  if (before == nullptr) return plan;
  if (is_logged(entry) && options.changes != nullptr) plan = plan_listed(entry, *before, options);
  plan.parent = before;
  plan.reading = Reading::Compared;
  return plan;
}

}  // namespace pgmint::backup
