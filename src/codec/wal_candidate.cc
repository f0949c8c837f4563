#include "codec/wal_candidate.h"

#include <algorithm>

#include "codec/word_choice.h"

namespace pgmint::codec {
namespace {

constexpr std::uint32_t kMainWordsMax = 12;
constexpr std::uint32_t kPrefixWordsTried = 12, kSuffixWordsTried = 4;
constexpr std::uint32_t kHeapRmgrFirst = 9, kHeapRmgrLast = 10;  // RM_HEAP2_ID, RM_HEAP_ID
constexpr std::uint32_t kMultiInsert = 0x50, kHeapOperation = 0x70;  // XLOG_HEAP2_MULTI_INSERT, XLOG_HEAP_OPMASK

struct SectionSample {
  std::array<PagePointer, kWalSampleMax> data;
  std::array<std::uint32_t, kWalSampleMax> size;
  std::uint32_t count = 0, size_min = ~std::uint32_t{0};
};

template <class Get>
std::uint32_t count_words(const SectionSample& sample, std::uint32_t most, std::uint32_t taken, const Get& get) {
  std::uint32_t chosen = 0;
  for (std::uint32_t w = 0; w < most && taken + 4 * (w + 1) <= sample.size_min; ++w) {
    if (judge_word(sample.count, [&](std::uint32_t i) { return get(i, w); }) == WordKind::Mixed) break;
    chosen = w + 1;
  }
  return chosen;
}

WalSection choose_block_words(const SectionSample& sample, bool heap) {
  WalSection best;
  // Behind a heap tuple's own five bytes its data is aligned to four from the sixth byte on.
  for (const std::uint32_t first : heap ? std::array<std::uint32_t, 2>{2, 0} : std::array<std::uint32_t, 2>{0, 0}) {
    if (first > sample.size_min) continue;
    WalSection section;
    section.first = static_cast<std::uint8_t>(first);
    section.prefix = static_cast<std::uint8_t>(count_words(sample, kPrefixWordsTried, first, [&](std::uint32_t i, std::uint32_t w) {
      return load32(sample.data[i] + first + 4 * w);
    }));
    if (section.prefix > best.prefix || best.words() == 0) best = section;
  }
  best.suffix = static_cast<std::uint8_t>(count_words(sample, kSuffixWordsTried, best.bytes(), [&](std::uint32_t i, std::uint32_t w) {
    return load32(sample.data[i] + sample.size[i] - 4 * (w + 1));
  }));
  return best;
}

/// The first word, which has the length, is always one; the second ends where the row's data begins.
WalSection choose_row_words(const SectionSample& sample) {
  WalSection section;
  section.prefix = static_cast<std::uint8_t>(std::max(1U, count_words(sample, kWalPrefixMax, 0, [&](std::uint32_t i, std::uint32_t w) {
                                                        return load32(sample.data[i] + 4 * w);
                                                      })));
  section.suffix = static_cast<std::uint8_t>(count_words(sample, kSuffixWordsTried, section.bytes(), [&](std::uint32_t i, std::uint32_t w) {
    return load32(sample.data[i] + sample.size[i] - 4 * (w + 1));
  }));
  return section;
}

WalSection choose_main_words(const SectionSample& sample, std::uint32_t length) {
  WalSection section;
  if (length <= 4 * kMainWordsMax) {
    section.prefix = static_cast<std::uint8_t>(length / 4);
    section.last = static_cast<std::uint8_t>(length % 4);
    return section;
  }
  section.prefix = static_cast<std::uint8_t>(
      count_words(sample, kPrefixWordsTried, 0, [&](std::uint32_t i, std::uint32_t w) { return load32(sample.data[i] + 4 * w); }));
  return section;
}

}  // namespace

bool is_regular_image(PagePointer record, const WalBlock& block, PagePointer image) {
  if (block.odd_image) return false;
  const std::uint32_t length = load16(record + block.image_at), hole = load16(record + block.image_at + 2);
  if (!block.has_hole) return length == kPageSize && hole == 0;
  return hole >= kPageHeaderSize && length > hole && length < kPageSize && load16(image + kLowerAt) == hole &&
         load16(image + kUpperAt) == hole + kPageSize - length;
}

std::uint32_t count_rows(PagePointer data, std::uint32_t size) {
  std::uint32_t rows = 0;
  for (std::uint32_t at = 0; at < size; ++rows) {
    const std::uint32_t left = size - at;
    const std::uint32_t span = left < WalRows::kHeader ? 0 : WalRows::span(load16(data + at), left);
    if (span == 0) return 0;
    at += span;
  }
  return rows;
}

WalCandidate make_candidate(const WalSignature& signature, const WalHeaders& parts) {
  WalCandidate c;
  c.kind.parts = parts;
  const unsigned char* const header = signature.bytes.data();
  c.has_rows = header[kXlInfoAt + 1] == kHeapRmgrFirst && (header[kXlInfoAt] & kHeapOperation) == kMultiInsert && parts.block_count != 0 &&
               parts.blocks[0].has_data && parts.blocks[0].image_at == 0;
  std::memcpy(c.kind.header.data(), signature.bytes.data(), signature.length);
  std::memset(c.mask.data(), 0xFF, signature.length);
  WalSignature::for_each_varying(parts, [&](std::uint32_t at, std::uint32_t n) { std::memset(c.mask.data() + at, 0, n); });
  return c;
}

void choose_words(WalCandidate& c, PagePointer records) {
  WalKind& kind = c.kind;
  std::array<SectionSample, kWalKindBlocksMax + 1> samples;
  const auto add = [](SectionSample& sample, PagePointer data, std::uint32_t size) {
    if (sample.count == kWalSampleMax) return;
    sample.data[sample.count] = data;
    sample.size[sample.count++] = size;
    sample.size_min = std::min(sample.size_min, size);
  };
  for (std::uint32_t i = 0; i < std::min(kind.count, kWalSampleMax); ++i) {
    walk_payload(
        kind.parts, records + c.samples[i],
        [&](std::uint32_t s, PagePointer data, std::uint32_t size) {
          if (s != 0 || !c.has_rows) return add(samples[s], data, size);
          for (std::uint32_t at = 0; at < size && samples[0].count < kWalSampleMax;) {
            const std::uint32_t span = WalRows::span(load16(data + at), size - at);
            add(samples[0], data + at, span);
            at += span;
          }
        },
        [](const WalBlock&, PagePointer) {});
  }
  const std::uint32_t rmgr = kind.header[kXlInfoAt + 1];
  for (std::uint32_t b = 0; b < kind.parts.block_count; ++b)
    if (kind.parts.blocks[b].has_data)
      kind.sections[b] = b == 0 && c.has_rows ? choose_row_words(samples[0]) : choose_block_words(samples[b], rmgr >= kHeapRmgrFirst && rmgr <= kHeapRmgrLast);
  if (kind.parts.main_length != 0) kind.main_section() = choose_main_words(samples[kWalKindBlocksMax], kind.parts.main_length);
}

}  // namespace pgmint::codec
