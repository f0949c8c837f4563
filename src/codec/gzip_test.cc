#include "codec/gzip.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::codec {
namespace {

Bytes packed(ByteView plain, std::size_t piece) {
  GzipWriter writer;
  Bytes out;
  for (; !plain.empty(); plain = plain.subspan(std::min(plain.size(), piece))) writer.update(plain.first(std::min(plain.size(), piece)), out);
  writer.finish(out);
  return out;
}

Result<Bytes> unpacked(ByteView file, std::size_t piece) {
  GzipReader reader;
  Bytes out;
  for (; !file.empty(); file = file.subspan(std::min(file.size(), piece))) TRY(reader.update(file.first(std::min(file.size(), piece)), out));
  TRY(reader.finish());
  return out;
}

TEST(Gzip, WhatIsPackedComesBackWhateverThePieces) {
  SeededRandom random(test_seed());
  for (const std::size_t size : {0, 1, 1000, 1'000'000}) {
    auto plain = random_bytes(random, size);
    plain.resize(2 * size, std::byte{'x'});
    for (const std::size_t piece : {std::size_t{7'777}, std::size_t{1} << 30}) {
      const auto file = packed(plain, piece);
      EXPECT_EQ(unpacked(file, 1'000).value(), plain);
      EXPECT_EQ(unpacked(file, file.size()).value(), plain);
    }
  }
}

TEST(Gzip, SeveralMembersAreOneFile) {
  auto file = packed(as_bytes("one "), 100);
  append(file, packed(as_bytes("two"), 100));
  EXPECT_EQ(as_text(unpacked(file, 5).value()), "one two");
}

TEST(Gzip, DamageAndCutsAreTold) {
  SeededRandom random(test_seed());
  const auto plain = random_bytes(random, 5'000);
  const auto file = packed(plain, 5'000);
  for (std::size_t n = 1; n < file.size(); n += 13) EXPECT_EQ(unpacked(ByteView(file).first(n), 100).failure().code(), Errc::Corruption);
  auto damaged = file;
  damaged[file.size() / 2] ^= std::byte{4};
  const auto read = unpacked(damaged, 100);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
}

}  // namespace
}  // namespace pgmint::codec
