#include "restore/existing_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>

#include "base/clock.h"

namespace pgmint::restore {
namespace {

constexpr std::size_t kNamedMax = 50;  ///< segments that a warning names

/// The position that a page of a segment says it is at (XLogPageHeaderData, src/include/access/xlog_internal.h: magic, info, timeline, address).
struct PageAddress {
  std::uint32_t timeline = 0;
  std::uint64_t lsn = 0;
};
std::optional<PageAddress> first_page_of(const fs::path& segment) {
  auto fd = open_file(segment, O_RDONLY | O_NOFOLLOW);
  Bytes header(16);
  if (!fd) return std::nullopt;
  if (auto got = read_at(*fd, header, 0, segment.string()); !got || *got != header.size()) return std::nullopt;
  PageAddress address;
  std::memcpy(&address.timeline, header.data() + 4, sizeof address.timeline);
  std::memcpy(&address.lsn, header.data() + 8, sizeof address.lsn);
  return address;
}

/// Segments of `directory` that a server had filled: not recycled ones that wait under a later name, and not the last of a timeline, unless
/// archive_status knows it.
Result<std::set<std::pair<postgres::TimelineId, postgres::SegmentNumber>>> complete_segments(const fs::path& directory, postgres::WalSegmentSize size) {
  std::set<std::pair<postgres::TimelineId, postgres::SegmentNumber>> begun, complete;
  TRY(list_directory(directory, [&](const std::string& name, unsigned char) -> Status {
    const auto parsed = postgres::parse_wal_file_name(name, size);
    if (!parsed || parsed->kind != postgres::WalFileKind::Segment) return ok();
    const auto info = TRY(stat_if_exists(directory / name));
    if (!info || !S_ISREG(info->st_mode) || static_cast<std::uint64_t>(info->st_size) != size.bytes()) return ok();
    const auto page = first_page_of(directory / name);
    if (page && page->timeline <= parsed->timeline.value() && page->lsn == postgres::start_of(parsed->segment, size).value())
      begun.emplace(parsed->timeline, parsed->segment);
    return ok();
  }));
  for (const auto& one : begun) {
    const auto name = postgres::segment_file_name(one.first, one.second, size);
    const auto status = directory / "archive_status";
    const bool known = ::access((status / (name + ".ready")).c_str(), F_OK) == 0 || ::access((status / (name + ".done")).c_str(), F_OK) == 0;
    const auto next = begun.upper_bound(one);
    if (known || (next != begun.end() && next->first == one.first)) complete.insert(one);
  }
  return complete;
}

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Whether there is anything in pg_wal but the directories that every pg_wal has.
Result<bool> holds_something(const fs::path& wal) {
  bool something = false;
  TRY(list_directory(wal, [&](const std::string& name, unsigned char) -> Status {
    if (name != "archive_status" && name != "summaries") {
      something = true;
      return ok();
    }
    const auto info = TRY(stat_if_exists(wal / name));
    if (!info || !S_ISDIR(info->st_mode)) {
      something = true;
      return ok();
    }
    return list_directory(wal / name, [&](const std::string&, unsigned char) -> Status {
      something = true;
      return ok();
    });
  }));
  return something;
}

/// Renames pg_wal, or the link to it, if there is anything to keep.
Status move_wal_aside(const fs::path& to) {
  const auto wal = to / "pg_wal";
  const auto info = TRY(stat_if_exists(wal));
  if (!info) return ok();
  if (!S_ISLNK(info->st_mode) && !(S_ISDIR(info->st_mode) && TRY(holds_something(wal)))) return ok();
  const auto base = to / (std::string(kWalAside) + format_compact(system_clock().now()));
  auto aside = base;
  for (int i = 2; TRY(stat_if_exists(aside)); ++i) aside = fs::path(fmt::format("{}-{}", base.string(), i));
  if (::rename(wal.c_str(), aside.c_str()) != 0)
    return errno_error(errno, fmt::format("move {} to {}", wal.string(), aside.string()));
  return sync_directory(to);
}

Result<std::vector<std::string>> tell_of_wal(const TargetPlan& target, const fs::path& aside, repository::WalArchive& archive, postgres::WalSegmentSize size) {
  std::vector<std::string> warnings;
  warnings.push_back(fmt::format("the target's own WAL is kept in {}; delete it when nothing in it is needed any more", aside.string()));
  std::error_code ec;
  if (fs::is_symlink(fs::symlink_status(aside, ec)))
    warnings.push_back(fmt::format("pg_wal was a symbolic link; the link is kept as {}, and pg_wal is a plain directory now", aside.filename().string()));
  if (!fs::is_directory(aside, ec)) return warnings;
  const auto complete = TRY(complete_segments(aside, size));
  if (complete.empty()) return warnings;
  const auto inventory = TRY(repository::load_wal_inventory(archive, size));
  std::string names;
  std::size_t lacking = 0;
  for (const auto& [timeline, segment] : complete)
    if (!inventory.has(timeline, segment) && ++lacking <= kNamedMax) names += " " + postgres::segment_file_name(timeline, segment, size);
  if (lacking == 0) return warnings;
  warnings.push_back(fmt::format("{} complete WAL segment(s) in it are not in the repository{}. To push them: cd {} && for s in{}; do pgmint wal push {}/$s; done", lacking,
                                 lacking > kNamedMax ? fmt::format("; the first {} are named", kNamedMax) : "", shell_quoted(target.to.string()), names,
                                 aside.filename().string()));
  return warnings;
}

/// Whether another file system is mounted at `path` or below: what is on it is nobody's leftover.
bool holds_mount(const fs::path& path, dev_t device) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) return false;
  if (info.st_dev != device) return true;
  std::error_code ec;
  for (fs::directory_iterator it(path, ec), end; !ec && it != end; it.increment(ec))
    if (holds_mount(it->path(), device)) return true;
  return static_cast<bool>(ec);  // what cannot be looked into is not deleted either
}

Status remove_tree(const fs::path& path) {
  std::error_code ec;
  fs::remove_all(path, ec);  // does not follow links
  if (ec) return Error(Errc::Io, fmt::format("remove {}: {}", path.string(), ec.message()));
  return ok();
}

class Sweep {
 public:
  explicit Sweep(const NamedPlaces& named) : named_(named) {}

  Status directory(const fs::path& path, bool root) {
    std::vector<std::string> names;
    TRY(list_directory(path, [&](const std::string& name, unsigned char) -> Status {
      if (!root || (name != kDeltaMarker && name != "lost+found" && !name.starts_with(kWalAside))) names.push_back(name);
      return ok();
    }));
    for (const auto& name : names) TRY(entry(path / name));
    return ok();
  }
  Status entry(const fs::path& path) {
    const auto info = TRY(stat_if_exists(path));
    if (!info) return ok();
    const auto it = named_.find(path.string());
    if (it != named_.end()) {
      switch (it->second.kind) {
        case repository::FileKind::Directory:
          if (S_ISDIR(info->st_mode)) return directory(path, false);
          break;
        case repository::FileKind::Symlink:
        case repository::FileKind::TablespaceLink: {
          std::error_code ec;
          if (S_ISLNK(info->st_mode) && fs::read_symlink(path, ec) == it->second.link && !ec) return ok();
          break;
        }
        default:
          if (S_ISREG(info->st_mode) && info->st_nlink == 1) return ok();
      }
    }
    struct stat parent {};
    if (::stat(path.parent_path().c_str(), &parent) != 0) return errno_error(errno, fmt::format("look at {}", path.parent_path().string()));
    if (holds_mount(path, parent.st_dev))
      return Error(Errc::Io, fmt::format("{} is not in the backup, and another file system is mounted there: it is not deleted", path.string()),
                   Hint{"unmount it, then run the same command again: it goes on"});
    ++removed_;
    return remove_tree(path);
  }
  std::uint64_t removed() const { return removed_; }

 private:
  const NamedPlaces& named_;
  std::uint64_t removed_ = 0;
};

}  // namespace

Result<std::vector<std::string>> close_directory(const TargetPlan& target, repository::WalArchive& archive, postgres::WalSegmentSize size) {
  for (const auto& root : target.new_roots) {
    TRY(create_directories(root, 0700));
    TRY(write_file_durably(root / kDeltaMarker, as_bytes(target.delta_identity), 0600));
    // A plain restore would empty what has it, WAL kept aside included.
    if (::unlink((root / kRestoringMarker).c_str()) != 0 && errno != ENOENT)
      return errno_error(errno, fmt::format("remove {}", (root / kRestoringMarker).string()));
    TRY(sync_directory(root));
  }
  const auto control = target.to / "global/pg_control", moved = target.to / "global/pg_control.before-restore";
  const bool had_control = TRY(stat_if_exists(control)).has_value();
  if (had_control) {
    if (::rename(control.c_str(), moved.c_str()) != 0) return errno_error(errno, fmt::format("move {} away", control.string()));
    TRY(sync_directory(control.parent_path()));
  }
  auto aside = [&]() -> Status {
    TRY(expect_no_server(target.to));  // one that was started after the first look
    return move_wal_aside(target.to);
  }();
  if (!aside) {
    if (had_control && ::rename(moved.c_str(), control.c_str()) == 0)
      for (const auto& root : target.new_roots) ::unlink((root / kDeltaMarker).c_str());
    return std::move(aside).failure();
  }
  // An interrupted restore has told nobody of what it kept: all that is there is told.
  std::vector<fs::path> kept;
  TRY(list_directory(target.to, [&](const std::string& name, unsigned char) -> Status {
    if (name.starts_with(kWalAside)) kept.push_back(target.to / name);
    return ok();
  }));
  std::ranges::sort(kept);
  std::vector<std::string> warnings;
  for (const auto& one : kept) {
    auto told = TRY(tell_of_wal(target, one, archive, size));
    std::ranges::move(told, std::back_inserter(warnings));
  }
  return warnings;
}

Result<std::uint64_t> sweep_directory(const TargetPlan& target, const NamedPlaces& named) {
  Sweep sweep(named);
  for (const auto& directory : target.forgotten_tablespaces) TRY(sweep.entry(directory));
  TRY(sweep.directory(target.to, true));
  for (const auto& [oid, location] : target.tablespaces) TRY(sweep.entry(fs::path(location) / target.version_directory));
  return sweep.removed();
}

}  // namespace pgmint::restore
