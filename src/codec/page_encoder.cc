#include "codec/page_encoder.h"

#include <algorithm>

#include "codec/page_inspector.h"
#include "codec/short_copy.h"
#include "codec/tuple_words.h"
#include "codec/word_choice.h"

namespace pgmint::codec {
namespace {

/// Copies run over by up to this much: what is behind is written later or never read.
constexpr std::uint32_t kOverrun = kLanes;
constexpr std::size_t kControlMax = 2 + kGroupPagesMax + kDescriptorsMax + 4;
constexpr std::size_t kFlagsMax = kColumnCapacity;

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

/// Growing ends of the streams while a group is taken apart. Functions work on a copy, which no store to a stream can change, so that it stays in
/// registers.
struct Sink {
  Columns* columns;
  TupleWords* tuples;  ///< of this page
  PagePointer input_end;
  WordChoice choice;
  unsigned char* flags;
  unsigned char* remainder;
  std::uint32_t words = 0;               ///< tuples whose words went into the columns
  std::uint32_t listed = 0;              ///< tuples of this page whose words are still to come
  std::uint64_t h0 = 0, h1 = 0, h2 = 0;  ///< header of the heap tuple before
  std::uint32_t block = 0;               ///< of the page before

  PGMINT_INLINE std::uint32_t* end_of(Column column) const { return columns->words(column) + columns->sizes[index_of(column)]; }
  PGMINT_INLINE void push(std::size_t column, std::uint32_t word) { columns->words(column)[columns->sizes[column]++] = word; }
  PGMINT_INLINE void push(Column column, std::uint32_t word) { push(index_of(column), word); }

  /// To the remainder. Most are short: 32 bytes at once, where the input allows it, are faster than counting.
  PGMINT_INLINE void keep(PagePointer from, std::uint32_t n) {
    if (n + kOverrun > static_cast<std::size_t>(input_end - from)) {
      std::memcpy(remainder, from, n);
    } else {
      std::uint32_t i = 0;
      do {
        copy_lanes(remainder + i, from + i);
        i += kLanes;
      } while (i < n);
    }
    remainder += n;
  }

  /// A tuple's data: it is listed for its chosen words, what is between them goes to the remainder. Data shorter than the words is kept whole.
  PGMINT_INLINE void split(PagePointer page, std::uint32_t data, std::uint32_t size) {
    const std::uint32_t taken = choice.bytes();
    if (size < taken) return keep(page + data, size);
    tuples->set(listed++, data, size, choice);
    if (size > taken) keep(page + data + 4 * choice.prefix, size - taken);
  }

  /// The words of the tuples that are listed, to their columns.
  PGMINT_INLINE void take_words(PagePointer page) {
    const bool readable = input_end - (page + kPageSize) >= std::ptrdiff_t{sizeof(Words4)};
    tuples->take(page, readable, listed, choice, columns->words(Column::Word) + words);
    words += listed;
    listed = 0;
  }
};

/// A line pointer of a page that is not canonical, where it is not as it was predicted. Returns the flag that says so.
/// @param previous  where the tuple before begins
PGMINT_INLINE std::uint32_t take_pointer(Sink& sink, LinePointer pointer, std::uint32_t& previous) {
  const bool predicted = pointer.offset() == previous - align8(pointer.length()) && pointer.normal();
  if (!predicted) sink.push(Column::PointerBits, pointer.bits & 0x1FFFF);
  if (pointer.length() != 0) previous = pointer.offset();
  return predicted ? 0 : kFlagPointer;
}

/// The block that most likely holds this page: its own tuples say so.
PGMINT_INLINE std::uint32_t own_block(PagePointer page, const PageShape& shape, std::uint32_t fallback) {
  for (std::uint32_t i = 0; i < shape.items(); ++i) {
    const LinePointer item = line_pointer(page, i);
    if (item.length() != 0 && load16(page + item.offset() + 16) == i + 1) return load_block(page + item.offset() + 12);
  }
  return fallback;
}

/// Returns the flags of all tuples or-ed together.
PGMINT_INLINE std::uint32_t take_heap(Sink& whole, PagePointer page, const PageShape& shape) {
  Sink sink = whole;
  const std::uint32_t block = sink.block = own_block(page, shape, sink.block + 1);
  sink.push(Column::Block, block);
  const std::uint64_t own = std::uint64_t{block >> 16} << 32 | std::uint64_t{block & 0xFFFF} << 48;
  std::uint32_t all_flags = 0, previous = shape.special;
  for (std::uint32_t i = 0; i < shape.items(); ++i) {
    const LinePointer pointer = line_pointer(page, i);
    const std::uint32_t length = pointer.length();
    if (!shape.fixed_length) sink.push(Column::Length, length);
    std::uint32_t flags = shape.canonical ? 0 : take_pointer(sink, pointer, previous);
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
      sink.split(page, pointer.offset() + data, (shape.padding ? align8(length) : length) - data);
    }
    *sink.flags++ = static_cast<unsigned char>(flags);
    all_flags |= flags;
  }
  sink.take_words(page);
  whole = sink;
  return all_flags;
}

/// The eight bytes before an index tuple's data, with one load.
struct IndexHeader {
  std::uint64_t bits;
  std::uint32_t block() const { return std::rotl(static_cast<std::uint32_t>(bits), 16); }
  std::uint32_t item() const { return static_cast<std::uint32_t>(bits >> 32 & 0xFFFF); }
  std::uint32_t info() const { return static_cast<std::uint32_t>(bits >> 48); }
  std::uint32_t posting_count(std::uint32_t length) const { return codec::posting_count(block(), item(), info(), length); }
};

/// Ends of the columns that index tuples need, in registers over a page.
struct IndexColumns {
  Sink& sink;
  std::uint32_t* __restrict lengths = sink.end_of(Column::Length);
  std::uint32_t* __restrict blocks = sink.end_of(Column::TidBlock);
  std::uint32_t* __restrict tid_items = sink.end_of(Column::TidItem);

  PGMINT_INLINE void put_tid(std::uint32_t block, std::uint32_t item) { *blocks++ = block, *tid_items++ = item; }
  PGMINT_INLINE void close() {
    const auto set = [&](Column column, const std::uint32_t* end) {
      sink.columns->sizes[index_of(column)] = static_cast<std::uint32_t>(end - sink.columns->words(column));
    };
    set(Column::Length, lengths), set(Column::TidBlock, blocks), set(Column::TidItem, tid_items);
  }
};

PGMINT_INLINE void take_posting(Sink& sink, IndexColumns& columns, PagePointer page, std::uint32_t at, std::uint32_t length, std::uint32_t count) {
  const PagePointer tuple = page + at;
  const std::uint32_t offset = load_block(tuple);
  sink.push(Column::PostingOffset, offset);
  sink.push(Column::PostingStatus, load16(tuple + 4));
  PagePointer member = tuple + offset;
  for (std::uint32_t j = 0; j < count; ++j, member += 6) columns.put_tid(load_block(member), load16(member + 4));
  sink.split(page, at + kIndexHeaderSize, offset - kIndexHeaderSize);
  sink.keep(member, length - offset - count * 6);
}

/// Tuples of 16 bytes with two words of data, as in every index on one integer, date or timestamp: header and data are four words, and four such
/// tuples four columns. Takes them from tuple i on, one behind the other, while they are plain; returns the first that it did not take.
PGMINT_INLINE std::uint32_t take_two_word_run(Sink& sink, PagePointer page, const PageShape& shape, std::uint32_t i) {
  std::uint32_t* const blocks = sink.end_of(Column::TidBlock);
  std::uint32_t* const tid_items = sink.end_of(Column::TidItem);
  std::uint32_t* const word0 = sink.columns->words(index_of(Column::Word, 0)) + sink.words;
  std::uint32_t* const word1 = sink.columns->words(index_of(Column::Word, 1)) + sink.words;
  std::uint32_t taken = 0;
  const std::uint32_t items = shape.items(), rotate = shape.high_key_first ? 1 : 0;
  for (; i + 4 <= items; i += 4, taken += 4) {
    const PagePointer tuple = page + (shape.special - kTwoWordTuple * (i + 1 - rotate));
    const auto rows = transpose(load_words4(tuple), load_words4(tuple - kTwoWordTuple), load_words4(tuple - 2 * kTwoWordTuple),
                                load_words4(tuple - 3 * kTwoWordTuple));
    const auto others = std::bit_cast<std::array<std::uint64_t, 2>>(rows[1] >> 16 ^ kTwoWordTuple);
    if ((others[0] | others[1]) != 0) break;
    store_words4(blocks + taken, rows[0] << 16 | rows[0] >> 16);
    store_words4(tid_items + taken, rows[1] & 0xFFFF);
    store_words4(word0 + taken, rows[2]);
    store_words4(word1 + taken, rows[3]);
    std::memset(sink.flags + taken, 0, 4);
  }
  sink.columns->sizes[index_of(Column::TidBlock)] += taken;
  sink.columns->sizes[index_of(Column::TidItem)] += taken;
  sink.words += taken;
  sink.flags += taken;
  return i;
}

/// One tuple. Its line pointer and, unless it is that of all, its length are taken.
PGMINT_INLINE std::uint32_t take_index_tuple(Sink& sink, IndexColumns& columns, PagePointer page, LinePointer pointer) {
  const std::uint32_t length = pointer.length();
  const IndexHeader header{load64(page + pointer.offset())};
  std::uint32_t flags = 0;
  if (header.info() != length) {
    flags = kFlagInfo, sink.push(Column::IndexInfo, header.info() - length);
    if (const std::uint32_t count = header.posting_count(length); count != 0) {
      take_posting(sink, columns, page, pointer.offset(), length, count);
      return flags | kFlagPosting;
    }
  }
  columns.put_tid(header.block(), header.item());
  sink.split(page, pointer.offset() + kIndexHeaderSize, length - kIndexHeaderSize);
  return flags;
}

PGMINT_INLINE std::uint32_t take_index(Sink& whole, PagePointer page, const PageShape& shape) {
  Sink sink = whole;
  std::uint32_t all_flags = 0, i = 0;
  const auto put_flags = [&](std::uint32_t flags) {
    *sink.flags++ = static_cast<unsigned char>(flags);
    all_flags |= flags;
  };
  const std::uint32_t items = shape.items();
  if (shape.fixed_length && line_pointer(page, 0).length() == kTwoWordTuple && sink.choice == WordChoice{2, 0}) {
    while (i < items) {
      if (i != 0 || !shape.high_key_first) i = take_two_word_run(sink, page, shape, i);
      if (i == items) break;
      IndexColumns columns{sink};
      put_flags(take_index_tuple(sink, columns, page, line_pointer(page, i++)));
      columns.close();
      sink.take_words(page);
    }
  } else {
    IndexColumns columns{sink};
    if (shape.canonical) {
      for (; i < items; ++i) {
        const LinePointer pointer = line_pointer(page, i);
        *columns.lengths = pointer.length();
        columns.lengths += shape.fixed_length ? 0 : 1;
        put_flags(take_index_tuple(sink, columns, page, pointer));
      }
    } else {
      for (std::uint32_t previous = shape.special; i < items; ++i) {
        const LinePointer pointer = line_pointer(page, i);
        *columns.lengths++ = pointer.length();
        const std::uint32_t flags = take_pointer(sink, pointer, previous);
        put_flags(flags | (pointer.length() != 0 ? take_index_tuple(sink, columns, page, pointer) : 0));
      }
    }
    columns.close();
    sink.take_words(page);
  }
  whole = sink;
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
  for (std::uint32_t w = 0; w < sink.choice.prefix + sink.choice.suffix; ++w) sink.columns->sizes[index_of(Column::Word, w)] = sink.words;
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
  TupleWords tuples;
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
  Sink sink{&s.columns, &s.tuples, as_u8(group) + group.size(), choose_words(as_u8(group), pages), s.flags.get(), s.remainder.get()};

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
  const auto of_index = std::count_if(control.begin() + 1, control.begin() + 1 + pages, [](unsigned char kind) {
    return (kind & kKindModel) == static_cast<std::uint32_t>(PageModel::Index);
  });
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
                     view(s.remainder.get(), static_cast<std::size_t>(sink.remainder - s.remainder.get())), &s.columns,
                     of_index * 2 > std::ptrdiff_t{pages}};
}

}  // namespace pgmint::codec
