#include "repository/record_marks.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace pgmint::repository {
namespace {

RecordLocation some_record() {
  RecordLocation l{{}, 4711, 9000, 131072, RecordType::Extent, codec::CodecId::Zstd, Epoch(3), {}};
  for (std::size_t i = 0; i < l.nonce.size(); ++i) l.nonce[i] = static_cast<std::byte>(i * 7);
  return l;
}

TEST(RecordMarks, TellApartWhateverDiffers) {
  SeededRandom random(1);
  const RecordMarker marker(random);
  std::set<std::uint64_t> marks{marker.mark(some_record())};
  std::size_t made = 1;
  const auto add = [&](const std::function<void(RecordLocation&)>& change) {
    auto record = some_record();
    change(record);
    marks.insert(marker.mark(record));
    ++made;
  };
  add([](auto& l) { ++l.offset; });
  add([](auto& l) { ++l.stored_length; });
  add([](auto& l) { ++l.raw_length; });
  add([](auto& l) { l.type = RecordType::Delta; });
  add([](auto& l) { l.codec = codec::CodecId::Lz4; });
  add([](auto& l) { l.epoch = Epoch(4); });
  add([](auto& l) { std::swap(l.stored_length, l.raw_length); });
  for (std::size_t i = 0; i < crypto::kNonceSize; ++i) add([&](auto& l) { l.nonce[i] ^= std::byte{0x80}; });
  ByteArray<16> fingerprint{};
  marks.insert(marker.mark(some_record(), fingerprint));  // of zeros is not without one
  ++made;
  for (auto& byte : fingerprint) {
    byte = std::byte{1};
    marks.insert(marker.mark(some_record(), fingerprint));
    ++made;
  }
  EXPECT_EQ(marks.size(), made);
}

TEST(RecordMarks, DependOnTheRunsKeyAndOnNothingElse) {
  SeededRandom random(1), again(1), other(2);
  EXPECT_EQ(RecordMarker(random).mark(some_record()), RecordMarker(again).mark(some_record()));
  EXPECT_NE(RecordMarker(again).mark(some_record()), RecordMarker(other).mark(some_record()));
}

TEST(RecordMarks, TheLargestNumbersStayInTheField) {
  ByteArray<24> ones;
  ones.fill(std::byte{0xff});
  RecordLocation l{{}, std::uint64_t{1} << 40, UINT32_MAX, UINT32_MAX, RecordType::StreamChunk, codec::CodecId::Lz4, Epoch(UINT32_MAX), ones};
  SeededRandom random(3);
  const RecordMarker marker(random);
  EXPECT_LT(marker.mark(l, ByteView(ones).first(16)), (std::uint64_t{1} << 61) - 1);
}

}  // namespace
}  // namespace pgmint::repository
