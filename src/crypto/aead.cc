#include "crypto/aead.h"

#include <algorithm>
#include <cstring>

#include "crypto/openssl_handles.h"

namespace pgmint::crypto {

namespace {

constexpr std::size_t kBlockSize = 16;
using Block = ByteArray<kBlockSize>;

/// OpenSSL counts in int; a call takes at most this much.
constexpr std::size_t kStepMax = std::size_t{1} << 30;
/// NIST SP 800-38D: at most 2^39 - 256 bits under one nonce.
constexpr std::size_t kPlainMax = (std::size_t{1} << 36) - 32;

/// A GCM context keyed for one nonce after the other. The derivation is the NIST SP 800-108 counter KDF over AES-CMAC,
/// which for a one-block message is one AES call: AES(K, M xor K1). K1 depends on the key alone, so it is made once.
class DerivedGcm {
 public:
  explicit DerivedGcm(const Key256& key) : blocks_(EVP_CIPHER_CTX_new()), gcm_(EVP_CIPHER_CTX_new()) {
    PGMINT_ASSERT(!key.is_zero());
    require(blocks_ != nullptr && gcm_ != nullptr, "allocate a cipher context");
    require(EVP_EncryptInit_ex2(blocks_.get(), aes_256_ecb(), as_u8(key.bytes()), nullptr, nullptr) == 1,
            "set an AES key");
    EVP_CIPHER_CTX_set_padding(blocks_.get(), 0);
    require(EVP_EncryptInit_ex2(gcm_.get(), aes_256_gcm(), nullptr, nullptr, nullptr) == 1, "prepare GCM");

    Block zero{};
    encrypt_blocks(zero, subkey_);
    double_in_gf128(subkey_);
  }
  DerivedGcm(const DerivedGcm&) = delete;
  DerivedGcm& operator=(const DerivedGcm&) = delete;
  ~DerivedGcm() { wipe(subkey_); }

  void start(const Nonce& nonce, bool encrypt) {
    // Two counter blocks, 00 01 'X' 00 and 00 02 'X' 00, each followed by the first half of the nonce.
    ByteArray<2 * kBlockSize> derived{};
    for (std::size_t i = 0; i < 2; ++i) {
      std::byte* block = derived.data() + i * kBlockSize;
      block[1] = static_cast<std::byte>(i + 1);
      block[2] = static_cast<std::byte>('X');
      std::memcpy(block + 4, nonce.data(), 12);
      for (std::size_t j = 0; j < kBlockSize; ++j) block[j] ^= subkey_[j];
    }
    encrypt_blocks(derived, derived);
    const auto* iv = as_u8(ByteView(nonce)) + 12;
    require(EVP_CipherInit_ex2(gcm_.get(), nullptr, as_u8(ByteView(derived)), iv, encrypt ? 1 : 0, nullptr) == 1,
            "set a GCM key");
    wipe(derived);
  }

  void authenticate(ByteView aad) { update(aad, nullptr); }

  /// `out` may be `in` itself.
  void crypt(ByteView in, std::byte* out) { update(in, out); }

  void finish(std::span<std::byte, kTagSize> tag) {
    require(EVP_CipherFinal_ex(gcm_.get(), nothing_, &length_) == 1, "finish GCM");
    require(EVP_CIPHER_CTX_ctrl(gcm_.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, tag.data()) == 1, "read a GCM tag");
  }

  bool finish_verified(std::span<const std::byte, kTagSize> tag) {
    ByteArray<kTagSize> expected;
    std::ranges::copy(tag, expected.begin());  // the call wants it mutable
    require(EVP_CIPHER_CTX_ctrl(gcm_.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, expected.data()) == 1, "set a GCM tag");
    return EVP_CipherFinal_ex(gcm_.get(), nothing_, &length_) == 1;
  }

 private:
  void encrypt_blocks(ByteView in, MutableByteView out) {
    require(EVP_EncryptUpdate(blocks_.get(), as_u8(out), &length_, as_u8(in), static_cast<int>(in.size())) == 1,
            "encrypt a block");
  }

  void update(ByteView in, std::byte* out) {
    while (!in.empty()) {
      const std::size_t step = std::min(in.size(), kStepMax);
      auto* to = reinterpret_cast<unsigned char*>(out);
      require(EVP_CipherUpdate(gcm_.get(), to, &length_, as_u8(in), static_cast<int>(step)) == 1, "run GCM");
      in = in.subspan(step);
      if (out != nullptr) out += step;
    }
  }

  static void double_in_gf128(Block& block) {
    const bool carry = (block.front() & std::byte{0x80}) != std::byte{};
    for (std::size_t i = 0; i < kBlockSize; ++i) {
      block[i] <<= 1;
      if (i + 1 < kBlockSize) block[i] |= block[i + 1] >> 7;
    }
    if (carry) block.back() ^= std::byte{0x87};
  }

  CipherContext blocks_;
  CipherContext gcm_;
  Block subkey_{};
  int length_ = 0;
  unsigned char nothing_[kBlockSize] = {};  // GCM's final step writes nothing, but wants a place
};

/// In place means the very same first byte; anything else that overlaps would be read after it was overwritten.
bool same_or_apart(ByteView in, ByteView out) {
  return in.empty() || in.data() == out.data() || in.data() + in.size() <= out.data() ||
         out.data() + out.size() <= in.data();
}

}  // namespace

struct Aead::State {
  explicit State(const Key256& k) : key(k.clone()), gcm(k) {}
  Key256 key;  // for clone()
  DerivedGcm gcm;
};

Aead::Aead(const Key256& key) : state_(std::make_unique<State>(key)) {}
Aead::Aead(Aead&&) noexcept = default;
Aead& Aead::operator=(Aead&&) noexcept = default;
Aead::~Aead() = default;
Aead Aead::clone() const {
  return Aead(state_->key);
}

void Aead::seal(const Nonce& nonce, ByteView aad, ByteView plain, MutableByteView out) {
  const std::size_t size = plain.size();
  PGMINT_ASSERT(size <= kPlainMax && out.size() >= size + kTagSize);
  out = out.first(size + kTagSize);
  PGMINT_ASSERT(same_or_apart(plain, out));
  state_->gcm.start(nonce, true);
  state_->gcm.authenticate(aad);
  state_->gcm.crypt(plain, out.data());
  state_->gcm.finish(out.last<kTagSize>());
}

Status Aead::open(const Nonce& nonce, ByteView aad, ByteView sealed, MutableByteView out) {
  if (sealed.size() < kTagSize) {
    wipe(out);
    return Error(Errc::Corruption, "sealed data is shorter than its tag");
  }
  const std::size_t size = sealed.size() - kTagSize;
  PGMINT_ASSERT(out.size() >= size);
  out = out.first(size);
  PGMINT_ASSERT(same_or_apart(sealed, out));
  state_->gcm.start(nonce, false);
  state_->gcm.authenticate(aad);
  state_->gcm.crypt(sealed.first(size), out.data());
  if (!state_->gcm.finish_verified(sealed.last<kTagSize>())) {
    wipe(out);
    return Error(Errc::Corruption, "sealed data is not authentic: changed, misplaced, or sealed under another key");
  }
  return ok();
}

Bytes Aead::seal_with_random_nonce(RandomSource& random, ByteView aad, ByteView plain) {
  Nonce nonce;
  random.fill(nonce);
  Bytes out(plain.size() + kSealOverhead);
  std::ranges::copy(nonce, out.begin());
  seal(nonce, aad, plain, MutableByteView(out).subspan(kNonceSize));
  return out;
}

Result<Bytes> Aead::open_with_nonce(ByteView aad, ByteView nonce_and_sealed) {
  if (nonce_and_sealed.size() < kSealOverhead) {
    return Error(Errc::Corruption, "sealed data is shorter than its nonce and tag");
  }
  Nonce nonce;
  std::ranges::copy(nonce_and_sealed.first<kNonceSize>(), nonce.begin());
  Bytes plain(nonce_and_sealed.size() - kSealOverhead);
  TRY(open(nonce, aad, nonce_and_sealed.subspan(kNonceSize), plain));
  return plain;
}

struct Gmac::State {
  explicit State(const Key256& key) : gcm(key) {}
  DerivedGcm gcm;
};

Gmac::Gmac(const Key256& key) : state_(std::make_unique<State>(key)) {}
Gmac::Gmac(Gmac&&) noexcept = default;
Gmac& Gmac::operator=(Gmac&&) noexcept = default;
Gmac::~Gmac() = default;

ByteArray<16> Gmac::compute(const Nonce& nonce, ByteView data) {
  start(nonce);
  update(data);
  return finish();
}

void Gmac::start(const Nonce& nonce) {
  state_->gcm.start(nonce, true);
}

void Gmac::update(ByteView data) {
  state_->gcm.authenticate(data);
}

ByteArray<16> Gmac::finish() {
  ByteArray<kTagSize> tag;
  state_->gcm.finish(tag);
  return tag;
}

}  // namespace pgmint::crypto
