#include "crypto/openssl_enc.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::crypto {
namespace {

Result<Bytes> opened(ByteView file, std::string_view passphrase, EncDerivation derivation) {
  auto reader = TRY(EncReader::open(passphrase, derivation, file));
  Bytes out;
  reader.update(file.subspan(kEncHeader), out);
  TRY(reader.finish(out));
  return out;
}

Bytes hex(std::string_view text) { return from_hex(text).value(); }

/// What `printf 'pgmint\n' | openssl enc -aes-256-cbc ... -S 0102030405060708 -k sesame` (OpenSSL 3.0) writes, behind magic and salt.
TEST(OpensslEnc, OpensTheFilesThatOpensslWrites) {
  const auto file = [](std::string_view body) {
    Bytes all = to_bytes(as_bytes("Salted__"));
    append(all, hex("0102030405060708"));
    append(all, hex(body));
    return all;
  };
  EXPECT_EQ(as_text(opened(file("fbc3e5074b6c1bde8f4cf1f5238bc5c9"), "sesame", EncDerivation::Pbkdf2).value()), "pgmint\n");
  EXPECT_EQ(as_text(opened(file("196eb6bbd695c323bbad83bd30981471"), "sesame", EncDerivation::LegacySha256).value()), "pgmint\n");
  EXPECT_EQ(as_text(opened(file("9f5b70d98f32a9c484d7d8fbddb29235"), "sesame", EncDerivation::LegacyMd5).value()), "pgmint\n");
}

TEST(OpensslEnc, WhatIsWrittenOpensWithThePassphraseAlone) {
  SeededRandom random(test_seed());
  for (const std::size_t size : {0, 1, 15, 16, 17, 3'000'000}) {
    const auto plain = random_bytes(random, size);
    Bytes file;
    EncWriter writer("a passphrase", random, file);
    ByteView rest = plain;
    while (!rest.empty()) {
      const auto piece = rest.first(std::min<std::size_t>(rest.size(), 1 + random.below(500'000)));
      writer.update(piece, file);
      rest = rest.subspan(piece.size());
    }
    writer.finish(file);
    EXPECT_EQ(opened(file, "a passphrase", EncDerivation::Pbkdf2).value(), plain);
    const auto other = opened(file, "another", EncDerivation::Pbkdf2);
    EXPECT_TRUE(!other || *other != plain);
    if (size > 100) {
      EXPECT_EQ(opened(ByteView(file).first(file.size() - 3), "a passphrase", EncDerivation::Pbkdf2).failure().code(), Errc::Key);
    }
  }
  EXPECT_EQ(EncReader::open("x", EncDerivation::Pbkdf2, as_bytes("PGDMP 0123456789")).failure().code(), Errc::Corruption);
}

TEST(OpensslEnc, OneSaltGivesTheSameBytesAgain) {
  SeededRandom random(test_seed());
  const auto written = [&](std::string_view passphrase, const std::optional<EncSalt>& salt) {
    Bytes file;
    auto writer = salt ? EncWriter(passphrase, *salt, file) : EncWriter(passphrase, random, file);
    writer.update(as_bytes("what a dump holds"), file);
    writer.finish(file);
    return file;
  };
  const auto first = written("sesame", std::nullopt);
  EXPECT_NE(written("sesame", std::nullopt), first);
  EXPECT_EQ(written("sesame", enc_salt(first)), first);
  EXPECT_NE(written("another", enc_salt(first)), first);
  EXPECT_FALSE(enc_salt(ByteView(first).first(kEncHeader - 1)));
  EXPECT_FALSE(enc_salt(as_bytes("PGDMP 0123456789")));
}

}  // namespace
}  // namespace pgmint::crypto
