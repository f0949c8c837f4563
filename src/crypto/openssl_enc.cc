#include "crypto/openssl_enc.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

namespace pgmint::crypto {
namespace {

constexpr std::string_view kMagic = "Salted__";
constexpr std::size_t kSaltSize = sizeof(EncSalt), kKeySize = 32, kVectorSize = 16;
constexpr int kRounds = 10'000;  ///< OpenSSL's default
constexpr std::size_t kPiece = 1 << 20;

struct ContextFree {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextFree>;

const unsigned char* raw(ByteView data) { return reinterpret_cast<const unsigned char*>(data.data()); }

/// Key and vector, one after the other; wiped by the caller.
using Material = std::array<unsigned char, kKeySize + kVectorSize>;

Material derive(std::string_view passphrase, EncDerivation derivation, ByteView salt) {
  Material material{};
  if (derivation == EncDerivation::Pbkdf2) {
    PGMINT_ASSERT(PKCS5_PBKDF2_HMAC(passphrase.data(), static_cast<int>(passphrase.size()), raw(salt), kSaltSize, kRounds, EVP_sha256(), material.size(),
                                    material.data()) == 1);
  } else {
    const auto* digest = derivation == EncDerivation::LegacySha256 ? EVP_sha256() : EVP_md5();
    const auto size = EVP_BytesToKey(EVP_aes_256_cbc(), digest, raw(salt), reinterpret_cast<const unsigned char*>(passphrase.data()),
                                     static_cast<int>(passphrase.size()), 1, material.data(), material.data() + kKeySize);
    PGMINT_ASSERT(size == static_cast<int>(kKeySize));
  }
  return material;
}

Context make_context(std::string_view passphrase, EncDerivation derivation, ByteView salt, bool encrypt) {
  auto material = derive(passphrase, derivation, salt);
  Context context(EVP_CIPHER_CTX_new());
  PGMINT_ASSERT(context != nullptr);
  PGMINT_ASSERT(EVP_CipherInit_ex(context.get(), EVP_aes_256_cbc(), nullptr, material.data(), material.data() + kKeySize, encrypt ? 1 : 0) == 1);
  wipe(std::as_writable_bytes(std::span(material)));
  return context;
}

void pass(EVP_CIPHER_CTX* context, ByteView in, Bytes& out) {
  while (!in.empty()) {
    const auto piece = in.first(std::min(in.size(), kPiece));
    const auto start = out.size();
    out.resize(start + piece.size() + EVP_MAX_BLOCK_LENGTH);
    int written = 0;
    PGMINT_ASSERT(EVP_CipherUpdate(context, reinterpret_cast<unsigned char*>(out.data() + start), &written, raw(piece), static_cast<int>(piece.size())) == 1);
    out.resize(start + static_cast<std::size_t>(written));
    in = in.subspan(piece.size());
  }
}

bool end(EVP_CIPHER_CTX* context, Bytes& out) {
  const auto start = out.size();
  out.resize(start + EVP_MAX_BLOCK_LENGTH);
  int written = 0;
  const bool good = EVP_CipherFinal_ex(context, reinterpret_cast<unsigned char*>(out.data() + start), &written) == 1;
  out.resize(start + (good ? static_cast<std::size_t>(written) : 0));
  return good;
}

EncSalt new_salt(RandomSource& random) {
  EncSalt salt{};
  random.fill(salt);
  return salt;
}

}  // namespace

std::optional<EncSalt> enc_salt(ByteView header) {
  if (header.size() < kEncHeader || as_text(header.first(kMagic.size())) != kMagic) return std::nullopt;
  EncSalt salt{};
  std::ranges::copy(header.subspan(kMagic.size(), kSaltSize), salt.begin());
  return salt;
}

struct EncWriter::State {
  Context context;
};

EncWriter::EncWriter(std::string_view passphrase, RandomSource& random, Bytes& out) : EncWriter(passphrase, new_salt(random), out) {}
EncWriter::EncWriter(std::string_view passphrase, const EncSalt& salt, Bytes& out) : state_(std::make_unique<State>()) {
  append(out, as_bytes(kMagic));
  append(out, salt);
  state_->context = make_context(passphrase, EncDerivation::Pbkdf2, salt, true);
}
EncWriter::~EncWriter() = default;
void EncWriter::update(ByteView plain, Bytes& out) { pass(state_->context.get(), plain, out); }
void EncWriter::finish(Bytes& out) { PGMINT_ASSERT(end(state_->context.get(), out)); }

struct EncReader::State {
  Context context;
};

EncReader::EncReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
EncReader::EncReader(EncReader&&) noexcept = default;
EncReader::~EncReader() = default;

Result<EncReader> EncReader::open(std::string_view passphrase, EncDerivation derivation, ByteView header) {
  if (header.size() < kEncHeader || as_text(header.first(kMagic.size())) != kMagic)
    return Error(Errc::Corruption, "it is not a file of openssl enc: it does not begin with \"Salted__\"");
  auto state = std::make_unique<State>();
  state->context = make_context(passphrase, derivation, header.subspan(kMagic.size(), kSaltSize), false);
  return EncReader(std::move(state));
}

void EncReader::update(ByteView sealed, Bytes& out) { pass(state_->context.get(), sealed, out); }

Status EncReader::finish(Bytes& out) {
  if (!end(state_->context.get(), out)) return Error(Errc::Key, "the passphrase does not open it, or the file is cut off");
  return ok();
}

}  // namespace pgmint::crypto
