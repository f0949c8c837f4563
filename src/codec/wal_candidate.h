// Kinds of WAL records as an encoder finds them: which records are of one kind, and which of their words become columns.
#pragma once

#include <array>
#include <cstring>

#include "codec/wal_kind.h"

namespace pgmint::codec {

/// Records of a kind that are looked at to choose its words.
constexpr std::uint32_t kWalSampleMax = 32;

/// A kind that may be worth its columns, as records of it are found.
struct WalCandidate {
  WalKind kind;
  std::array<unsigned char, kWalKindHeaderMax + 8> mask{};  ///< 0xFF where the header's bytes must agree
  std::array<std::uint32_t, kWalSampleMax> samples{};
  std::uint32_t id = kWalKeptButImages;
  bool has_rows = false;         ///< its records are multi-inserts
  std::uint32_t rows_taken = 0;  ///< while they are taken apart

  /// The record has the headers of this kind.
  bool matches(PagePointer record) const {
    for (std::uint32_t i = kXlInfoAt; i < kind.parts.length; i += 8)
      if (((load64(record + i) ^ load64(kind.header.data() + i)) & load64(mask.data() + i)) != 0) return false;
    return true;
  }
};

/// A record's header bytes but for those that differ within a kind.
struct WalSignature {
  std::array<unsigned char, kWalKindHeaderMax + 8> bytes;
  std::uint32_t length;

  WalSignature(PagePointer record, const WalHeaders& parts) : length(parts.length) {
    std::memcpy(bytes.data(), record, length);
    std::memset(bytes.data() + length, 0, 8);
    for_each_varying(parts, [&](std::uint32_t at, std::uint32_t n) { std::memset(bytes.data() + at, 0, n); });
  }
  std::uint32_t hash() const {
    std::uint64_t h = length;
    for (std::uint32_t i = kXlInfoAt; i < length; i += 8) {
      h = (h ^ load64(bytes.data() + i)) * 0x9E37'79B9'7F4A'7C15U;
      h ^= h >> 32;
    }
    return static_cast<std::uint32_t>(h);
  }
  bool is_of(const WalCandidate& c) const { return c.kind.parts.length == length && std::memcmp(c.kind.header.data(), bytes.data(), length) == 0; }

  template <class Vary>
  static void for_each_varying(const WalHeaders& parts, const Vary& vary) {
    vary(0, kXlInfoAt);
    vary(kXlCrcAt, 4);
    for (std::uint32_t b = 0; b < parts.block_count; ++b) {
      const WalBlock& block = parts.blocks[b];
      if (block.has_data) vary(block.data_length_at, 2);
      if (block.image_at != 0) vary(block.image_at, 4);
      vary(block.number_at, 4);
    }
  }
};

WalCandidate make_candidate(const WalSignature& signature, const WalHeaders& parts);
/// Rows of a multi-insert's section; 0 where they do not fill it.
std::uint32_t count_rows(PagePointer data, std::uint32_t size);
/// Whether a full image, and the page that it stands for, say the same of its length and hole.
bool is_regular_image(PagePointer record, const WalBlock& block, PagePointer image);
/// Decides by its samples, which are in `records`, which words of the candidate's sections become columns.
void choose_words(WalCandidate& candidate, PagePointer records);

/// Calls `each(index of the section, its bytes, its length)` for the sections of a record, and `image(block)` for its images.
template <class Section, class Image>
PGMINT_INLINE void walk_payload(const WalHeaders& parts, PagePointer record, const Section& section, const Image& image) {
  PagePointer at = record + parts.length;
  for (std::uint32_t b = 0; b < parts.block_count; ++b) {
    const WalBlock& block = parts.blocks[b];
    if (block.image_at != 0) {
      image(block, at);
      at += load16(record + block.image_at);
    }
    if (block.has_data) {
      const std::uint32_t length = load16(record + block.data_length_at);
      section(b, at, length);
      at += length;
    }
  }
  if (parts.main_length != 0) section(kWalKindBlocksMax, at, parts.main_length);
}

}  // namespace pgmint::codec
