#include "postgres/data_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "postgres/path_classes.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kNotesMax = 1000;
constexpr std::size_t kDepthMax = 64;
constexpr std::size_t kLinkTargetMax = 4096;

using Names = std::vector<std::string>;

class Scanner {
 public:
  Scanner(const fs::path& root, const ScanOptions& options) : root_(root), options_(options) {}

  Result<DirectoryScan> run() {
    TRY(check_data_directory());
    TRY(find_tablespaces());
    TRY(add_root());
    TRY(walk("", {Place::Kind::Root, {}, {}}, 0));
    std::sort(scan_.entries.begin(), scan_.entries.end(),
              [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.path < b.path; });
    return std::move(scan_);
  }

 private:
  fs::path full(const std::string& path) const { return path.empty() ? root_ : root_ / path; }

  void note(std::string text) {
    if (scan_.notes.size() < kNotesMax) scan_.notes.push_back(std::move(text));
  }

  Status check_data_directory() {
    auto text = read_text_file(root_ / "PG_VERSION", 64);
    if (!text && text.failure().code() == Errc::NotFound)
      return Error(Errc::Precondition,
                   fmt::format("{} is not a PostgreSQL data directory: it has no PG_VERSION", root_.string()),
                   Hint{"set data_directory to what SHOW data_directory says"});
    if (!text) return std::move(text).failure();
    version_ = TRY(version_from_pg_version(*text).context(root_.string()));
    for (const char* needed : {"global/pg_control", "global/pg_filenode.map", "base"}) {
      if (!TRY(stat_if_exists(root_ / needed)))
        return Error(Errc::Precondition,
                     fmt::format("{} is not a complete data directory: it has no {}", root_.string(), needed));
    }
    return ok();
  }

  Result<std::string> read_link(const std::string& path) {
    std::string target(kLinkTargetMax, '\0');
    auto length = ::readlink(full(path).c_str(), target.data(), target.size());
    if (length < 0) return errno_error(errno, fmt::format("read link {}", full(path).string()));
    if (static_cast<std::size_t>(length) == target.size())
      return Error(Errc::Precondition, fmt::format("{}: link target is too long", full(path).string()));
    target.resize(static_cast<std::size_t>(length));
    return target;
  }

  /// Before the walk: a tablespace located inside the data directory must not be read twice.
  Status find_tablespaces() {
    auto links = TRY(list("pg_tblspc"));
    if (!links) return ok();
    std::error_code ignored;
    fs::path real_root = fs::canonical(root_, ignored);
    for (const auto& name : *links) {
      Place place = enter({Place::Kind::TablespaceLinks, {}, {}}, name);
      if (place.kind != Place::Kind::Tablespace) continue;
      std::string path = "pg_tblspc/" + name;
      auto status = TRY(stat_if_exists(full(path)));
      if (!status) continue;
      ScannedTablespace tablespace{.oid = place.tablespace, .location = {}, .in_place = S_ISDIR(status->st_mode)};
      if (S_ISLNK(status->st_mode)) {
        tablespace.location = TRY(read_link(path));
        fs::path real = fs::canonical(full(path), ignored);
        if (auto inside = real.lexically_relative(real_root); !inside.empty() && inside.native()[0] != '.')
          inner_tablespaces_.insert(inside.native());
      }
      scan_.tablespaces.push_back(std::move(tablespace));
    }
    std::sort(scan_.tablespaces.begin(), scan_.tablespaces.end(),
              [](const auto& a, const auto& b) { return a.oid < b.oid; });
    return ok();
  }

  /// Names in a directory, links followed; nullopt when it is gone.
  Result<std::optional<Names>> list(const std::string& path) {
    TRY(check_cancelled());
    auto fd = TRY(open_if_exists(full(path), O_RDONLY | O_DIRECTORY));
    if (!fd) return std::optional<Names>();
    DIR* directory = ::fdopendir(fd->get());
    if (directory == nullptr) return errno_error(errno, fmt::format("open directory {}", full(path).string()));
    fd->release();
    Names names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(directory);
      if (entry == nullptr) break;
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    int error = errno;
    ::closedir(directory);
    if (error != 0) return errno_error(error, fmt::format("read directory {}", full(path).string()));
    return std::optional<Names>(std::move(names));
  }

  /// For a directory of a million files at once: a vector that grows by doubling would hold them twice meanwhile.
  void make_room(std::size_t more) {
    auto& entries = scan_.entries;
    if (entries.size() + more > entries.capacity()) entries.reserve(std::max(entries.size() + more, entries.capacity() * 2));
  }

  Status check_cancelled() const { return options_.cancel == nullptr ? ok() : options_.cancel->check(); }

  Status add(DirectoryEntry entry, const struct stat& status) {
    if (scan_.entries.size() >= options_.entries_max)
      return Error(Errc::ResourceLimit,
                   fmt::format("{} holds more than {} files", root_.string(), options_.entries_max));
    entry.mode = status.st_mode & 07777;
    entry.uid = status.st_uid;
    entry.gid = status.st_gid;
    entry.mtime_ns = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
    if (S_ISREG(status.st_mode)) {
      entry.size = static_cast<std::uint64_t>(status.st_size);
      scan_.total_bytes += entry.size;
    }
    scan_.entries.push_back(std::move(entry));
    return ok();
  }

  Status add_link(std::string path, EntryKind kind, std::string target, const struct stat& status) {
    scan_.link_targets.emplace(path, std::move(target));
    return add({.path = std::move(path), .kind = kind}, status);
  }

  Status add_root() {
    struct stat status {};
    if (::stat(root_.c_str(), &status) != 0) return errno_error(errno, root_.string());
    return add({.path = "", .kind = EntryKind::Directory}, status);
  }

  /// Relations with an init fork are unlogged: a start makes their other forks anew.
  static std::unordered_set<std::uint32_t> unlogged_relations(const Names& names) {
    std::unordered_set<std::uint32_t> unlogged;
    for (const auto& name : names) {
      if (!name.ends_with("_init")) continue;
      auto file = parse_relation_file_name(name);
      if (file && !file->temporary) unlogged.insert(file->relation.value());
    }
    return unlogged;
  }

  Status walk(const std::string& path, const Place& place, std::size_t depth) {
    if (depth > kDepthMax)
      return Error(Errc::Precondition, fmt::format("{}: directories nested too deep", full(path).string()));
    auto listed = TRY(list(path));
    if (!listed) {
      if (place.kind != Place::Kind::Database) note(fmt::format("{}: gone while the directory was scanned", path));
      return ok();
    }
    const Names& names = *listed;
    make_room(names.size());
    if (place.kind == Place::Kind::Database) note_missing_files(path, names);
    auto fd = TRY(open_if_exists(full(path), O_RDONLY | O_DIRECTORY));
    if (!fd) return ok();
    const auto unlogged =
        place.kind == Place::Kind::Database ? unlogged_relations(names) : std::unordered_set<std::uint32_t>{};
    std::size_t seen = 0;
    for (const auto& name : names) {
      if (++seen % 1024 == 0) TRY(check_cancelled());
      NameClass named = classify_name(place, name);
      bool empty_fork = named.relation && named.relation->fork != Fork::Init &&
                        unlogged.contains(named.relation->locator.relation.value());
      if (named.excluded || empty_fork) {
        ++scan_.excluded_files;
        continue;
      }
      TRY(visit(*fd, path.empty() ? name : path + "/" + name, name, place, std::move(named), depth));
    }
    return ok();
  }

  void note_missing_files(const std::string& path, const Names& names) {
    for (const char* needed : {"PG_VERSION", "pg_filenode.map"}) {
      // Tablespaces other than the database's own hold neither map nor, before the first relation, anything else.
      if (path.starts_with("pg_tblspc/")) continue;
      if (std::find(names.begin(), names.end(), needed) == names.end())
        note(fmt::format("{} has no {}: a database being created or dropped just now, or the remains of one", path,
                         needed));
    }
  }

  Status visit(const Fd& directory, std::string path, const std::string& name, const Place& place, NameClass named,
               std::size_t depth) {
    struct stat status {};
    if (::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) return errno_error(errno, full(path).string());
      return vanished(std::move(path), named.kind);
    }
    if (S_ISLNK(status.st_mode)) {
      if (place.kind == Place::Kind::TablespaceLinks && enter(place, name).kind == Place::Kind::Tablespace)
        return visit_tablespace_link(std::move(path), enter(place, name), status, depth);
      if (path == "pg_wal") return visit_wal_link(std::move(path), status);
      if (!holds_server_data(place, name))
        return add_link(path, EntryKind::Symlink, TRY(read_link(path)), status);
      note(fmt::format("{} is a link to {}: followed, a restore will make it a plain file or directory", path,
                       TRY(read_link(path))));
      if (::fstatat(directory.get(), name.c_str(), &status, 0) != 0)
        return Error(Errc::Precondition,
                     fmt::format("{} is a link that leads nowhere, where PostgreSQL keeps data", full(path).string()));
    }
    if (S_ISDIR(status.st_mode)) return visit_directory(std::move(path), name, place, status, depth);
    if (!S_ISREG(status.st_mode)) {
      note(fmt::format("{}: neither file, directory nor link; left out", path));
      return ok();
    }
    return add({.path = std::move(path), .kind = named.kind, .relation = named.relation}, status);
  }

  Status vanished(std::string path, EntryKind kind) {
    DirectoryEntry gone{.path = std::move(path), .kind = kind};
    switch (vanishing_rule(gone)) {
      case Vanishing::Tolerated:
        return ok();
      case Vanishing::Refused:
        if (!database_directory_of(gone.path))
          return Error(Errc::Corruption,
                       fmt::format("{} disappeared while the directory was scanned", full(gone.path).string()));
        [[fallthrough]];  // its whole database is being dropped
      case Vanishing::Noted:
        note(fmt::format("{}: gone while the directory was scanned", gone.path));
        return ok();
    }
    return ok();
  }

  Status visit_directory(std::string path, const std::string& name, const Place& place, const struct stat& status,
                         std::size_t depth) {
    if (inner_tablespaces_.contains(path)) {
      note(fmt::format("{}: a tablespace inside the data directory, stored through its link in pg_tblspc", path));
      return add({.path = std::move(path), .kind = EntryKind::Directory}, status);
    }
    if (place.kind == Place::Kind::Tablespace && name != tablespace_version_directory(*version_)) {
      note(fmt::format("{}: not of this major version; left out", path));
      return ok();
    }
    Place inside = enter(place, name);
    TRY(add({.path = path, .kind = EntryKind::Directory}, status));
    if (inside.kind == Place::Kind::Emptied) return keep_wal_subdirectories(path);
    return walk(path, inside, depth + 1);
  }

  /// PostgreSQL would make them, but with default modes.
  Status keep_wal_subdirectories(const std::string& path) {
    if (path != "pg_wal") return ok();
    for (const char* name : {"archive_status", "summaries"}) {
      std::string inner = path + "/" + name;
      auto status = TRY(stat_if_exists(full(inner)));
      if (status && S_ISDIR(status->st_mode)) TRY(add({.path = inner, .kind = EntryKind::Directory}, *status));
    }
    return ok();
  }

  Status visit_wal_link(std::string path, const struct stat& status) {
    scan_.wal_link = TRY(read_link(path));
    return add_link(std::move(path), EntryKind::Symlink, *scan_.wal_link, status);
  }

  Status visit_tablespace_link(std::string path, const Place& inside, const struct stat& link, std::size_t depth) {
    auto target = TRY(read_link(path));
    struct stat status {};
    if (::stat(full(path).c_str(), &status) != 0) {
      if (errno != ENOENT) return errno_error(errno, full(path).string());
      if (!TRY(stat_if_exists(full(path)))) return ok();  // dropped just now
      return Error(Errc::Precondition, fmt::format("tablespace {} leads to {}, which does not exist", path, target),
                   Hint{"mount it, or drop the tablespace"});
    }
    std::string version_path = path + "/" + tablespace_version_directory(*version_);
    TRY(add_link(path, EntryKind::TablespaceLink, std::move(target), link));
    if (!TRY(stat_if_exists(full(version_path)))) {
      note(fmt::format("{}: nothing of this major version in the tablespace", path));
      return ok();
    }
    return walk(path, inside, depth + 1);
  }

  const fs::path root_;
  const ScanOptions options_;
  const VersionEntry* version_ = nullptr;
  std::unordered_set<std::string> inner_tablespaces_;  // relative to the data directory
  DirectoryScan scan_;
};

}  // namespace

Result<DirectoryScan> scan_data_directory(const fs::path& data_directory, const ScanOptions& options) {
  if (!TRY(stat_if_exists(data_directory)))
    return Error(Errc::NotFound, fmt::format("data directory {} does not exist", data_directory.string()));
  return Scanner(data_directory, options).run();
}

}  // namespace pgmint::postgres
