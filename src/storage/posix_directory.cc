#include "storage/posix_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "storage/blob_name.h"
#include "storage/posix_publish.h"
#include "storage/posix_store.h"

namespace pgmint::storage {
namespace {

/// The change time too: a copy that was put back with the modification time of the original is another object.
TimePoint written_at(const struct stat& st) {
  const auto time = [](const struct timespec& at) {
    return TimePoint(std::chrono::seconds(at.tv_sec) + std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::nanoseconds(at.tv_nsec)));
  };
  return std::max(time(st.st_mtim), time(st.st_ctim));
}

constexpr std::size_t kPathMax = 512;  // names are no longer; also ends a cycle of symbolic links

struct Entry {
  std::string key;  ///< the leaf; of a directory with '/' at its end, so that sorting keys sorts whole names
  bool directory() const { return key.back() == '/'; }
};

/// One open directory. Without `dir`: it does not exist (any more).
struct OpenDirectory {
  DIR* dir = nullptr;
  OpenDirectory() = default;
  OpenDirectory(OpenDirectory&& other) noexcept : dir(std::exchange(other.dir, nullptr)) {}
  OpenDirectory& operator=(OpenDirectory&&) = delete;
  ~OpenDirectory() {
    if (dir != nullptr) ::closedir(dir);
  }
};

std::string shown(const DirectoryTree& tree, const std::string& directory) { return (tree.root_path / directory).string(); }

Result<OpenDirectory> open(const DirectoryTree& tree, const std::string& directory) {
  OpenDirectory opened;
  int fd = ::openat(tree.root.get(), directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return opened;  // gone, or the end of a cycle of links
    return posix_error(errno, fmt::format("list {}", shown(tree, directory)));
  }
  opened.dir = ::fdopendir(fd);
  if (opened.dir == nullptr) {
    int e = errno;
    ::close(fd);
    return posix_error(e, fmt::format("list {}", shown(tree, directory)));
  }
  return opened;
}

/// Regular file, directory, or neither (also when gone).
Result<mode_t> kind_of(int directory_fd, const dirent& entry, const std::string& what) {
  if (entry.d_type == DT_REG) return S_IFREG;
  if (entry.d_type == DT_DIR) return S_IFDIR;
  if (entry.d_type != DT_UNKNOWN && entry.d_type != DT_LNK) return mode_t{0};
  struct stat st {};
  if (::fstatat(directory_fd, entry.d_name, &st, 0) == 0) return st.st_mode & S_IFMT;
  if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return mode_t{0};
  return posix_error(errno, fmt::format("stat {}/{}", what, entry.d_name));
}

/// Calls `visit(leaf, kind)` for each entry, unsorted; nothing when the directory does not exist.
Status each_entry(const DirectoryTree& tree, const std::string& directory, OpenDirectory& opened,
                  const std::function<Status(const char* leaf, mode_t kind)>& visit) {
  if (opened.dir == nullptr) return ok();
  const auto what = shown(tree, directory);
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(opened.dir);
    if (entry == nullptr) {
      if (errno != 0 && errno != ENOENT) return posix_error(errno, fmt::format("list {}", what));
      return ok();
    }
    std::string_view leaf(entry->d_name);
    if (leaf == "." || leaf == "..") continue;
    TRY(visit(entry->d_name, TRY(kind_of(::dirfd(opened.dir), *entry, what))));
  }
}

bool is_part(std::string_view leaf) { return valid_blob_name(leaf); }

Result<std::vector<Entry>> sorted_entries(const DirectoryTree& tree, const std::string& directory, OpenDirectory& opened,
                                          const std::string& leaf_prefix) {
  std::vector<Entry> entries;
  TRY(each_entry(tree, directory, opened, [&](const char* leaf, mode_t kind) {
    std::string key(leaf);
    if (key.starts_with(leaf_prefix) && is_part(key) && directory.size() + key.size() <= kPathMax) {
      if (kind == S_IFDIR) entries.push_back({key + "/"});
      if (kind == S_IFREG) entries.push_back({std::move(key)});
    }
    return ok();
  }));
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.key < b.key; });
  return entries;
}

/// Every name in `directory` (ending in '/') sorts before or at `after`.
bool wholly_before(const std::string& directory, const std::string& after) {
  return after > directory && !after.starts_with(directory);
}

Result<bool> holds_object(const DirectoryTree& tree, const std::string& directory) {
  std::vector<std::string> below;
  bool found = false;
  {
    auto opened = TRY(open(tree, directory));
    TRY(each_entry(tree, directory, opened, [&](const char* leaf, mode_t kind) {
      if (!is_part(leaf) || directory.size() + std::strlen(leaf) > kPathMax) return ok();
      if (kind == S_IFREG) found = true;
      if (kind == S_IFDIR) below.push_back(directory + leaf + "/");
      return ok();
    }));
  }
  for (const auto& child : below) {
    if (found) break;
    found = TRY(holds_object(tree, child));
  }
  return found;
}

}  // namespace

Status list_objects(const DirectoryTree& tree, const std::string& directory, const std::string& leaf_prefix,
                    const std::function<Status(const BlobInfo&)>& visit) {
  auto opened = TRY(open(tree, directory));
  if (opened.dir == nullptr) return ok();
  for (const auto& entry : TRY(sorted_entries(tree, directory, opened, leaf_prefix))) {
    const auto path = directory + entry.key;
    if (entry.directory()) {
      if (!wholly_before(path, tree.after)) TRY(list_objects(tree, path, "", visit));
      continue;
    }
    if (path <= tree.after) continue;
    struct stat st {};
    if (::fstatat(::dirfd(opened.dir), entry.key.c_str(), &st, 0) != 0) {
      if (errno == ENOENT) continue;  // removed meanwhile
      return posix_error(errno, fmt::format("stat {}", shown(tree, path)));
    }
    TRY(visit({path, static_cast<std::uint64_t>(st.st_size), {}, written_at(st)}));
  }
  return ok();
}

Result<std::vector<std::string>> list_object_parts(const DirectoryTree& tree, const std::string& directory) {
  std::vector<std::string> parts;
  auto opened = TRY(open(tree, directory));
  for (auto& entry : TRY(sorted_entries(tree, directory, opened, ""))) {
    if (entry.directory()) {
      // A file system keeps directories that have become empty; the contract knows only objects.
      if (!TRY(holds_object(tree, directory + entry.key))) continue;
      entry.key.pop_back();
    }
    parts.push_back(std::move(entry.key));
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

Result<bool> holds_anything(const DirectoryTree& tree, const std::string& directory) {
  auto opened = TRY(open(tree, directory));
  if (opened.dir == nullptr) return false;
  errno = 0;
  for (int entries = 0; entries < 3; ++entries)  // "." and ".." come in any place
    if (::readdir(opened.dir) == nullptr) {
      if (errno != 0) return posix_error(errno, fmt::format("list {}", shown(tree, directory)));
      return false;
    }
  return true;
}

Status list_temporaries(const DirectoryTree& tree, const std::string& directory,
                        const std::function<Status(int directory_fd, const std::string& leaf)>& visit) {
  std::vector<std::string> below;
  {
    auto opened = TRY(open(tree, directory));
    if (opened.dir == nullptr) return ok();
    TRY(each_entry(tree, directory, opened, [&](const char* leaf, mode_t kind) -> Status {
      if (kind == S_IFDIR && is_part(leaf) && directory.size() + std::strlen(leaf) <= kPathMax)
        below.push_back(directory + leaf + "/");
      if (kind == S_IFREG && is_temporary_name(leaf)) return visit(::dirfd(opened.dir), leaf);
      return ok();
    }));
  }
  for (const auto& child : below) TRY(list_temporaries(tree, child, visit));
  return ok();
}

namespace {

Result<TemporaryFiles> each_temporary(const fs::path& root, TimePoint older_than, bool remove) {
  Fd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return posix_error(errno, fmt::format("open repository directory {}", root.string()));
  TemporaryFiles found;
  TRY(list_temporaries({fd, root, ""}, "", [&](int directory_fd, const std::string& leaf) -> Status {
    struct stat st {};
    if (::fstatat(directory_fd, leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return ok();
      return posix_error(errno, fmt::format("stat {}", leaf));
    }
    TimePoint changed{std::chrono::seconds(st.st_mtim.tv_sec) +
                      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::nanoseconds(st.st_mtim.tv_nsec))};
    if (changed >= older_than) return ok();
    if (remove && ::unlinkat(directory_fd, leaf.c_str(), 0) != 0) {
      if (errno == ENOENT) return ok();
      return posix_error(errno, fmt::format("remove {}", leaf));
    }
    ++found.files;
    found.bytes += static_cast<std::uint64_t>(st.st_size);
    return ok();
  }));
  return found;
}

}  // namespace

Result<TemporaryFiles> find_temporary_files(const fs::path& root, TimePoint older_than) { return each_temporary(root, older_than, false); }
Result<TemporaryFiles> sweep_temporary_files(const fs::path& root, TimePoint older_than) { return each_temporary(root, older_than, true); }

}  // namespace pgmint::storage
