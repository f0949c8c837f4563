#include "storage/posix_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <span>
#include <unordered_set>
#include <vector>

#include "base/guarded.h"
#include "base/owner.h"
#include "storage/blob_name.h"
#include "storage/open_file_cache.h"
#include "storage/posix_directory.h"
#include "storage/posix_publish.h"

namespace pgmint::storage {
namespace {

/// Reads from this size on ask the kernel for a larger read-ahead window.
constexpr std::size_t kSequentialFrom = 256 << 10;

bool is_absence(int error_number) { return error_number == ENOENT || error_number == ENOTDIR; }

class PosixStore final : public BlobStore {
 public:
  PosixStore(fs::path root, Fd root_fd, PosixOptions options)
      : root_path_(std::move(root)), root_(std::move(root_fd)), options_(std::move(options)),
        open_files_(options_.open_files_max) {}

  Result<Created> create(const std::string& name, ByteView data) override;
  Result<Created> create_from(const std::string& name, const BlobStream& stream) override;
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override;
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override;
  Result<std::optional<BlobInfo>> stat(const std::string& name) override;
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const BlobInfo&)>& visit) override;
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override;
  Status remove(const std::string& name) override { return remove_all({&name, 1}); }
  Status remove_all(std::span<const std::string> names) override;
  std::string describe() const override { return root_path_.string(); }

 private:
  std::string shown(const std::string& name) const { return (root_path_ / name).string(); }
  int sync(int fd) const { return options_.sync ? options_.sync(fd) : ::fsync(fd); }
  /// For when something is not there: a root that was removed or unmounted is no answer about its contents.
  Status check_root() const;
  /// Names (of objects, and of directories with a '/' at the end) whose directory failed to fsync.
  Status check_not_doubtful(const std::string& name);
  void mark_doubtful(const std::string& name);

  Result<Fd> open_directory(const std::string& directory) const;         ///< NotFound: absent
  Status remove_from(const std::string& directory, std::span<const std::string* const> names);
  Status make_durable_directory(const std::string& directory);           ///< NotFound: what was known above it has been removed
  Result<Fd> durable_directory(const std::string& directory);              ///< opened, and made where it is missing
  Status sync_name(const std::string& directory, const std::string& parent, const Fd& parent_fd);
  Result<std::shared_ptr<OpenFile>> open_object(const std::string& name) const;  ///< nullptr: absent
  Result<std::shared_ptr<const OpenFile>> held_open(const std::string& name);     ///< nullptr: absent

  const fs::path root_path_;
  const Fd root_;
  const PosixOptions options_;
  OpenFileCache open_files_;
  Guarded<std::unordered_set<std::string>> durable_directories_;
  Guarded<std::unordered_set<std::string>> doubtful_;
  std::atomic<bool> any_doubtful_{false};
};

Status PosixStore::check_root() const {
  struct stat st {};
  if (::fstat(root_.get(), &st) != 0) return posix_error(errno, fmt::format("stat {}", describe()));
  if (st.st_nlink == 0) return Error(Errc::Storage, fmt::format("{} was removed while in use", describe()));
  return ok();
}

Status PosixStore::check_not_doubtful(const std::string& name) {
  if (!any_doubtful_.load(std::memory_order_acquire)) return ok();
  if (!doubtful_.with([&](auto& names) { return names.contains(name); })) return ok();
  return Error(Errc::Io, fmt::format("{}: its directory could not be fsynced, so it may not survive a power cut", shown(name)),
               Hint{"check the disk (dmesg), then run the command again"});
}

void PosixStore::mark_doubtful(const std::string& name) {
  doubtful_.with([&](auto& names) { names.insert(name); });
  any_doubtful_.store(true, std::memory_order_release);
}

Result<Fd> PosixStore::open_directory(const std::string& directory) const {
  const char* path = directory.empty() ? "." : directory.c_str();
  for (;;) {
    Fd fd(::openat(root_.get(), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.valid()) return fd;
    if (errno == EINTR) continue;
    int e = errno;
    auto error = posix_error(e, fmt::format("open directory {}", shown(directory)));
    return e == ENOENT ? std::move(error).with_code(Errc::NotFound) : std::move(error);
  }
}

Status PosixStore::make_durable_directory(const std::string& directory) {
  if (directory.empty()) return ok();
  if (durable_directories_.with([&](auto& known) { return known.contains(directory); })) return ok();
  TRY(check_not_doubtful(directory + "/"));
  const auto parent = parent_of(directory);
  TRY(make_durable_directory(parent));
  bool durable = false;
  const Fd parent_fd = TRY(open_directory(parent));
  const auto leaf = leaf_of(directory);
  if (make_for_owner_of(parent_fd.get(), [&] { return ::mkdirat(parent_fd.get(), leaf.c_str(), options_.directory_mode); }) == 0) {
    // The umask has taken part. Through no link: whose directory it is may have put one there meanwhile.
    const Fd made(::openat(parent_fd.get(), leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!made.valid() || ::fchmod(made.get(), options_.directory_mode) != 0)
      return posix_error(errno, fmt::format("chmod {}", shown(directory)));
  } else if (errno == EEXIST) {
    // Whoever made it may be between its mkdir and its fsync; but nothing is put into it before that.
    durable = TRY(holds_anything({root_, root_path_, ""}, directory));
  } else {
    return posix_error(errno, fmt::format("create directory {}", shown(directory)));
  }
  if (!durable) TRY(sync_name(directory, parent, parent_fd));
  durable_directories_.with([&](auto& known) { known.insert(directory); });
  return ok();
}

Status PosixStore::sync_name(const std::string& directory, const std::string& parent, const Fd& parent_fd) {
  if (sync(parent_fd.get()) != 0) {
    int e = errno;
    mark_doubtful(directory + "/");
    return posix_error(e, fmt::format("fsync directory {}", shown(parent)));
  }
  return ok();
}

Result<Fd> PosixStore::durable_directory(const std::string& directory) {
  auto opened = [&]() -> Result<Fd> {
    TRY(make_durable_directory(directory));
    return open_directory(directory);
  };
  auto fd = opened();
  if (!fd && fd.failure().code() == Errc::NotFound) {  // one of them was known, and has been removed since
    TRY(check_root());
    durable_directories_.with([](auto& known) { known.clear(); });
    fd = opened();
  }
  if (fd || fd.failure().code() != Errc::NotFound) return fd;
  return std::move(fd).failure().with_code(Errc::Storage);
}

Result<Created> PosixStore::create(const std::string& name, ByteView data) {
  return create_from(name, {data.size(), [data](std::uint64_t offset) -> Result<ByteView> { return data.subspan(offset); }});
}

Result<Created> PosixStore::create_from(const std::string& name, const BlobStream& stream) {
  TRY(check_blob_name(name));
  TRY(check_not_doubtful(name));
  const auto fd = TRY(durable_directory(parent_of(name)));
  auto created = publish_file(fd, leaf_of(name), stream, options_, shown(name));
  if (!created && created.failure().code() == Errc::Unknown) mark_doubtful(name);
  return created;
}

Result<std::shared_ptr<OpenFile>> PosixStore::open_object(const std::string& name) const {
  auto file = std::make_shared<OpenFile>();
  for (;;) {
    // O_NONBLOCK: a FIFO that somebody put here must not hang us. It means nothing to a regular file.
    file->fd = Fd(::openat(root_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (file->fd.valid()) break;
    if (errno == EINTR) continue;
    if (!is_absence(errno)) return posix_error(errno, fmt::format("open {}", shown(name)));
    TRY(check_root());
    return std::shared_ptr<OpenFile>();
  }
  struct stat st {};
  if (::fstat(file->fd.get(), &st) != 0) return posix_error(errno, fmt::format("stat {}", shown(name)));
  if (!S_ISREG(st.st_mode)) return std::shared_ptr<OpenFile>();  // a directory, say: no object has that name
  file->size = static_cast<std::uint64_t>(st.st_size);
  return file;
}

Result<std::shared_ptr<const OpenFile>> PosixStore::held_open(const std::string& name) {
  if (auto held = open_files_.find(name)) {
    struct stat st {};
    if (::fstat(held->fd.get(), &st) == 0 && st.st_nlink > 0) return held;
    open_files_.forget(name);  // removed by another process: let go of its blocks
  }
  std::shared_ptr<const OpenFile> file = TRY(open_object(name));
  if (file) open_files_.insert(name, file);
  return file;
}

void expect_sequential(const OpenFile& file, std::size_t read_size) {
  if (read_size < kSequentialFrom || file.sequential.exchange(true, std::memory_order_relaxed)) return;
  ::posix_fadvise(file.fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);  // a hint: without it reads are only slower
}

Result<std::optional<Bytes>> PosixStore::read(const std::string& name, std::uint64_t limit) {
  TRY(check_blob_name(name));
  TRY(check_not_doubtful(name));
  auto file = TRY(open_object(name));
  if (!file) return std::optional<Bytes>();
  if (file->size > limit)
    return Error(Errc::ResourceLimit, fmt::format("{} is {} bytes, more than {}", shown(name), file->size, limit));
  Bytes data(file->size);
  expect_sequential(*file, data.size());
  auto n = read_at(file->fd, data, 0, shown(name));
  if (!n) return as_storage_error(std::move(n).failure());
  if (*n != data.size())
    return Error(Errc::Corruption, fmt::format("{} was cut from {} to {} bytes while it was read", shown(name), data.size(), *n));
  return std::optional<Bytes>(std::move(data));
}

Status PosixStore::read_range(const std::string& name, std::uint64_t offset, MutableByteView out) {
  TRY(check_blob_name(name));
  TRY(check_not_doubtful(name));
  auto file = TRY(held_open(name));
  if (!file) return Error(Errc::NotFound, fmt::format("{}: no such object", shown(name)));
  std::size_t n = 0;
  if (offset <= file->size && out.size() <= file->size - offset) {
    expect_sequential(*file, out.size());
    auto got = read_at(file->fd, out, offset, shown(name));
    if (!got) return as_storage_error(std::move(got).failure());
    if (*got == out.size()) return ok();
    n = *got;
  }
  open_files_.forget(name);
  return Error(Errc::Corruption, fmt::format("{} ends at {} bytes, before {} + {}", shown(name), n > 0 ? offset + n : file->size,
                                             offset, out.size()));
}

Result<std::optional<BlobInfo>> PosixStore::stat(const std::string& name) {
  TRY(check_blob_name(name));
  TRY(check_not_doubtful(name));
  struct stat st {};
  if (::fstatat(root_.get(), name.c_str(), &st, 0) != 0) {
    if (!is_absence(errno)) return posix_error(errno, fmt::format("stat {}", shown(name)));
    TRY(check_root());
    return std::optional<BlobInfo>();
  }
  if (!S_ISREG(st.st_mode)) return std::optional<BlobInfo>();
  return std::optional(BlobInfo{name, static_cast<std::uint64_t>(st.st_size)});
}

Status PosixStore::list(const std::string& prefix, const std::string& after,
                        const std::function<Status(const BlobInfo&)>& visit) {
  TRY(check_blob_prefix(prefix));
  TRY(check_root());
  const auto slash = prefix.rfind('/');
  const auto directory = slash == std::string::npos ? std::string() : prefix.substr(0, slash + 1);
  return list_objects({root_, root_path_, after}, directory, leaf_of(prefix), visit);
}

Result<std::vector<std::string>> PosixStore::list_parts(const std::string& prefix) {
  TRY(check_parts_prefix(prefix));
  TRY(check_root());
  return list_object_parts({root_, root_path_, ""}, prefix);
}

/// One fsync a directory, however many of its objects go.
Status PosixStore::remove_all(std::span<const std::string> names) {
  std::map<std::string, std::vector<const std::string*>> by_directory;
  for (const auto& name : names) {
    TRY(check_blob_name(name));
    open_files_.forget(name);
    by_directory[parent_of(name)].push_back(&name);
  }
  for (const auto& [directory, objects] : by_directory) TRY(remove_from(directory, objects));
  return ok();
}

Status PosixStore::remove_from(const std::string& directory, std::span<const std::string* const> names) {
  const auto fd = open_directory(directory);
  if (!fd) {
    if (fd.failure().code() != Errc::NotFound) return fd.failure();
    return check_root();
  }
  for (const auto* name : names) {
    if (::unlinkat(fd->get(), leaf_of(*name).c_str(), 0) == 0 || errno == EISDIR) continue;  // a directory's name is no object's
    if (!is_absence(errno)) return posix_error(errno, fmt::format("remove {}", shown(*name)));
    TRY(check_root());
  }
  // Also where nothing was there: who removed it may have been killed before this.
  if (sync(fd->get()) != 0)
    return posix_error(errno, fmt::format("fsync directory of {}", shown(*names.front()))).with_code(Errc::Unknown);
  return ok();
}

}  // namespace

Result<std::unique_ptr<BlobStore>> open_posix_store(const fs::path& root, PosixOptions options) {
  if (options.create_root) {
    auto made = create_directories(root, options.directory_mode);
    if (!made) {
      auto error = std::move(made).failure();
      return error.code() == Errc::Key ? std::move(error) : std::move(error).with_code(Errc::Storage);
    }
  }
  // O_RDONLY, not O_PATH: it is fsynced when something new appears in it.
  Fd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    int e = errno;
    auto error = posix_error(e, fmt::format("open repository directory {}", root.string()));
    if (e == ENOENT) return std::move(error).with_hint({"pgmint init creates it; if it exists elsewhere, is its disk mounted?"});
    if (e == ENOTDIR) return std::move(error).with_hint({"name a directory as the repository"});
    return error;
  }
  return std::unique_ptr<BlobStore>(std::make_unique<PosixStore>(root, std::move(fd), std::move(options)));
}

}  // namespace pgmint::storage
