// A backup manifest as a server reads it before an incremental base backup: which files the client has, and from which WAL.
// Format: src/common/parse_manifest.c, src/backend/backup/backup_manifest.c (version 2, 17 and later).
#pragma once

#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/hash.h"
#include "postgres/lsn.h"

namespace pgmint::postgres {

/// Writes one, in pieces. Not thread-safe. Memory: one piece.
///
/// A server looks at nothing but the paths, the WAL range, its own identifier and the manifest's checksum: a file that is left out it
/// sends whole.
class BackupManifestWriter {
 public:
  using Put = std::function<Status(ByteView)>;
  /// Borrows `put`'s target. @errors of the calls: those of `put`
  BackupManifestWriter(SystemIdentifier system, Put put);
  /// @param path  as the server names it ("base/5/16384"); of letters, digits and "/._" only, as all relations' are
  Status file(std::string_view path, std::uint64_t size);
  /// The WAL that the backup needs, and the end.
  Status finish(TimelineId timeline, Lsn start, Lsn stop);

 private:
  Status add(std::string_view text);
  Status flush();

  Put put_;
  crypto::Sha256 hash_;
  std::string pending_;
  bool has_files_ = false;
};

}  // namespace pgmint::postgres
