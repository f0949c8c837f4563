#include "crypto/aead.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "base/test_seed.h"

namespace pgmint::crypto {
namespace {

Key256 filled_key(int value) {
  return std::move(*Key256::from_bytes(Bytes(32, static_cast<std::byte>(value))));
}

template <std::size_t N>
ByteArray<N> array_of(std::string_view text) {
  ByteArray<N> out;
  PGMINT_ASSERT(text.size() == N);
  std::ranges::copy(as_bytes(text), out.begin());
  return out;
}

Bytes seal(Aead& aead, const Nonce& nonce, ByteView aad, ByteView plain) {
  Bytes out(plain.size() + kTagSize);
  aead.seal(nonce, aad, plain, out);
  return out;
}

// Test vectors of the C2SP specification: one key whose first AES block has its top bit clear, one where it is set.
TEST(Aead, GivesThePublishedVectors) {
  const auto nonce = array_of<24>("ABCDEFGHIJKLMNOPQRSTUVWX");
  const ByteView plain = as_bytes("XAES-256-GCM");
  Aead first(filled_key(1));
  EXPECT_EQ(to_hex(seal(first, nonce, {}, plain)), "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
  Aead second(filled_key(3));
  EXPECT_EQ(to_hex(seal(second, nonce, as_bytes("c2sp.org/XAES-256-GCM"), plain)),
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
}

// The specification's accumulated test: key, nonce, plaintext, AAD of random lengths out of one SHAKE-128 stream, all
// ciphertexts hashed by another.
TEST(Aead, GivesThePublishedAccumulatedVector) {
  constexpr std::size_t kRounds = 10'000;
  Bytes stream(kRounds * (32 + 24 + 2 * 256));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> in(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  ASSERT_EQ(EVP_DigestInit_ex(in.get(), EVP_shake128(), nullptr), 1);
  ASSERT_EQ(EVP_DigestFinalXOF(in.get(), as_u8(MutableByteView(stream)), stream.size()), 1);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> all(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  ASSERT_EQ(EVP_DigestInit_ex(all.get(), EVP_shake128(), nullptr), 1);

  ByteView rest = stream;
  const auto take = [&rest](std::size_t n) {
    const ByteView taken = rest.first(n);
    rest = rest.subspan(n);
    return taken;
  };
  for (std::size_t i = 0; i < kRounds; ++i) {
    Aead aead(*Key256::from_bytes(take(32)));
    Nonce nonce;
    std::ranges::copy(take(24), nonce.begin());
    const ByteView plain = take(std::to_integer<std::size_t>(take(1)[0]));
    const ByteView aad = take(std::to_integer<std::size_t>(take(1)[0]));
    const Bytes sealed = seal(aead, nonce, aad, plain);
    ASSERT_EQ(EVP_DigestUpdate(all.get(), sealed.data(), sealed.size()), 1);
    Bytes opened(plain.size());
    ASSERT_TRUE(aead.open(nonce, aad, sealed, opened).has_value()) << i;
    ASSERT_TRUE(std::ranges::equal(opened, plain)) << i;
  }
  ByteArray<32> digest;
  ASSERT_EQ(EVP_DigestFinalXOF(all.get(), as_u8(MutableByteView(digest)), digest.size()), 1);
  EXPECT_EQ(to_hex(digest), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

TEST(Aead, OpensWhatItSealedAtEverySizeInPlaceAndApart) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  Aead aead(Key256::generate(random));
  for (int i = 0; i < 400; ++i) {
    const std::size_t size = i < 100 ? static_cast<std::size_t>(i) : random.below(70'000);
    const Bytes plain = random_bytes(random, size);
    const Bytes aad = random_bytes(random, random.below(100));
    Nonce nonce;
    random.fill(nonce);
    const Bytes sealed = seal(aead, nonce, aad, plain);

    Bytes in_place = plain;
    in_place.resize(size + kTagSize);
    aead.seal(nonce, aad, ByteView(in_place).first(size), in_place);
    ASSERT_EQ(in_place, sealed) << size;
    ASSERT_TRUE(aead.open(nonce, aad, in_place, MutableByteView(in_place).first(size)).has_value()) << size;
    ASSERT_TRUE(std::ranges::equal(ByteView(in_place).first(size), plain)) << size;

    Bytes opened(size);
    ASSERT_TRUE(aead.open(nonce, aad, sealed, opened).has_value()) << size;
    ASSERT_EQ(opened, plain) << size;
  }
}

TEST(Aead, AnyChangedBitOfNonceAadCiphertextOrTagFailsAndLeavesZeros) {
  SeededRandom random(7);
  Aead aead(Key256::generate(random));
  const Bytes plain = random_bytes(random, 77);
  const Bytes aad = random_bytes(random, 33);
  Nonce nonce;
  random.fill(nonce);
  const Bytes sealed = seal(aead, nonce, aad, plain);
  const auto expect_refused = [&](const Nonce& n, ByteView a, ByteView s, std::string_view what, std::size_t bit) {
    Bytes out(s.size() - kTagSize, std::byte{0xee});
    const Status status = aead.open(n, a, s, out);
    ASSERT_FALSE(status.has_value()) << what << " bit " << bit;
    EXPECT_EQ(status.failure().code(), Errc::Corruption);
    EXPECT_TRUE(std::ranges::all_of(out, [](std::byte b) { return b == std::byte{}; })) << what << " bit " << bit;
  };
  const auto flip = [](auto bytes, std::size_t bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    return bytes;
  };
  for (std::size_t bit = 0; bit < nonce.size() * 8; ++bit) expect_refused(flip(nonce, bit), aad, sealed, "nonce", bit);
  for (std::size_t bit = 0; bit < aad.size() * 8; ++bit) expect_refused(nonce, flip(aad, bit), sealed, "aad", bit);
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit)
    expect_refused(nonce, aad, flip(sealed, bit), "sealed", bit);
  for (std::size_t n = kTagSize; n < sealed.size(); ++n)
    expect_refused(nonce, aad, ByteView(sealed).first(n), "cut", n);
  for (std::size_t n = 0; n < aad.size(); ++n) expect_refused(nonce, ByteView(aad).first(n), sealed, "aad cut", n);
  // A refusal leaves nothing behind in the context.
  Bytes opened(plain.size());
  ASSERT_TRUE(aead.open(nonce, aad, sealed, opened).has_value());
  EXPECT_EQ(opened, plain);
}

TEST(Aead, RefusesWhatIsShorterThanATag) {
  Aead aead(filled_key(1));
  for (std::size_t n = 0; n < kTagSize; ++n) {
    const Status status = aead.open(Nonce{}, {}, Bytes(n), {});
    ASSERT_FALSE(status.has_value()) << n;
    EXPECT_EQ(status.failure().code(), Errc::Corruption);
  }
  for (std::size_t n = 0; n < kSealOverhead; ++n) EXPECT_FALSE(aead.open_with_nonce({}, Bytes(n)).has_value()) << n;
}

TEST(Aead, InPlaceRefusalLeavesNoPlaintext) {
  SeededRandom random(3);
  Aead aead(Key256::generate(random));
  Bytes buffer = random_bytes(random, 1000 + kTagSize);
  ASSERT_FALSE(aead.open(Nonce{}, {}, buffer, MutableByteView(buffer).first(1000)).has_value());
  EXPECT_EQ(std::ranges::count(ByteView(buffer).first(1000), std::byte{}), 1000);
}

TEST(Aead, RandomNonceFormCarriesItsNonceAndNeverRepeatsIt) {
  SeededRandom random(5);
  Aead aead(Key256::generate(random));
  const ByteView plain = as_bytes("four relations");
  const Bytes first = aead.seal_with_random_nonce(random, as_bytes("aad"), plain);
  const Bytes second = aead.seal_with_random_nonce(random, as_bytes("aad"), plain);
  EXPECT_EQ(first.size(), plain.size() + kSealOverhead);
  EXPECT_FALSE(std::ranges::equal(ByteView(first).first(kNonceSize), ByteView(second).first(kNonceSize)));
  const auto opened = aead.open_with_nonce(as_bytes("aad"), first);
  ASSERT_TRUE(opened.has_value());
  EXPECT_TRUE(std::ranges::equal(*opened, plain));
  EXPECT_FALSE(aead.open_with_nonce(as_bytes("aae"), first).has_value());
  for (std::size_t i = 0; i < first.size(); ++i) {
    Bytes changed = first;
    changed[i] ^= std::byte{0x10};
    EXPECT_FALSE(aead.open_with_nonce(as_bytes("aad"), changed).has_value()) << i;
  }
}

TEST(Aead, ClonesAndMovedObjectsShareTheKeyButNoState) {
  SeededRandom random(6);
  Aead original(Key256::generate(random));
  Aead other(Key256::generate(random));
  Aead copy = original.clone();
  const Bytes sealed = original.seal_with_random_nonce(random, {}, as_bytes("x"));
  EXPECT_TRUE(copy.open_with_nonce({}, sealed).has_value());
  EXPECT_FALSE(other.open_with_nonce({}, sealed).has_value());
  const Aead moved = std::move(original);
  Aead again = moved.clone();
  EXPECT_TRUE(again.open_with_nonce({}, sealed).has_value());
}

TEST(AeadDeathTest, RefusesAZeroKeyAndOverlapThatIsNotInPlace) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Aead{Key256()}, "is_zero");
  EXPECT_DEATH(Gmac{Key256()}, "is_zero");
  Bytes buffer(100);
  Aead aead(filled_key(1));
  EXPECT_DEATH(aead.seal(Nonce{}, {}, ByteView(buffer).subspan(1, 50), buffer), "same_or_apart");
  EXPECT_DEATH(aead.seal(Nonce{}, {}, ByteView(buffer).first(90), buffer), "kTagSize");
}

// GMAC is GCM without plaintext (NIST SP 800-38D, section 3), so the sealing of nothing gives its value.
TEST(Gmac, IsTheTagOfAnEmptyMessage) {
  SeededRandom random(8);
  const Key256 key = Key256::generate(random);
  Aead aead(key);
  Gmac gmac(key);
  for (const std::size_t size : {0u, 1u, 15u, 16u, 17u, 8192u, 262'144u}) {
    const Bytes data = random_bytes(random, size);
    Nonce nonce;
    random.fill(nonce);
    EXPECT_TRUE(std::ranges::equal(gmac.compute(nonce, data), seal(aead, nonce, data, {}))) << size;
  }
}

TEST(Gmac, PiecesOfAnySizeGiveTheSameValue) {
  SeededRandom random(10);
  Gmac gmac(Key256::generate(random));
  const Bytes data = random_bytes(random, 70'000);
  const Nonce nonce{};
  const auto value = gmac.compute(nonce, data);
  for (const std::size_t size : {1u, 15u, 16u, 17u, 4096u, 69'999u, 70'000u}) {
    gmac.start(nonce);
    for (std::size_t at = 0; at < data.size(); at += size) gmac.update(ByteView(data).subspan(at, std::min(size, data.size() - at)));
    EXPECT_EQ(gmac.finish(), value) << size;
  }
}

TEST(Gmac, DependsOnKeyNonceAndEveryByte) {
  SeededRandom random(9);
  const Key256 key = Key256::generate(random);
  Gmac gmac(key);
  Gmac other(Key256::generate(random));
  Bytes data = random_bytes(random, 100);
  const Nonce nonce = array_of<24>("ABCDEFGHIJKLMNOPQRSTUVWX");
  const auto value = gmac.compute(nonce, data);
  EXPECT_EQ(gmac.compute(nonce, data), value);
  EXPECT_NE(other.compute(nonce, data), value);
  for (std::size_t i = 0; i < nonce.size(); ++i) {
    Nonce changed = nonce;
    changed[i] ^= std::byte{1};
    EXPECT_NE(gmac.compute(changed, data), value) << i;
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] ^= std::byte{1};
    EXPECT_NE(gmac.compute(nonce, data), value) << i;
    data[i] ^= std::byte{1};
  }
  EXPECT_NE(gmac.compute(nonce, ByteView(data).first(99)), value);
}

}  // namespace
}  // namespace pgmint::crypto
