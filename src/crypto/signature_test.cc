#include "crypto/signature.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::crypto {
namespace {

template <std::size_t N>
ByteArray<N> array_of_hex(std::string_view hex) {
  const auto raw = from_hex(hex);
  PGMINT_ASSERT(raw && raw->size() == N);
  ByteArray<N> out;
  std::ranges::copy(*raw, out.begin());
  return out;
}

struct Vector {
  std::string_view seed, public_key, message, signature;
};

// RFC 8032, section 7.1, tests 1 to 3.
constexpr Vector kVectors[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe246"
     "551"
     "41438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb"
     "00d"
     "291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc"
     "027"
     "beceea1ec40a"},
};

TEST(SigningKey, GivesThePublishedVectors) {
  for (const auto& v : kVectors) {
    const SigningKey key(std::move(*Key256::from_bytes(*from_hex(v.seed))));
    const Bytes message = *from_hex(v.message);
    EXPECT_EQ(to_hex(key.public_key()), v.public_key);
    EXPECT_EQ(to_hex(key.sign(message)), v.signature);
    EXPECT_TRUE(verify_signature(array_of_hex<32>(v.public_key), message, array_of_hex<64>(v.signature)));
  }
}

TEST(VerifySignature, RefusesAnyChangedBitOfMessageSignatureOrKey) {
  SeededRandom random(11);
  const SigningKey signer(Key256::generate(random));
  Bytes message = random_bytes(random, 40);
  Signature signature = signer.sign(message);
  PublicKey key = signer.public_key();
  ASSERT_TRUE(verify_signature(key, message, signature));
  const auto refused_when_flipped = [&](auto& bytes, std::string_view what) {
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
      EXPECT_FALSE(verify_signature(key, message, signature)) << what << " bit " << bit;
      bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    }
  };
  refused_when_flipped(message, "message");
  refused_when_flipped(signature, "signature");
  refused_when_flipped(key, "key");
  EXPECT_FALSE(verify_signature(key, {}, signature));
  EXPECT_FALSE(verify_signature(key, ByteView(message).first(39), signature));
  EXPECT_TRUE(verify_signature(key, message, signature));
}

// S plus the group order is the other encoding of the same number: accepting it would give one entry two hashes.
TEST(VerifySignature, RefusesTheMalleableTwin) {
  const auto order = array_of_hex<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  Signature twin = array_of_hex<64>(kVectors[0].signature);
  unsigned carry = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    const unsigned sum = std::to_integer<unsigned>(twin[32 + i]) + std::to_integer<unsigned>(order[i]) + carry;
    twin[32 + i] = static_cast<std::byte>(sum & 0xff);
    carry = sum >> 8;
  }
  ASSERT_EQ(carry, 0u);
  EXPECT_FALSE(verify_signature(array_of_hex<32>(kVectors[0].public_key), {}, twin));
}

TEST(VerifySignature, TakesAnyBytesForKeyAndSignature) {
  SeededRandom random(12);
  for (int i = 0; i < 200; ++i) {
    PublicKey key;
    Signature signature;
    random.fill(key);
    random.fill(signature);
    EXPECT_FALSE(verify_signature(key, as_bytes("m"), signature));
  }
}

}  // namespace
}  // namespace pgmint::crypto
