// The chosen words of the tuples of a page, a column at a time: tuples are listed while their headers are looked at, and their words are moved
// afterwards, four tuples at once.
#pragma once

#include <algorithm>

#include "codec/cpu_dispatch.h"
#include "codec/page_columns.h"

namespace pgmint::codec {

/// How many words from the start and from the end of each tuple's data are columns.
struct WordChoice {
  std::uint32_t prefix = 0, suffix = 0;
  std::uint32_t bytes() const { return 4 * (prefix + suffix); }
  bool operator==(const WordChoice&) const = default;
};

/// Four words of one tuple, or of one column.
using Words4 [[gnu::vector_size(16)]] = std::uint32_t;

PGMINT_INLINE Words4 load_words4(const void* from) {
  Words4 v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

PGMINT_INLINE void store_words4(void* to, Words4 v) {
  std::memcpy(to, &v, sizeof v);
}

/// Rows to columns, or columns to rows.
PGMINT_INLINE std::array<Words4, 4> transpose(Words4 a, Words4 b, Words4 c, Words4 d) {
  const Words4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Words4 ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return {__builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
          __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5), __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7)};
}

/// Tuples of one page whose data is long enough for the words.
class TupleWords {
 public:
  /// @param data, size  where in the page the data begins, and its bytes
  PGMINT_INLINE void set(std::uint32_t i, std::uint32_t data, std::uint32_t size, const WordChoice& choice) {
    begin_[i] = static_cast<std::uint16_t>(data);
    tail_[i] = static_cast<std::uint16_t>(data + size - 4 * choice.suffix);
  }

  /// Calls each(column, i, at) for every word: of which column behind the first, of which tuple, and where in the page.
  template <class Each>
  PGMINT_INLINE void for_each(std::uint32_t count, const WordChoice& choice, const Each& each) const {
    for (std::uint32_t w = 0; w < choice.prefix; ++w)
      for (std::uint32_t i = 0; i < count; ++i) each(w, i, begin_[i] + 4 * w);
    for (std::uint32_t w = 0; w < choice.suffix; ++w)
      for (std::uint32_t i = 0; i < count; ++i) each(choice.prefix + w, i, tail_[i] + 4 * (choice.suffix - 1 - w));
  }

  /// The same for a page that is read: calls four(column, i, words) for tuples i to i + 3, and one(column, i, word) for those that are left.
  /// @param readable  whether the 16 bytes behind the page may be read
  template <class Four, class One>
  PGMINT_INLINE void read(PagePointer page, bool readable, std::uint32_t count, const WordChoice& choice, const Four& four, const One& one) const {
    const auto single = [&](std::uint32_t column, std::uint32_t i, std::uint32_t at) PGMINT_INLINE_LAMBDA { one(column, i, load32(page + at)); };
    if (!readable || count < 4) return for_each(count, choice, single);
    for (std::uint32_t w = 0; w < choice.prefix; w += 4) {
      const std::uint32_t n = choice.prefix - w;
      transpose_all(page + 4 * w, begin_, count, [&](std::uint32_t i, const std::array<Words4, 4>& words) PGMINT_INLINE_LAMBDA {
        four(w, i, words[0]);
        if (n > 1) four(w + 1, i, words[1]);
        if (n > 2) four(w + 2, i, words[2]);
        if (n > 3) four(w + 3, i, words[3]);
      });
    }
    if (choice.suffix != 0) {
      const std::uint32_t last = choice.prefix + choice.suffix - 1;
      transpose_all(page, tail_, count, [&](std::uint32_t i, const std::array<Words4, 4>& words) PGMINT_INLINE_LAMBDA {
        four(last, i, words[0]);
        if (choice.suffix > 1) four(last - 1, i, words[1]);
        if (choice.suffix > 2) four(last - 2, i, words[2]);
        if (choice.suffix > 3) four(last - 3, i, words[3]);
      });
    }
  }

 private:
  using Places = std::array<std::uint16_t, kLinePointersMax>;

  /// The last four once more with some before them, if they are fewer.
  template <class Use>
  PGMINT_INLINE static void transpose_all(PagePointer page, const Places& places, std::uint32_t count, const Use& use) {
    for (std::uint32_t i = 0; i < count; i += 4) {
      i = std::min(i, count - 4);
      const std::uint16_t* at = places.data() + i;
      use(i, transpose(load_words4(page + at[0]), load_words4(page + at[1]), load_words4(page + at[2]), load_words4(page + at[3])));
    }
  }

  Places begin_, tail_;
};

}  // namespace pgmint::codec
