// Where a restore may write: the data directory and the tablespaces, checked before anything is created.
#pragma once

#include <sys/types.h>

#include <map>

#include "restore/restore.h"

namespace pgmint::restore {

/// Where a delta restore puts the WAL that it finds: this, and the time.
inline constexpr std::string_view kWalAside = "pg_wal.before-restore-";

/// The owner that restored files get. Unset when pgmint does not run as root: files are its own.
struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Bytes of files, and which of them go into tablespaces by their OID; of in-place ones too, which lie inside the data directory.
struct WrittenBytes {
  std::uint64_t total = 0;
  std::map<std::uint32_t, std::uint64_t> in_tablespace;
};

/// One file system that a restore writes to.
struct FileSystemNeed {
  fs::path place;             ///< the first of the directories there
  std::uint64_t write = 0;    ///< bytes of files; with the data directory's also the WAL that recovery needs room for at least
  std::uint64_t free = 0;     ///< what is written over counted in
};

struct TargetPlan {
  fs::path to;                                         ///< absolute
  bool clone = true;                                   ///< not the cluster's own data directory
  std::map<std::uint32_t, std::string> tablespaces;    ///< oid to where it goes; in-place ones are absent
  std::optional<Owner> owner;
  std::vector<fs::path> new_roots;                     ///< directories that this restore creates or fills: what a failed copy empties
  bool leftovers = false;                              ///< new_roots hold what an interrupted restore left: emptied first
  bool delta = false;                                  ///< new_roots hold a stopped cluster, or what of one an interrupted delta restore left
  std::string delta_identity;                          ///< what kDeltaMarker holds: the system identifier
  std::string version_directory;                       ///< inside tablespaces: "PG_15_202209061"
  std::vector<FileSystemNeed> file_systems;            ///< the data directory's first
  std::vector<fs::path> forgotten_tablespaces;         ///< version directories of tablespaces that the target has and the backup has not

  const char* marker() const;
};

/// Stands in every directory of new_roots from a restore's first step to its last. A directory that holds it and no
/// pg_control holds nothing that ever was a database.
inline constexpr const char* kRestoringMarker = "pgmint.restoring";
/// The same of a delta restore. Another name, because a restore empties what has the first: here the target's own WAL may be kept.
inline constexpr const char* kDeltaMarker = "pgmint.delta-restoring";

/// @errors Precondition
Status expect_no_server(const fs::path& directory);

/// @errors Precondition: not empty, a server runs on it, a tablespace's place is taken, too little space, no owner to drop
///         to, a mapping for a tablespace that the backup has not; Usage: a relative location; Key: parent not writable
Result<TargetPlan> plan_target(const RestoreRequest& request, const repository::ManifestRoot& root, const WrittenBytes& bytes,
                               const std::string& owner_name);

}  // namespace pgmint::restore
