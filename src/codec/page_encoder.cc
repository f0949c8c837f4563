#include "codec/page_encoder.h"

#include <algorithm>

#include "codec/page_inspector.h"
#include "codec/word_choice.h"

namespace pgmint::codec {
namespace {

/// Copies run over by up to this much: what is behind is written later or never read.
constexpr std::uint32_t kOverrun = 32;
constexpr std::size_t kControlMax = 2 + kGroupPagesMax + kDescriptorsMax + 4;
constexpr std::size_t kFlagsMax = kColumnCapacity;

/// How many words from the start and from the end of each tuple's data become columns.
struct WordChoice {
  std::uint32_t prefix = 0, suffix = 0;
  std::uint32_t bytes() const { return 4 * (prefix + suffix); }
};

// -- choosing words -----------------------------------------------------------------------------------------------------

constexpr std::uint32_t kSampleMax = 64, kSampleMin = 8;

struct TupleSample {
  std::array<PagePointer, kSampleMax> data;
  std::array<std::uint32_t, kSampleMax> size;
  std::uint32_t count = 0, size_min = kPageSize;
};

bool is_btree(PagePointer page, const PageShape& shape) {
  constexpr std::uint32_t kCycleIdMax = 0xFF7F;  // MAX_BT_CYCLE_ID: above stand the marks of the other index kinds
  return shape.special == kPageSize - 16 && load16(page + kPageSize - 2) <= kCycleIdMax;
}

/// Data of up to 64 tuples of a page that is only guessed to fit its model.
TupleSample sample_tuples(PagePointer page, const PageShape& shape) {
  const bool index = shape.model == PageModel::Index;
  const bool has_high_key = is_btree(page, shape) && load32(page + kPageSize - 12) != 0;  // btpo_next
  TupleSample sample;
  for (std::uint32_t i = has_high_key ? 1 : 0; i < shape.items() && sample.count < kSampleMax; ++i) {
    const LinePointer item = line_pointer(page, i);
    std::uint32_t length = item.length(), header = index ? kIndexHeaderSize : kHeapHeaderSize;
    if (!item.normal() || length < header || item.offset() + length > kPageSize) continue;
    const PagePointer tuple = page + item.offset();
    if (!index) header = heap_data_offset(tuple[kHoffAt], length);
    if (length < header + 4) continue;
    if (index && posting_count(load_block(tuple), load16(tuple + 4), load16(tuple + 6), length) != 0) length = load_block(tuple);
    sample.data[sample.count] = tuple + header;
    sample.size[sample.count++] = length - header;
    sample.size_min = std::min(sample.size_min, length - header);
  }
  return sample;
}

/// How many words from one end become columns: up to the first mixed one. Of several constant ones at the end only the first (the upper
/// half of a timestamp): a filler of blanks costs the compressor next to nothing where it is.
template <class Get>
std::uint32_t count_words(const TupleSample& sample, std::uint32_t most, std::uint32_t taken_bytes, const Get& get) {
  std::uint32_t chosen = 0;
  bool after_constant = false;
  for (std::uint32_t w = 0; w < most && taken_bytes + 4 * (w + 1) <= sample.size_min; ++w) {
    const WordKind kind = judge_word(sample.count, [&](std::uint32_t i) { return get(i, w); });
    if (kind == WordKind::Mixed) break;
    if (kind == WordKind::Regular || !after_constant) chosen = w + 1;
    after_constant = kind == WordKind::Constant;
  }
  return chosen;
}

/// Decides by one page from the middle of the group.
WordChoice choose_words(PagePointer pages, std::uint32_t count) {
  for (std::uint32_t k = 0; k < count; ++k) {
    const PagePointer page = pages + std::size_t{(k + count / 2) % count} * kPageSize;
    const PageShape shape = guess_shape(page);
    if (shape.model != PageModel::Heap && shape.model != PageModel::Index) continue;
    if (shape.model == PageModel::Index && count > 1 && is_btree(page, shape) && load32(page + kPageSize - 8) != 0) continue;  // not a leaf
    const TupleSample sample = sample_tuples(page, shape);
    WordChoice choice;
    if (sample.count < kSampleMin) return choice;
    choice.prefix = count_words(sample, kPrefixWordsMax, 0,
                                [&](std::uint32_t i, std::uint32_t w) { return load32(sample.data[i] + 4 * w); });
    choice.suffix = count_words(sample, kSuffixWordsMax, choice.bytes(),
                                [&](std::uint32_t i, std::uint32_t w) { return load32(sample.data[i] + sample.size[i] - 4 * (w + 1)); });
    return choice;
  }
  return {};
}

// -- taking pages apart -------------------------------------------------------------------------------------------------

/// Growing ends of the streams while a group is taken apart.
struct Sink {
  Columns& columns;
  PagePointer input_end;
  WordChoice choice;
  unsigned char* flags;
  unsigned char* remainder;
  std::uint32_t words = 0;           ///< tuples whose words went into the columns
  std::uint64_t h0 = 0, h1 = 0, h2 = 0;  ///< header of the heap tuple before
  std::uint32_t block = 0;           ///< of the page before

  PGMINT_INLINE void push(std::size_t column, std::uint32_t word) { columns.words(column)[columns.sizes[column]++] = word; }
  PGMINT_INLINE void push(Column column, std::uint32_t word) { push(index_of(column), word); }

  /// To the remainder. Most are short: 32 bytes at once, where the input allows it, are faster than counting.
  PGMINT_INLINE void keep(PagePointer from, std::uint32_t n) {
    if (n + kOverrun > static_cast<std::size_t>(input_end - from)) {
      std::memcpy(remainder, from, n);
    } else {
      std::uint32_t i = 0;
      do {
        std::memcpy(remainder + i, from + i, kOverrun);
        i += kOverrun;
      } while (i < n);
    }
    remainder += n;
  }

  /// A tuple's data: chosen words to their columns, what is between them to the remainder. Data shorter than the words is kept whole.
  PGMINT_INLINE void split(PagePointer data, std::uint32_t size) {
    const std::uint32_t taken = choice.bytes();
    if (size < taken) return keep(data, size);
    std::uint32_t* word = columns.words(Column::Word) + words++;
    for (std::uint32_t w = 0; w < choice.prefix; ++w, word += Columns::next_column()) *word = load32(data + 4 * w);
    for (std::uint32_t w = 0; w < choice.suffix; ++w, word += Columns::next_column()) *word = load32(data + size - 4 * (w + 1));
    if (size > taken) keep(data + 4 * choice.prefix, size - taken);
  }
};

/// Line pointers of one page as its tuples are taken apart.
struct Items {
  PagePointer page;
  PageShape shape;
  std::uint32_t previous;  ///< where the tuple before begins

  struct Item {
    LinePointer pointer;
    std::uint32_t flags = 0;
  };
  PGMINT_INLINE Item next(Sink& sink, std::uint32_t i) {
    Item item{line_pointer(page, i)};
    const std::uint32_t length = item.pointer.length();
    if (!shape.fixed_length) sink.push(Column::Length, length);
    if (!shape.canonical) {
      if (item.pointer.offset() != previous - align8(length) || !item.pointer.normal()) {
        item.flags = kFlagPointer;
        sink.push(Column::PointerBits, item.pointer.bits & 0x1FFFF);
      }
      if (length != 0) previous = item.pointer.offset();
    }
    return item;
  }
};

/// The block that most likely holds this page: its own tuples say so.
PGMINT_INLINE std::uint32_t own_block(PagePointer page, const PageShape& shape, std::uint32_t fallback) {
  for (std::uint32_t i = 0; i < shape.items(); ++i) {
    const LinePointer item = line_pointer(page, i);
    if (item.length() != 0 && load16(page + item.offset() + 16) == i + 1) return load_block(page + item.offset() + 12);
  }
  return fallback;
}

/// Returns the flags of all tuples or-ed together.
PGMINT_INLINE std::uint32_t take_heap(Sink& sink, PagePointer page, const PageShape& shape) {
  const std::uint32_t block = sink.block = own_block(page, shape, sink.block + 1);
  sink.push(Column::Block, block);
  const std::uint64_t own = std::uint64_t{block >> 16} << 32 | std::uint64_t{block & 0xFFFF} << 48;
  Items items{page, shape, shape.special};
  std::uint32_t all_flags = 0;
  for (std::uint32_t i = 0; i < shape.items(); ++i) {
    auto [pointer, flags] = items.next(sink, i);
    const std::uint32_t length = pointer.length();
    if (length != 0) {
      const PagePointer tuple = page + pointer.offset();
      const std::uint64_t h0 = load64(tuple), h1 = load64(tuple + 8), h2 = load64(tuple + 16);
      const std::uint64_t d0 = h0 ^ sink.h0;                                             // t_xmin, t_xmax
      const std::uint64_t d1 = h1 ^ ((sink.h1 & 0xFFFF'FFFFU) | own);                    // t_cid, block of t_ctid
      const std::uint64_t d2 = h2 ^ ((sink.h2 & ~std::uint64_t{0xFFFF}) | (i + 1));      // item of t_ctid, infomasks, t_hoff and a byte
      if ((d0 | d1 | d2) != 0) {
        const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v); };
        if (low(d0) != 0) flags |= kFlagXmin, sink.push(Column::Xmin, low(h0));
        if (d0 >> 32 != 0) flags |= kFlagXmax, sink.push(Column::Xmax, low(h0 >> 32));
        if (low(d1) != 0) flags |= kFlagCid, sink.push(Column::Cid, low(h1));
        if (d1 >> 32 != 0 || (d2 & 0xFFFF) != 0) {
          flags |= kFlagCtid;
          sink.push(Column::CtidBlock, load_block(tuple + 12) - block);
          sink.push(Column::CtidItem, low(h2 & 0xFFFF) - (i + 1));
        }
        if (low(d2 >> 16) != 0) flags |= kFlagInfomask, sink.push(Column::Infomask, low(h2 >> 16));
        if (d2 >> 48 != 0) flags |= kFlagHoff, sink.push(Column::Hoff, low(h2 >> 48));
      }
      sink.h0 = h0, sink.h1 = h1, sink.h2 = h2;
      const std::uint32_t data = heap_data_offset(tuple[kHoffAt], length);
      for (std::uint32_t at = kHeapHeaderSize; at < data; at += 4) sink.push(Column::NullBits, load32(tuple + at));
      sink.split(tuple + data, (shape.padding ? align8(length) : length) - data);
    }
    *sink.flags++ = static_cast<unsigned char>(flags);
    all_flags |= flags;
  }
  return all_flags;
}

PGMINT_INLINE void take_posting(Sink& sink, PagePointer tuple, std::uint32_t length, std::uint32_t count) {
  const std::uint32_t offset = load_block(tuple);
  sink.push(Column::PostingOffset, offset);
  sink.push(Column::PostingStatus, load16(tuple + 4));
  PagePointer member = tuple + offset;
  for (std::uint32_t j = 0; j < count; ++j, member += 6) {
    sink.push(Column::TidBlock, load_block(member));
    sink.push(Column::TidItem, load16(member + 4));
  }
  sink.split(tuple + kIndexHeaderSize, offset - kIndexHeaderSize);
  sink.keep(member, length - offset - count * 6);
}

/// Runs of plain 16-byte tuples, two words of data each: every integer, date or timestamp index. Returns how many it took.
PGMINT_INLINE std::uint32_t take_two_word_run(Sink& sink, PagePointer page, const PageShape& shape, std::uint32_t& all_flags) {
  constexpr std::uint32_t kSize = 16;
  const std::uint32_t rotate = shape.high_key_first ? 1 : 0, items = shape.items();
  auto& sizes = sink.columns.sizes;
  const auto end_of = [&](Column c) { return sink.columns.words(c) + sizes[index_of(c)]; };
  std::uint32_t* __restrict blocks = end_of(Column::TidBlock);
  std::uint32_t* __restrict tid_items = end_of(Column::TidItem);
  std::uint32_t* __restrict word0 = sink.columns.words(index_of(Column::Word, 0)) + sink.words;
  std::uint32_t* __restrict word1 = sink.columns.words(index_of(Column::Word, 1)) + sink.words;
  std::uint32_t i = 0;
  for (; i < items; ++i) {
    const PagePointer tuple = page + (i >= rotate ? shape.special - kSize * (i + 1 - rotate) : shape.upper);
    const std::uint32_t block = load_block(tuple), item = load16(tuple + 4), info = load16(tuple + 6);
    std::uint32_t flags = 0;
    if (info != kSize) {
      if (posting_count(block, item, info, kSize) != 0) break;
      flags = kFlagInfo;
      sink.push(Column::IndexInfo, info - kSize);
    }
    blocks[i] = block;
    tid_items[i] = item;
    word0[i] = load32(tuple + 8);
    word1[i] = load32(tuple + 12);
    sink.flags[i] = static_cast<unsigned char>(flags);
    all_flags |= flags;
  }
  sizes[index_of(Column::TidBlock)] += i;
  sizes[index_of(Column::TidItem)] += i;
  sink.words += i;
  sink.flags += i;
  return i;
}

/// The tuples from the first on that most pages have alone, without posting lists and with room for the words: the ends of the few columns that they
/// need stay in registers meanwhile. Returns how many it took.
PGMINT_INLINE std::uint32_t take_plain_run(Sink& sink, PagePointer page, const PageShape& shape, std::uint32_t& all_flags) {
  auto& sizes = sink.columns.sizes;
  const auto end_of = [&](Column c) { return sink.columns.words(c) + sizes[index_of(c)]; };
  std::uint32_t *lengths = end_of(Column::Length), *infos = end_of(Column::IndexInfo);
  std::uint32_t *blocks = end_of(Column::TidBlock), *tid_items = end_of(Column::TidItem);
  Sink here = sink;
  std::uint32_t i = 0;
  for (const std::uint32_t items = shape.items(); i < items; ++i) {
    const LinePointer pointer = line_pointer(page, i);
    const std::uint32_t length = pointer.length();
    if (length == 0) break;
    const PagePointer tuple = page + pointer.offset();
    const std::uint32_t block = load_block(tuple), item = load16(tuple + 4), info = load16(tuple + 6);
    if (posting_count(block, item, info, length) != 0) break;
    const bool plain = info == length;
    lengths[i] = length;
    *infos = info - length;
    infos += plain ? 0 : 1;
    blocks[i] = block;
    tid_items[i] = item;
    here.flags[i] = plain ? 0 : kFlagInfo;
    all_flags |= here.flags[i];
    here.split(tuple + kIndexHeaderSize, length - kIndexHeaderSize);
  }
  sizes[index_of(Column::Length)] += shape.fixed_length ? 0 : i;
  sizes[index_of(Column::IndexInfo)] = static_cast<std::uint32_t>(infos - sink.columns.words(Column::IndexInfo));
  sizes[index_of(Column::TidBlock)] += i;
  sizes[index_of(Column::TidItem)] += i;
  sink.words = here.words;
  sink.remainder = here.remainder;
  sink.flags += i;
  return i;
}

PGMINT_INLINE std::uint32_t take_index(Sink& sink, PagePointer page, const PageShape& shape) {
  std::uint32_t all_flags = 0, i = 0;
  if (shape.fixed_length && line_pointer(page, 0).length() == 16 && sink.choice.prefix == 2 && sink.choice.suffix == 0)
    i = take_two_word_run(sink, page, shape, all_flags);
  else if (shape.canonical)
    i = take_plain_run(sink, page, shape, all_flags);
  Items items{page, shape, shape.special};
  for (; i < shape.items(); ++i) {
    auto [pointer, flags] = items.next(sink, i);
    const std::uint32_t length = pointer.length();
    if (length != 0) {
      const PagePointer tuple = page + pointer.offset();
      const std::uint32_t block = load_block(tuple), item = load16(tuple + 4), info = load16(tuple + 6);
      if (info != length) flags |= kFlagInfo, sink.push(Column::IndexInfo, info - length);
      if (const std::uint32_t count = posting_count(block, item, info, length); count != 0) {
        flags |= kFlagPosting;
        take_posting(sink, tuple, length, count);
      } else {
        sink.push(Column::TidBlock, block);
        sink.push(Column::TidItem, item);
        sink.split(tuple + kIndexHeaderSize, length - kIndexHeaderSize);
      }
    }
    *sink.flags++ = static_cast<unsigned char>(flags);
    all_flags |= flags;
  }
  return all_flags;
}

/// One page; returns its kind.
PGMINT_INLINE std::uint32_t take_page(Sink& sink, const PageShape& shape, PagePointer page) {
  auto kind = static_cast<std::uint32_t>(shape.model);
  if (shape.model == PageModel::Zero) return kind;
  if (shape.model == PageModel::Raw) {
    sink.keep(page, kPageSize);
    return kind;
  }
  for (std::uint32_t w = 0; w < kHeaderWords; ++w) sink.push(index_of(Column::Header, w), load32(page + 4 * w));
  for (std::uint32_t w = 0; shape.special + 4 * w < kPageSize; ++w) sink.push(index_of(Column::Special, w), load32(page + shape.special + 4 * w));
  if (shape.hole) sink.keep(page + shape.lower, shape.upper - shape.lower);
  if (shape.fixed_length) sink.push(Column::Length, line_pointer(page, 0).length());
  unsigned char* const flags = sink.flags;
  const std::uint32_t all_flags = shape.model == PageModel::Heap ? take_heap(sink, page, shape) : take_index(sink, page, shape);
  if (all_flags == 0) sink.flags = flags;
  const auto bit = [](bool set, KindBit which) { return set ? static_cast<std::uint32_t>(which) : 0U; };
  return kind | bit(all_flags == 0, kKindNoFlags) | bit(shape.hole, kKindHole) | bit(shape.padding, kKindPadding) |
         bit(shape.fixed_length, kKindFixedLength) | bit(shape.high_key_first, kKindHighKeyFirst);
}

/// False when no page fits a model with columns: nothing was taken.
PGMINT_INLINE bool take_all(Sink& sink, ShapeInspector& inspector, PagePointer pages, std::uint32_t count, unsigned char* kinds) {
  std::array<PageShape, kGroupPagesMax> shapes;
  bool modelled = false;
  for (std::uint32_t g = 0; g < count; ++g) {
    shapes[g] = inspector.inspect(pages + std::size_t{g} * kPageSize);
    modelled |= shapes[g].model > PageModel::Zero;
  }
  if (!modelled) return false;
  for (std::uint32_t g = 0; g < count; ++g) kinds[g] = static_cast<unsigned char>(take_page(sink, shapes[g], pages + std::size_t{g} * kPageSize));
  for (std::uint32_t w = 0; w < sink.choice.prefix + sink.choice.suffix; ++w) sink.columns.sizes[index_of(Column::Word, w)] = sink.words;
  return true;
}

#if PGMINT_HAS_AVX2_BUILD
PGMINT_TARGET_AVX2 bool take_all_avx2(Sink& sink, ShapeInspector& inspector, PagePointer pages, std::uint32_t count, unsigned char* kinds) {
  return take_all(sink, inspector, pages, count, kinds);
}
#endif

}  // namespace

struct PageEncoder::State {
  CpuPath path;
  ShapeInspector inspector;
  Columns columns;
  LazyArray<std::uint32_t> scratch{std::size_t{2} * kColumnCapacity};
  LazyArray<unsigned char> flags{kFlagsMax}, planes{kControlMax + kPlanesMax + kFlagsMax}, raw{kPlanesMax}, remainder{kGroupSize + 2 * kOverrun};
};

PageEncoder::PageEncoder(CpuPath path) : state_(std::make_unique<State>()) { state_->path = path; }
PageEncoder::PageEncoder(PageEncoder&&) noexcept = default;
PageEncoder::~PageEncoder() = default;

std::optional<PageStreams> PageEncoder::encode(ByteView group) {
  PGMINT_ASSERT(!group.empty() && group.size() <= kGroupSize);
  State& s = *state_;
  const auto pages = static_cast<std::uint32_t>(group.size() / kPageSize);
  const auto rest = static_cast<std::uint32_t>(group.size() % kPageSize);
  if (pages == 0) return std::nullopt;
  s.columns.clear();
  Sink sink{s.columns, as_u8(group) + group.size(), choose_words(as_u8(group), pages), s.flags.get(), s.remainder.get()};

  // Control in front of the planes, which are written first: its size is known when all columns are done.
  std::array<unsigned char, kControlMax> control;
  std::size_t size = 0;
  control[size++] = static_cast<unsigned char>(sink.choice.prefix << 4 | sink.choice.suffix);
#if PGMINT_HAS_AVX2_BUILD
  const bool modelled = s.path == CpuPath::Avx2 ? take_all_avx2(sink, s.inspector, as_u8(group), pages, control.data() + size)
                                                : take_all(sink, s.inspector, as_u8(group), pages, control.data() + size);
#else
  const bool modelled = take_all(sink, s.inspector, as_u8(group), pages, control.data() + size);
#endif
  if (!modelled) return std::nullopt;
  size += pages;
  if (rest != 0) sink.keep(as_u8(group) + group.size() - rest, rest);

  PlaneSink planes{control.data() + size, s.planes.get() + kControlMax, s.raw.get()};
  if (!split_columns(s.columns, s.scratch.get(), planes, s.path)) return std::nullopt;
  size += planes.descriptor_bytes;
  const auto flags = static_cast<std::size_t>(sink.flags - s.flags.get());
  std::memcpy(planes.planes + planes.plane_bytes, s.flags.get(), flags);
  unsigned char* const start = planes.planes - size;
  std::memcpy(start, control.data(), size);
  const auto view = [](const unsigned char* from, std::size_t n) { return std::as_bytes(std::span(from, n)); };
  return PageStreams{view(start, size + planes.plane_bytes + flags), view(s.raw.get(), planes.raw_bytes),
                     view(s.remainder.get(), static_cast<std::size_t>(sink.remainder - s.remainder.get())), &s.columns};
}

}  // namespace pgmint::codec
