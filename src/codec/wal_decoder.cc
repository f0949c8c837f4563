#include "codec/wal_decoder.h"

#include <optional>
#include <vector>

#include "codec/binary.h"
#include "codec/page_planes.h"
#include "codec/short_copy.h"
#include "codec/wal_kind.h"

namespace pgmint::codec {
namespace {

/// Records have so much room behind them.
constexpr std::uint32_t kOverrun = 32;

struct DecodedKind {
  WalKind kind;
  std::uint32_t used = 0, rows_used = 0;
};

/// Shrinking fronts of the streams while a piece is put together, and its records, without page headers, as they grow.
struct Assembly {
  std::vector<DecodedKind>& kinds;
  std::uint32_t compressed_bits;
  PagePointer remainder, remainder_end;
  PagePointer images, images_end;
  unsigned char* records;
  std::uint32_t at, room;

  PGMINT_INLINE bool take(unsigned char* to, std::uint32_t n) {
    if (n > static_cast<std::size_t>(remainder_end - remainder)) return false;
    copy_exactly(to, remainder, n);
    remainder += n;
    return true;
  }

  /// The next page without its hole. @param length  of what is left of it
  bool take_image(unsigned char* to, std::uint32_t hole, std::uint32_t length) {
    if (images == images_end || length > kPageSize || hole > length) return false;
    std::memcpy(to, images, hole);
    std::memcpy(to + hole, images + hole + kPageSize - length, length - hole);
    images += kPageSize;
    return true;
  }

  bool put_kept(std::uint32_t form, std::uint32_t& total) {
    if (static_cast<std::size_t>(remainder_end - remainder) < kXlHeader) return false;
    total = load32(remainder);
    if (total < kXlHeader || total > room - at) return false;
    unsigned char* to = records + at;
    if (form == kWalKeptWhole) return take(to, total);
    WalHeaders parts;
    if (!read_wal_headers(remainder, remainder_end, total, compressed_bits, parts) || !take(to, parts.length)) return false;
    const PagePointer header = to;
    to += parts.length;
    for (std::uint32_t b = 0; b < parts.block_count; ++b) {
      const WalBlock& block = parts.blocks[b];
      if (block.image_at != 0) {
        const std::uint32_t length = load16(header + block.image_at);
        if (block.odd_image || !take_image(to, load16(header + block.image_at + 2), length)) return false;
        to += length;
      }
      const std::uint32_t size = block.has_data ? load16(header + block.data_length_at) : 0;
      if (!take(to, size)) return false;
      to += size;
    }
    return take(to, parts.main_length);
  }

  /// As take(), where what lies behind in the records is written later: most are short, and 32 bytes at once are faster than counting.
  PGMINT_INLINE bool take_over(unsigned char* to, std::uint32_t n) {
    const auto left = static_cast<std::size_t>(remainder_end - remainder);
    if (n > kOverrun || left < kOverrun) return take(to, n);
    std::memcpy(to, remainder, kOverrun);
    remainder += n;
    return true;
  }

  /// A row of a kind's columns.
  struct Row {
    const std::uint32_t* column;
    std::size_t count;
    PGMINT_INLINE std::uint32_t pull() {
      const std::uint32_t word = *column;
      column += count;
      return word;
    }
  };

  /// From front to back: a word stored in place of its first bytes, and a copy that runs over, harm only what is written next.
  PGMINT_INLINE bool put_section(Row& row, const WalSection section, unsigned char* to, std::uint32_t size) {
    const std::uint32_t taken = section.bytes();
    if (size < taken) {
      row.column += section.words() * row.count;
      return take(to, size);
    }
    if (section.first != 0) store32(to, row.pull());
    to += section.first;
    for (std::uint32_t w = 0; w < section.prefix; ++w, to += 4) store32(to, row.pull());
    const std::uint32_t rest = size - taken;
    if (rest != 0 && !take_over(to, rest)) return false;
    unsigned char* const end = to + rest + 4 * section.suffix;
    for (std::uint32_t w = 1; w <= section.suffix; ++w) store32(end - 4 * w, row.pull());
    if (section.last != 0) store32(end, row.pull());
    return true;
  }

  bool put_rows(DecodedKind& decoded, unsigned char* to, std::uint32_t size) {
    const WalKind& kind = decoded.kind;
    const WalSection section = kind.sections[0];
    while (size != 0) {
      if (decoded.rows_used == kind.rows) return false;
      Row row{kind.words + std::size_t{kind.columns()} * kind.count + decoded.rows_used++, kind.rows};
      const std::uint32_t span = WalRows::span(*row.column, size);  // its first word: a section of rows has a prefix, and no first bytes
      if (span == 0 || !put_section(row, section, to, span)) return false;
      to += span;
      size -= span;
    }
    return true;
  }

  bool put_kind(DecodedKind& decoded, std::uint32_t& total) {
    const WalKind& kind = decoded.kind;
    const std::uint32_t index = decoded.used++, count = kind.count;
    if (index >= count) return false;
    Row row{kind.words + index, count};
    unsigned char* const record = records + at;
    std::uint32_t left = room - at;
    if (kind.parts.length > left || kind.parts.main_length > left - kind.parts.length) return false;
    std::memcpy(record, kind.header.data(), kind.parts.length);
    left -= kind.parts.length + kind.parts.main_length;
    PagePointer next_image = images;
    for (std::uint32_t b = 0; b < kind.parts.block_count; ++b) {
      const WalBlock& block = kind.parts.blocks[b];
      store32(record + block.number_at, row.pull());
      if (block.image_at != 0) {
        if (next_image == images_end) return false;
        const std::uint32_t lower = block.has_hole ? load16(next_image + kLowerAt) : 0;
        const std::uint32_t upper = block.has_hole ? load16(next_image + kUpperAt) : 0;
        if (lower > upper || upper > kPageSize || kPageSize - (upper - lower) > left) return false;
        store16(record + block.image_at, kPageSize - (upper - lower));
        store16(record + block.image_at + 2, lower);
        left -= kPageSize - (upper - lower);
        next_image += kPageSize;
      }
      if (block.has_data) {
        const std::uint32_t size = row.pull() & 0xFFFF;
        if (size > left) return false;
        store16(record + block.data_length_at, size);
        left -= size;
      }
    }
    unsigned char* to = record + kind.parts.length;
    for (std::uint32_t b = 0; b < kind.parts.block_count; ++b) {
      const WalBlock& block = kind.parts.blocks[b];
      if (block.image_at != 0) {
        const std::uint32_t length = load16(record + block.image_at);
        if (!take_image(to, load16(record + block.image_at + 2), length)) return false;
        to += length;
      }
      if (!block.has_data) continue;
      const std::uint32_t size = load16(record + block.data_length_at);
      if (b == 0 && kind.rows != 0 ? !put_rows(decoded, to, size) : !put_section(row, kind.sections[b], to, size)) return false;
      to += size;
    }
    if (kind.parts.main_length != 0 && !put_section(row, kind.main_section(), to, kind.parts.main_length)) return false;
    to += kind.parts.main_length;
    total = static_cast<std::uint32_t>(to - record);
    return true;
  }

  bool put_record(std::uint32_t form, std::uint32_t xid, std::uint64_t previous, WalContinuations& continuations) {
    if (room - at < kXlHeader) return false;
    std::uint32_t total = 0;
    if (form < kWalFirstKind ? !put_kept(form, total) : form - kWalFirstKind >= kinds.size() || !put_kind(kinds[form - kWalFirstKind], total))
      return false;
    unsigned char* const record = records + at;
    std::memset(record + total, 0, align8(total) - total);
    store32(record, total);
    store32(record + kXlXidAt, xid);
    store64(record + kXlPreviousAt, previous);
    store32(record + kXlCrcAt, wal_record_crc(record, total));
    continuations.note(at, std::uint64_t{at} + total);
    at += align8(total);
    return true;
  }
};

}  // namespace

struct WalDecoder::State {
  CpuPath path;
  WalPages pages;
  std::uint32_t first_remaining = 0;
  ByteArray<kWalLongPageHeader - kWalPageHeader> long_part{};
  std::array<std::optional<ByteArray<kWalPageHeader>>, kWalPagesMax> exceptions;
  std::uint32_t head = 0, entry_count = 0, compressed_bits = 0;
  std::uint64_t previous = 0;
  std::vector<DecodedKind> kinds;
  std::vector<MutableWordColumn> columns;
  std::vector<unsigned char> records = std::vector<unsigned char>(kWalPieceMax + 64);
  LazyArray<std::uint32_t> words{kWalWordsMax};

  Status read_pages(BinaryReader& in, std::size_t size) {
    const auto magic = TRY(in.u32());
    pages.magic = magic & 0xFFFF;
    pages.flags = magic >> 16;
    pages.timeline = TRY(in.u32());
    pages.address = TRY(in.u64());
    pages.count = static_cast<std::uint32_t>(size / kWalPageSize);
    first_remaining = TRY(in.u32());
    const auto is_long = TRY(in.u8());
    if (is_long > 1) return in.corrupt("an impossible page header");
    pages.long_header = is_long != 0;
    if (pages.long_header) long_part = TRY(in.array<kWalLongPageHeader - kWalPageHeader>());
    exceptions.fill(std::nullopt);
    const auto count = TRY(in.u8());
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto page = TRY(in.u8());
      if (page >= pages.count) return in.corrupt("the header of a page that it has not");
      exceptions[page] = TRY(in.array<kWalPageHeader>());
    }
    return ok();
  }

  Result<WalSection> read_section(BinaryReader& in, std::uint32_t* rows) {
    std::uint32_t ends = TRY(in.u8());
    const auto counts = TRY(in.u8());
    if (rows != nullptr && (ends & kWalSectionOfRows) != 0) {
      *rows = TRY(in.u32());
      if (*rows == 0 || *rows > kWalWordsMax || (ends & 15) != 0 || counts >> 4 == 0) return in.corrupt("impossible rows of a kind");
      ends &= ~kWalSectionOfRows;
    }
    if ((ends & 15) > 3 || ends >> 4 > 3) return in.corrupt("impossible words of a kind");
    return WalSection{static_cast<std::uint8_t>(ends & 15), static_cast<std::uint8_t>(counts >> 4), static_cast<std::uint8_t>(counts & 15),
                      static_cast<std::uint8_t>(ends >> 4)};
  }

  Status read_kind(BinaryReader& in, DecodedKind& decoded) {
    WalKind& kind = decoded.kind;
    decoded.used = decoded.rows_used = kind.rows = 0;
    kind.count = TRY(in.u32());
    const std::uint32_t length = TRY(in.u8());
    if (kind.count == 0 || kind.count > entry_count || length < kXlHeader || length > kWalKindHeaderMax) return in.corrupt("an impossible kind");
    kind.header.fill(0);
    const auto operation = TRY(in.raw(2));
    const auto rest = TRY(in.raw(length - kXlHeader));
    std::memcpy(kind.header.data() + kXlInfoAt, operation.data(), 2);
    std::memcpy(kind.header.data() + kXlHeader, rest.data(), rest.size());
    if (!read_wal_template(kind.header.data(), length, compressed_bits, kind.parts) || kind.parts.block_count > kWalKindBlocksMax)
      return in.corrupt("a kind whose headers contradict each other");
    for (std::uint32_t b = 0; b < kind.parts.block_count; ++b) {
      if (kind.parts.blocks[b].odd_image) return in.corrupt("a kind with compressed images");
      if (kind.parts.blocks[b].has_data) kind.sections[b] = TRY(read_section(in, b == 0 ? &kind.rows : nullptr));
    }
    if (kind.parts.main_length != 0) kind.main_section() = TRY(read_section(in, nullptr));
    return ok();
  }

  Status read_kinds(BinaryReader& in) {
    head = TRY(in.u32());
    entry_count = TRY(in.u32());
    previous = TRY(in.u64());
    compressed_bits = TRY(in.u8());
    const auto count = TRY(in.u8());
    if (head > pages.room() || (head & 7) != 0 || entry_count == 0 || entry_count > kWalRecordsMax || count > kWalKindsMax)
      return in.corrupt("impossible counts");
    kinds.resize(count);
    columns.clear();
    std::uint32_t used = 0;
    const auto add = [&](std::uint32_t words_of_column) {
      if (columns.size() == kWalColumnsMax || words_of_column > kWalWordsMax - used) return false;
      columns.push_back({words.get() + used, words_of_column});
      used += words_of_column;
      return true;
    };
    bool fits = add(entry_count) && add(entry_count);
    for (auto& decoded : kinds) {
      TRY(read_kind(in, decoded));
      decoded.kind.words = words.get() + used;
      for (std::uint32_t n = decoded.kind.columns(); n != 0; --n) fits = fits && add(decoded.kind.count);
      for (std::uint32_t n = decoded.kind.row_columns(); n != 0; --n) fits = fits && add(decoded.kind.rows);
    }
    return fits ? ok() : in.corrupt("more columns than a piece can have");
  }

  void write_pages(const WalContinuations& continuations, unsigned char* out) const {
    const unsigned char* from = records.data();
    for (std::uint32_t p = 0; p < pages.count; ++p, out += kWalPageSize) {
      if (exceptions[p])
        std::memcpy(out, exceptions[p]->data(), kWalPageHeader);
      else
        write_wal_page_header(pages, p, p == 0 ? first_remaining : continuations.remaining(p), out);
      const std::uint32_t header = p == 0 ? pages.first_header() : kWalPageHeader;
      if (header == kWalLongPageHeader) std::memcpy(out + kWalPageHeader, long_part.data(), long_part.size());
      std::memcpy(out + header, from, kWalPageSize - header);
      from += kWalPageSize - header;
    }
  }
};

WalDecoder::WalDecoder(CpuPath path) : state_(std::make_unique<State>()) { state_->path = path; }
WalDecoder::WalDecoder(WalDecoder&&) noexcept = default;
WalDecoder::~WalDecoder() = default;

Status WalDecoder::decode(ByteView control, ByteView raw, ByteView remainder, ByteView images, MutableByteView out) {
  PGMINT_ASSERT(!out.empty() && out.size() <= kWalPieceMax);
  State& s = *state_;
  BinaryReader in(control, "WAL piece");
  if (out.size() % kWalPageSize != 0) return in.corrupt("no whole number of pages");
  if (images.size() % kPageSize != 0) return in.corrupt("no whole number of images");
  TRY(s.read_pages(in, out.size()));
  TRY(s.read_kinds(in));
  PlaneSource planes{control.subspan(in.position()), raw};
  TRY(merge_word_columns(planes, s.columns, s.path));
  if (!planes.raw.empty() || !planes.packed.empty()) return in.corrupt("planes are left over");

  Assembly a{s.kinds,        s.compressed_bits, as_u8(remainder), as_u8(remainder) + remainder.size(),
             as_u8(images),  as_u8(images) + images.size(), s.records.data(), 0, s.pages.room()};
  WalContinuations continuations(s.pages);
  const auto broken = [&] { return in.corrupt("records and columns do not fit together"); };
  if (!a.take(a.records, s.head)) return broken();
  a.at = s.head;
  continuations.note(0, s.first_remaining);
  std::uint64_t previous = s.previous;
  const std::uint32_t* forms = s.words.get();
  const std::uint32_t* xids = forms + s.entry_count;
  for (std::uint32_t i = 0; i < s.entry_count; ++i) {
    const std::uint32_t start = a.at;
    if (!a.put_record(forms[i], xids[i], previous, continuations)) return broken();
    previous = s.pages.lsn(start);
  }
  for (const auto& decoded : s.kinds)
    if (decoded.used != decoded.kind.count || decoded.rows_used != decoded.kind.rows) return broken();
  const std::uint32_t tail = a.room - a.at;
  if (!a.take(a.records + a.at, tail) || a.remainder != a.remainder_end || a.images != a.images_end) return broken();
  if (tail != 0) continuations.note(a.at, std::uint64_t{a.at} + load32(a.records + a.at));
  s.write_pages(continuations, as_u8(out));
  return ok();
}

}  // namespace pgmint::codec
