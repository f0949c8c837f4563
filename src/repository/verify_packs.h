// The packs' part of verify: every byte of a pack is accounted for. Private to verify.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/scratch.h"
#include "repository/pack.h"
#include "repository/record_marks.h"
#include "repository/repository.h"
#include "repository/verify_depth.h"

namespace pgmint::repository {

struct PackVerdict {
  std::string problem;               ///< empty: sound
  std::vector<std::uint64_t> marks;  ///< of a sound pack's records, sorted
  std::uint64_t bytes = 0;           ///< read
  bool opened = false;               ///< sound, and every record was opened
  bool as_committed = false;         ///< not sound, although its bytes are those that were committed
};

/// Reads packs one after the other, in stretches that stay in a core's cache. Not thread-safe: one per worker.
///
/// With Open, header, footer and trailer are checked and the records, which tile what is between them, are opened: no byte is
/// without its tag or checksum, and SHA-256 is left out. It is what counts for a pack with a record that this key cannot open.
class PackChecker {
 public:
  /// Borrows both.
  PackChecker(const Cluster& cluster, const RecordMarker& marker, VerifyDepth depth);
  /// The pack is as long as the log says. Damage is a verdict. @errors Storage, Cancelled, Precondition (a newer format)
  Result<PackVerdict> check(const PackSummary& pack);
  /// Whether its bytes are those that were committed. @errors as check; damage too
  Result<bool> is_as_committed(const PackSummary& pack);

 private:
  struct Ends {
    ByteArray<kPackHeaderSize> header{};
    Bytes tail;
    std::vector<PackFooterLine> lines;
  };
  Result<Ends> read_ends(const std::string& name, const PackSummary& pack);
  Status read_records(const std::string& name, const PackSummary& pack, const Ends& ends, crypto::Sha256* hash,
                      PackVerdict& verdict);
  Status open_record(const RecordLocation& location, MutableByteView stored, PackVerdict& verdict);
  bool can_open(RecordType type) const;

  const Cluster& cluster_;
  const RecordMarker& marker_;
  const VerifyDepth depth_;
  RecordOpener opener_;
  Scratch stretch_, plain_;
};

/// How packs are read by several workers.
struct PackReading {
  unsigned workers = 2;
  const CancelToken* cancel = nullptr;
  std::function<bool()> goes_on;                             ///< asked before each pack but the first
  std::function<void(const PackSummary&, PackVerdict)> note;  ///< called by the workers
  std::function<void(std::uint64_t bytes)> progress;         ///< called by the caller's thread, after each pack
};
/// Takes packs off the end of `waiting` until there are none or `goes_on` says no. @errors as PackChecker::check; some packs that were
/// taken may not have been noted then
Status check_packs(const Cluster& cluster, const RecordMarker& marker, VerifyDepth depth, std::vector<PackSummary>& waiting,
                   const PackReading& reading);

}  // namespace pgmint::repository
