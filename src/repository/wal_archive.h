// WAL objects in a repository: sealed, MACed, create-if-absent. Format: docs/format/wal.md.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "codec/compression.h"
#include "repository/repository.h"

namespace pgmint::repository {

enum class WalContent : std::uint8_t { Segment = 1, Partial = 2, History = 3, Backup = 4 };

struct WalIdentity {
  std::uint64_t system_id = 0;
  Incarnation incarnation{};
};

/// The clear, fixed part of a WAL object.
struct WalObjectInfo {
  WalIdentity identity;
  std::uint32_t timeline = 0;
  std::uint32_t wal_segment_size = 0;
  WalContent content{};
  std::uint64_t raw_length = 0;
  crypto::Digest mac{};
  Epoch epoch{};
};

enum class WalPut { Stored, Duplicate };

/// Not thread-safe: one per worker. Borrows the cluster.
class WalArchive {
 public:
  WalArchive(Cluster& cluster, WalIdentity identity, codec::CodecChoice codec = {});
  ~WalArchive();

  /// Stores `plain` under PostgreSQL's `file_name`. A duplicate with the same plaintext is success (Duplicate).
  /// @errors Precondition (the same name with other content: both MACs are told), Storage, Unknown, Key, Corruption (existing
  /// object damaged)
  Result<WalPut> put(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, ByteView plain,
                     ByteView encoded_summary);
  /// True when an object of that name holds exactly `plain`. @errors as put
  Result<bool> holds(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, ByteView plain);
  /// The whole file; absence as a value. @errors Corruption, Storage, Key
  Result<std::optional<Bytes>> get(const std::string& file_name);
  /// Encoded change summary only (one ranged read); absence of the object or of a summary as nullopt.
  Result<std::optional<Bytes>> summary(const std::string& file_name);
  Result<std::optional<WalObjectInfo>> info(const std::string& file_name);

  struct Listed { std::string file_name; std::uint64_t stored = 0; };
  /// Files of one timeline in name order, from `after` (a file name) on.
  Result<std::vector<Listed>> list(std::uint32_t timeline, const std::string& after = "");
  /// Timelines that have objects, ascending.
  Result<std::vector<std::uint32_t>> timelines();
  /// Opens every record. @errors Corruption
  Status check(const std::string& file_name, bool read_data);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::repository
