// Streams back to pages: the half of the page codec that follows descriptors. Format: docs/format/page-codec.md.
#pragma once

#include "codec/page_planes.h"

namespace pgmint::codec {

/// Bytes from outside, whatever they are, end in exactly out.size() bytes or in Corruption; nothing outside of the buffers is read or
/// written. Memory is fixed, 11 MB, of which a group of one kind touches little; not thread-safe: one per worker.
class PageDecoder {
 public:
  explicit PageDecoder(CpuPath path = best_cpu_path());
  PageDecoder(PageDecoder&&) noexcept;
  ~PageDecoder();

  /// The streams of PageEncoder::encode(). @param out  one group, 1 to kGroupSize bytes; undefined after an error
  /// @errors Corruption
  Status decode(ByteView control, ByteView raw, ByteView remainder, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether PageDecoder::decode() would yield exactly `group`, by the same code with comparisons in the place of stores: the planes are held against
/// `columns`, which they were made of, and these against the pages. Stricter than decode() where that leaves a byte of the output as it was, or
/// passes over bits of a word: then false.
bool reproduces(ByteView control, ByteView raw, ByteView remainder, const Columns& columns, ByteView group, CpuPath path = best_cpu_path());

}  // namespace pgmint::codec
