#include "codec/page_decoder.h"

#include "codec/binary.h"
#include "codec/short_copy.h"

namespace pgmint::codec {
namespace {

/// Shrinking fronts of the streams while a group is put together.
///
/// What is taken from a column is not held against its size word by word: a page takes at most 2,042 words of it, one for each line
/// pointer, so that a group stays within kColumnCapacity and reads at worst what an earlier record left there. That every column was
/// used up exactly is checked in the end (ended_exactly). Columns of which one tuple takes several words (null bits, TIDs) are checked
/// as they are used.
struct Source {
  Columns& columns;
  PagePointer flags, flags_end;
  PagePointer remainder, remainder_end;
  std::uint32_t prefix = 0, suffix = 0;
  std::uint32_t words = 0;
  std::uint64_t h0 = 0, h1 = 0, h2 = 0;
  std::array<std::uint32_t, kColumnCount> at{};

  PGMINT_INLINE std::uint32_t pull(std::size_t column) { return columns.words(column)[at[column]++]; }
  PGMINT_INLINE std::uint32_t pull(Column column) { return pull(index_of(column)); }

  PGMINT_INLINE bool take(unsigned char* to, std::uint32_t n) {
    if (n > static_cast<std::size_t>(remainder_end - remainder)) return false;
    copy_exactly(to, remainder, n);
    remainder += n;
    return true;
  }

  /// A tuple's data, as Sink::split() left it.
  PGMINT_INLINE bool join(unsigned char* data, std::uint32_t size) {
    const std::uint32_t taken = 4 * (prefix + suffix);
    if (size < taken) return take(data, size);
    for (std::uint32_t w = 0; w < prefix; ++w) store32(data + 4 * w, columns.words(index_of(Column::Word, w))[words]);
    for (std::uint32_t w = 0; w < suffix; ++w)
      store32(data + size - 4 * (w + 1), columns.words(index_of(Column::Word, prefix + w))[words]);
    ++words;
    return size == taken || take(data + 4 * prefix, size - taken);
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
struct Items {
  unsigned char* page;
  const Layout& layout;
  std::uint32_t previous;  ///< where the tuple before begins
  std::uint32_t covered = 0;

  /// Whether the tuples are as many bytes as there is room for: none is left that nobody wrote.
  bool fill_the_page() const { return covered == layout.special - layout.upper; }

  struct Item {
    std::uint32_t offset, length, flags;
  };
  /// False when the tuple would not lie within the page.
  PGMINT_INLINE bool next(Source& source, std::uint32_t i, std::uint32_t length_min, Item& item) {
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
    store32(page + kPageHeaderSize + 4 * i, bits | item.length << 17);
    if (item.length == 0) return true;
    if (item.length < length_min || item.offset > kPageSize || size > kPageSize - item.offset) return false;
    if (!at_upper) previous = item.offset;
    covered += size;
    return true;
  }
};

PGMINT_INLINE bool put_null_bits(Source& source, unsigned char* tuple, std::uint32_t data) {
  if (data == kHeapHeaderSize) return true;
  constexpr auto kBits = index_of(Column::NullBits);
  if ((data - kHeapHeaderSize) / 4 > source.columns.sizes[kBits] - source.at[kBits]) return false;
  for (std::uint32_t at = kHeapHeaderSize; at < data; at += 4) store32(tuple + at, source.pull(kBits));
  return true;
}

PGMINT_INLINE bool put_heap(Source& source, unsigned char* page, const Layout& layout) {
  const std::uint32_t block = source.pull(Column::Block);
  const std::uint64_t own = std::uint64_t{block >> 16} << 32 | std::uint64_t{block & 0xFFFF} << 48;
  Items items{page, layout, layout.special};
  std::uint64_t h0 = source.h0, h1 = source.h1, h2 = source.h2;
  const auto replace = [](std::uint64_t& in, std::uint64_t mask, std::uint64_t value) { in = (in & ~mask) | value; };
  for (std::uint32_t i = 0; i < layout.items(); ++i) {
    Items::Item item;
    if (!items.next(source, i, kHeapHeaderSize, item)) return false;
    if (item.length == 0) continue;
    unsigned char* const tuple = page + item.offset;
    const std::uint32_t size = align8(item.length);
    if ((item.length & 7) != 0) store64(tuple + size - 8, 0);
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
    store64(tuple, h0);
    store64(tuple + 8, h1);
    store64(tuple + 16, h2);
    const std::uint32_t data = heap_data_offset(tuple[kHoffAt], item.length);
    if (!put_null_bits(source, tuple, data)) return false;
    if (!source.join(tuple + data, (layout.has(kKindPadding) ? size : item.length) - data)) return false;
  }
  source.h0 = h0, source.h1 = h1, source.h2 = h2;
  return items.fill_the_page();
}

PGMINT_INLINE bool put_posting(Source& source, unsigned char* tuple, std::uint32_t length, std::uint32_t info) {
  const std::uint32_t offset = source.pull(Column::PostingOffset), status = source.pull(Column::PostingStatus);
  const std::uint32_t count = posting_count(offset, status & 0xFFFF, info, length);
  constexpr auto kTids = index_of(Column::TidBlock), kItems = index_of(Column::TidItem);
  if (count == 0 || count > source.columns.sizes[kTids] - source.at[kTids] || count > source.columns.sizes[kItems] - source.at[kItems])
    return false;
  store_block(tuple, offset);
  store16(tuple + 4, status);
  store16(tuple + 6, info);
  unsigned char* member = tuple + offset;
  const std::uint32_t* blocks = source.columns.words(kTids) + source.at[kTids];
  const std::uint32_t* tid_items = source.columns.words(kItems) + source.at[kItems];
  for (std::uint32_t j = 0; j < count; ++j, member += 6) {
    store_block(member, blocks[j]);
    store16(member + 4, tid_items[j]);
  }
  source.at[kTids] += count;
  source.at[kItems] += count;
  return source.join(tuple + kIndexHeaderSize, offset - kIndexHeaderSize) && source.take(member, length - offset - count * 6);
}

PGMINT_INLINE bool put_index(Source& source, unsigned char* page, const Layout& layout) {
  constexpr auto kTids = index_of(Column::TidBlock), kItems = index_of(Column::TidItem);
  Items items{page, layout, layout.special};
  for (std::uint32_t i = 0; i < layout.items(); ++i) {
    Items::Item item;
    if (!items.next(source, i, kIndexHeaderSize, item)) return false;
    if (item.length == 0) continue;
    unsigned char* const tuple = page + item.offset;
    std::uint32_t info = item.length;
    if ((item.flags & kFlagInfo) != 0) info = (info + source.pull(Column::IndexInfo)) & 0xFFFF;
    if ((item.flags & kFlagPosting) != 0) {
      if (!put_posting(source, tuple, item.length, info)) return false;
      continue;
    }
    // Posting lists make these two columns longer than one word for each item: they are held against their size.
    if (source.at[kTids] >= source.columns.sizes[kTids] || source.at[kItems] >= source.columns.sizes[kItems]) return false;
    store_block(tuple, source.pull(kTids));
    store16(tuple + 4, source.pull(kItems));
    store16(tuple + 6, info);
    if (!source.join(tuple + kIndexHeaderSize, item.length - kIndexHeaderSize)) return false;
  }
  return items.fill_the_page();
}

PGMINT_INLINE bool put_page(Source& source, std::uint32_t kind, unsigned char* page) {
  const auto model = static_cast<PageModel>(kind & kKindModel);
  if (model == PageModel::Zero) {
    std::memset(page, 0, kPageSize);
    return true;
  }
  if (model == PageModel::Raw) return source.take(page, kPageSize);
  for (std::uint32_t w = 0; w < kHeaderWords; ++w) store32(page + 4 * w, source.pull(index_of(Column::Header, w)));
  Layout layout{kind, load16(page + kLowerAt), load16(page + kUpperAt), load16(page + kSpecialAt)};
  if (!layout.possible()) return false;
  for (std::uint32_t w = 0; layout.special + 4 * w < kPageSize; ++w)
    store32(page + layout.special + 4 * w, source.pull(index_of(Column::Special, w)));
  std::memset(page + layout.lower, 0, layout.upper - layout.lower);
  if (layout.has(kKindHole) && !source.take(page + layout.lower, layout.upper - layout.lower)) return false;
  if (layout.has(kKindFixedLength)) layout.fixed_length = source.pull(Column::Length) & 0x7FFF;
  if (!layout.has(kKindNoFlags) && layout.items() > static_cast<std::size_t>(source.flags_end - source.flags)) return false;
  return model == PageModel::Heap ? put_heap(source, page, layout) : put_index(source, page, layout);
}

PGMINT_INLINE bool put_all(Source& source, PagePointer kinds, std::uint32_t count, unsigned char* pages) {
  for (std::uint32_t g = 0; g < count; ++g)
    if (!put_page(source, kinds[g], pages + std::size_t{g} * kPageSize)) return false;
  return true;
}

#if PGMINT_HAS_AVX2_BUILD
PGMINT_TARGET_AVX2 bool put_all_avx2(Source& source, PagePointer kinds, std::uint32_t count, unsigned char* pages) {
  return put_all(source, kinds, count, pages);
}
#endif

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
  State& s = *state_;
  const auto pages = static_cast<std::uint32_t>(out.size() / kPageSize);
  BinaryReader in(control, "page record");
  const auto choice = TRY(in.u8());
  const auto kinds = TRY(in.raw(pages));
  if (choice >> 4 > kPrefixWordsMax || (choice & 15) > kSuffixWordsMax) return in.corrupt("impossible word counts");
  PlaneSource planes{control.subspan(in.position()), raw};
  TRY(merge_columns(planes, s.columns, s.path));
  if (!planes.raw.empty()) return in.corrupt("raw planes are left over");

  Source source{s.columns, as_u8(planes.packed), as_u8(planes.packed) + planes.packed.size(), as_u8(remainder),
                as_u8(remainder) + remainder.size()};
  source.prefix = choice >> 4;
  source.suffix = choice & 15;
#if PGMINT_HAS_AVX2_BUILD
  const bool whole = s.path == CpuPath::Avx2 ? put_all_avx2(source, as_u8(kinds), pages, as_u8(out))
                                             : put_all(source, as_u8(kinds), pages, as_u8(out));
#else
  const bool whole = put_all(source, as_u8(kinds), pages, as_u8(out));
#endif
  const auto rest = out.subspan(std::size_t{pages} * kPageSize);
  if (!whole || !source.take(as_u8(rest), static_cast<std::uint32_t>(rest.size())) || !source.ended_exactly())
    return in.corrupt("pages and columns do not fit together");
  return ok();
}

}  // namespace pgmint::codec
