// Configuration as it stands in a backup: read, written out, compared.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/child_process.h"
#include "logical/config_backup.h"

namespace pgmint::logical {
namespace {

using repository::FileArea;
using repository::FileEntry;
using repository::FileKind;

constexpr std::size_t kFileMax = std::size_t{64} << 20;
constexpr std::size_t kDiffMax = std::size_t{1} << 20;

/// Where a file is written, and how messages name it.
fs::path place_of(const FileEntry& entry) { return fs::path(entry.area == FileArea::Configuration ? entry.path.substr(1) : entry.path); }

Status write_entry(const repository::Cluster& cluster, const FileEntry& entry, const fs::path& path, const CancelToken* cancel) {
  TRY(create_directories(path.parent_path(), 0755));
  if (entry.kind == FileKind::Directory) {
    TRY(make_directory(path, 0755));
    return ok();
  }
  if (entry.kind == FileKind::Symlink) {
    if (::symlink(std::get<std::string>(entry.content).c_str(), path.c_str()) != 0) return errno_error(errno, path.string());
  } else {
    const auto content = TRY(read_config_file(cluster, entry, cancel));
    auto fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    TRY(write_all(fd, content, path.string()));
    if (::fchmod(fd.get(), entry.mode & 07777) != 0) return errno_error(errno, path.string());
    TRY(sync_file(fd, path.string()));
  }
  // Only root may give files away; for others they belong to who extracts.
  if (::geteuid() == 0 && entry.area == FileArea::Configuration && ::lchown(path.c_str(), entry.uid, entry.gid) != 0) return errno_error(errno, path.string());
  return ok();
}

bool is_text(ByteView content) { return content.size() <= kDiffMax && std::ranges::find(content, std::byte{0}) == content.end(); }

Result<Fd> in_memory(ByteView content) {
  Fd fd(::memfd_create("pgmint-diff", MFD_CLOEXEC));
  if (!fd.valid()) return errno_error(errno, "memory for a file");
  TRY(write_all(fd, content, "file in memory"));
  return fd;
}

/// What `diff -u` says; empty where there is no diff.
Result<std::string> lines_changed(ByteView a, ByteView b, const std::string& name, const CancelToken* cancel) {
  if (!is_text(a) || !is_text(b)) return std::string();
  const auto left = TRY(in_memory(a)), right = TRY(in_memory(b));
  const auto path = [](const Fd& fd) { return fmt::format("/proc/{}/fd/{}", ::getpid(), fd.get()); };
  auto child = ChildProcess::start({.arguments = {"/usr/bin/diff", "-u", "--label", name, "--label", name, path(left), path(right)}, .pipe_output = true, .cancel = cancel});
  if (!child) return std::string();
  std::string text;
  Bytes buffer(64 << 10);
  while (const auto got = TRY((*child)->read(buffer))) text += as_text(ByteView(buffer).first(got));
  TRY((*child)->wait());
  return text;
}

std::string attributes(const FileEntry& entry) { return fmt::format("{:04o} {}:{}", entry.mode, entry.owner, entry.group); }

}  // namespace

Result<ConfigTree> read_config_tree(const repository::Cluster& cluster, const repository::ManifestRoot& root) {
  if (root.type != repository::BackupType::Config) return Error(Errc::Precondition, fmt::format("{} is no backup of configuration", root.name), Hint{"pgmint list shows the types"});
  ConfigTree tree;
  repository::RecordOpener opener(cluster.context(), cluster.keys());
  TRY(repository::walk_manifest(cluster.store(), cluster.context(), opener, root, [&](const FileEntry& entry) -> Status {
    tree.emplace(std::pair(entry.area, entry.path), entry);
    return ok();
  }));
  return tree;
}

Result<Bytes> read_config_file(const repository::Cluster& cluster, const FileEntry& entry, const CancelToken* cancel) {
  if (entry.kind != FileKind::Stream) return Bytes();
  auto reader = TRY(StreamReader::open(cluster, std::get<repository::RecordLocation>(entry.content), 1, cancel));
  return reader.read_all(kFileMax);
}

Result<std::size_t> extract_config(const repository::Cluster& cluster, const ConfigTree& tree, const fs::path& directory, const CancelToken* cancel) {
  TRY(create_directories(directory, 0700));
  bool empty = true;
  TRY(list_directory(directory, [&](const std::string&, unsigned char) -> Status {
    empty = false;
    return ok();
  }));
  if (!empty) return Error(Errc::Precondition, fmt::format("{} is not empty", directory.string()), Hint{"an export replaces nothing: choose another folder with --to"});
  std::size_t files = 0;
  for (const auto& [key, entry] : tree) {
    TRY(write_entry(cluster, entry, directory / place_of(entry), cancel));
    ++files;
  }
  // Modes of directories come last: one that may not be written would keep its own files out.
  for (const auto& [key, entry] : tree)
    if (entry.kind == FileKind::Directory && ::chmod((directory / place_of(entry)).c_str(), entry.mode & 07777) != 0)
      return errno_error(errno, (directory / place_of(entry)).string());
  return files;
}

Result<std::vector<ConfigDifference>> compare_config(const repository::Cluster& a_cluster, const ConfigTree& a, const repository::Cluster& b_cluster,
                                                     const ConfigTree& b, const CancelToken* cancel) {
  std::vector<ConfigDifference> differences;
  std::set<std::pair<FileArea, std::string>> paths;
  for (const auto& [key, entry] : a) paths.insert(key);
  for (const auto& [key, entry] : b) paths.insert(key);
  for (const auto& key : paths) {
    const auto left = a.find(key), right = b.find(key);
    if (right == b.end()) {
      differences.push_back({key.second, "removed", ""});
      continue;
    }
    if (left == a.end()) {
      differences.push_back({key.second, "added", ""});
      continue;
    }
    const auto& before = left->second;
    const auto& after = right->second;
    std::vector<std::string> what;
    std::string text;
    const bool is_link = before.kind == FileKind::Symlink && after.kind == FileKind::Symlink;
    if ((before.kind == FileKind::Directory) != (after.kind == FileKind::Directory) || (before.kind == FileKind::Symlink) != (after.kind == FileKind::Symlink)) {
      what.emplace_back("another kind of file");
    } else if (is_link && std::get<std::string>(before.content) != std::get<std::string>(after.content)) {
      what.push_back(fmt::format("link to {} in the place of {}", std::get<std::string>(after.content), std::get<std::string>(before.content)));
    } else if (!is_link) {
      const auto old_content = TRY(read_config_file(a_cluster, before, cancel)), new_content = TRY(read_config_file(b_cluster, after, cancel));
      if (old_content != new_content) {
        what.emplace_back("content");
        text = TRY(lines_changed(old_content, new_content, key.second, cancel));
      }
    }
    if (key.first == FileArea::Configuration && attributes(before) != attributes(after)) what.push_back(fmt::format("{} in the place of {}", attributes(after), attributes(before)));
    if (!what.empty()) differences.push_back({key.second, fmt::format("{}", fmt::join(what, "; ")), std::move(text)});
  }
  return differences;
}

}  // namespace pgmint::logical
