#include "codec/wal_encoder.h"

#include <algorithm>
#include <vector>

#include "base/scratch.h"
#include "codec/crc32c.h"
#include "codec/wal_candidate.h"

namespace pgmint::codec {

std::uint32_t wal_record_crc(PagePointer record, std::uint32_t length) {
  const auto view = [](PagePointer from, std::uint32_t n) { return std::as_bytes(std::span(from, n)); };
  return crc32c(view(record, kXlCrcAt), crc32c(view(record + kXlHeader, length - kXlHeader)));
}

namespace {

/// Fewer records of a kind are kept as they are: their descriptors would cost more than they save.
constexpr std::uint32_t kKindRecordsMin = 8;
/// Copies run over by up to this much: what is behind is written later or never read.
constexpr std::uint32_t kOverrun = 32;
constexpr std::uint32_t kCandidatesMax = 512, kBuckets = 2048;
constexpr std::uint32_t kMagic15 = 0xD110;

struct Entry {
  std::uint32_t start;
  std::uint32_t candidate;  ///< kNoCandidate and above: none
};
constexpr std::uint32_t kNoCandidate = kCandidatesMax, kWhole = kNoCandidate + 1;

/// The first `n` bytes, 1 to 3, as a word.
PGMINT_INLINE std::uint32_t load_few(PagePointer p, std::uint32_t n) { return load32(p) & ((1U << (8 * n)) - 1); }

/// What every piece uses most of, in one huge page where the kernel has one: hundreds of page faults less for the process of one push.
class Workspace {
 public:
  template <class T>
  T* take(std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment);
    const auto bytes = bytes_.subspan(used_);
    used_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    PGMINT_ASSERT(used_ <= kSize);
    return new (bytes.data()) T[count];
  }

 private:
  static constexpr std::size_t kSize = std::size_t{2} << 20, kAlignment = 64;
  Scratch scratch_;
  MutableByteView bytes_ = scratch_.of(kSize);
  std::size_t used_ = 0;
};
/// Behind records and remainder, for reads and copies that run over.
constexpr std::uint32_t kSlack = 256;

}  // namespace

struct WalEncoder::State {
  CpuPath path;
  WalPages pages;
  std::uint32_t room = 0, compressed_bits = 0;
  std::uint32_t head = 0, tail = 0, first_remaining = 0;
  std::uint64_t previous = 0;  ///< xl_prev of the first record
  std::uint32_t image_count = 0;
  Workspace space;
  unsigned char* const records = space.take<unsigned char>(kWalPieceMax + kSlack);  ///< without page headers
  unsigned char* const remainder = space.take<unsigned char>(kWalPieceMax + kSlack);
  Entry* const entries = space.take<Entry>(kWalRecordsMax);
  std::uint32_t entry_count = 0;
  WalCandidate* const candidates = space.take<WalCandidate>(kCandidatesMax);
  std::uint32_t candidate_count = 0;
  std::uint32_t* const scratch = space.take<std::uint32_t>(kWalRecordsMax);
  std::uint32_t* const words = space.take<std::uint32_t>(kWalWordsMax);
  std::array<std::uint16_t, 1024> lookup{};       ///< candidate + 1 of the last record with such a slot: a guess
  std::array<std::uint16_t, kBuckets> buckets{};  ///< candidate + 1, by hash_of(), with linear probing
  std::vector<WalCandidate*> kinds;
  std::vector<WordColumn> columns;
  LazyArray<unsigned char> control{kWalControlMax}, planes{4 * kWalWordsMax}, raw{4 * kWalWordsMax}, images{kWalImagesMax * kPageSize};
  unsigned char* remainder_end = nullptr;
  unsigned char* images_end = nullptr;
  unsigned char* control_end = nullptr;

  bool read_pages(PagePointer piece, std::size_t size) {
    if (size == 0 || size > kWalPieceMax || size % kWalPageSize != 0) return false;
    const std::uint32_t info = load16(piece + kXlpInfoAt);
    pages.magic = load16(piece);
    pages.flags = info & ~(kXlpContinues | kXlpLong);
    pages.timeline = load32(piece + kXlpTimelineAt);
    pages.address = load64(piece + kXlpAddressAt);
    pages.count = static_cast<std::uint32_t>(size / kWalPageSize);
    pages.long_header = (info & kXlpLong) != 0;
    first_remaining = load32(piece + kXlpRemainingAt);
    if (pages.magic >> 8 != 0xD0 && pages.magic >> 8 != 0xD1) return false;
    if ((pages.address & (kWalPageSize - 1)) != 0) return false;
    compressed_bits = pages.magic < kMagic15 ? 0x02 : 0x1C;
    room = pages.room();
    unsigned char* to = records;
    for (std::uint32_t p = 0; p < pages.count; ++p) {
      const std::uint32_t header = p == 0 ? pages.first_header() : kWalPageHeader;
      std::memcpy(to, piece + std::size_t{p} * kWalPageSize + header, kWalPageSize - header);
      to += kWalPageSize - header;
    }
    return true;
  }

  // -- finding records ----------------------------------------------------------------------------------------------------

  static std::uint32_t slot_of(PagePointer record, std::uint32_t total) {
    std::uint32_t h = load16(record + kXlInfoAt) | std::uint32_t{record[kXlHeader]} << 16 | std::uint32_t{record[kXlHeader + 1]} << 24;
    if (total >= 40) h ^= load32(record + 36) * 0x9E3779B1U;
    h *= 0x85EBCA6BU;
    return h >> 22;
  }

  /// Whether a record with a candidate's headers has its lengths, and the images to be taken out.
  static bool fits(const WalCandidate& c, PagePointer record, std::uint32_t total, std::uint32_t& images_of_record) {
    const WalHeaders& parts = c.kind.parts;
    std::uint32_t sum = parts.length + parts.main_length;
    if (sum > total) return false;
    for (std::uint32_t b = 0; b < parts.block_count; ++b) {
      const WalBlock& block = parts.blocks[b];
      if (block.image_at != 0) {
        const std::uint32_t length = load16(record + block.image_at);
        if (sum + length > total) return false;
        if (!is_regular_image(record, block, record + sum - parts.main_length)) return false;
        sum += length;
        ++images_of_record;
      }
      if (block.has_data) {
        const std::uint32_t length = load16(record + block.data_length_at);
        if (length == 0) return false;
        sum += length;
      }
    }
    return sum == total;
  }

  std::uint32_t classify(std::uint32_t start, std::uint32_t total) {
    const PagePointer record = records + start;
    const std::uint32_t slot = slot_of(record, total);
    if (lookup[slot] != 0) {
      WalCandidate& c = candidates[lookup[slot] - 1U];
      std::uint32_t found = 0;
      if (total >= c.kind.parts.length && c.matches(record) && fits(c, record, total, found) && image_count + found <= kWalImagesMax) {
        image_count += found;
        return add_to(c, start);
      }
    }
    WalHeaders parts;
    if (!read_wal_headers(record, record + total, total, compressed_bits, parts)) return kWhole;
    std::uint32_t found = 0;
    bool regular = true;
    walk_payload(
        parts, record, [](std::uint32_t, PagePointer, std::uint32_t) {},
        [&](const WalBlock& block, PagePointer image) {
          ++found;
          regular = regular && is_regular_image(record, block, image);
        });
    if (!regular || image_count + found > kWalImagesMax) return kWhole;
    image_count += found;
    if (parts.length > kWalKindHeaderMax || parts.block_count > kWalKindBlocksMax) return kNoCandidate;
    const WalSignature signature(record, parts);
    std::uint32_t at = signature.hash() % kBuckets;
    for (; buckets[at] != 0; at = (at + 1) % kBuckets) {
      WalCandidate& c = candidates[buckets[at] - 1U];
      if (!signature.is_of(c)) continue;
      lookup[slot] = buckets[at];
      return add_to(c, start);
    }
    if (candidate_count == kCandidatesMax) return kNoCandidate;
    WalCandidate& made = candidates[candidate_count];
    made = make_candidate(signature, parts);
    lookup[slot] = buckets[at] = static_cast<std::uint16_t>(++candidate_count);
    return add_to(made, start);
  }

  std::uint32_t add_to(WalCandidate& c, std::uint32_t start) {
    if (c.has_rows) {
      const PagePointer record = records + start;
      const std::uint32_t rows = count_rows(record + c.kind.parts.length, load16(record + c.kind.parts.blocks[0].data_length_at));
      if (rows == 0) return kNoCandidate;
      c.kind.rows += rows;
    }
    if (c.kind.count < kWalSampleMax) c.samples[c.kind.count] = start;
    ++c.kind.count;
    return static_cast<std::uint32_t>(&c - candidates);
  }

  void find_records(bool verify) {
    entry_count = candidate_count = image_count = 0;
    lookup.fill(0);
    buckets.fill(0);
    const std::uint64_t head_end = (std::uint64_t{first_remaining} + 7) & ~std::uint64_t{7};
    head = tail = static_cast<std::uint32_t>(std::min<std::uint64_t>(head_end, room));
    previous = 0;
    std::uint64_t expected = 0;
    while (room - tail >= kXlHeader) {
      const PagePointer record = records + tail;
      const std::uint32_t total = load32(record);
      if (total < kXlHeader || total > room - tail || load16(record + kXlPaddingAt) != 0) return;
      if (entry_count == 0) expected = previous = load64(record + kXlPreviousAt);
      if (load64(record + kXlPreviousAt) != expected || (verify && load32(record + kXlCrcAt) != wal_record_crc(record, total))) return;
      for (std::uint32_t i = total; i < align8(total); ++i)
        if (record[i] != 0) return;
      entries[entry_count++] = {tail, classify(tail, total)};
      expected = pages.lsn(tail);
      tail += align8(total);
    }
  }

  // -- taking them apart --------------------------------------------------------------------------------------------------

  void keep(PagePointer from, std::uint32_t n) {
    std::uint32_t i = 0;
    do {
      std::memcpy(remainder_end + i, from + i, kOverrun);
      i += kOverrun;
    } while (i < n);
    remainder_end += n;
  }

  void take_image(PagePointer record, const WalBlock& block, PagePointer image) {
    const std::uint32_t length = load16(record + block.image_at), hole = load16(record + block.image_at + 2);
    if (length == kPageSize) {
      std::memcpy(images_end, image, kPageSize);
    } else {
      std::memcpy(images_end, image, hole);
      std::memset(images_end + hole, 0, kPageSize - length);
      std::memcpy(images_end + hole + kPageSize - length, image + hole, length - hole);
    }
    images_end += kPageSize;
  }

  void keep_whole(PagePointer record, std::uint32_t total, bool but_images) {
    unsigned char* const start = remainder_end;
    if (!but_images) {
      keep(record, total);
    } else {
      WalHeaders parts;
      const bool read = read_wal_headers(record, record + total, total, compressed_bits, parts);
      PGMINT_ASSERT(read);  // it was, when the record was found
      keep(record, parts.length);
      walk_payload(
          parts, record, [&](std::uint32_t, PagePointer data, std::uint32_t size) { keep(data, size); },
          [&](const WalBlock& block, PagePointer image) { take_image(record, block, image); });
    }
    store32(start + kXlXidAt, 0);
    store64(start + kXlPreviousAt, 0);
    store32(start + kXlCrcAt, 0);
  }

  /// A row of a kind's columns.
  struct Row {
    std::uint32_t* column;
    std::size_t count;
    PGMINT_INLINE void push(std::uint32_t word) {
      *column = word;
      column += count;
    }
  };

  PGMINT_INLINE void take_section(Row& row, const WalSection section, PagePointer data, std::uint32_t size, bool is_first) {
    const std::uint32_t taken = section.bytes();
    if (size < taken) {
      for (std::uint32_t w = 0; w < section.words(); ++w) row.push(is_first ? 0 : row.column[-1]);
      return keep(data, size);
    }
    if (section.first != 0) row.push(load_few(data, section.first));
    data += section.first;
    for (std::uint32_t w = 0; w < section.prefix; ++w, data += 4) row.push(load32(data));
    const std::uint32_t rest = size - taken;
    if (rest != 0) keep(data, rest);
    const PagePointer end = data + rest + 4 * section.suffix;
    for (std::uint32_t w = 1; w <= section.suffix; ++w) row.push(load32(end - 4 * w));
    if (section.last != 0) row.push(load_few(end, section.last));
  }

  void take_rows(const WalKind& kind, std::uint32_t& index, PagePointer data, std::uint32_t size) {
    const WalSection section = kind.sections[0];
    for (std::uint32_t at = 0; at < size; ++index) {
      const std::uint32_t span = WalRows::span(load16(data + at), size - at);
      Row row{kind.words + std::size_t{kind.columns()} * kind.count + index, kind.rows};
      if (span >= section.bytes()) {
        take_section(row, section, data + at, span, false);
      } else {  // the decoder needs its length before it knows that
        row.push(load32(data + at));
        for (std::uint32_t w = 1; w < section.words(); ++w) row.push(index == 0 ? 0 : row.column[-1]);
        keep(data + at, span);
      }
      at += span;
    }
  }

  void take_apart(WalCandidate& c, std::uint32_t index, PagePointer record) {
    const WalKind& kind = c.kind;
    Row row{kind.words + index, kind.count};
    const bool is_first = index == 0;
    const std::uint32_t blocks = kind.parts.block_count;
    for (std::uint32_t b = 0; b < blocks; ++b) {
      const WalBlock& block = kind.parts.blocks[b];
      row.push(load32(record + block.number_at));
      if (block.has_data) row.push(load16(record + block.data_length_at));
    }
    PagePointer at = record + kind.parts.length;
    for (std::uint32_t b = 0; b < blocks; ++b) {
      const WalBlock& block = kind.parts.blocks[b];
      if (block.image_at != 0) {
        take_image(record, block, at);
        at += load16(record + block.image_at);
      }
      if (!block.has_data) continue;
      const std::uint32_t size = load16(record + block.data_length_at);
      if (b == 0 && c.has_rows)
        take_rows(kind, c.rows_taken, at, size);
      else
        take_section(row, kind.sections[b], at, size, is_first);
      at += size;
    }
    if (kind.parts.main_length != 0) take_section(row, kind.main_section(), at, kind.parts.main_length, is_first);
  }

  bool choose_kinds() {
    kinds.clear();
    columns.clear();
    std::uint32_t used = 2 * entry_count;
    if (used > kWalWordsMax) return false;
    columns.push_back({words, entry_count});
    columns.push_back({words + entry_count, entry_count});
    for (std::uint32_t i = 0; i < candidate_count; ++i) {
      WalCandidate& c = candidates[i];
      if (std::max(c.kind.count, c.kind.rows) < kKindRecordsMin || kinds.size() == kWalKindsMax) continue;
      choose_words(c, records);
      const std::uint32_t n = c.kind.columns(), rows = c.kind.row_columns();
      const std::size_t needed = std::size_t{n} * c.kind.count + std::size_t{rows} * c.kind.rows;
      if (columns.size() + n + rows > kWalColumnsMax || needed > kWalWordsMax - used) continue;
      c.id = kWalFirstKind + static_cast<std::uint32_t>(kinds.size());
      c.kind.words = words + used;
      for (std::uint32_t k = 0; k < n; ++k) columns.push_back({c.kind.words + std::size_t{k} * c.kind.count, c.kind.count});
      for (std::uint32_t k = 0; k < rows; ++k)
        columns.push_back({c.kind.words + std::size_t{n} * c.kind.count + std::size_t{k} * c.kind.rows, c.kind.rows});
      used += static_cast<std::uint32_t>(needed);
      kinds.push_back(&c);
    }
    return true;
  }

  void take_all() {
    remainder_end = remainder;
    images_end = images.get();
    std::uint32_t* const kind_words = words;
    std::uint32_t* const xids = kind_words + entry_count;
    std::array<std::uint32_t, kCandidatesMax> seen{};
    if (head != 0) keep(records, head);
    for (std::uint32_t i = 0; i < entry_count; ++i) {
      const PagePointer record = records + entries[i].start;
      const std::uint32_t candidate = entries[i].candidate;
      xids[i] = load32(record + kXlXidAt);
      if (candidate < candidate_count && candidates[candidate].id >= kWalFirstKind) {
        kind_words[i] = candidates[candidate].id;
        take_apart(candidates[candidate], seen[candidate]++, record);
      } else {
        kind_words[i] = candidate == kWhole ? kWalKeptWhole : kWalKeptButImages;
        keep_whole(record, load32(record), candidate != kWhole);
      }
    }
    if (tail != room) keep(records + tail, room - tail);
  }

  // -- control ------------------------------------------------------------------------------------------------------------

  void put8(std::uint32_t v) { *control_end++ = static_cast<unsigned char>(v); }
  void put32(std::uint32_t v) { store32(std::exchange(control_end, control_end + 4), v); }
  void put64(std::uint64_t v) { store64(std::exchange(control_end, control_end + 8), v); }
  void put(PagePointer from, std::uint32_t n) { std::memcpy(std::exchange(control_end, control_end + n), from, n); }

  void put_pages(PagePointer piece) {
    WalContinuations continuations(pages);
    continuations.note(0, first_remaining);
    for (std::uint32_t i = 0; i < entry_count; ++i)
      continuations.note(entries[i].start, std::uint64_t{entries[i].start} + load32(records + entries[i].start));
    if (tail != room) continuations.note(tail, std::uint64_t{tail} + load32(records + tail));
    put32(pages.magic | pages.flags << 16);
    put32(pages.timeline);
    put64(pages.address);
    put32(first_remaining);
    put8(pages.long_header ? 1 : 0);
    if (pages.long_header) put(piece + kWalPageHeader, kWalLongPageHeader - kWalPageHeader);
    unsigned char* const exceptions = control_end++;
    *exceptions = 0;
    for (std::uint32_t p = 0; p < pages.count; ++p) {
      std::array<unsigned char, kWalPageHeader> expected;
      write_wal_page_header(pages, p, p == 0 ? first_remaining : continuations.remaining(p), expected.data());
      const PagePointer header = piece + std::size_t{p} * kWalPageSize;
      if (std::memcmp(header, expected.data(), kWalPageHeader) == 0) continue;
      ++*exceptions;
      put8(p);
      put(header, kWalPageHeader);
    }
  }

  void put_kinds() {
    put32(head);
    put32(entry_count);
    put64(previous);
    put8(compressed_bits);
    put8(static_cast<std::uint32_t>(kinds.size()));
    for (const WalCandidate* c : kinds) {
      const WalKind& kind = c->kind;
      put32(kind.count);
      put8(kind.parts.length);
      put(kind.header.data() + kXlInfoAt, 2);
      put(kind.header.data() + kXlHeader, kind.parts.length - kXlHeader);
      const auto put_section = [&](const WalSection& section, std::uint32_t rows) {
        put8(std::uint32_t{section.first} | std::uint32_t{section.last} << 4 | (rows != 0 ? kWalSectionOfRows : 0U));
        put8(std::uint32_t{section.prefix} << 4 | section.suffix);
        if (rows != 0) put32(rows);
      };
      for (std::uint32_t b = 0; b < kind.parts.block_count; ++b)
        if (kind.parts.blocks[b].has_data) put_section(kind.sections[b], b == 0 ? kind.rows : 0);
      if (kind.parts.main_length != 0) put_section(kind.main_section(), 0);
    }
  }
};

WalEncoder::WalEncoder(CpuPath path) : state_(std::make_unique<State>()) { state_->path = path; }
WalEncoder::WalEncoder(WalEncoder&&) noexcept = default;
WalEncoder::~WalEncoder() = default;

std::optional<WalStreams> WalEncoder::encode(ByteView piece, WalSums sums) {
  State& s = *state_;
  if (!s.read_pages(as_u8(piece), piece.size())) return std::nullopt;
  s.find_records(sums == WalSums::Verify);
  if (s.entry_count == 0 || !s.choose_kinds()) return std::nullopt;
  s.take_all();
  s.control_end = s.control.get();
  s.put_pages(as_u8(piece));
  s.put_kinds();
  PlaneSink sink{s.control_end, s.planes.get(), s.raw.get()};
  split_word_columns(s.columns, s.scratch, sink, s.path);
  s.control_end += sink.descriptor_bytes;
  s.put(s.planes.get(), static_cast<std::uint32_t>(sink.plane_bytes));
  const auto view = [](const unsigned char* from, const unsigned char* to) { return std::as_bytes(std::span(from, to)); };
  return WalStreams{view(s.control.get(), s.control_end), view(s.raw.get(), s.raw.get() + sink.raw_bytes),
                    view(s.remainder, s.remainder_end), view(s.images.get(), s.images_end),
                    {s.pages.lsn(s.head), s.pages.lsn(s.tail)}};
}

}  // namespace pgmint::codec
