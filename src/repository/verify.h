// Verification: is everything that the log promises there, whole, and readable?
#pragma once

#include <functional>
#include <optional>

#include "base/cancel.h"
#include "repository/repository.h"

namespace pgmint::repository {

struct Finding {
  enum class Severity : std::uint8_t { Warning, Damage } severity = Severity::Damage;
  std::string object;                 ///< name in the store
  std::string problem;
  std::vector<std::string> backups;   ///< names of the backups that it touches
};

struct VerifyOptions {
  std::optional<SessionId> only;      ///< one snapshot
  bool read_data = false;             ///< open every record, decompress, check fingerprints and maps against packs
  unsigned workers = 2;
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;
};

struct VerifyReport {
  std::vector<Finding> findings;
  std::uint64_t packs = 0, pack_bytes = 0, records = 0, files = 0, snapshots = 0, entries = 0;
  bool damaged() const;
};

/// Log (chain, signatures, void entries), snapshots' roots by hash, manifests and maps, packs by presence and size; with
/// read_data also by SHA-256 and record by record. With only the maintenance key: log, roots and packs by hash and footer.
/// WAL is src/wal's. Damage is a finding, not an error. @errors Storage, Cancelled, Key
Result<VerifyReport> verify(Cluster& cluster, const VerifyOptions& options);

}  // namespace pgmint::repository
