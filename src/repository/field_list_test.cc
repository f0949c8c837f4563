#include "repository/field_list.h"

#include <gtest/gtest.h>

namespace pgmint::repository {
namespace {

TEST(FieldList, RoundTripsValuesAndRepeats) {
  FieldWriter out;
  out.u8(1, 7);
  out.text(2, "a");
  out.text(2, "b");
  out.u64(3, 1ull << 40);
  const Bytes raw = out.take();
  codec::BinaryReader in(raw, "test");
  auto f = FieldReader::parse(in, "test", {1, 2, 3});
  ASSERT_TRUE(f);
  EXPECT_EQ(*f->u8(1), 7);
  EXPECT_EQ(f->all(2).size(), 2u);
  EXPECT_EQ(*f->u64(3), 1ull << 40);
  EXPECT_EQ(f->u32(3).failure().code(), Errc::Corruption);
  EXPECT_EQ(f->text(9).failure().code(), Errc::Corruption);
  EXPECT_EQ(*f->optional_text(9), "");
}

TEST(FieldList, UnknownEvenTagIsPassedOverUnknownOddTagIsRefused) {
  FieldWriter even;
  even.u8(1, 7);
  even.u8(100, 1);
  const Bytes with_even = even.take();
  codec::BinaryReader in(with_even, "test");
  EXPECT_TRUE(FieldReader::parse(in, "test", {1}));
  FieldWriter odd;
  odd.u8(101, 1);
  const Bytes with_odd = odd.take();
  codec::BinaryReader again(with_odd, "test");
  EXPECT_EQ(FieldReader::parse(again, "test", {1}).failure().code(), Errc::Precondition);
}

TEST(FieldList, EveryTruncationFailsAndTagsMustAscend) {
  FieldWriter out;
  out.u64(1, 5);
  out.text(4, "hello");
  const Bytes raw = out.take();
  for (std::size_t n = 0; n < raw.size(); ++n) {
    codec::BinaryReader in(ByteView(raw).first(n), "test");
    EXPECT_FALSE(FieldReader::parse(in, "test", {1, 4})) << n;
  }
  codec::BinaryWriter twisted;
  twisted.varint(2);
  for (auto tag : {4, 2}) {
    twisted.varint(static_cast<std::uint64_t>(tag));
    twisted.bytes({});
  }
  codec::BinaryReader in(twisted.view(), "test");
  EXPECT_FALSE(FieldReader::parse(in, "test", {2, 4}));
}

}  // namespace
}  // namespace pgmint::repository
