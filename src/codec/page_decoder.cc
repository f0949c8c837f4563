#include "codec/page_decoder.h"

#include <algorithm>

#include "codec/binary.h"
#include "codec/short_copy.h"

namespace pgmint::codec {
namespace {

/// 32 bytes at once.
using Lanes [[gnu::vector_size(32)]] = std::uint64_t;
constexpr std::uint32_t kLanes = sizeof(Lanes);

/// From kLanes - n on: n bytes of ones, then zeros.
constexpr auto kFirstBytes = [] {
  std::array<unsigned char, std::size_t{2} * kLanes> mask{};
  for (std::size_t i = 0; i < kLanes; ++i) mask[i] = 0xFF;
  return mask;
}();

/// Where the bytes of pages go: written ... Loops have a target of their own, which stays in a register.
struct Writing {
  static constexpr bool kCompares = false;
  using Page = unsigned char*;
  PGMINT_INLINE void put16(Page at, std::uint32_t v) { store16(at, v); }
  PGMINT_INLINE void put32(Page at, std::uint32_t v) { store32(at, v); }
  PGMINT_INLINE void put64(Page at, std::uint64_t v) { store64(at, v); }
  PGMINT_INLINE void put_block(Page at, std::uint32_t block) { store_block(at, block); }
  PGMINT_INLINE void copy(Page to, PagePointer from, std::uint32_t n) { copy_exactly(to, from, n); }
  PGMINT_INLINE void zero(Page at, std::uint32_t n) { std::memset(at, 0, n); }
  bool same() const { return true; }
  void add(const Writing&) {}
};

/// ... or held against pages that are there, without a copy of them. It is up to the caller to know that every byte was asked about.
struct Comparing {
  static constexpr bool kCompares = true;
  using Page = PagePointer;
  PagePointer group_end = nullptr, remainder_end = nullptr;
  std::uint64_t differing = 0;
  Lanes differing_lanes{};
  PGMINT_INLINE void put16(Page at, std::uint32_t v) { differing |= load16(at) ^ (v & 0xFFFF); }
  PGMINT_INLINE void put32(Page at, std::uint32_t v) { differing |= load32(at) ^ v; }
  PGMINT_INLINE void put64(Page at, std::uint64_t v) { differing |= load64(at) ^ v; }
  PGMINT_INLINE void put_block(Page at, std::uint32_t block) { differing |= load_block(at) ^ block; }
  PGMINT_INLINE void compare_lanes(PagePointer a, PagePointer b) {
    Lanes x, y;
    std::memcpy(&x, a, sizeof x);
    std::memcpy(&y, b, sizeof y);
    differing_lanes |= x ^ y;
  }
  /// n of the kLanes bytes that are there.
  PGMINT_INLINE void compare_first(PagePointer a, PagePointer b, std::uint32_t n) {
    Lanes x, y, mask;
    std::memcpy(&x, a, sizeof x);
    std::memcpy(&y, b, sizeof y);
    std::memcpy(&mask, kFirstBytes.data() + kLanes - n, sizeof mask);
    differing_lanes |= (x ^ y) & mask;
  }
  /// Most are short, of any length: 32 bytes at once, where there are so many, need no branch that guesses it.
  PGMINT_INLINE void copy(Page to, PagePointer from, std::uint32_t n) {
    if (n > kLanes) {
      for (std::uint32_t i = 0; i + kLanes < n; i += kLanes) compare_lanes(to + i, from + i);
      compare_lanes(to + n - kLanes, from + n - kLanes);
    } else if (group_end - to >= kLanes && remainder_end - from >= kLanes) {
      compare_first(to, from, n);
    } else {
      for (std::uint32_t i = 0; i < n; ++i) differing |= static_cast<std::uint64_t>(to[i] ^ from[i]);
    }
  }
  PGMINT_INLINE void zero(Page at, std::uint32_t n) { differing |= all_zero(at, n) ? 0 : 1; }
  bool same() const { return (differing | differing_lanes[0] | differing_lanes[1] | differing_lanes[2] | differing_lanes[3]) == 0; }
  void add(const Comparing& other) { differing |= other.differing, differing_lanes |= other.differing_lanes; }
};

/// Shrinking fronts of the streams while a group is put together.
///
/// What is taken from a column is not held against its size word by word: a page takes at most 2,042 words of it, one for each line
/// pointer, so that a group stays within kColumnCapacity and reads at worst what an earlier record left there. That every column was
/// used up exactly is checked in the end (ended_exactly). Columns of which one tuple takes several words (null bits, TIDs) are checked
/// as they are used.
template <class Target>
struct Source {
  using Page = typename Target::Page;
  const Columns& columns;
  PagePointer flags, flags_end;
  PagePointer remainder, remainder_end;
  std::uint32_t prefix = 0, suffix = 0;
  std::uint32_t words = 0;
  std::uint64_t h0 = 0, h1 = 0, h2 = 0;
  std::array<std::uint32_t, kColumnCount> at{};
  Target start{};  ///< for the loop over a page
  Target total{};  ///< of the pages so far

  PGMINT_INLINE std::uint32_t pull(std::size_t column) { return columns.words(column)[at[column]++]; }
  PGMINT_INLINE std::uint32_t pull(Column column) { return pull(index_of(column)); }

  PGMINT_INLINE bool take(Target& target, Page to, std::uint32_t n) {
    if (n > static_cast<std::size_t>(remainder_end - remainder)) return false;
    target.copy(to, remainder, n);
    remainder += n;
    return true;
  }

  /// A tuple's data, as Sink::split() left it.
  PGMINT_INLINE bool join(Target& target, Page data, std::uint32_t size) {
    const std::uint32_t taken = 4 * (prefix + suffix);
    if (size < taken) return take(target, data, size);
    const std::uint32_t* word = columns.words(Column::Word) + words++;
    for (std::uint32_t w = 0; w < prefix; ++w, word += Columns::next_column()) target.put32(data + 4 * w, *word);
    for (std::uint32_t w = 0; w < suffix; ++w, word += Columns::next_column()) target.put32(data + size - 4 * (w + 1), *word);
    return size == taken || take(target, data + 4 * prefix, size - taken);
  }

  bool ended_exactly() {
    for (std::uint32_t w = 0; w < prefix + suffix; ++w) at[index_of(Column::Word, w)] = words;
    return at == columns.sizes && flags == flags_end && remainder == remainder_end;
  }
};

/// A page's kind and layout, from its first words.
struct Layout {
  std::uint32_t kind, lower, upper, special, fixed_length = 0;
  bool has(KindBit bit) const { return (kind & bit) != 0; }
  std::uint32_t items() const { return (lower - kPageHeaderSize) / 4; }
  bool possible() const {
    return lower >= kPageHeaderSize && lower <= upper && upper <= special && special <= kPageSize && (special & 3) == 0 &&
           kPageSize - special <= 4 * kSpecialWordsMax;
  }
};

/// Line pointers of one page as they are put together.
template <class Target>
struct Items {
  typename Target::Page page;
  const Layout& layout;
  std::uint32_t previous;  ///< where the tuple before begins
  std::uint32_t covered = 0;
  std::uint32_t all_flags = 0;

  /// Whether the tuples are as many bytes as there is room for: none is left that nobody wrote. Who compares does not rely on that they
  /// do not overlap either.
  bool fill_the_page() const {
    if (covered != layout.special - layout.upper) return false;
    return !Target::kCompares || (all_flags & kFlagPointer) == 0 || all_apart();
  }

  /// Whether no two tuples share a byte, by line pointers that were held against the page.
  bool all_apart() const {
    std::array<std::uint64_t, kPageSize / 8 / 64> taken{};
    for (std::uint32_t i = 0; i < layout.items(); ++i) {
      const LinePointer item = line_pointer(page, i);
      if (item.length() == 0) continue;
      if ((item.offset() & 7) != 0 || item.offset() < layout.upper || item.offset() + align8(item.length()) > layout.special) return false;
      std::uint32_t from = item.offset() / 8;
      for (std::uint32_t left = align8(item.length()) / 8; left != 0;) {
        const std::uint32_t in_word = std::min(left, 64 - from % 64);
        const std::uint64_t bits = (in_word == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << in_word) - 1) << from % 64;
        if ((taken[from / 64] & bits) != 0) return false;
        taken[from / 64] |= bits;
        from += in_word, left -= in_word;
      }
    }
    return true;
  }

  struct Item {
    std::uint32_t offset, length, flags;
  };
  /// False when the tuple would not lie within the page.
  PGMINT_INLINE bool next(Source<Target>& source, Target& target, std::uint32_t i, std::uint32_t length_min, Item& item) {
    item.length = layout.has(kKindFixedLength) ? layout.fixed_length : source.pull(Column::Length) & 0x7FFF;
    item.flags = layout.has(kKindNoFlags) ? 0 : *source.flags++;
    const std::uint32_t size = align8(item.length);
    const bool at_upper = i == 0 && layout.has(kKindHighKeyFirst);
    item.offset = at_upper ? layout.upper : previous - size;
    std::uint32_t bits = (item.offset & 0x7FFF) | LinePointer::kNormal << 15;
    if ((item.flags & kFlagPointer) != 0) {
      bits = source.pull(Column::PointerBits) & 0x1FFFF;
      item.offset = bits & 0x7FFF;
    }
    target.put32(page + kPageHeaderSize + 4 * i, bits | item.length << 17);
    all_flags |= item.flags;
    if (item.length == 0) return true;
    if (item.length < length_min || item.offset > kPageSize || size > kPageSize - item.offset) return false;
    if (!at_upper) previous = item.offset;
    covered += size;
    return true;
  }
};

template <class Target>
PGMINT_INLINE bool put_null_bits(Source<Target>& source, Target& target, typename Target::Page tuple, std::uint32_t data) {
  if (data == kHeapHeaderSize) return true;
  constexpr auto kBits = index_of(Column::NullBits);
  if ((data - kHeapHeaderSize) / 4 > source.columns.sizes[kBits] - source.at[kBits]) return false;
  for (std::uint32_t at = kHeapHeaderSize; at < data; at += 4) target.put32(tuple + at, source.pull(kBits));
  return true;
}

/// What is behind a tuple whose length is no multiple of eight: zeros, unless the page has padding, which then comes with the data.
template <class Target>
PGMINT_INLINE void put_zero_padding(Target& target, typename Target::Page tuple, std::uint32_t length, bool padding) {
  const auto last = tuple + align8(length) - 8;
  if constexpr (Target::kCompares)
    target.differing |= padding ? 0 : load64(last) >> (8 * (length & 7));
  else
    target.put64(last, 0);  // what the tuple has of it is written later
}

template <class Target>
PGMINT_INLINE bool put_heap(Source<Target>& source, typename Target::Page page, const Layout& layout) {
  const std::uint32_t block = source.pull(Column::Block);
  const std::uint64_t own = std::uint64_t{block >> 16} << 32 | std::uint64_t{block & 0xFFFF} << 48;
  Items<Target> items{page, layout, layout.special};
  Target target = source.start;
  std::uint64_t h0 = source.h0, h1 = source.h1, h2 = source.h2;
  const auto replace = [](std::uint64_t& in, std::uint64_t mask, std::uint64_t value) { in = (in & ~mask) | value; };
  for (std::uint32_t i = 0; i < layout.items(); ++i) {
    typename Items<Target>::Item item;
    if (!items.next(source, target, i, kHeapHeaderSize, item)) return false;
    if (item.length == 0) continue;
    const auto tuple = page + item.offset;
    const std::uint32_t size = align8(item.length);
    const bool padding = layout.has(kKindPadding);
    if ((item.length & 7) != 0) put_zero_padding(target, tuple, item.length, padding);
    h1 = (h1 & 0xFFFF'FFFFU) | own;
    replace(h2, 0xFFFF, i + 1);
    if ((item.flags & ~std::uint32_t{kFlagPointer}) != 0) {
      if ((item.flags & kFlagXmin) != 0) replace(h0, 0xFFFF'FFFFU, source.pull(Column::Xmin));
      if ((item.flags & kFlagXmax) != 0) replace(h0, 0xFFFF'FFFF'0000'0000U, std::uint64_t{source.pull(Column::Xmax)} << 32);
      if ((item.flags & kFlagCid) != 0) replace(h1, 0xFFFF'FFFFU, source.pull(Column::Cid));
      if ((item.flags & kFlagCtid) != 0) {
        const std::uint32_t other = source.pull(Column::CtidBlock) + block;
        h1 = (h1 & 0xFFFF'FFFFU) | std::uint64_t{other >> 16} << 32 | std::uint64_t{other & 0xFFFF} << 48;
        replace(h2, 0xFFFF, (source.pull(Column::CtidItem) + i + 1) & 0xFFFF);
      }
      if ((item.flags & kFlagInfomask) != 0) replace(h2, 0xFFFF'FFFF'0000U, std::uint64_t{source.pull(Column::Infomask)} << 16);
      if ((item.flags & kFlagHoff) != 0) replace(h2, 0xFFFF'0000'0000'0000U, std::uint64_t{source.pull(Column::Hoff) & 0xFFFF} << 48);
    }
    target.put64(tuple, h0);
    target.put64(tuple + 8, h1);
    target.put64(tuple + 16, h2);
    static_assert(kHoffAt == 16 + 6);
    const std::uint32_t data = heap_data_offset(static_cast<std::uint32_t>(h2 >> 48 & 0xFF), item.length);
    if (!put_null_bits(source, target, tuple, data)) return false;
    if (!source.join(target, tuple + data, (padding ? size : item.length) - data)) return false;
  }
  source.h0 = h0, source.h1 = h1, source.h2 = h2;
  source.total.add(target);
  return items.fill_the_page();
}

template <class Target>
PGMINT_INLINE bool put_posting(Source<Target>& source, Target& target, typename Target::Page tuple, std::uint32_t length, std::uint32_t info) {
  const std::uint32_t offset = source.pull(Column::PostingOffset), status = source.pull(Column::PostingStatus);
  const std::uint32_t count = posting_count(offset, status & 0xFFFF, info, length);
  constexpr auto kTids = index_of(Column::TidBlock), kItems = index_of(Column::TidItem);
  if (count == 0 || count > source.columns.sizes[kTids] - source.at[kTids] || count > source.columns.sizes[kItems] - source.at[kItems])
    return false;
  target.put_block(tuple, offset);
  target.put16(tuple + 4, status);
  target.put16(tuple + 6, info);
  auto member = tuple + offset;
  const std::uint32_t* blocks = source.columns.words(kTids) + source.at[kTids];
  const std::uint32_t* tid_items = source.columns.words(kItems) + source.at[kItems];
  for (std::uint32_t j = 0; j < count; ++j, member += 6) {
    target.put_block(member, blocks[j]);
    target.put16(member + 4, tid_items[j]);
  }
  source.at[kTids] += count;
  source.at[kItems] += count;
  return source.join(target, tuple + kIndexHeaderSize, offset - kIndexHeaderSize) && source.take(target, member, length - offset - count * 6);
}

template <class Target>
PGMINT_INLINE bool put_index(Source<Target>& source, typename Target::Page page, const Layout& layout) {
  constexpr auto kTids = index_of(Column::TidBlock), kItems = index_of(Column::TidItem);
  Items<Target> items{page, layout, layout.special};
  Target target = source.start;
  for (std::uint32_t i = 0; i < layout.items(); ++i) {
    typename Items<Target>::Item item;
    if (!items.next(source, target, i, kIndexHeaderSize, item)) return false;
    if (item.length == 0) continue;
    if (Target::kCompares && (item.length & 7) != 0) return false;  // nothing would say what is behind it
    const auto tuple = page + item.offset;
    std::uint32_t info = item.length;
    if ((item.flags & kFlagInfo) != 0) info = (info + source.pull(Column::IndexInfo)) & 0xFFFF;
    if ((item.flags & kFlagPosting) != 0) {
      if (!put_posting(source, target, tuple, item.length, info)) return false;
      continue;
    }
    // Posting lists make these two columns longer than one word for each item: they are held against their size.
    if (source.at[kTids] >= source.columns.sizes[kTids] || source.at[kItems] >= source.columns.sizes[kItems]) return false;
    target.put_block(tuple, source.pull(kTids));
    target.put16(tuple + 4, source.pull(kItems));
    target.put16(tuple + 6, info);
    if (!source.join(target, tuple + kIndexHeaderSize, item.length - kIndexHeaderSize)) return false;
  }
  source.total.add(target);
  return items.fill_the_page();
}

template <class Target>
PGMINT_INLINE bool put_page(Source<Target>& source, std::uint32_t kind, typename Target::Page page) {
  const auto model = static_cast<PageModel>(kind & kKindModel);
  if (model == PageModel::Zero) {
    source.total.zero(page, kPageSize);
    return true;
  }
  if (model == PageModel::Raw) return source.take(source.total, page, kPageSize);
  for (std::uint32_t w = 0; w < kHeaderWords; ++w) source.total.put32(page + 4 * w, source.pull(index_of(Column::Header, w)));
  // In a page that is compared these may be others than the columns say: then it is not the same, and what follows is as good as any.
  Layout layout{kind, load16(page + kLowerAt), load16(page + kUpperAt), load16(page + kSpecialAt)};
  if (!layout.possible() || (Target::kCompares && (layout.lower & 3) != 0)) return false;
  for (std::uint32_t w = 0; layout.special + 4 * w < kPageSize; ++w)
    source.total.put32(page + layout.special + 4 * w, source.pull(index_of(Column::Special, w)));
  const std::uint32_t hole = layout.upper - layout.lower;
  if (!layout.has(kKindHole))
    source.total.zero(page + layout.lower, hole);
  else if (!source.take(source.total, page + layout.lower, hole))
    return false;
  if (layout.has(kKindFixedLength)) layout.fixed_length = source.pull(Column::Length) & 0x7FFF;
  if (!layout.has(kKindNoFlags) && layout.items() > static_cast<std::size_t>(source.flags_end - source.flags)) return false;
  return model == PageModel::Heap ? put_heap(source, page, layout) : put_index(source, page, layout);
}

template <class Target>
PGMINT_INLINE bool put_all(Source<Target>& source, PagePointer kinds, std::uint32_t count, typename Target::Page pages) {
  for (std::uint32_t g = 0; g < count; ++g)
    if (!put_page(source, kinds[g], pages + std::size_t{g} * kPageSize)) return false;
  return true;
}

#if PGMINT_HAS_AVX2_BUILD
template <class Target>
PGMINT_TARGET_AVX2 bool put_all_avx2(Source<Target>& source, PagePointer kinds, std::uint32_t count, typename Target::Page pages) {
  return put_all(source, kinds, count, pages);
}
#endif

/// One group from its streams to `pages`, whose size is `size`. False: not the same.
/// @param fill  the columns from their planes: merge_columns(), or columns_match()
template <class Target, class Fill>
Result<bool> put_group(const Columns& columns, const Fill& fill, [[maybe_unused]] CpuPath path, ByteView control, ByteView raw, ByteView remainder,
                       typename Target::Page to, std::size_t size) {
  const auto pages = static_cast<std::uint32_t>(size / kPageSize);
  BinaryReader in(control, "page record");
  const auto choice = TRY(in.u8());
  const auto kinds = TRY(in.raw(pages));
  if (choice >> 4 > kPrefixWordsMax || (choice & 15) > kSuffixWordsMax) return in.corrupt("impossible word counts");
  PlaneSource planes{control.subspan(in.position()), raw};
  if (!TRY(fill(planes))) return false;
  if (!planes.raw.empty()) return in.corrupt("raw planes are left over");

  Source<Target> source{columns, as_u8(planes.packed), as_u8(planes.packed) + planes.packed.size(), as_u8(remainder),
                        as_u8(remainder) + remainder.size()};
  if constexpr (Target::kCompares) source.start = source.total = {to + size, source.remainder_end};
  source.prefix = choice >> 4;
  source.suffix = choice & 15;
#if PGMINT_HAS_AVX2_BUILD
  const bool whole = path == CpuPath::Avx2 ? put_all_avx2(source, as_u8(kinds), pages, to) : put_all(source, as_u8(kinds), pages, to);
#else
  const bool whole = put_all(source, as_u8(kinds), pages, to);
#endif
  const std::size_t paged = std::size_t{pages} * kPageSize;
  if (!whole || !source.take(source.total, to + paged, static_cast<std::uint32_t>(size - paged)) || !source.ended_exactly())
    return in.corrupt("pages and columns do not fit together");
  return source.total.same();
}

}  // namespace

struct PageDecoder::State {
  CpuPath path;
  Columns columns;
};

PageDecoder::PageDecoder(CpuPath path) : state_(std::make_unique<State>()) { state_->path = path; }
PageDecoder::PageDecoder(PageDecoder&&) noexcept = default;
PageDecoder::~PageDecoder() = default;

Status PageDecoder::decode(ByteView control, ByteView raw, ByteView remainder, MutableByteView out) {
  PGMINT_ASSERT(!out.empty() && out.size() <= kGroupSize);
  auto& columns = state_->columns;
  const auto fill = [&](PlaneSource& planes) -> Result<bool> {
    TRY(merge_columns(planes, columns, state_->path));
    return true;
  };
  TRY(put_group<Writing>(columns, fill, state_->path, control, raw, remainder, as_u8(out), out.size()));
  return ok();
}

bool reproduces(ByteView control, ByteView raw, ByteView remainder, const Columns& columns, ByteView group, CpuPath path) {
  PGMINT_ASSERT(!group.empty() && group.size() <= kGroupSize);
  const auto fill = [&](PlaneSource& planes) { return columns_match(planes, columns, path); };
  const auto same = put_group<Comparing>(columns, fill, path, control, raw, remainder, as_u8(group), group.size());
  return same && *same;
}

}  // namespace pgmint::codec
