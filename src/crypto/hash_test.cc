#include "crypto/hash.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::crypto {
namespace {

Key256 counting_key() {
  Bytes raw(32);
  for (std::size_t i = 0; i < raw.size(); ++i) raw[i] = static_cast<std::byte>(i);
  return std::move(*Key256::from_bytes(raw));
}

/// HMAC pads short keys with zeros to 64 bytes, so a zero-padded key gives the value of the short one.
Key256 padded_key(ByteView raw) {
  Bytes padded = to_bytes(raw);
  padded.resize(32);
  return std::move(*Key256::from_bytes(padded));
}

// FIPS 180-4 examples.
TEST(Sha256, GivesThePublishedVectors) {
  EXPECT_EQ(to_hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(sha256(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(to_hex(sha256(Bytes(1'000'000, std::byte{'a'}))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheDigestOfTheWhole) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int i = 0; i < 200; ++i) {
    const Bytes data = random_bytes(random, random.below(3000));
    Sha256 hash;
    for (ByteView rest = data; !rest.empty();) {
      const std::size_t n = random.below(rest.size() + 1);
      hash.update(rest.first(n));
      rest = rest.subspan(n);
    }
    ASSERT_EQ(hash.finish(), sha256(data)) << data.size();
  }
}

TEST(Sha256DeathTest, FinishesOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Sha256 hash;
  hash.finish();
  EXPECT_DEATH(hash.finish(), "state_");
  EXPECT_DEATH(hash.update({}), "state_");
}

TEST(HmacSha256, PiecesGiveTheMacOfTheWhole) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  const Key256 key = counting_key();
  for (int i = 0; i < 50; ++i) {
    const Bytes data = random_bytes(random, random.below(3000));
    HmacSha256 mac(key);
    for (ByteView rest = data; !rest.empty();) {
      const std::size_t n = random.below(rest.size() + 1);
      mac.update(rest.first(n));
      rest = rest.subspan(n);
    }
    ASSERT_EQ(mac.finish(), hmac_sha256(key, data)) << data.size();
  }
}

// RFC 4231, cases 1 to 4.
TEST(HmacSha256, GivesThePublishedVectors) {
  EXPECT_EQ(to_hex(hmac_sha256(padded_key(Bytes(20, std::byte{0x0b})), as_bytes("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(to_hex(hmac_sha256(padded_key(as_bytes("Jefe")), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(hmac_sha256(padded_key(Bytes(20, std::byte{0xaa})), Bytes(50, std::byte{0xdd}))),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(to_hex(hmac_sha256(padded_key(*from_hex("0102030405060708090a0b0c0d0e0f10111213141516171819")),
                               Bytes(50, std::byte{0xcd}))),
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
}

// RFC 5869 as Python's hmac module computes it from its definition; that program gives the RFC's own third vector.
TEST(DeriveKey, IsHkdfWithEmptySalt) {
  EXPECT_EQ(to_hex(derive_key(counting_key(), "").bytes()),
            "37ad29109f43265287804b674e2653d0a513718907f97fca97c95bded8104bbf");
  EXPECT_EQ(to_hex(derive_key(counting_key(), "pgmint test").bytes()),
            "74d5ce9491299df40127b877aca67b766aa4a76c31a94248e222aed09640bc46");
}

TEST(DeriveKey, SeparatesPurposesAndKeys) {
  SeededRandom random(1);
  const Key256 key = Key256::generate(random);
  const Key256 other = Key256::generate(random);
  const auto differ = [](const Key256& a, const Key256& b) { return !equal_constant_time(a.bytes(), b.bytes()); };
  EXPECT_TRUE(differ(derive_key(key, "seal"), derive_key(key, "mac")));
  EXPECT_TRUE(differ(derive_key(key, "seal"), derive_key(other, "seal")));
  EXPECT_TRUE(differ(derive_key(key, "seal"), key));
  EXPECT_FALSE(differ(derive_key(key, "seal"), derive_key(key, "seal")));
}

TEST(KeyCommitment, BindsTheKey) {
  EXPECT_EQ(to_hex(key_commitment(counting_key())), "bbc4e8fb72f4c65b439ed586447951c9094f713a7daf3b69bc049c11fdd42fdb");
  Bytes raw = to_bytes(counting_key().bytes());
  raw[31] ^= std::byte{1};
  EXPECT_NE(key_commitment(*Key256::from_bytes(raw)), key_commitment(counting_key()));
}

// RFC 7914, section 12. The RFC's keys are 64 bytes; PBKDF2 with SHA-256 gives the first 32 of them alone when asked.
TEST(Scrypt, GivesThePublishedVectors) {
  const auto first = scrypt("password", as_bytes("NaCl"), {.log2_n = 10, .r = 8, .p = 16});
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(to_hex(first->bytes()), "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162");
  const auto second = scrypt("pleaseletmein", as_bytes("SodiumChloride"), {.log2_n = 14, .r = 8, .p = 1});
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(to_hex(second->bytes()), "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
}

// OpenSSL's own limit of 32 MiB refuses N = 2^15 and above. (Expected value: Python's hashlib.scrypt.)
TEST(Scrypt, WorksAtTheDefaultCost) {
  const auto key = scrypt("correct horse", as_bytes("battery staple"), {});
  ASSERT_TRUE(key.has_value()) << key.failure().describe();
  EXPECT_EQ(to_hex(key->bytes()), "a6c689e3338a52532bdcd4c54747a478354a8b4b756061124a6db6d33deee7c7");
}

TEST(Scrypt, TakesAnEmptyPassphraseAndAnEmptySalt) {
  const ScryptCost cost{.log2_n = 10, .r = 1, .p = 1};
  EXPECT_EQ(to_hex(scrypt("x", {}, cost)->bytes()), "10a89f21774513ae436c9093ed4720e7ee793a78f65bc98ff297a24bc2be7497");
  EXPECT_EQ(to_hex(scrypt("", as_bytes("salt"), cost)->bytes()),
            "29bbdc4dc759ea6b0b65dfe413e18b1dcc85165681992907222722afc5eab779");
}

TEST(Scrypt, RefusesCostsThatWouldTakeAllMemoryOrAreNoWork) {
  const ScryptCost hostile[] = {{.log2_n = 9},
                                {.log2_n = 23},
                                {.log2_n = 255},
                                {.log2_n = 0xffffffff},
                                {.r = 0},
                                {.r = 33},
                                {.r = 0xffffffff},
                                {.p = 0},
                                {.p = 17},
                                {.p = 0xffffffff},
                                {.log2_n = 22, .r = 3},
                                {.log2_n = 20, .r = 9},
                                {.log2_n = 22, .r = 32}};
  for (const auto& cost : hostile) {
    const auto key = scrypt("x", as_bytes("salt"), cost);
    ASSERT_FALSE(key.has_value()) << cost.log2_n << ' ' << cost.r << ' ' << cost.p;
    EXPECT_EQ(key.failure().code(), Errc::Corruption);
  }
}

}  // namespace
}  // namespace pgmint::crypto
