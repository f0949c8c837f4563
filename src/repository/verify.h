// Verification: is everything that the log promises there, whole, and readable?
#pragma once

#include <algorithm>
#include <functional>
#include <optional>

#include "base/cancel.h"
#include "repository/repository.h"
#include "repository/verify_choice.h"
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
  VerifyChoice choice;                ///< which packs are read, of those that depth has read at all
  /// Which packs were found sound, and which damaged, is written into the log: as far as it came when `cancel` is set, and as
  /// often as a turn of reading ends. What cannot be written is a warning.
  bool remember = false;
  unsigned workers = 2;
  /// So many records of packs that were read are remembered, at eight bytes each, until manifests and maps are held against
  /// them; packs that hold more are read in turns, each with a walk over all manifests and maps. (8 M: 1 TB of database.)
  std::size_t records_at_once = std::size_t{8} << 20;
  /// A turn ends, at the earliest, after this time too, so that no more is lost to whatever ends the process.
  std::chrono::seconds turn = std::chrono::minutes(10);
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;
};

struct VerifyReport {
  std::vector<Finding> findings;
  std::uint64_t packs = 0, records = 0, files = 0, snapshots = 0, entries = 0;
  std::uint64_t bytes_read = 0;       ///< of packs
  std::uint64_t packs_read = 0;       ///< sound ones and damaged ones
  EarlierProofs left;                 ///< packs that are there and that `choice` left out
  std::uint64_t packs_opened = 0;     ///< sound, every record opened (and with Decompress decompressed)
  std::uint64_t packs_only_hashed = 0;  ///< as committed, but this key cannot open all of their records
  unsigned walks = 0;                 ///< over all manifests and maps
  bool damaged() const {
    return std::ranges::any_of(findings, [](const Finding& f) { return f.severity == Finding::Severity::Damage; });
  }
};

/// Log (chain, signatures, void entries), snapshots' roots by hash, manifests and maps, packs by presence and size; from Open on
/// every byte of every pack of `choice`, and each record in the place where it is referred to. With only the maintenance key: log, roots,
/// and packs by SHA-256 and footer. WAL is src/wal's. Damage is a finding, not an error. The cluster's own state stays that of the
/// beginning. @errors Storage, Cancelled, Key
Result<VerifyReport> verify(Cluster& cluster, const VerifyOptions& options);

}  // namespace pgmint::repository
