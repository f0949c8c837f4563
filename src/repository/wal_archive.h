// WAL objects in a repository: sealed, MACed, create-if-absent. Format: docs/format/wal.md.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "codec/compression.h"
#include "repository/repository.h"
#include "repository/verify_depth.h"
#include "repository/wal_identity.h"

namespace pgmint::repository {

enum class WalContent : std::uint8_t { Segment = 1, Partial = 2, History = 3, Backup = 4 };

/// What a file's name says it is; nullopt: not a name that PostgreSQL archives.
std::optional<WalContent> wal_content_of(std::string_view file_name);

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

/// What is to be archived: a file of known length, read from front to end, perhaps more than once.
class WalPlain {
 public:
  virtual ~WalPlain() = default;
  virtual std::uint64_t size() const = 0;
  /// A reading starts at the first byte. `to_store`: it will be stored, not only compared, and its summary be asked for.
  virtual Status begin(bool to_store) = 0;
  /// The next `length` bytes, borrowed until the next call. @errors Io (it became shorter); whatever makes it unfit
  virtual Result<ByteView> next(std::size_t length) = 0;
  /// Of a reading that is stored: what next() gave last, and which of its records have checksums that were found to fit.
  virtual void summarize(ByteView piece, const codec::WalChain& proven) = 0;
  /// After the last byte that is to be stored: the encoded change summary; empty: none.
  virtual Bytes summary() = 0;
};

/// Not thread-safe: one per worker. Borrows the cluster.
class WalArchive {
 public:
  /// @param spool_directory  where a file above 32 MiB passes through on its way into the store, sealed and nameless; empty:
  ///        the directory for temporary files
  WalArchive(Cluster& cluster, WalIdentity identity, codec::CodecChoice codec = {}, std::filesystem::path spool_directory = {});
  WalArchive(WalArchive&&) noexcept;
  ~WalArchive();
  const WalIdentity& identity() const;

  /// Stores `plain` under PostgreSQL's `file_name`. A duplicate with the same plaintext is success (Duplicate).
  /// @errors Corruption (the same name with other content: both MACs are told; or the existing object is damaged), Storage,
  /// Unknown, Key, Precondition (not as long as a segment is)
  Result<WalPut> put(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, ByteView plain,
                     ByteView encoded_summary);
  /// As above, read piece by piece, so that neither a whole plaintext is in memory nor its bytes are fetched from there twice.
  /// @param mac  gets the plaintext's MAC with success
  Result<WalPut> put(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, WalPlain& plain,
                     crypto::Digest* mac = nullptr);
  /// The same for a caller that has just found nothing under that name: it is not looked for once more.
  Result<WalPut> put_new(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, WalPlain& plain,
                         crypto::Digest* mac = nullptr);
  /// True when an object of that name holds exactly `plain`, false when there is none: the name's header, authenticated, and
  /// size are looked at, and the MAC compared; the records are not read. @errors as put
  Result<bool> holds(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, ByteView plain);
  Result<bool> holds(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, WalPlain& plain);
  /// The same for a caller that knows the MAC of what it has; other content is false.
  Result<bool> holds(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, std::uint64_t size,
                     const crypto::Digest& mac);
  /// The whole file; absence as a value. @errors Corruption, Storage, Key
  Result<std::optional<Bytes>> get(const std::string& file_name);
  /// The same in pieces, in order, so that memory is bounded by one window of 32 MiB; false: absent. Every piece is authentic
  /// when `sink` gets it, but the file is whole only after success. @errors as get, and what `sink` returns
  Result<bool> read_to(const std::string& file_name, const std::function<Status(ByteView)>& sink);
  /// Encoded change summary only (two small ranged reads, whatever the segment's size); absence of the object or of a summary as nullopt.
  Result<std::optional<Bytes>> summary(const std::string& file_name);
  /// The authenticated header; absence as a value. @errors Corruption, Storage, Key
  Result<std::optional<WalObjectInfo>> info(const std::string& file_name);

  struct Listed {
    std::string file_name;
    std::uint64_t stored = 0;
    std::optional<TimePoint> written = {};  ///< as storage::BlobInfo has it
  };
  /// Files of one timeline in name order, from `after` (a file name) on.
  Result<std::vector<Listed>> list(std::uint32_t timeline, const std::string& after = "");
  /// Files of all timelines, by timeline and name.
  Result<std::vector<Listed>> list_all();
  /// Timelines that have objects, ascending.
  Result<std::vector<std::uint32_t>> timelines();
  /// Header, index, summary and size; with Open every record is opened in its place, with Decompress also the MAC of the
  /// plaintext is compared. @errors NotFound, Corruption, Storage, Key
  Status check(const std::string& file_name, VerifyDepth depth);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::repository
