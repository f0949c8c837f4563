// Segments fetched before recovery asks for them. Private to get.cc and prefetch.cc.
#pragma once

#include <optional>
#include <string>

#include "base/file.h"
#include "crypto/hash.h"
#include "repository/wal_archive.h"

namespace pgmint::wal {

/// `<pg_wal>/pgmint-prefetch/<repository>-<system id>-<incarnation>/`: beside where recovery wants them, so that delivery is a
/// rename; inside the restored directory, so that each restore has its own.
///
/// A segment counts only with its tag, a keyed MAC of repository, cluster, identity, name, length and CRC-32C of the contents;
/// the check on use reads the contents again. Absence is never noted here.
class PrefetchCache {
 public:
  /// Does not touch the disk.
  PrefetchCache(fs::path directory, const repository::Cluster& cluster, const repository::WalIdentity& identity);
  static fs::path directory_for(const fs::path& wal_directory, const repository::Cluster& cluster,
                                const repository::WalIdentity& identity);

  const fs::path& directory() const { return directory_; }
  /// Makes the directory (0700). @errors Key, Io
  Status create();

  /// Moves a cached segment to `destination` (same file system) when it is whole; what is not is removed. @return bytes
  std::optional<std::uint64_t> deliver(const std::string& file_name, const fs::path& destination);
  bool has(const std::string& file_name) const;
  bool is_being_fetched(const std::string& file_name) const;

  /// What was asked for last. Written before the delivery, so that the prefetcher does not fetch it again.
  Status note_wanted(const std::string& file_name);
  std::optional<std::string> wanted() const;

  /// Where a fetcher writes; publish() makes it count. @errors Key, Io
  fs::path incoming(const std::string& file_name) const;
  Status publish(const std::string& file_name, std::uint64_t size, std::uint32_t crc);
  /// Removes every segment that `keep` does not want, whole or not.
  void sweep(const std::function<bool(const std::string& file_name)>& keep);

  /// The right to fill the cache, held until the descriptor closes; nullopt: somebody else has it.
  Result<std::optional<Fd>> try_lock();
  /// Empties and removes the directory, as far as it can.
  void remove();

 private:
  crypto::Digest tag(const std::string& file_name, std::uint64_t size, std::uint32_t crc) const;
  fs::path directory_;
  std::string scope_;
  crypto::Key256 key_;
};

/// Writes an archived file to `path` (created or truncated, 0600) and fsyncs it; nullopt: the archive does not have it, and
/// nothing is left. @errors as WalArchive::read_to, Key, Io
struct Fetched {
  std::uint64_t size = 0;
  std::uint32_t crc = 0;
};
Result<std::optional<Fetched>> fetch_to_file(repository::WalArchive& archive, const std::string& file_name,
                                             const fs::path& path);

}  // namespace pgmint::wal
