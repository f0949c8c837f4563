// The store on a directory of a file system. Decision: docs/adr/0004-posix-publication.md
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/file.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

struct PosixOptions {
  bool create_root = false;       ///< make the root (and its parents) when missing
  mode_t file_mode = 0640;        ///< exact, whatever the umask
  mode_t directory_mode = 0750;   ///< exact, whatever the umask
  bool direct_writes = true;      ///< large objects go past the page cache where the file system lets them
  bool force_link = false;        ///< publish by link+unlink even where renameat2(RENAME_NOREPLACE) works
  std::size_t open_files_max = 32;  ///< descriptors kept open for read_range
  std::function<int(int)> sync;   ///< fsync(2) when empty; tests make it fail
};

/// Opens the store below `root`. Every create is one fsync of the file and one of its directory, once the directories
/// above are known to be durable. remove() is durable too: a key slot that was removed must not come back.
///
/// A failed fsync is never retried. Of a file: Storage, nothing is published. Of a directory after the object got its
/// name: Unknown, and from then on this store answers Io for that name, because reading it back would show an
/// object that a power cut may still take away.
/// @errors Storage (root missing or not a directory), Key (denied)
Result<std::unique_ptr<BlobStore>> open_posix_store(const fs::path& root, PosixOptions options);

/// What writers that died left behind: ".tmp-<16 hex digits>" files.
struct TemporaryFiles { std::uint64_t files = 0, bytes = 0; };
/// Those last changed before `older_than`. @errors Storage, Key
Result<TemporaryFiles> find_temporary_files(const fs::path& root, TimePoint older_than);
/// Removes them, and says what went. Give a day: a writer that lives loses its put, not its data. @errors Storage, Key
Result<TemporaryFiles> sweep_temporary_files(const fs::path& root, TimePoint older_than);
/// Of a day ago: how old they are to be.
inline constexpr auto kTemporaryFilesStay = std::chrono::hours(24);

}  // namespace pgmint::storage
