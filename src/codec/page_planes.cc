#include "codec/page_planes.h"

#include "codec/binary.h"

namespace pgmint::codec {
namespace {

// Column descriptor: varint count; then, if that is not 0, a tag, and what its bits announce, in this order.
constexpr std::uint32_t kTagTwin = 1;       // u8: an earlier column of the same size, whose words these were combined with (xor)
constexpr std::uint32_t kTagDelta = 2;      // u32: the first word; the planes hold zigzag differences
constexpr std::uint32_t kTagConstants = 4;  // u32: the constant bytes in their places
constexpr std::uint32_t kTagRaw = 8;        // u8: which planes are among the raw ones
constexpr std::uint32_t kTagConstantShift = 4;

/// Planes are looked at for randomness from here on: below, their codes cost more than their bytes.
constexpr std::uint32_t kRandomSample = 512;
/// Sum of squares of the counts of 256 values in the sample: 1,536 where they are random, more where they are not.
constexpr std::uint32_t kRandomBelow = 1700;
constexpr std::uint32_t kDeltaSample = 128;

PGMINT_INLINE std::uint32_t zigzag(std::uint32_t difference) {
  return difference << 1 ^ (0U - (difference >> 31));
}
PGMINT_INLINE std::uint32_t unzigzag(std::uint32_t v) { return v >> 1 ^ (0U - (v & 1)); }
/// How many bits v has up to its highest one. By the exponent of a float, which the compiler turns into vector code: of two bits in a row the lower one
/// is taken out, so that nothing is rounded up to the next power of two; and the lowest is counted apart, since floats are made of signed numbers.
PGMINT_INLINE constexpr std::uint32_t bits_of(std::uint32_t v) {
  const std::uint32_t upper = v >> 1, single = upper & ~(upper >> 1);
  const auto exponent = std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<std::int32_t>(single))) >> 23;
  return (v != 0 ? 1U : 0U) + (upper != 0 ? exponent - 126U : 0U);
}
static_assert([] {
  for (std::uint32_t k = 0; k < 32; ++k)
    for (const std::uint32_t v : {(1U << k) - 1, 1U << k, (1U << k) + 1, 3U << k, 0xFFFF'FFFFU >> k, 0xFFFF'FFFFU << k, 0x5555'5555U >> k})
      if (bits_of(v) != static_cast<std::uint32_t>(std::bit_width(v))) return false;
  return true;
}());

/// Fields whose neighbours are equal or unrelated, never near: a difference would only spoil equal runs.
bool may_be_delta(std::size_t column) {
  return column != index_of(Column::Header, 2) && column != index_of(Column::Length) && column != index_of(Column::Infomask) &&
         column != index_of(Column::IndexInfo);
}

/// Whether differences are shorter than what varies in the words themselves, by a sample.
PGMINT_INLINE bool delta_pays(const std::uint32_t* words, std::uint32_t count) {
  const std::uint32_t sample = std::min(count, kDeltaSample);
  if (sample < 2) return false;
  std::uint32_t varying = 0, difference_bits = 0;
  for (std::uint32_t i = 1; i < sample; ++i) {
    varying |= words[i] ^ words[0];
    difference_bits += bits_of(zigzag(words[i] - words[i - 1]));
  }
  return difference_bits + sample < bits_of(varying) * (sample - 1);
}

PGMINT_INLINE bool looks_random(const std::uint32_t* words, std::uint32_t count, std::uint32_t shift) {
  if (count < kRandomSample) return false;
  std::array<std::uint16_t, 256> seen{};
  std::uint32_t squares = 0;
  const std::uint32_t step = count / kRandomSample;
  constexpr std::uint32_t kAtOnce = 32, kFirstBelow = 128;  // most planes are found out by their first words: of random ones 32 give some 36
  std::uint32_t below = kFirstBelow;
  for (std::uint32_t i = 0, at = 0; i < kRandomSample; i += kAtOnce) {
    for (std::uint32_t k = 0; k < kAtOnce; ++k, at += step) squares += 2U * seen[words[at] >> shift & 0xFF]++ + 1U;
    if (squares >= below) return false;
    below = kRandomBelow;
  }
  return true;
}

constexpr std::uint32_t kNoTwin = kColumnCount;

/// Two columns of tuple data that mostly hold the same (a box of one point, created_at and updated_at): apart from each other no
/// compressor would see it. By a sample: three quarters equal, and not for want of change.
PGMINT_INLINE std::uint32_t twin_of(const Columns& columns, std::size_t column) {
  constexpr std::uint32_t kSample = 64;
  const std::uint32_t count = columns.sizes[column];
  if (column <= index_of(Column::Word) || count < kSample) return kNoTwin;
  const std::uint32_t* words = columns.words(column);
  const std::uint32_t step = count / kSample;
  std::uint32_t changes = 0;
  for (std::uint32_t i = 1, at = step; i < kSample; ++i, at += step) changes += words[at] != words[at - step] ? 1 : 0;
  if (changes * 4 < kSample) return kNoTwin;
  constexpr std::uint32_t kAtOnce = 16, kOthersMax = kSample / 4;
  for (std::size_t c = index_of(Column::Word); c < column; ++c) {
    const std::uint32_t* other = columns.words(c);
    std::uint32_t others = 0;
    for (std::uint32_t i = 0, at = 0; i < kSample && others <= kOthersMax; i += kAtOnce)
      for (std::uint32_t k = 0; k < kAtOnce; ++k, at += step) others += words[at] != other[at] ? 1 : 0;
    if (others <= kOthersMax) return static_cast<std::uint32_t>(c);
  }
  return kNoTwin;
}

PGMINT_INLINE void put32(PlaneSink& sink, std::uint32_t v) {
  store32(sink.descriptors + sink.descriptor_bytes, v);
  sink.descriptor_bytes += 4;
}
PGMINT_INLINE void put8(PlaneSink& sink, std::uint32_t v) {
  sink.descriptors[sink.descriptor_bytes++] = static_cast<unsigned char>(v);
}
PGMINT_INLINE void put_varint(PlaneSink& sink, std::uint32_t v) {
  for (; v > 127; v >>= 7) put8(sink, (v & 127) | 128);
  put8(sink, v);
}

/// One column behind its count: descriptor and planes. `count` is not 0.
PGMINT_INLINE void split_words(const std::uint32_t* words, std::uint32_t count, bool may_be_delta, std::uint32_t twin, std::uint32_t* scratch,
                               PlaneSink& sink) {
  const bool delta = may_be_delta && delta_pays(words, count);
  const std::uint32_t first = words[0];
  if (delta) {
    for (std::uint32_t i = 1; i < count; ++i) scratch[i] = zigzag(words[i] - words[i - 1]);
    scratch[0] = scratch[1];  // not read back; like its neighbour it costs nothing
    words = scratch;
  }
  std::uint32_t varying = 0;
  const std::uint32_t base = words[0];
  for (std::uint32_t i = 0; i < count; ++i) varying |= words[i] ^ base;
  std::uint32_t constant_mask = 0, constants = 0, raw_mask = 0;
  for (std::uint32_t k = 0; k < 4; ++k) {
    const std::uint32_t byte = 0xFFU << (8 * k);
    if ((varying & byte) != 0) {
      if (looks_random(words, count, 8 * k)) raw_mask |= 1U << k;
    } else {
      constant_mask |= 1U << k;
      constants |= base & byte;
    }
  }
  put8(sink, (twin != kNoTwin ? kTagTwin : 0) | (delta ? kTagDelta : 0) | (constants != 0 ? kTagConstants : 0) | (raw_mask != 0 ? kTagRaw : 0) |
                 constant_mask << kTagConstantShift);
  if (twin != kNoTwin) put8(sink, twin);
  if (delta) put32(sink, first);
  if (constants != 0) put32(sink, constants);
  if (raw_mask != 0) put8(sink, raw_mask);
  for (std::uint32_t k = 0; k < 4; ++k) {
    if ((constant_mask >> k & 1) != 0) continue;
    const bool raw = (raw_mask >> k & 1) != 0;
    unsigned char* __restrict plane = raw ? sink.raw + sink.raw_bytes : sink.planes + sink.plane_bytes;
    const std::uint32_t* __restrict from = words;
    for (std::uint32_t i = 0; i < count; ++i) plane[i] = static_cast<unsigned char>(from[i] >> (8 * k));
    (raw ? sink.raw_bytes : sink.plane_bytes) += count;
  }
}

PGMINT_INLINE void split_column(const Columns& columns, std::size_t column, std::uint32_t* twin_scratch, std::uint32_t* scratch, PlaneSink& sink) {
  const std::uint32_t* words = columns.words(column);
  const std::uint32_t count = columns.sizes[column];
  put_varint(sink, count);
  if (count == 0) return;
  const std::uint32_t twin = twin_of(columns, column);
  if (twin != kNoTwin) {
    const std::uint32_t* __restrict other = columns.words(twin);
    const std::uint32_t* __restrict own = words;
    for (std::uint32_t i = 0; i < count; ++i) twin_scratch[i] = own[i] ^ other[i];
    words = twin_scratch;
  }
  split_words(words, count, may_be_delta(column), twin, scratch, sink);
}

PGMINT_INLINE bool split_all(const Columns& columns, std::uint32_t* scratch, PlaneSink& sink) {
  std::size_t worst = 0;
  for (const auto size : columns.sizes) worst += std::size_t{4} * size;
  if (worst > kPlanesMax) return false;
  for (std::size_t c = 0; c < kColumnCount; ++c) split_column(columns, c, scratch + kColumnCapacity, scratch, sink);
  return true;
}

/// What a descriptor says, and where its planes are.
struct Merge {
  std::uint32_t count = 0, first = 0, constants = 0;
  bool delta = false;
  const std::uint32_t* twin = nullptr;
  std::uint32_t planes = 0;
  std::array<const unsigned char*, 4> from{};
  std::array<std::uint32_t, 4> shift{};
};

/// Puts a column's planes together: use(i, word), before deltas and twins.
template <class Use>
PGMINT_INLINE void for_each_merged(const Merge& m, std::uint32_t from, const Use& use) {
  const unsigned char* __restrict a = m.from[0];
  const unsigned char* __restrict b = m.from[1];
  const unsigned char* __restrict c = m.from[2];
  const unsigned char* __restrict d = m.from[3];
  const auto [s, t, u, v] = m.shift;
  switch (m.planes) {
    case 0:
      for (std::uint32_t i = from; i < m.count; ++i) use(i, m.constants);
      break;
    case 1:
      for (std::uint32_t i = from; i < m.count; ++i) use(i, m.constants | std::uint32_t{a[i]} << s);
      break;
    case 2:
      for (std::uint32_t i = from; i < m.count; ++i) use(i, m.constants | std::uint32_t{a[i]} << s | std::uint32_t{b[i]} << t);
      break;
    case 3:
      for (std::uint32_t i = from; i < m.count; ++i) use(i, m.constants | std::uint32_t{a[i]} << s | std::uint32_t{b[i]} << t | std::uint32_t{c[i]} << u);
      break;
    default:
      for (std::uint32_t i = from; i < m.count; ++i)
        use(i, std::uint32_t{a[i]} << s | std::uint32_t{b[i]} << t | std::uint32_t{c[i]} << u | std::uint32_t{d[i]} << v);
  }
}

PGMINT_INLINE void merge_column(const Merge& m, std::uint32_t* __restrict words) {
  for_each_merged(m, 0, [&](std::uint32_t i, std::uint32_t word) { words[i] = word; });
  if (m.delta) {
    std::uint32_t word = words[0] = m.first;
    for (std::uint32_t i = 1; i < m.count; ++i) words[i] = word += unzigzag(words[i]);
  }
  if (m.twin == nullptr) return;
  const std::uint32_t* __restrict twin = m.twin;
  for (std::uint32_t i = 0; i < m.count; ++i) words[i] ^= twin[i];
}

/// Whether what get(i) says is what the planes say. A delta is held against the difference of two words, which is the same where all before it
/// agree.
template <class Get>
PGMINT_INLINE bool matches(const Merge& m, const Get& get) {
  std::uint32_t differing = 0;
  if (m.delta) {
    differing = get(0) ^ m.first;
    for_each_merged(m, 1, [&](std::uint32_t i, std::uint32_t word) { differing |= (get(i) - get(i - 1)) ^ unzigzag(word); });
  } else {
    for_each_merged(m, 0, [&](std::uint32_t i, std::uint32_t word) { differing |= get(i) ^ word; });
  }
  return differing == 0;
}

/// Whether merge_column() would yield `words`, without writing them.
PGMINT_INLINE bool matches_column(const Merge& m, const std::uint32_t* __restrict words) {
  if (m.twin == nullptr) return matches(m, [words](std::uint32_t i) { return words[i]; });
  return matches(m, [words, twin = m.twin](std::uint32_t i) { return words[i] ^ twin[i]; });
}

PGMINT_INLINE void split_list(std::span<const WordColumn> columns, std::uint32_t* scratch, PlaneSink& sink) {
  for (const auto& column : columns) split_words(column.words, column.count, true, kNoTwin, scratch, sink);
}

#if PGMINT_HAS_AVX2_BUILD
PGMINT_TARGET_AVX2 void split_list_avx2(std::span<const WordColumn> columns, std::uint32_t* scratch, PlaneSink& sink) {
  split_list(columns, scratch, sink);
}
PGMINT_TARGET_AVX2 bool split_all_avx2(const Columns& columns, std::uint32_t* scratch, PlaneSink& sink) {
  return split_all(columns, scratch, sink);
}
PGMINT_TARGET_AVX2 void merge_column_avx2(const Merge& m, std::uint32_t* words) { merge_column(m, words); }
PGMINT_TARGET_AVX2 bool matches_column_avx2(const Merge& m, const std::uint32_t* words) { return matches_column(m, words); }
#endif

Result<ByteView> take_plane(ByteView& from, std::size_t n) {
  if (from.size() < n) return Error(Errc::Corruption, "page record: a plane is cut short");
  const auto plane = from.first(n);
  from = from.subspan(n);
  return plane;
}

struct Descriptor {
  std::uint32_t tag = 0, raw_mask = 0, twin = kNoTwin;
  Merge merge;
};

/// What stands behind a count that is not 0.
Result<Descriptor> parse_descriptor(BinaryReader& in, std::uint32_t count) {
  Descriptor d;
  d.merge.count = count;
  d.tag = TRY(in.u8());
  if ((d.tag & kTagTwin) != 0) d.twin = TRY(in.u8());
  d.merge.delta = (d.tag & kTagDelta) != 0;
  if (d.merge.delta) d.merge.first = TRY(in.u32());
  if ((d.tag & kTagConstants) != 0) d.merge.constants = TRY(in.u32());
  if ((d.tag & kTagRaw) != 0) d.raw_mask = TRY(in.u8());
  return d;
}

Result<Descriptor> parse_counted_descriptor(BinaryReader& in) {
  const auto count = TRY(in.varint());
  if (count > kColumnCapacity) return in.corrupt("impossible column size");
  if (count == 0) return Descriptor();
  return parse_descriptor(in, static_cast<std::uint32_t>(count));
}

/// Finds the planes of a column.
Status take_planes(Descriptor& d, ByteView& raw, ByteView& planes) {
  for (std::uint32_t k = 0; k < 4; ++k) {
    if ((d.tag >> (kTagConstantShift + k) & 1) != 0) continue;
    const auto plane = TRY(take_plane((d.raw_mask >> k & 1) != 0 ? raw : planes, d.merge.count));
    d.merge.from[d.merge.planes] = as_u8(plane);
    d.merge.shift[d.merge.planes++] = 8 * k;
  }
  return ok();
}

/// Where the words of a column go: written ...
struct WordsWritten {
  Columns& columns;
  CpuPath path;
  static void run(const Merge& m, std::uint32_t* words, [[maybe_unused]] CpuPath path) {
#if PGMINT_HAS_AVX2_BUILD
    if (path == CpuPath::Avx2) return merge_column_avx2(m, words);
#endif
    merge_column(m, words);
  }
  bool operator()(std::size_t c, const Merge& m) const {
    columns.sizes[c] = m.count;
    run(m, columns.words(c), path);
    return true;
  }
};

/// ... or held against those that are there. False: others.
struct WordsCompared {
  const Columns& columns;
  CpuPath path;
  bool operator()(std::size_t c, const Merge& m) const {
    if (columns.sizes[c] != m.count) return false;
#if PGMINT_HAS_AVX2_BUILD
    if (path == CpuPath::Avx2) return matches_column_avx2(m, columns.words(c));
#endif
    return matches_column(m, columns.words(c));
  }
};

template <class Words>
Result<bool> for_each_column(PlaneSource& source, const Columns& columns, const Words& words) {
  BinaryReader in(source.packed, "page record");
  std::array<Descriptor, kColumnCount> descriptors;
  for (auto& d : descriptors) d = TRY(parse_counted_descriptor(in));
  ByteView planes = source.packed.subspan(in.position());
  for (std::size_t c = 0; c < kColumnCount; ++c) {
    auto& d = descriptors[c];
    if ((d.tag & kTagTwin) != 0) {
      if (d.twin >= c || columns.sizes[d.twin] != d.merge.count) return in.corrupt("a column follows one that it cannot follow");
      d.merge.twin = columns.words(d.twin);
    }
    TRY(take_planes(d, source.raw, planes));
    if (!words(c, d.merge)) return false;
  }
  source.packed = planes;
  return true;
}

}  // namespace

bool split_columns(const Columns& columns, std::uint32_t* scratch, PlaneSink& sink, [[maybe_unused]] CpuPath path) {
#if PGMINT_HAS_AVX2_BUILD
  if (path == CpuPath::Avx2) return split_all_avx2(columns, scratch, sink);
#endif
  return split_all(columns, scratch, sink);
}

Status merge_columns(PlaneSource& source, Columns& columns, CpuPath path) {
  TRY(for_each_column(source, columns, WordsWritten{columns, path}));
  return ok();
}

Result<bool> columns_match(PlaneSource& source, const Columns& columns, CpuPath path) {
  return for_each_column(source, columns, WordsCompared{columns, path});
}

void split_word_columns(std::span<const WordColumn> columns, std::uint32_t* scratch, PlaneSink& sink, [[maybe_unused]] CpuPath path) {
#if PGMINT_HAS_AVX2_BUILD
  if (path == CpuPath::Avx2) return split_list_avx2(columns, scratch, sink);
#endif
  split_list(columns, scratch, sink);
}

Status merge_word_columns(PlaneSource& source, std::span<const MutableWordColumn> columns, CpuPath path) {
  // Descriptors come first, planes behind the last of them: one pass finds where those begin.
  BinaryReader skipped(source.packed, "WAL piece");
  for (const auto& column : columns) TRY(parse_descriptor(skipped, column.count));
  ByteView planes = source.packed.subspan(skipped.position());
  BinaryReader in(source.packed, "WAL piece");
  for (const auto& column : columns) {
    auto d = TRY(parse_descriptor(in, column.count));
    if ((d.tag & kTagTwin) != 0) return in.corrupt("a column that follows another");
    TRY(take_planes(d, source.raw, planes));
    WordsWritten::run(d.merge, column.words, path);
  }
  source.packed = planes;
  return ok();
}

}  // namespace pgmint::codec
