#include "storage/posix_publish.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/direct_io.h"
#include "base/owner.h"
#include "base/random.h"

namespace pgmint::storage {
namespace {

constexpr std::string_view kTemporaryPrefix = ".tmp-";
constexpr std::size_t kNonceBytes = 8;

std::string temporary_name() {
  ByteArray<kNonceBytes> nonce;
  system_random().fill(nonce);
  return std::string(kTemporaryPrefix) + to_hex(nonce);
}

int sync_with(const PosixOptions& options, int fd) { return options.sync ? options.sync(fd) : ::fsync(fd); }

/// From this size on an object is written past the page cache, which would give it a copy, fresh memory, and the place of somebody else's pages
/// (docs/adr/0015). Below, a write that waits for the disk and then an fsync that waits again would cost more.
constexpr std::uint64_t kDirectFrom = 1 << 20;

/// An object's bytes from front to back: directly for as long as pieces begin and end where direct writes can, through the cache from then on.
class FrontToBack {
 public:
  FrontToBack(const Fd& fd, std::string_view what) : fd_(fd), what_(what) {}

  /// Aligned memory only: asks for it at the first piece that has it.
  Status write(ByteView piece, bool want_direct) {
    if (offset_ == 0 && want_direct && is_aligned(piece)) direct_ = ask_for_direct_writes(fd_);
    if (direct_) {
      const auto whole = piece.first(is_aligned(piece) ? piece.size() / kDirectAlignment * kDirectAlignment : 0);
      TRY(write_at_direct(fd_, whole, offset_, what_));
      offset_ += whole.size();
      piece = piece.subspan(whole.size());
      if (piece.empty()) return ok();
      direct_ = false;
      TRY(end_direct_writes(fd_, what_));
    }
    TRY(write_at(fd_, piece, offset_, what_));
    offset_ += piece.size();
    return ok();
  }

 private:
  static bool is_aligned(ByteView piece) { return reinterpret_cast<std::uintptr_t>(piece.data()) % kDirectAlignment == 0; }

  const Fd& fd_;
  std::string_view what_;
  std::uint64_t offset_ = 0;  ///< while direct: a multiple of kDirectAlignment
  bool direct_ = false;
};

/// The temporary, complete and durable but for its name. The descriptor stays open: its link count tells later whether
/// a link that was reported as failed has happened.
Result<Fd> write_temporary(const Fd& directory, const std::string& temporary, const BlobStream& stream,
                           const PosixOptions& options, std::string_view what) {
  Fd fd(make_for_owner_of(directory.get(), [&] { return ::openat(directory.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, options.file_mode); }));
  if (!fd.valid()) return posix_error(errno, fmt::format("create {}", what));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return posix_error(errno, fmt::format("stat {}", what));
  if ((st.st_mode & 07777) != options.file_mode && ::fchmod(fd.get(), options.file_mode) != 0)
    return posix_error(errno, fmt::format("chmod {}", what));
  // All at once: starting the writeback early with sync_file_range was measured and gains nothing (ADR 0004).
  FrontToBack to(fd, what);
  for (std::uint64_t at = 0; at < stream.size;) {
    const ByteView piece = TRY(stream.piece(at));
    PGMINT_ASSERT(!piece.empty() && piece.size() <= stream.size - at);
    if (auto written = to.write(piece, options.direct_writes && stream.size >= kDirectFrom); !written) return as_storage_error(std::move(written).failure());
    at += piece.size();
  }
  // fsync, not fdatasync: the file is new, so its size must be committed either way and nothing is saved.
  if (sync_with(options, fd.get()) != 0)
    return std::move(posix_error(errno, fmt::format("fsync {}", what)))
        .with_hint({"the disk or its file system is failing: see the kernel log (dmesg)"});
  return fd;
}

enum class Named { ByRename, ByLink, Exists };

Result<Named> name_by_link(const Fd& directory, const Fd& file, const std::string& temporary, const std::string& leaf,
                           std::string_view what) {
  if (::linkat(directory.get(), temporary.c_str(), directory.get(), leaf.c_str(), 0) == 0) return Named::ByLink;
  int e = errno;
  struct stat st {};
  // NFS repeats requests: the first may have worked and the answer to the second be EEXIST.
  if (::fstat(file.get(), &st) == 0 && st.st_nlink == 2) return Named::ByLink;
  if (e == EEXIST) return Named::Exists;
  if (e == EPERM || e == ENOSYS || e == EOPNOTSUPP || e == EINVAL)
    return Error(Errc::Precondition,
                 fmt::format("create {}: this file system can neither rename without replacing nor make hard links", what),
                 Hint{"put the repository on another file system, e.g. ext4, xfs, btrfs or NFS"});
  return posix_error(e, fmt::format("link {}", what));
}

Result<Named> name_file(const Fd& directory, const Fd& file, const std::string& temporary, const std::string& leaf,
                        bool force_link, std::string_view what) {
  if (!force_link) {
    if (::renameat2(directory.get(), temporary.c_str(), directory.get(), leaf.c_str(), RENAME_NOREPLACE) == 0)
      return Named::ByRename;
    if (errno == EEXIST) return Named::Exists;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
      return posix_error(errno, fmt::format("rename {}", what));
  }
  return name_by_link(directory, file, temporary, leaf, what);
}

/// True when `leaf` is an object. @errors Storage (something else has that name), Key
Result<bool> object_exists(const Fd& directory, const std::string& leaf, std::string_view what) {
  struct stat st {};
  if (::fstatat(directory.get(), leaf.c_str(), &st, 0) != 0) {
    if (errno == ENOENT) return false;
    return posix_error(errno, fmt::format("stat {}", what));
  }
  if (S_ISREG(st.st_mode)) return true;
  return Error(Errc::Storage, fmt::format("create {}: something that is not a file has that name", what));
}

/// Somebody else's object may have its name and not yet its directory's fsync; whoever is told that it exists builds on it.
Result<Created> already_exists(const Fd& directory, const PosixOptions& options, std::string_view what) {
  if (sync_with(options, directory.get()) != 0)
    return posix_error(errno, fmt::format("fsync directory of {}", what)).with_code(Errc::Unknown);
  return Created::AlreadyExists;
}

/// Unlinks the temporary's name at the end unless it was renamed.
struct TemporaryName {
  const Fd& directory;
  std::string name;
  bool present = true;
  ~TemporaryName() {
    // A failure leaves a file that listings do not show and sweep_temporary_files() removes.
    if (present) ::unlinkat(directory.get(), name.c_str(), 0);
  }
};

}  // namespace

bool is_temporary_name(std::string_view leaf) {
  if (!leaf.starts_with(kTemporaryPrefix) || leaf.size() != kTemporaryPrefix.size() + 2 * kNonceBytes) return false;
  leaf.remove_prefix(kTemporaryPrefix.size());
  return std::all_of(leaf.begin(), leaf.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Error posix_error(int error_number, std::string_view what) { return errno_error(error_number, what, Errc::Storage); }
Error as_storage_error(Error error) { return error.code() == Errc::Io ? std::move(error).with_code(Errc::Storage) : error; }

Result<Created> publish_file(const Fd& directory, const std::string& leaf, const BlobStream& stream,
                             const PosixOptions& options, std::string_view what) {
  // Saves writing what cannot be published; the decision is still the rename's.
  if (TRY(object_exists(directory, leaf, what))) return already_exists(directory, options, what);

  TemporaryName temporary{directory, temporary_name()};
  auto file = TRY(write_temporary(directory, temporary.name, stream, options, what));
  auto named = TRY(name_file(directory, file, temporary.name, leaf, options.force_link, what));
  if (named == Named::Exists) {
    if (TRY(object_exists(directory, leaf, what))) return already_exists(directory, options, what);
    return Error(Errc::Unknown, fmt::format("create {}: the name was taken and then free again", what));
  }
  if (named == Named::ByRename) temporary.present = false;
  if (sync_with(options, directory.get()) != 0)
    return posix_error(errno, fmt::format("fsync directory of {}", what)).with_code(Errc::Unknown);
  return Created::Yes;
}

}  // namespace pgmint::storage
