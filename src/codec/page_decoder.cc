#include "codec/page_decoder.h"

#include <algorithm>

#include "codec/binary.h"
#include "codec/page_target.h"

namespace pgmint::codec {
namespace {

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
  TupleWords& tuples;  ///< of this page
  WordChoice choice;
  PagePointer flags, flags_end;
  PagePointer remainder, remainder_end;
  Page pages_end;
  std::uint32_t words = 0;
  std::uint64_t h0 = 0, h1 = 0, h2 = 0;
  std::array<std::uint32_t, kColumnCount> at{};
  Target start{};  ///< for the loop over a page
  Target total{};  ///< of the pages so far

  PGMINT_INLINE const std::uint32_t* next_words(std::size_t column) const { return columns.words(column) + at[column]; }
  PGMINT_INLINE std::uint32_t pull(std::size_t column) { return columns.words(column)[at[column]++]; }
  PGMINT_INLINE std::uint32_t pull(Column column) { return pull(index_of(column)); }

  /// Bytes that are no tuple's.
  PGMINT_INLINE bool take(Page to, std::uint32_t n) {
    if (n > static_cast<std::size_t>(remainder_end - remainder)) return false;
    total.copy(to, remainder, n);
    remainder += n;
    return true;
  }

  bool ended_exactly() {
    for (std::uint32_t w = 0; w < choice.prefix + choice.suffix; ++w) at[index_of(Column::Word, w)] = words;
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

/// The tuples of one page as they are put together: what moves on with each of them, on the stack of the loop over them. On close() the page's words
/// follow, and the streams are where they are then.
template <class Target>
struct Items {
  using Page = typename Target::Page;
  Source<Target>& source;
  Page page;
  const Layout& layout;
  Target target = source.start;
  std::uint32_t previous = layout.special;  ///< where the tuple before begins
  std::uint32_t covered = 0, all_flags = 0;
  const std::uint32_t* lengths = source.columns.words(Column::Length) + source.at[index_of(Column::Length)];
  PagePointer flags = source.flags, remainder = source.remainder;
  std::uint32_t split = 0;  ///< tuples whose data was split into words and the rest
  const WordChoice choice = source.choice;
  /// What follows the page, pages or a piece of one, may be read where it is as long as what is compared at once.
  const std::ptrdiff_t behind = source.pages_end - (page + kPageSize);
  /// Whether neither the end of the group nor that of the remainder is near. Of the remainder the tuples take no more than they have room for in the page.
  const bool within = behind >= kLanes && source.remainder_end - source.remainder >= kPageSize + kLanes;

  /// Its words come on close().
  PGMINT_INLINE void put_words() {
    source.tuples.put(target, page, behind >= std::ptrdiff_t{sizeof(Words4)}, split, choice, source.columns.words(Column::Word) + source.words);
    source.words += split;
    split = 0;
  }

  /// False where the tuples leave bytes of the page to nobody.
  PGMINT_INLINE bool close() {
    put_words();
    source.at[index_of(Column::Length)] = static_cast<std::uint32_t>(lengths - source.columns.words(Column::Length));
    source.flags = flags;
    source.remainder = remainder;
    source.total.add(target);
    return fill_the_page();
  }

  PGMINT_INLINE bool take(Page to, std::uint32_t n) {
    if (n > static_cast<std::size_t>(source.remainder_end - remainder)) return false;
    within ? target.copy_within(to, remainder, n) : target.copy(to, remainder, n);
    remainder += n;
    return true;
  }

  /// A tuple's data, as Sink::split() left it: what is between its words now, the words with the others of the page.
  PGMINT_INLINE bool join(std::uint32_t data, std::uint32_t size) {
    const std::uint32_t taken = choice.bytes();
    if (size < taken) return take(page + data, size);
    source.tuples.set(split++, data, size, choice);
    return size == taken || take(page + data + 4 * choice.prefix, size - taken);
  }

  /// Whether the tuples are as many bytes as there is room for: none is left that nobody wrote. Who compares does not rely on that they
  /// do not overlap either.
  PGMINT_INLINE bool fill_the_page() const {
    if (room() != 0) return false;
    return !Target::kCompares || (all_flags & kFlagPointer) == 0 || all_apart();
  }

  /// Whether no two tuples share a byte, by line pointers that were held against the page.
  PGMINT_INLINE bool all_apart() const {
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
  std::uint32_t room() const { return layout.special - layout.upper - covered; }

  /// False when the tuple would not lie within the page, or the tuples are more than there is room for.
  PGMINT_INLINE bool next(std::uint32_t i, std::uint32_t length_min, Item& item) {
    item.length = layout.has(kKindFixedLength) ? layout.fixed_length : *lengths++ & 0x7FFF;
    item.flags = layout.has(kKindNoFlags) ? 0 : *flags++;
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
    if (item.length < length_min || item.offset > kPageSize || size > kPageSize - item.offset || size > room()) return false;
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
  Items<Target> items{source, page, layout};
  std::uint64_t h0 = source.h0, h1 = source.h1, h2 = source.h2;
  const auto replace = [](std::uint64_t& in, std::uint64_t mask, std::uint64_t value) { in = (in & ~mask) | value; };
  for (std::uint32_t i = 0; i < layout.items(); ++i) {
    typename Items<Target>::Item item;
    if (!items.next(i, kHeapHeaderSize, item)) return false;
    if (item.length == 0) continue;
    const auto tuple = page + item.offset;
    const std::uint32_t size = align8(item.length);
    const bool padding = layout.has(kKindPadding);
    if ((item.length & 7) != 0) put_zero_padding(items.target, tuple, item.length, padding);
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
    items.target.put64(tuple, h0);
    items.target.put64(tuple + 8, h1);
    items.target.put64(tuple + 16, h2);
    static_assert(kHoffAt == 16 + 6);
    const std::uint32_t data = heap_data_offset(static_cast<std::uint32_t>(h2 >> 48 & 0xFF), item.length);
    if (!put_null_bits(source, items.target, tuple, data)) return false;
    if (!items.join(item.offset + data, (padding ? size : item.length) - data)) return false;
  }
  source.h0 = h0, source.h1 = h1, source.h2 = h2;
  return items.close();
}

constexpr auto kTids = index_of(Column::TidBlock), kTidItems = index_of(Column::TidItem);

/// Posting lists make the columns of TIDs longer than one word for each item: they are held against their size.
template <class Target>
PGMINT_INLINE bool has_tids(const Source<Target>& source, std::uint32_t count) {
  return count <= source.columns.sizes[kTids] - source.at[kTids] && count <= source.columns.sizes[kTidItems] - source.at[kTidItems];
}

template <class Target>
PGMINT_INLINE bool put_posting(Items<Target>& items, std::uint32_t tuple, std::uint32_t length, std::uint32_t info) {
  auto& source = items.source;
  const std::uint32_t offset = source.pull(Column::PostingOffset), status = source.pull(Column::PostingStatus);
  const std::uint32_t count = posting_count(offset, status & 0xFFFF, info, length);
  if (count == 0 || !has_tids(source, count)) return false;
  const auto to = items.page + tuple;
  items.target.put_block(to, offset);
  items.target.put16(to + 4, status);
  items.target.put16(to + 6, info);
  auto member = to + offset;
  const std::uint32_t *blocks = source.next_words(kTids), *tid_items = source.next_words(kTidItems);
  for (std::uint32_t j = 0; j < count; ++j, member += 6) {
    items.target.put_block(member, blocks[j]);
    items.target.put16(member + 4, tid_items[j]);
  }
  source.at[kTids] += count;
  source.at[kTidItems] += count;
  return items.join(tuple + kIndexHeaderSize, offset - kIndexHeaderSize) && items.take(member, length - offset - count * 6);
}

/// What take_two_word_run() takes: while four tuples have no flags, they and the line pointers to them are put together at once. Returns the first
/// tuple that was not.
template <class Target>
PGMINT_INLINE std::uint32_t put_two_word_run(Items<Target>& items, std::uint32_t i) {
  auto& source = items.source;
  const bool has_flags = !items.layout.has(kKindNoFlags);
  const Words4 steps{kTwoWordTuple, 2 * kTwoWordTuple, 3 * kTwoWordTuple, 4 * kTwoWordTuple};
  for (; i + 4 <= items.layout.items() && std::min(items.previous, items.room()) >= 4 * kTwoWordTuple && has_tids(source, 4); i += 4) {
    if (has_flags && load32(items.flags) != 0) break;
    const auto words = [&](std::uint32_t w) PGMINT_INLINE_LAMBDA { return load_words4(source.columns.words(index_of(Column::Word, w)) + source.words); };
    const Words4 blocks = load_words4(source.next_words(kTids)), tid_items = load_words4(source.next_words(kTidItems));
    const auto tuples = transpose(blocks << 16 | blocks >> 16, (tid_items & 0xFFFF) | kTwoWordTuple << 16, words(0), words(1));
    items.target.put_words4(items.page + kPageHeaderSize + 4 * i, (items.previous - steps) | (LinePointer::kNormal << 15 | kTwoWordTuple << 17));
    for (const Words4 tuple : tuples) items.target.put_words4(items.page + (items.previous -= kTwoWordTuple), tuple);
    items.covered += 4 * kTwoWordTuple;
    items.flags += has_flags ? 4 : 0;
    source.at[kTids] += 4;
    source.at[kTidItems] += 4;
    source.words += 4;
  }
  return i;
}

/// Tuples without posting lists, one behind the other: nothing has to be held against the ends of the streams. Returns the first tuple that was not
/// put together.
template <class Target>
PGMINT_INLINE std::uint32_t put_plain_run(Items<Target>& items, std::uint32_t i) {
  auto& source = items.source;
  const std::uint32_t from = i, end = items.layout.items();
  if (!items.within || !has_tids(source, end - i)) return i;
  const bool has_flags = !items.layout.has(kKindNoFlags), fixed_length = items.layout.has(kKindFixedLength);
  const WordChoice choice = items.choice;
  const std::uint32_t *blocks = source.next_words(kTids) - i, *tid_items = source.next_words(kTidItems) - i;  // by the number of the tuple
  std::uint32_t previous = items.previous;
  const std::uint32_t lowest = previous - std::min(previous, items.room());
  for (; i < end; ++i) {
    const std::uint32_t length = fixed_length ? items.layout.fixed_length : *items.lengths & 0x7FFF, flag = has_flags ? *items.flags : 0;
    if ((flag & ~std::uint32_t{kFlagInfo}) != 0 || length < kIndexHeaderSize || (length & 7) != 0 || length > previous - lowest) break;
    items.lengths += fixed_length ? 0 : 1;
    items.flags += has_flags ? 1 : 0;
    previous -= length;
    items.target.put32(items.page + kPageHeaderSize + 4 * i, previous | LinePointer::kNormal << 15 | length << 17);
    const std::uint32_t info = flag == 0 ? length : (length + source.pull(Column::IndexInfo)) & 0xFFFF;
    items.target.put64(items.page + previous, std::rotl(blocks[i], 16) | std::uint64_t{(tid_items[i] & 0xFFFF) | info << 16} << 32);
    const std::uint32_t data = previous + kIndexHeaderSize, size = length - kIndexHeaderSize;
    const bool whole = size < choice.bytes();
    const std::uint32_t rest = whole ? size : size - choice.bytes();
    source.tuples.set(items.split, data, size, choice);
    items.split += whole ? 0 : 1;
    items.target.copy_within(items.page + data + (whole ? 0 : 4 * choice.prefix), items.remainder, rest);
    items.remainder += rest;
  }
  items.covered += items.previous - previous;
  items.previous = previous;
  source.at[kTids] += i - from;
  source.at[kTidItems] += i - from;
  return i;
}

template <class Target>
PGMINT_INLINE bool put_index_tuple(Items<Target>& items, std::uint32_t i) {
  auto& source = items.source;
  typename Items<Target>::Item item;
  if (!items.next(i, kIndexHeaderSize, item)) return false;
  if (item.length == 0) return true;
  if (Target::kCompares && (item.length & 7) != 0) return false;  // nothing would say what is behind it
  std::uint32_t info = item.length;
  if ((item.flags & kFlagInfo) != 0) info = (info + source.pull(Column::IndexInfo)) & 0xFFFF;
  if ((item.flags & kFlagPosting) != 0) return put_posting(items, item.offset, item.length, info);
  if (!has_tids(source, 1)) return false;
  const std::uint32_t block = source.pull(kTids), tid_item = source.pull(kTidItems) & 0xFFFF;
  items.target.put64(items.page + item.offset, std::rotl(block, 16) | std::uint64_t{tid_item | info << 16} << 32);
  return items.join(item.offset + kIndexHeaderSize, item.length - kIndexHeaderSize);
}

template <class Target>
PGMINT_INLINE bool put_index(Source<Target>& source, typename Target::Page page, const Layout& layout) {
  Items<Target> items{source, page, layout};
  const bool two_words = layout.has(kKindFixedLength) && layout.fixed_length == kTwoWordTuple && source.choice == WordChoice{2, 0};
  for (std::uint32_t i = 0; i < layout.items();) {
    if (i != 0 || !layout.has(kKindHighKeyFirst)) {
      if (two_words) items.put_words();
      i = two_words ? put_two_word_run(items, i) : put_plain_run(items, i);
      if (i == layout.items()) break;
    }
    if (!put_index_tuple(items, i++)) return false;
  }
  return items.close();
}

template <class Target>
PGMINT_INLINE bool put_page(Source<Target>& source, std::uint32_t kind, typename Target::Page page) {
  const auto model = static_cast<PageModel>(kind & kKindModel);
  if (model == PageModel::Zero) {
    source.total.zero(page, kPageSize);
    return true;
  }
  if (model == PageModel::Raw) return source.take(page, kPageSize);
  for (std::uint32_t w = 0; w < kHeaderWords; ++w) source.total.put32(page + 4 * w, source.pull(index_of(Column::Header, w)));
  // In a page that is compared these may be others than the columns say: then it is not the same, and what follows is as good as any.
  Layout layout{kind, load16(page + kLowerAt), load16(page + kUpperAt), load16(page + kSpecialAt)};
  if (!layout.possible() || (Target::kCompares && (layout.lower & 3) != 0)) return false;
  for (std::uint32_t w = 0; layout.special + 4 * w < kPageSize; ++w)
    source.total.put32(page + layout.special + 4 * w, source.pull(index_of(Column::Special, w)));
  const std::uint32_t hole = layout.upper - layout.lower;
  if (!layout.has(kKindHole))
    source.total.zero(page + layout.lower, hole);
  else if (!source.take(page + layout.lower, hole))
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
  const std::uint32_t counts = TRY(in.u8());
  const auto kinds = TRY(in.raw(pages));
  const WordChoice choice{counts >> 4, counts & 15};
  if (choice.prefix > kPrefixWordsMax || choice.suffix > kSuffixWordsMax) return in.corrupt("impossible word counts");
  PlaneSource planes{control.subspan(in.position()), raw};
  if (!TRY(fill(planes))) return false;
  if (!planes.raw.empty()) return in.corrupt("raw planes are left over");

  TupleWords tuples;
  const PagePointer flags = as_u8(planes.packed), rest = as_u8(remainder);
  Source<Target> source{columns, tuples, choice, flags, flags + planes.packed.size(), rest, rest + remainder.size(), to + size};
  if constexpr (Target::kCompares) source.start = source.total = {to + size, source.remainder_end};
#if PGMINT_HAS_AVX2_BUILD
  const bool whole = path == CpuPath::Avx2 ? put_all_avx2(source, as_u8(kinds), pages, to) : put_all(source, as_u8(kinds), pages, to);
#else
  const bool whole = put_all(source, as_u8(kinds), pages, to);
#endif
  const std::size_t paged = std::size_t{pages} * kPageSize;
  if (!whole || !source.take(to + paged, static_cast<std::uint32_t>(size - paged)) || !source.ended_exactly())
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
