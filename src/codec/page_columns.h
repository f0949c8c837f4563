// The intermediate form of a group of pages, between the page model and the byte planes: columns of 32-bit words, flag bytes, and the
// remainder. Its order is format: docs/format/page-codec.md.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>

#include "codec/page_layout.h"

namespace pgmint::codec {

inline constexpr std::uint32_t kPrefixWordsMax = 10;
inline constexpr std::uint32_t kSuffixWordsMax = 4;

/// What a column holds; one word for each page, tuple or exception.
enum class Column : std::uint8_t {
  Header,                                     ///< six: the words of the page header
  Special = Header + kHeaderWords,            ///< up to four: the words of the special space
  Block = Special + kSpecialWordsMax,         ///< the heap page's own block number, for predictions
  Length,                                     ///< lp_len
  PointerBits,                                ///< lp_off and lp_flags where they are not as predicted
  Xmin, Xmax, Cid,                            ///< where they differ from the tuple before
  CtidBlock, CtidItem,                        ///< where t_ctid is not the tuple's own place
  Infomask, Hoff,                             ///< t_infomask2 and t_infomask; t_hoff and the byte behind it
  NullBits,                                   ///< what stands between the header and the data
  IndexInfo,                                  ///< t_info less the length, where not 0
  TidBlock, TidItem,                          ///< t_tid, and the members of posting lists
  PostingOffset, PostingStatus,               ///< t_tid of a tuple that has a posting list
  Word,                                       ///< up to 14: words from the start, then from the end of the tuple's data
  Count = Word + kPrefixWordsMax + kSuffixWordsMax
};
inline constexpr auto kColumnCount = static_cast<std::size_t>(Column::Count);
inline constexpr std::size_t index_of(Column c, std::uint32_t i = 0) { return static_cast<std::size_t>(c) + i; }

/// A page has at most kLinePointersMax items and 1,365 members of posting lists, so a group never has more words of one kind.
inline constexpr std::uint32_t kColumnCapacity = kGroupPagesMax * 2048;
static_assert(kLinePointersMax < 2048);

/// Bits of a page's kind, above the model.
enum KindBit : std::uint8_t { kKindModel = 3, kKindNoFlags = 4, kKindHole = 8, kKindPadding = 16, kKindFixedLength = 32, kKindHighKeyFirst = 64 };
/// Bits of a tuple's flags: which columns have a word for it.
enum TupleFlag : std::uint8_t { kFlagPointer = 1 };
enum HeapFlag : std::uint8_t { kFlagXmin = 2, kFlagXmax = 4, kFlagCid = 8, kFlagCtid = 16, kFlagInfomask = 32, kFlagHoff = 64 };
enum IndexFlag : std::uint8_t { kFlagInfo = 2, kFlagPosting = 4 };

/// Zeroed memory, resident only where it is used: a group of one kind fills a few columns of many.
template <class T>
class LazyArray {
 public:
  explicit LazyArray(std::size_t count) : data_(static_cast<T*>(std::calloc(count, sizeof(T)))) { PGMINT_ASSERT(data_ != nullptr); }
  T* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

class Columns {
 public:
  Columns() : words_(kColumnCount * kStride) {}
  std::uint32_t* words(std::size_t column) const { return words_.get() + column * kStride; }
  std::uint32_t* words(Column column) const { return words(index_of(column)); }
  /// From a word of one column to the same word of the next.
  static constexpr std::size_t next_column() { return kStride; }
  void clear() { sizes.fill(0); }
  std::array<std::uint32_t, kColumnCount> sizes{};

 private:
  /// Five cache lines more than a column has: the same word of many columns, which a tuple takes at once, would else compete for the same few
  /// places of every cache.
  static constexpr std::size_t kStride = kColumnCapacity + 5 * 16;
  LazyArray<std::uint32_t> words_;
};

}  // namespace pgmint::codec
