// Small objects that never change, kept on this host once they were read: for a store that is far away.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

struct CachePolicy {
  std::function<bool(const std::string& name)> keeps;  ///< objects that are worth it: read often, small, never written anew
  std::function<bool(const std::string& name)> keeps_front{};  ///< of which the beginning is: it says what is in them
  std::function<bool(const std::string& name)> keeps_small{};  ///< of which those are, for a day, that were created here and are no larger than small_max
  std::uint64_t small_max = 4 << 20;                   ///< bytes; maps of some 15 GB of a database are no longer
  std::uint64_t object_max = 4 << 20;                  ///< bytes; larger ones are not kept
  std::uint64_t size_max = 256 << 20;                  ///< bytes in all, a quarter of them for fronts; the longest unused go first
};

/// read_range() of what `keeps_small` names is answered from a copy that was taken when it was created, for a day: whoever builds on it each hour finds out within a
/// day that the store has lost it.
///
/// A front is answered from a copy when a listing made through here names the object with the etag that it had when the copy was made: when it was first read, or
/// when it was created here. read_front_or_copy() asks for no listing.
///
/// read() of what `keeps` names is answered from `directory` (made when needed, 0700) once it was read or created through here. What the
/// store has removed since may still be answered: whoever must know what the store holds lists it, or looks past the cache. The last name
/// that a listing gave is read from the store itself, or held against the MD5 that the listing gives of it: where each object names the one before by its hash, as log entries do, it vouches for all copies
/// before it, and a store that went back in time is found out. A kept
/// copy that is damaged is read anew. Keeping fails in silence: it is worth time, nothing else. Borrows the clock. Thread-safe.
std::unique_ptr<BlobStore> make_cache_store(std::unique_ptr<BlobStore> inner, std::filesystem::path directory, CachePolicy policy, Clock& clock);

}  // namespace pgmint::storage
