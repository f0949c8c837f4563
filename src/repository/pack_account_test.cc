#include "repository/pack_account.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/test_seed.h"
#include "repository/pack.h"

namespace pgmint::repository {
namespace {

PackId pack_of(std::uint8_t session, std::uint32_t number) {
  PackId pack;
  pack.session.bytes.fill(static_cast<std::byte>(session));
  pack.number = number;
  return pack;
}

Result<PackUse> parsed(const std::vector<Bytes>& pieces) {
  PackUse use;
  std::optional<PackId> last;
  for (const auto& piece : pieces) TRY(parse_account_piece(piece, use, last));
  return use;
}

TEST(PackAccount, APieceIsThisAndNothingElse) {
  PackUse use;
  use.set(pack_of(0x11, 300), 5);
  use.set(pack_of(0x22, 1), 1000);
  const auto pieces = encode_pack_account(use);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(to_hex(pieces[0]), "0202" + std::string(32, '1') + "ac0205" + std::string(32, '2') + "01e807");
  EXPECT_EQ(parsed(pieces).value(), use);
}

TEST(PackAccount, RefusesWhatNoWriterWrites) {
  PackUse use;
  use.set(pack_of(0x11, 1), 5);
  use.set(pack_of(0x22, 1), 5);
  const auto piece = encode_pack_account(use).at(0);
  EXPECT_TRUE(parsed({piece}));
  for (std::size_t length = 0; length < piece.size(); ++length)
    EXPECT_FALSE(parsed({Bytes(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(length))})) << length;
  const auto with = [&](std::size_t at, std::uint8_t value) {
    auto other = piece;
    other[at] = static_cast<std::byte>(value);
    return other;
  };
  EXPECT_FALSE(parsed({with(0, 0)})) << "a leaf";
  EXPECT_FALSE(parsed({with(1, 3)})) << "more packs than there are";
  EXPECT_FALSE(parsed({with(19, 0)})) << "nothing in use";
  EXPECT_FALSE(parsed({with(2, 0x33)})) << "not in order";
  EXPECT_FALSE(parsed({piece, piece})) << "not in order across pieces";
  auto longer = piece;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(parsed({longer}));
}

TEST(PackAccount, PiecesAreSharedByAccountsThatDifferInAFewPacks) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  PackUse use;
  std::vector<PackId> packs;
  for (int session = 0; session < 20; ++session) {
    const auto id = random.id<SessionId>();
    for (std::uint32_t number = 0; number < 2000; ++number) packs.push_back({id, number});
  }
  for (const auto& pack : packs) use.set(pack, 1 + random.below(1 << 25));
  const auto before = encode_pack_account(use);
  EXPECT_EQ(parsed(before).value(), use);
  EXPECT_GT(before.size(), packs.size() / 1000);
  EXPECT_LT(before.size(), packs.size() / 250);
  for (int i = 0; i < 5; ++i) use.set(packs[random.below(packs.size())], random.below(1 << 25));
  const auto own = random.id<SessionId>();
  for (std::uint32_t number = 0; number < 3; ++number) use.set({own, number}, 100);
  const auto after = encode_pack_account(use);
  EXPECT_EQ(parsed(after).value(), use);
  const std::set<Bytes> known(before.begin(), before.end());
  std::size_t anew = 0;
  for (const auto& piece : after) anew += known.contains(piece) ? 0 : 1;
  EXPECT_LE(anew, 12u) << "six places changed, and a piece may fall in two";
}

}  // namespace
}  // namespace pgmint::repository
