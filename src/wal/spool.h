// Where WAL waits on this host while the repository is away. Decision: docs/adr/0031-spool.md.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/file.h"
#include "repository/repository.h"
#include "storage/blob_store.h"

namespace pgmint::wal {

/// What waits.
struct SpoolContents {
  struct File {
    std::string name;  ///< the object's, in the repository
    std::uint64_t bytes = 0;
    std::string file_name() const { return name.substr(name.rfind('/') + 1); }
  };
  std::vector<File> files;  ///< of each cluster in the order in which they are to go
  std::uint64_t bytes = 0;
  std::optional<TimePoint> oldest;
};

/// `<state directory>/spool/<place>/`: the objects of one repository that it has not got yet, sealed as they will stand there, under their names. What is in it is
/// durable. It is filled by `wal push` and emptied by one drain at a time.
class Spool {
 public:
  /// Touches nothing. @param place  what names the repository on this host: its store's describe()
  Spool(const fs::path& state_directory, const std::string& place);

  const fs::path& directory() const { return directory_; }
  /// Nothing waits; a directory that cannot be read says so. @errors Key, Io
  Result<bool> empty() const;
  /// @errors Key, Io
  Result<SpoolContents> contents() const;

  /// The repository as it can be had without its store: keys from the copies on this host, WAL into the spool; for everything else the store is away.
  /// @param copies  the directory of KeyCopies @errors Key, Storage
  Result<std::unique_ptr<repository::KeyCopies>> open_store(const fs::path& copies) const;

  enum class Right {
    Send,  ///< to empty it
    Stay   ///< to try that again and again while the repository is away
  };
  /// One at a time has it, until the descriptor closes; nullopt: somebody else. @errors Key, Io
  Result<std::optional<Fd>> try_lock(Right right) const;

  struct Drained {
    std::uint64_t stored = 0, present = 0, bytes = 0;
  };
  /// Puts what waits into the repository, oldest first, and forgets what has been stored; the first failure ends it, so that none overtakes another. An object
  /// whose bytes are damaged, or whose name holds other content there, stays. Right::Send is to be held.
  /// @param here  opened over open_store() @param there  over the real store @errors Corruption (hint), Precondition (another repository), Storage, Unknown, Key, Cancelled
  Result<Drained> drain(repository::Repository& here, repository::Repository& there, const CancelToken* cancel) const;

 private:
  std::string place_;
  fs::path directory_;
};

}  // namespace pgmint::wal
