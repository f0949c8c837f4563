#include "crypto/secret.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>

namespace pgmint::crypto {
namespace {

/// OpenSSL's own private keys live there too. Powers of two, as it wants them.
constexpr std::size_t kHeapMax = 512 << 10, kHeapMin = 64 << 10;
constexpr std::size_t kSmallestPiece = Key256::kSize;
constexpr ByteArray<Key256::kSize> kZero{};

std::atomic<bool> outside_heap{false};

/// True: locked. Whoever may lock little gets a smaller one rather than one that is not locked.
bool make_heap() {
  rlimit limit{};
  std::size_t size = kHeapMax;
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
    while (size > kHeapMin && size > limit.rlim_cur / 2) size /= 2;
  return CRYPTO_secure_malloc_init(size, kSmallestPiece) == 1;
}

bool heap_is_locked() {
  static const bool locked = make_heap();
  return locked;
}

std::byte* take_place() {
  heap_is_locked();
  auto* place = static_cast<std::byte*>(OPENSSL_secure_malloc(Key256::kSize));
  if (place == nullptr) {  // full, or there is none
    outside_heap = true;
    place = static_cast<std::byte*>(OPENSSL_malloc(Key256::kSize));
  }
  if (place == nullptr) throw std::bad_alloc();
  return place;
}

}  // namespace

void Key256::Release::operator()(std::byte* place) const { OPENSSL_secure_clear_free(place, kSize); }

Key256::Key256(Key256&& other) noexcept = default;
Key256& Key256::operator=(Key256&& other) noexcept = default;
Key256::~Key256() = default;

MutableByteView Key256::own() {
  if (place_ == nullptr) place_.reset(take_place());
  return {place_.get(), kSize};
}

ByteView Key256::bytes() const { return place_ == nullptr ? ByteView(kZero) : ByteView(place_.get(), kSize); }

Key256 Key256::generate(RandomSource& random) {
  Key256 key;
  random.fill(key.own());
  return key;
}

Result<Key256> Key256::from_bytes(ByteView raw) {
  if (raw.size() != kSize)
    return Error(Errc::Corruption, fmt::format("a key has {} bytes, this one {}", kSize, raw.size()));
  Key256 key;
  std::ranges::copy(raw, key.own().begin());
  return key;
}

Key256 Key256::clone() const {
  Key256 key;
  if (place_ != nullptr) std::ranges::copy(bytes(), key.own().begin());
  return key;
}

bool Key256::is_zero() const {
  // No early exit: how long it takes must not tell where the first set bit is.
  std::byte any{};
  for (const std::byte b : bytes()) any |= b;
  return any == std::byte{};
}

bool keys_are_locked() { return heap_is_locked() && !outside_heap; }

void wipe(MutableByteView bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

bool equal_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace pgmint::crypto
