// WAL as PostgreSQL might write it, from a seed: pages, and records of many kinds that continue from page to page. Included by tests only.
// It knows the layouts by itself: what it shares with the codec is names of offsets, not code.
#pragma once

#include <algorithm>
#include <vector>

#include "codec/crc32c.h"
#include "codec/testing_pages.h"
#include "codec/wal_layout.h"

namespace pgmint::codec {

class WalMaker {
 public:
  explicit WalMaker(SeededRandom& random) : random_(random), pages_(random) {}

  std::uint32_t magic = 0xD110;
  /// How often each kind of record comes: inserts, index inserts, updates, commits, page images, inserts with an image, long ones, with
  /// origin and top-level transaction, compressed images, contradictory headers, many blocks, multi-inserts.
  std::array<std::uint32_t, 12> weights{30, 20, 10, 10, 1, 2, 1, 1, 1, 1, 1, 2};

  /// @param pages  1 to kWalPagesMax
  Bytes piece(std::uint32_t pages) {
    start(pages);
    while (out_.size() < limit_) record(make_record());
    return std::move(out_);
  }
  /// As much WAL as `records` records take, then zeros, as behind a switch.
  Bytes ending_piece(std::uint32_t pages, std::uint32_t records) {
    start(pages);
    for (; records != 0 && out_.size() < limit_; --records) record(make_record());
    while (out_.size() < limit_) put(Bytes(8), 0);
    return std::move(out_);
  }

 private:
  void start(std::uint32_t pages) {
    out_.clear();
    limit_ = std::size_t{pages} * kWalPageSize;
    address_ = random_.below(1U << 30) * kWalPageSize;
    flags_ = random_.below(2) == 0 ? 4 : 0;  // XLP_BKP_REMOVABLE
    long_ = random_.below(3) == 0;
    previous_ = address_ - 8 * random_.below(1000) - 8;
    xid_ = static_cast<std::uint32_t>(random_.below(1U << 31));
    counter_ = static_cast<std::uint32_t>(random_.below(1U << 20));
    // Half of all pieces begin within a record; a few consist of nothing else.
    const auto habit = random_.below(20);
    const std::uint64_t rest = habit < 10 ? 0 : habit < 18 ? random_.below(9000) : random_.below(400'000);
    if (rest != 0) {
      header(static_cast<std::uint32_t>(rest));
      put(random_bytes(random_, rest), rest);
    }
  }

  void header(std::uint32_t remaining) {
    Bytes h(out_.empty() && long_ ? kWalLongPageHeader : kWalPageHeader);
    unsigned char* p = as_u8(MutableByteView(h));
    store16(p, magic);
    store16(p + 2, flags_ | (remaining != 0 ? 1 : 0) | (h.size() == kWalLongPageHeader ? 2 : 0));
    store32(p + 4, 7);
    store64(p + 8, address_ + out_.size());
    store32(p + 16, remaining);
    if (h.size() == kWalLongPageHeader) {
      store64(p + 24, 0x1122'3344'5566'7788);
      store32(p + 32, 16 << 20);
      store32(p + 36, kWalPageSize);
    }
    append(out_, h);
  }

  /// @param left  bytes of the record from here on, for the headers of the pages that it continues on
  void put(ByteView bytes, std::uint64_t left) {
    while (!bytes.empty() && out_.size() < limit_) {
      if (out_.size() % kWalPageSize == 0) header(static_cast<std::uint32_t>(left));
      const auto now = bytes.first(std::min(bytes.size(), kWalPageSize - out_.size() % kWalPageSize));
      append(out_, now);
      bytes = bytes.subspan(now.size());
      left -= std::min<std::uint64_t>(left, now.size());
    }
    while (out_.size() % 8 != 0) out_.push_back(std::byte{0});
  }

  void record(Bytes r) {
    if (out_.size() % kWalPageSize == 0) header(0);
    unsigned char* p = as_u8(MutableByteView(r));
    store32(p, static_cast<std::uint32_t>(r.size()));
    store32(p + kXlXidAt, xid_);
    store64(p + kXlPreviousAt, previous_);
    store32(p + kXlCrcAt, crc32c(ByteView(r).first(kXlCrcAt), crc32c(ByteView(r).subspan(kXlHeader))));
    previous_ = address_ + out_.size();
    put(r, r.size());
  }

  // -- records: headers in head_, payload behind them --------------------------------------------------------------------

  void u8(Bytes& to, std::uint64_t v) { to.push_back(static_cast<std::byte>(v)); }
  void number(Bytes& to, std::uint64_t v, int bytes) {
    for (int k = 0; k < bytes; ++k) u8(to, v >> (8 * k) & 0xFF);
  }
  void begin(std::uint32_t rmgr, std::uint32_t info) {
    head_ = Bytes(kXlHeader);
    head_[kXlInfoAt] = static_cast<std::byte>(info);
    head_[kXlInfoAt + 1] = static_cast<std::byte>(rmgr);
    payload_.clear();
    blocks_ = 0;
  }
  /// @param image  a whole page, or empty
  void block(std::uint32_t relation, ByteView data, ByteView image = {}, bool same_relation = false, bool compressed = false) {
    u8(head_, blocks_++);
    u8(head_, (data.empty() ? 0U : kXlHasData) | (image.empty() ? 0U : kXlHasImage) | (same_relation ? kXlSameRelation : 0U));
    number(head_, data.size(), 2);
    if (!image.empty()) {
      const std::uint32_t lower = load16(as_u8(image) + kLowerAt), upper = load16(as_u8(image) + kUpperAt);
      const bool hole = !compressed && lower >= kPageHeaderSize && lower < upper && upper <= kPageSize;
      const std::size_t length = compressed ? 700 : hole ? kPageSize - (upper - lower) : kPageSize;
      number(head_, length, 2);
      number(head_, hole || compressed ? lower : 0, 2);
      u8(head_, compressed ? (magic < 0xD110 ? 3 : 5) : hole ? 1 : 0);
      if (compressed) number(head_, 3000, 2);
      append(payload_, hole ? image.first(lower) : image.first(length));
      if (hole) append(payload_, image.subspan(upper));
    }
    if (!same_relation) {
      number(head_, 1663, 4);
      number(head_, 5, 4);
      number(head_, 16384 + relation, 4);
    }
    number(head_, counter_ / 60 + random_.below(3), 4);
    append(payload_, data);
  }
  Bytes end(ByteView main) {
    if (main.size() > 255) {
      u8(head_, kXlIdDataLong);
      number(head_, main.size(), 4);
    } else if (!main.empty()) {
      u8(head_, kXlIdDataShort);
      u8(head_, main.size());
    }
    append(head_, payload_);
    append(head_, main);
    return std::move(head_);
  }

  Bytes tuple() {
    Bytes t;
    number(t, 0x0902'0003, 4);
    number(t, 24, 2);
    number(t, counter_++, 4);
    for (auto n = random_.below(60); n > 0; --n) u8(t, 'a' + random_.below(16));
    number(t, 12345, 4);
    return t;
  }
  Bytes main_of_insert() {
    Bytes m;
    number(m, counter_ % 60 + 1, 2);
    u8(m, 0);
    return m;
  }

  Bytes make_record() {
    std::uint64_t sum = 0;
    for (const auto w : weights) sum += w;
    auto draw = random_.below(sum);
    std::size_t kind = 0;
    while (draw >= weights[kind]) draw -= weights[kind++];
    if (random_.below(4) == 0) ++xid_;
    const auto relation = static_cast<std::uint32_t>(random_.below(3));
    switch (kind) {
      case 0:
        begin(10, random_.below(50) == 0 ? 0x80 : 0);
        block(relation, tuple());
        return end(main_of_insert());
      case 1: {
        begin(11, 0);
        Bytes t;
        number(t, counter_ << 16, 4);
        number(t, 3, 2);
        number(t, 16, 2);
        number(t, counter_ * 7, 8);
        block(10 + relation, t);
        return end(random_bytes(random_, 2));
      }
      case 2: {
        begin(10, 0x40);
        block(relation, tuple());
        block(relation, {}, {}, true);
        return end(random_bytes(random_, 14));
      }
      case 3: {
        begin(1, 0);
        Bytes m;
        number(m, 700'000'000'000'000 + counter_ * 1000ULL + random_.below(500), 8);
        if (random_.below(10) == 0) append(m, random_bytes(random_, random_.below(90)));
        return end(m);
      }
      case 4:
        begin(0, 0xB0);
        for (auto n = 1 + random_.below(3); n > 0; --n) block(10, {}, image(), false);
        return end({});
      case 5:
        begin(10, 0);
        block(relation, tuple(), image());
        return end(main_of_insert());
      case 6:
        begin(static_cast<std::uint32_t>(random_.below(22)), static_cast<std::uint32_t>(random_.below(256)));
        return end(random_bytes(random_, random_.below(30'000)));
      case 7:
        begin(10, 0x10);
        block(relation, random_bytes(random_, 1 + random_.below(20)));
        u8(head_, kXlIdOrigin);
        number(head_, 3, 2);
        u8(head_, kXlIdTopLevelXid);
        number(head_, xid_ - 1, 4);
        return end(random_bytes(random_, 8));
      case 8:
        begin(0, 0xB0);
        block(10, {}, image(), false, true);
        return end({});
      case 9:
        begin(static_cast<std::uint32_t>(random_.below(256)), 0);
        head_.resize(head_.size() + random_.below(200));
        random_.fill(MutableByteView(head_).subspan(kXlHeader));
        return std::move(head_);
      case 10:
        begin(13, 0x20);
        for (auto n = 1 + random_.below(kWalBlocksMax); n > 0; --n) block(relation, random_bytes(random_, random_.below(9)), {}, false);
        return end(random_bytes(random_, random_.below(400)));
      default:
        begin(9, random_.below(2) == 0 ? 0x50 : 0xD0);
        block(relation, rows());
        return end(random_bytes(random_, 4));
    }
  }

  /// As xl_multi_insert_tuple, at even places; now and then the last one does not end where it should.
  Bytes rows() {
    Bytes all;
    for (auto n = 1 + random_.below(60); n > 0; --n) {
      if (all.size() % 2 != 0) u8(all, random_.below(256));
      Bytes row = tuple();
      if (random_.below(2000) == 0) row.resize(1 + random_.below(3));
      number(all, row.size(), 2);
      number(all, 0x0902'0003, 4);
      u8(all, 24);
      append(all, row);
    }
    if (random_.below(50) == 0) all.resize(all.size() - 1);
    return all;
  }

  Bytes image() { return pages_.page(random_.below(5)); }

  SeededRandom& random_;
  PageMaker pages_;
  Bytes out_, head_, payload_;
  std::size_t limit_ = 0;
  std::uint64_t address_ = 0, previous_ = 0;
  std::uint32_t flags_ = 0, xid_ = 0, counter_ = 0, blocks_ = 0;
  bool long_ = false;
};

}  // namespace pgmint::codec
