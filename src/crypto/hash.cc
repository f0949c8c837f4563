#include "crypto/hash.h"

#include <fmt/format.h>
#include <openssl/core_names.h>

#include "crypto/openssl_handles.h"

namespace pgmint::crypto {

namespace {

/// What scrypt may allocate: N = 2^20 with r = 8. The ranges of the single costs allow more than a machine has.
constexpr std::uint64_t kScryptMemoryMax = std::uint64_t{1} << 30;

/// OpenSSL's parameters take mutable pointers but only read through them.
char* mutable_text(const char* text) {
  return const_cast<char*>(text);
}
OSSL_PARAM octets(const char* name, ByteView bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::byte*>(bytes.data()), bytes.size());
}

}  // namespace

Digest sha256(ByteView data) {
  Digest digest;
  require(EVP_Digest(data.data(), data.size(), as_u8(MutableByteView(digest)), nullptr, sha_256(), nullptr) == 1,
          "compute SHA-256");
  return digest;
}

struct Sha256::State {
  DigestContext context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  require(state_->context != nullptr && EVP_DigestInit_ex2(state_->context.get(), sha_256(), nullptr) == 1,
          "start SHA-256");
}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(ByteView data) {
  PGMINT_ASSERT(state_ != nullptr);
  require(EVP_DigestUpdate(state_->context.get(), data.data(), data.size()) == 1, "update SHA-256");
}

Digest Sha256::finish() {
  PGMINT_ASSERT(state_ != nullptr);
  Digest digest;
  require(EVP_DigestFinal_ex(state_->context.get(), as_u8(MutableByteView(digest)), nullptr) == 1, "finish SHA-256");
  state_.reset();
  return digest;
}

struct HmacSha256::State {
  MacContext context{EVP_MAC_CTX_new(hmac())};
};

HmacSha256::HmacSha256(const Key256& key) : state_(std::make_unique<State>()) {
  PGMINT_ASSERT(!key.is_zero());
  require(state_->context != nullptr, "allocate HMAC");
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, mutable_text("SHA2-256"), 0),
                                   OSSL_PARAM_construct_end()};
  require(EVP_MAC_init(state_->context.get(), as_u8(key.bytes()), key.bytes().size(), parameters) == 1, "start HMAC");
}
HmacSha256::HmacSha256(HmacSha256&&) noexcept = default;
HmacSha256& HmacSha256::operator=(HmacSha256&&) noexcept = default;
HmacSha256::~HmacSha256() = default;

void HmacSha256::update(ByteView data) {
  PGMINT_ASSERT(state_ != nullptr);
  require(EVP_MAC_update(state_->context.get(), as_u8(data), data.size()) == 1, "update HMAC");
}

Digest HmacSha256::finish() {
  PGMINT_ASSERT(state_ != nullptr);
  Digest digest;
  std::size_t size = 0;
  require(EVP_MAC_final(state_->context.get(), as_u8(MutableByteView(digest)), &size, digest.size()) == 1 &&
              size == digest.size(),
          "finish HMAC");
  state_.reset();
  return digest;
}

Digest hmac_sha256(const Key256& key, ByteView data) {
  HmacSha256 hmac_of_data(key);
  hmac_of_data.update(data);
  return hmac_of_data.finish();
}

Key256 derive_key(const Key256& key, std::string_view purpose) {
  PGMINT_ASSERT(!key.is_zero());
  const KdfContext context(EVP_KDF_CTX_new(hkdf()));
  require(context != nullptr, "allocate HKDF");
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, mutable_text("SHA2-256"), 0),
                                   octets(OSSL_KDF_PARAM_KEY, key.bytes()),
                                   octets(OSSL_KDF_PARAM_INFO, as_bytes(purpose)), OSSL_PARAM_construct_end()};
  ByteArray<Key256::kSize> raw;
  require(EVP_KDF_derive(context.get(), as_u8(MutableByteView(raw)), raw.size(), parameters) == 1, "derive a key");
  auto derived = Key256::from_bytes(raw);
  wipe(raw);
  PGMINT_ASSERT(derived.has_value());
  return std::move(*derived);
}

Digest key_commitment(const Key256& key) {
  return hmac_sha256(key, as_bytes("pgmint key commitment v1"));
}

Result<Key256> scrypt(std::string_view passphrase, ByteView salt, ScryptCost cost) {
  const bool in_range =
      cost.log2_n >= 10 && cost.log2_n <= 22 && cost.r >= 1 && cost.r <= 32 && cost.p >= 1 && cost.p <= 16;
  const std::uint64_t n = in_range ? std::uint64_t{1} << cost.log2_n : 0;
  if (!in_range || 128 * n * cost.r > kScryptMemoryMax) {
    return Error(Errc::Corruption,
                 fmt::format("scrypt cost out of range: log2_n {}, r {}, p {}", cost.log2_n, cost.r, cost.p));
  }
  // RFC 7914: V takes 128 N r, B takes 128 r p, and two work blocks.
  const std::uint64_t memory = std::uint64_t{128} * cost.r * (n + cost.p + 2);
  static constexpr std::byte kNoSalt{};
  const auto* salt_bytes = salt.empty() ? reinterpret_cast<const unsigned char*>(&kNoSalt) : as_u8(salt);
  const char* text = passphrase.empty() ? "" : passphrase.data();
  ByteArray<Key256::kSize> raw;
  if (EVP_PBE_scrypt(text, passphrase.size(), salt_bytes, salt.size(), n, cost.r, cost.p, memory,
                     as_u8(MutableByteView(raw)), raw.size()) != 1) {
    return Error(Errc::Internal, fmt::format("scrypt failed; it needs {} MiB of memory", memory >> 20));
  }
  auto key = Key256::from_bytes(raw);
  wipe(raw);
  return key;
}

}  // namespace pgmint::crypto
