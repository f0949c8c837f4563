// Which records packs hold, at eight bytes a record, so that manifests and maps can be held against packs that were read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/random.h"
#include "repository/record.h"

namespace pgmint::repository {

/// Turns a record's description (place, lengths, type, codec, epoch, nonce, and its fingerprint where that is known) into a
/// number. Two descriptions get the same one with a chance of 2^-61 over the key, which is drawn for each run and, like the
/// marks, never leaves the process: nobody can choose a record that passes for another. May be shared by workers.
class RecordMarker {
 public:
  explicit RecordMarker(RandomSource& random);
  /// @param fingerprint  16 bytes, or empty
  std::uint64_t mark(const RecordLocation& location, ByteView fingerprint = {}) const;

 private:
  static constexpr std::size_t kWords = 15;
  std::array<std::uint64_t, kWords> key_{};
};

}  // namespace pgmint::repository
