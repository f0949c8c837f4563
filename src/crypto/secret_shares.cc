#include "crypto/secret_shares.h"

extern "C" {  // the header does not say so itself
#include <libgfshare.h>
}

#include <algorithm>
#include <array>
#include <memory>

namespace pgmint::crypto {
namespace {

struct ContextFree {
  void operator()(gfshare_ctx* context) const { gfshare_ctx_free(context); }
};
using Context = std::unique_ptr<gfshare_ctx, ContextFree>;
using Buffer = std::array<unsigned char, Key256::kSize>;

/// The library draws by a function of the process, without an argument.
thread_local RandomSource* drawn_from = nullptr;
void draw(unsigned char* to, unsigned size) {
  PGMINT_ASSERT(drawn_from != nullptr);
  drawn_from->fill(std::as_writable_bytes(std::span(to, size)));
}

/// The library writes over what it frees with what it draws: both go while a source is there.
class Drawing {
 public:
  explicit Drawing(RandomSource& random) {
    drawn_from = &random;
    gfshare_fill_rand = draw;
  }
  ~Drawing() { drawn_from = nullptr; }
  Drawing(const Drawing&) = delete;
  Drawing& operator=(const Drawing&) = delete;
};

void wipe_buffer(Buffer& buffer) { wipe(std::as_writable_bytes(std::span(buffer))); }
Buffer buffer_of(const Key256& key) {
  Buffer buffer;
  std::ranges::copy(std::span(reinterpret_cast<const unsigned char*>(key.bytes().data()), buffer.size()), buffer.begin());
  return buffer;
}
Key256 key_of(Buffer& buffer) {
  auto key = Key256::from_bytes(std::as_bytes(std::span(buffer)));
  wipe_buffer(buffer);
  PGMINT_ASSERT(key);
  return std::move(*key);
}

}  // namespace

std::vector<SecretShare> split_secret(const Key256& secret, unsigned needed, unsigned count, RandomSource& random) {
  PGMINT_ASSERT(needed >= 2 && needed <= count && count <= kSharesMax);
  const Drawing drawing(random);
  std::array<unsigned char, kSharesMax> numbers{};
  for (unsigned i = 0; i < count; ++i) numbers[i] = static_cast<unsigned char>(i + 1);
  const Context context(gfshare_ctx_init_enc(numbers.data(), count, static_cast<unsigned char>(needed), Key256::kSize));
  PGMINT_ASSERT(context != nullptr);
  auto plain = buffer_of(secret);
  gfshare_ctx_enc_setsecret(context.get(), plain.data());
  wipe_buffer(plain);
  std::vector<SecretShare> shares;
  for (unsigned i = 0; i < count; ++i) {
    Buffer value;
    gfshare_ctx_enc_getshare(context.get(), static_cast<unsigned char>(i), value.data());
    shares.push_back({numbers[i], key_of(value)});
  }
  return shares;
}

Key256 join_shares(std::span<const SecretShare* const> shares) {
  PGMINT_ASSERT(!shares.empty() && shares.size() <= kSharesMax);
  const Drawing drawing(system_random());
  std::array<unsigned char, kSharesMax> numbers{};
  for (std::size_t i = 0; i < shares.size(); ++i) {
    numbers[i] = shares[i]->number;
    PGMINT_ASSERT(numbers[i] != 0 && std::find(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(i), numbers[i]) == numbers.begin() + static_cast<std::ptrdiff_t>(i));
  }
  const Context context(gfshare_ctx_init_dec(numbers.data(), static_cast<unsigned>(shares.size()), Key256::kSize));
  PGMINT_ASSERT(context != nullptr);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    auto value = buffer_of(shares[i]->value);
    gfshare_ctx_dec_giveshare(context.get(), static_cast<unsigned char>(i), value.data());
    wipe_buffer(value);
  }
  Buffer secret;
  gfshare_ctx_dec_extract(context.get(), secret.data());
  return key_of(secret);
}

}  // namespace pgmint::crypto
