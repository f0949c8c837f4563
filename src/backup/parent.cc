#include "backup/parent.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "repository/pack.h"
#include "repository/wal_coverage.h"

namespace pgmint::backup {
namespace {

using repository::BackupType;
using repository::FileArea;
using repository::FileEntry;
using repository::LiveSnapshot;
using repository::ManifestRoot;

/// What makes a backup of another shape than the cluster is now.
std::optional<std::string> shape_problem(const ManifestRoot& root, const postgres::ControlFile& control) {
  if (root.pg_major != static_cast<std::uint32_t>(control.version->major))
    return fmt::format("it was PostgreSQL {} then", root.pg_major);
  if (root.block_size != control.block_size || root.blocks_per_segment != control.relation_segment_blocks ||
      root.wal_segment_size != control.wal_segment_size.bytes())
    return "block, segment or WAL segment size were others then";
  // pg_checksums rewrites pages and writes no WAL about it.
  if (root.checksum_version != control.data_checksum_version)
    return fmt::format("page checksums were {} then", root.checksum_version == 0 ? "off" : "on");
  return std::nullopt;
}

}  // namespace

const LiveSnapshot* newest_physical(const repository::LogState& state) {
  const auto identity = repository::current_identity(state);
  const LiveSnapshot* newest = nullptr;
  for (const auto& [session, snapshot] : state.snapshots()) {
    const auto& snap = snapshot.snap;
    if (snap.type != BackupType::Full && snap.type != BackupType::Incremental) continue;
    if (snap.system_id != identity.system_id || snap.incarnation != identity.incarnation) continue;
    // By position, not by clock; of two at one position the later one.
    const auto order = [](const LiveSnapshot& s) { return std::tuple(s.snap.timeline, s.snap.start_lsn, s.committed); };
    if (newest == nullptr || order(*newest) < order(snapshot)) newest = &snapshot;
  }
  return newest;
}

Result<ParentChoice> choose_parent(repository::Cluster& cluster, const postgres::ControlFile& control) {
  ParentChoice choice;
  const auto* newest = newest_physical(cluster.state());
  if (newest == nullptr) {
    choice.reason = "there is no backup of this cluster yet";
    return choice;
  }
  auto root = repository::read_root(cluster.store(), cluster.context(), newest->snap.session, cluster.keys());
  if (!root) {
    // Of a newer version, or a damaged one that looks like it: neither is a ground to stand on, and both want a look.
    const bool newer = root.failure().code() == Errc::Precondition;
    if (!newer && !repository::is_damage(root.failure())) return std::move(root).failure();
    choice.damaged = true;
    choice.reason = fmt::format("the manifest of {} cannot be read: {}", newest->snap.name, root.failure().describe());
    return choice;
  }
  if (auto problem = shape_problem(*root, control)) {
    choice.reason = fmt::format("{} will not do: {}", root->name, *problem);
    return choice;
  }
  choice.root = std::move(*root);
  return choice;
}

std::optional<std::string> history_problem(const ManifestRoot& parent, const postgres::TimelineHistory& history,
                                           postgres::Lsn start) {
  const postgres::Lsn stop(parent.stop_lsn);
  if (stop > start)
    return fmt::format("{} ended at {}, behind the start of this one at {}", parent.name, postgres::format(stop),
                       postgres::format(start));
  if (!history.contains(postgres::TimelineId(parent.timeline), stop))
    return fmt::format("{} ended at {} on timeline {}, which is no part of the history of timeline {}", parent.name,
                       postgres::format(stop), parent.timeline, history.target().value());
  return std::nullopt;
}

const char* TextPool::add(std::string_view text) {
  PGMINT_ASSERT(text.size() <= kBlock);
  if (kBlock - used_ < text.size()) {
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(kBlock));
    used_ = 0;
  }
  if (text.empty()) return "";
  auto* at = blocks_.back().get() + used_;
  std::ranges::copy(text, at);
  used_ += text.size();
  return at;
}

void ParentFiles::add(const FileEntry& entry, SharedRecords& records) {
  ParentFile file;
  file.size = entry.size;
  file.area = entry.area;
  file.kind = entry.kind;
  file.path_length = static_cast<std::uint16_t>(entry.path.size());
  file.path_text = paths.add(entry.path);
  if (const auto* member = std::get_if<repository::BundleMember>(&entry.content))
    file.content = StoredContent(records.share(member->bundle), member->offset, member->fingerprint);
  else if (const auto* map = std::get_if<repository::RecordLocation>(&entry.content))
    file.content = StoredContent(*map);
  entries.push_back(std::move(file));
}

const ParentFile* ParentFiles::find(FileArea area, std::string_view path) const {
  const auto key = [](const ParentFile& entry) { return std::tuple(entry.area, entry.path()); };
  const auto found = std::ranges::lower_bound(entries, std::tuple(area, path), {}, key);
  return found != entries.end() && key(*found) == std::tuple(area, path) ? &*found : nullptr;
}

Result<ParentFiles> read_parent_files(repository::Cluster& cluster, const ManifestRoot& root) {
  ParentFiles files;
  SharedRecords records;
  repository::RecordOpener opener(cluster.context(), cluster.keys());
  TRY(repository::walk_manifest(
      cluster.store(), cluster.context(), opener, root,
      [&](const FileEntry& entry) -> Status {
        files.add(entry, records);
        return ok();
      },
      nullptr,
      [&](const repository::RecordLocation& location, ByteView raw) -> Status {
        files.nodes.emplace(crypto::sha256(raw), location);
        return ok();
      }));
  return files;
}

}  // namespace pgmint::backup
