// The file format of `openssl enc -aes-256-cbc`: "Salted__", eight bytes of salt, CBC with padding. It authenticates nothing: for files that
// leave the repository because a runbook says so, or come from there.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "base/random.h"
#include "crypto/secret.h"

namespace pgmint::crypto {

/// How the passphrase becomes key and initialization vector.
enum class EncDerivation {
  Pbkdf2,        ///< openssl enc -pbkdf2: PBKDF2-HMAC-SHA-256, 10,000 rounds
  LegacySha256,  ///< openssl enc without it, since OpenSSL 1.1
  LegacyMd5      ///< before
};

inline constexpr std::size_t kEncHeader = 16;
using EncSalt = ByteArray<8>;
/// The salt of a file that begins so; nullopt: it is no such file.
std::optional<EncSalt> enc_salt(ByteView header);

/// Not thread-safe. Appends to what it is given.
class EncWriter {
 public:
  /// Always with Pbkdf2. Appends the header.
  EncWriter(std::string_view passphrase, RandomSource& random, Bytes& out);
  /// With the salt of a file that is there already, to find out whether it would be the same. What is written so must not be kept: one salt for two contents
  /// shows where they begin to differ.
  EncWriter(std::string_view passphrase, const EncSalt& salt, Bytes& out);
  ~EncWriter();
  void update(ByteView plain, Bytes& out);
  void finish(Bytes& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Not thread-safe.
class EncReader {
 public:
  /// @param header  the file's first kEncHeader bytes. @errors Corruption: it is no such file
  static Result<EncReader> open(std::string_view passphrase, EncDerivation derivation, ByteView header);
  EncReader(EncReader&&) noexcept;
  ~EncReader();
  void update(ByteView sealed, Bytes& out);
  /// @errors Key: the padding is wrong, so the passphrase or the derivation is, or the file is cut off
  Status finish(Bytes& out);

 private:
  struct State;
  explicit EncReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::crypto
