// How far verification looks into what is stored. Decision: docs/adr/0011-verify-opens.md
#pragma once

#include <cstdint>

namespace pgmint::repository {

enum class VerifyDepth : std::uint8_t {
  Presence,    ///< objects are there with their sizes; nothing that holds data is read
  Open,        ///< every byte read and found authentic, every record in the place where it is referred to; not decompressed
  Decompress,  ///< also SHA-256 of packs, decompression, and the keyed sums of the plaintext in maps and WAL objects
};

}  // namespace pgmint::repository
