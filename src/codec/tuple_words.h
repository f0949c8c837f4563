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

  /// From the page to the columns, for who takes it apart.
  /// @param columns   from the first of the words' on, their ends
  /// @param readable  whether the 16 bytes behind the page may be read
  PGMINT_INLINE void take(PagePointer page, bool readable, std::uint32_t count, const WordChoice& choice, std::uint32_t* columns) const {
    const std::uint32_t whole = readable ? count & ~3U : 0;
    for_each_run(choice, [&](const Places& places, std::uint32_t distance, std::uint32_t n, const Run& run) PGMINT_INLINE_LAMBDA {
      for (std::uint32_t i = 0; i < whole; i += 4) {
        const std::uint16_t* at = places.data() + i;
        const PagePointer from = page + distance;
        const auto words = transpose(load_words4(from + at[0]), load_words4(from + at[1]), load_words4(from + at[2]), load_words4(from + at[3]));
        for (std::uint32_t k = 0; k < 4; ++k)
          if (k < n) store_words4(columns + run.column(k) + i, words[k]);
      }
      for (std::uint32_t i = whole; i < count; ++i)
        for (std::uint32_t k = 0; k < n; ++k) columns[run.column(k) + i] = load32(page + places[i] + distance + 4 * k);
    });
  }

  /// From the columns to the page: target.put_row(place, words, how many of them), or put32(place, word).
  /// @param readable  whether the 16 bytes behind the page may be read, as who compares does
  template <class Target>
  PGMINT_INLINE void put(Target& target, typename Target::Page page, bool readable, std::uint32_t count, const WordChoice& choice,
                         const std::uint32_t* columns) const {
    const std::uint32_t whole = readable ? count & ~3U : 0;
    for_each_run(choice, [&](const Places& places, std::uint32_t distance, std::uint32_t n, const Run& run) PGMINT_INLINE_LAMBDA {
      const auto words = [&](std::uint32_t k, std::uint32_t i) PGMINT_INLINE_LAMBDA {
        return k < n ? load_words4(columns + run.column(k) + i) : Words4{};
      };
      for (std::uint32_t i = 0; i < whole; i += 4) {
        const auto rows = transpose(words(0, i), words(1, i), words(2, i), words(3, i));
        for (std::uint32_t k = 0; k < 4; ++k) target.put_row(page + places[i + k] + distance, rows[k], n);
      }
      for (std::uint32_t i = whole; i < count; ++i)
        for (std::uint32_t k = 0; k < n; ++k) target.put32(page + places[i] + distance + 4 * k, columns[run.column(k) + i]);
    });
  }

 private:
  using Places = std::array<std::uint16_t, kLinePointersMax>;

  /// Up to four words of a tuple that follow each other: those from the start in the order of their columns, those from the end in the opposite one.
  struct Run {
    std::uint32_t first;
    bool backwards;
    PGMINT_INLINE std::size_t column(std::uint32_t k) const { return (backwards ? first - k : first + k) * Columns::next_column(); }
  };

  /// Calls use(places of the tuples, bytes from there, words, run).
  template <class Use>
  PGMINT_INLINE void for_each_run(const WordChoice& choice, const Use& use) const {
    for (std::uint32_t w = 0; w < choice.prefix; w += 4) use(begin_, 4 * w, std::min(4U, choice.prefix - w), Run{w, false});
    static_assert(kSuffixWordsMax <= 4);
    if (choice.suffix != 0) use(tail_, 0U, choice.suffix, Run{choice.prefix + choice.suffix - 1, true});
  }

  Places begin_, tail_;
};

}  // namespace pgmint::codec
