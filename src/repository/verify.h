// Verification: is everything that the log promises there, whole, and readable?
#pragma once

#include <functional>
#include <optional>

#include "base/cancel.h"
#include "repository/repository.h"
#include "repository/verify_depth.h"

namespace pgmint::repository {

struct Finding {
  enum class Severity : std::uint8_t { Warning, Damage } severity = Severity::Damage;
  std::string object;                 ///< name in the store
  std::string problem;
  std::vector<std::string> backups;   ///< names of the backups that it touches
};

struct VerifyOptions {
  std::optional<SessionId> only;      ///< one snapshot
  VerifyDepth depth = VerifyDepth::Presence;
  unsigned workers = 2;
  /// So many records of packs that were read are remembered, at eight bytes each, until manifests and maps are held against
  /// them; packs that hold more are read in turns, each with a walk over all manifests and maps. (8 M: 1 TB of database.)
  std::size_t records_at_once = std::size_t{8} << 20;
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;
};

struct VerifyReport {
  std::vector<Finding> findings;
  std::uint64_t packs = 0, records = 0, files = 0, snapshots = 0, entries = 0;
  std::uint64_t bytes_read = 0;       ///< of packs
  std::uint64_t packs_opened = 0;     ///< sound, every record opened (and with Decompress decompressed)
  std::uint64_t packs_only_hashed = 0;  ///< as committed, but this key cannot open all of their records
  unsigned walks = 0;                 ///< over all manifests and maps
  bool damaged() const;
};

/// Log (chain, signatures, void entries), snapshots' roots by hash, manifests and maps, packs by presence and size; from Open on
/// every byte of every pack, and each record in the place where it is referred to. With only the maintenance key: log, roots,
/// and packs by SHA-256 and footer. WAL is src/wal's. Damage is a finding, not an error. @errors Storage, Cancelled, Key
Result<VerifyReport> verify(Cluster& cluster, const VerifyOptions& options);

}  // namespace pgmint::repository
