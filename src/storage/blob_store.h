// The store's contract: immutable objects and one operation that decides, create-if-absent.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"

namespace pgmint::storage {

/// Object names: '/'-separated, each part of [A-Za-z0-9._-] and not starting with '.', at most 512 bytes in all.
bool valid_blob_name(std::string_view name);

struct BlobInfo {
  std::string name;
  std::uint64_t size = 0;
  std::string etag{};  ///< what a listing calls this content, as the store sees it; empty: it does not say
  /// When a listing says that these bytes came to stand under the name, by the store's clock and no earlier than they did: the same name
  /// with another time was written anew, or touched. nullopt: it does not say.
  std::optional<TimePoint> written{};
};

/// How an object begins.
struct BlobFront {
  std::uint64_t size = 0;  ///< of the whole object
  Bytes bytes;
};

/// The bytes of an object that is too long for memory.
struct BlobStream {
  std::uint64_t size = 0;
  /// Some bytes from `offset` on, at least one and none beyond `size`, borrowed until the next call. Asked for from front to end.
  std::function<Result<ByteView>(std::uint64_t offset)> piece;
};

enum class Created {
  Yes,           ///< this call created the object, durably
  AlreadyExists  ///< somebody created it before; nothing was changed
};

/// A flat, durable object store. Thread-safe. Nothing is ever overwritten.
///
/// Errors of every method: Storage (unreachable or I/O failed: certainly not done for reads, possibly done for writes
/// unless said otherwise), Unknown (a write whose outcome is not known: read back before anything else), Io (cannot be known any
/// more while this store is open: asking again is in vain), Key (denied; never reported as absence), ResourceLimit, Cancelled.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  /// Creates `name` with exactly these bytes, atomically: a reader sees all of it or nothing, and when Created::Yes is
  /// returned the object survives a power cut. One attempt; never resends by itself.
  virtual Result<Created> create(const std::string& name, ByteView data) = 0;

  /// As create(), for what is too long for memory. A store that cannot write piece by piece gathers the object and creates it.
  /// @errors also what `piece` returns; nothing was created then
  virtual Result<Created> create_from(const std::string& name, const BlobStream& stream);

  /// Whole object, absence as a value. `limit`: a larger object is Errc::ResourceLimit, not read.
  virtual Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) = 0;
  /// Fills `out` from `offset`. @errors NotFound (no such object), Corruption (the object ends before offset + out.size())
  virtual Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) = 0;
  virtual Result<std::optional<BlobInfo>> stat(const std::string& name) = 0;
  /// The first `length` bytes (at least 1, at most kFrontMax), or all when there are fewer; absence as a value. One request where the store is far away.
  virtual Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length);
  static constexpr std::size_t kFrontMax = 64 << 10;
  /// As read_front(), for whoever needs what the object says, and not whether it is there still: a copy that this host made of it may answer.
  virtual Result<std::optional<BlobFront>> read_front_or_copy(const std::string& name, std::size_t length) { return read_front(name, length); }

  /// Calls `visit` for every object below `prefix` (a prefix of the name, usually ending in '/') in byte order of names,
  /// starting after `after` ("" for all); the first failure ends it. Objects created meanwhile may or may not appear.
  virtual Status list(const std::string& prefix, const std::string& after,
                      const std::function<Status(const BlobInfo&)>& visit) = 0;
  /// Distinct next name parts below `prefix` (which is empty or ends in '/'), e.g. cluster ids below "c/", sorted.
  virtual Result<std::vector<std::string>> list_parts(const std::string& prefix) = 0;

  /// What listings will call (BlobInfo::etag) an object that create() has just created through here, as the store told with its answer; empty: it did not. Told
  /// once, and of the last few only.
  virtual std::string take_created_etag(const std::string&) { return {}; }

  /// Removes; absence is success (a retry after an unknown outcome is safe).
  virtual Status remove(const std::string& name) = 0;
  /// Removes them in no particular order, as remove() does: hundreds of thousands go at once when backups have expired, and a store may
  /// know something quicker than one after the other. @errors as remove(); some may be gone then
  virtual Status remove_all(std::span<const std::string> names);

  /// As remove_all(), and what the store has locked stays as it is, and is returned: it may go later. Elsewhere it is hidden, and goes nowhere.
  virtual Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names);

  /// The store's own idea of the time, when it has one that differs from the local clock (S3's Date header).
  virtual std::optional<TimePoint> store_time() { return std::nullopt; }
  /// For people, without secrets: "/var/lib/pgmint", "s3://bucket/prefix", "memory".
  virtual std::string describe() const = 0;
};

/// Collects list() into a vector.
Result<std::vector<BlobInfo>> list_all(BlobStore& store, const std::string& prefix);

}  // namespace pgmint::storage
