// Pages to columns, flags and remainder, then to byte planes: the half of the page codec that chooses. Format, and what each choice
// means to a reader: docs/format/page-codec.md. Decision: docs/adr/0012-page-codec.md.
#pragma once

#include <optional>

#include "codec/page_planes.h"

namespace pgmint::codec {

/// The three streams that a group of pages becomes. Borrowed from the encoder until its next call.
struct PageStreams {
  ByteView control;    ///< page kinds, column descriptors, planes and flags: what compresses well
  ByteView raw;        ///< planes that look random
  ByteView remainder;  ///< rest of the tuples, holes, pages that fit no model
  const Columns* columns = nullptr;  ///< what the planes were made of, for who checks them
  bool of_index = false;             ///< whether most of the pages are an index's
};

/// Any bytes go in, most usefully 8 KiB pages of one relation in block order. Never reads outside of them, whatever they hold.
/// Memory is fixed, 14 MB, of which a group of one kind touches little; not thread-safe: one per worker.
class PageEncoder {
 public:
  explicit PageEncoder(CpuPath path = best_cpu_path());
  PageEncoder(PageEncoder&&) noexcept;
  ~PageEncoder();

  /// @param group  1 to kGroupSize bytes; what follows the last whole page is kept as it is
  /// nullopt where no page fits a model: there is nothing to gain.
  std::optional<PageStreams> encode(ByteView group);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::codec
