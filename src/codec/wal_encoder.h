// A piece of WAL to columns, remainder and page images: the half of the WAL codec that chooses. Format, and what each choice means
// to a reader: docs/format/wal-codec.md. Decision: docs/adr/0014-wal-codec.md.
#pragma once

#include <optional>

#include "codec/page_planes.h"
#include "codec/wal_chain.h"

namespace pgmint::codec {

/// The streams that a piece becomes. Borrowed from the encoder until its next call.
struct WalStreams {
  ByteView control;    ///< page headers, kinds, column descriptors, planes
  ByteView raw;        ///< planes that look random
  ByteView remainder;  ///< the rest of the records
  ByteView images;     ///< pages of kPageSize
  WalChain records;    ///< those taken apart; with WalSums::Trust their checksums fit if decoding gives the piece again
};

/// Checksums of records are not stored. Trust: they are what they should be, and who decodes and compares will know if not. Verify:
/// the first one that is wrong ends the records.
enum class WalSums { Trust, Verify };

/// Any bytes go in, most usefully a piece of a WAL segment that begins with a page. Never reads outside of it. Memory is fixed, 5 MB;
/// not thread-safe: one per worker.
class WalEncoder {
 public:
  explicit WalEncoder(CpuPath path = best_cpu_path());
  WalEncoder(WalEncoder&&) noexcept;
  ~WalEncoder();

  /// nullopt where no record was found, or the piece is longer than kWalPieceMax or no whole number of pages.
  std::optional<WalStreams> encode(ByteView piece, WalSums sums);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::codec
