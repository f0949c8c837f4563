// The inverse of WalEncoder: streams from outside to a piece of WAL. Format: docs/format/wal-codec.md.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/cpu_dispatch.h"

namespace pgmint::codec {

/// Memory is fixed, 1.5 MB; not thread-safe: one per worker.
class WalDecoder {
 public:
  explicit WalDecoder(CpuPath path = best_cpu_path());
  WalDecoder(WalDecoder&&) noexcept;
  ~WalDecoder();

  /// The streams of WalEncoder::encode(). @param out  1 to kWalPieceMax bytes; undefined after an error
  /// @errors Corruption
  Status decode(ByteView control, ByteView raw, ByteView remainder, ByteView images, MutableByteView out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::codec
