// Key files and printed recovery keys: 32 bytes and a checksum in Crockford's base32. Format: docs/format/keys.md, "Key texts".
#include <fmt/format.h>

#include "repository/keys.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kChecksum = 3;
constexpr std::size_t kPayload = crypto::Key256::kSize + kChecksum;  // 35 bytes are exactly 56 digits
constexpr std::size_t kDigits = kPayload * 8 / 5;
constexpr std::size_t kGroup = 7;

std::string_view prefix_of(KeyProvider provider) { return provider == KeyProvider::Recovery ? "PGMINT-RECOVERY-1:" : "PGMINT-KEY-1:"; }

crypto::Digest checksum(std::string_view prefix, ByteView key) {
  Bytes input = to_bytes(as_bytes(prefix));
  append(input, key);
  auto digest = crypto::sha256(input);
  crypto::wipe(input);
  return digest;
}

int digit_value(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'O') c = '0';
  if (c == 'I' || c == 'L') c = '1';
  const auto at = kAlphabet.find(c);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/// The one line that holds the key: comments and empty lines do not count.
Result<std::string_view> key_line(std::string_view text, std::string_view what) {
  std::string_view found;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    if (line.empty() || line.front() == '#') continue;
    if (!found.empty()) return Error(Errc::Key, fmt::format("{} holds more than one line", what));
    found = line;
  }
  if (found.empty()) return Error(Errc::Key, fmt::format("{} is empty", what));
  return found;
}

}  // namespace

std::string encode_key_text(KeyProvider provider, const crypto::Key256& key) {
  const auto prefix = prefix_of(provider);
  Bytes payload = to_bytes(key.bytes());
  append(payload, ByteView(checksum(prefix, key.bytes())).first(kChecksum));
  std::string text(prefix);
  unsigned buffer = 0;
  int bits = 0;
  std::size_t digits = 0;
  for (auto b : payload) {
    buffer = (buffer << 8) | std::to_integer<unsigned>(b);
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      if (digits > 0 && digits % kGroup == 0) text += '-';
      text += kAlphabet[(buffer >> bits) & 31];
      ++digits;
    }
    buffer &= (1u << bits) - 1;
  }
  crypto::wipe(payload);
  return text;
}

Result<crypto::Key256> parse_key_text(KeyProvider provider, std::string_view text) {
  const auto prefix = prefix_of(provider);
  const std::string what = provider == KeyProvider::Recovery ? "the recovery key" : "the key file";
  const auto line = TRY(key_line(text, what));
  if (!line.starts_with(prefix))
    return Error(Errc::Key, fmt::format("{} is not in pgmint's format: it must start with {}", what, prefix),
                 Hint{"`pgmint init` makes a key file; any other text is refused on purpose, since it would be a weak key"});
  Bytes payload;
  payload.reserve(kPayload + 1);  // it is wiped where it lies
  unsigned buffer = 0;
  int bits = 0;
  std::size_t digits = 0;
  for (char c : line.substr(prefix.size())) {
    if (c == '-' || c == ' ') continue;
    const int value = digit_value(c);
    if (value < 0) return Error(Errc::Key, fmt::format("{} contains '{}', which is not a digit of it", what, c));
    buffer = (buffer << 5) | static_cast<unsigned>(value);
    bits += 5;
    ++digits;
    if (bits >= 8) {
      bits -= 8;
      payload.push_back(static_cast<std::byte>(buffer >> bits));
      buffer &= (1u << bits) - 1;
    }
  }
  if (digits != kDigits) return Error(Errc::Key, fmt::format("{} has {} digits instead of {}", what, digits, kDigits));
  const auto key = ByteView(payload).first(crypto::Key256::kSize);
  const auto sum = checksum(prefix, key);
  const bool fits = crypto::equal_constant_time(ByteView(sum).first(kChecksum), ByteView(payload).last(kChecksum));
  auto result = crypto::Key256::from_bytes(key);
  crypto::wipe(payload);
  if (!fits) return Error(Errc::Key, fmt::format("{} has a typing mistake: its checksum does not fit", what));
  return result;
}

}  // namespace pgmint::repository
