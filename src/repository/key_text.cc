// Key files, printed recovery keys and their shares: bytes and a checksum in Crockford's base32. Format: docs/format/keys.md, "Key texts".
#include <fmt/format.h>

#include <algorithm>

#include "crypto/secret_shares.h"
#include "repository/keys.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t kChecksum = 3;
constexpr std::size_t kKeyPayload = crypto::Key256::kSize + kChecksum;  // 35 bytes are exactly 56 digits
constexpr std::size_t kKeyGroup = 7;

constexpr std::string_view kSharePrefix = "PGMINT-SHARE-1:";
constexpr std::size_t kSetSize = 3;
constexpr std::size_t kSharePayload = kSetSize + 2 + crypto::Key256::kSize + kChecksum;  // 40 bytes are exactly 64 digits
constexpr std::size_t kShareGroup = 8;

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

/// The lines that hold something: comments and empty lines do not count.
std::vector<std::string_view> key_lines(std::string_view text) {
  std::vector<std::string_view> found;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    if (!line.empty() && line.front() != '#') found.push_back(line);
  }
  return found;
}

/// Payload and its checksum as digits, in groups.
std::string encode_digits(std::string_view prefix, ByteView content, std::size_t group) {
  Bytes payload;
  payload.reserve(content.size() + kChecksum);  // it is wiped where it lies
  append(payload, content);
  append(payload, ByteView(checksum(prefix, content)).first(kChecksum));
  std::string text(prefix);
  unsigned buffer = 0;
  int bits = 0;
  std::size_t digits = 0;
  for (auto b : payload) {
    buffer = (buffer << 8) | std::to_integer<unsigned>(b);
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      if (digits > 0 && digits % group == 0) text += '-';
      text += kAlphabet[(buffer >> bits) & 31];
      ++digits;
    }
    buffer &= (1u << bits) - 1;
  }
  crypto::wipe(payload);
  return text;
}

/// What encode_digits() was given, of `size` bytes with the checksum; `to` is wiped by whoever owns it.
Status decode_digits(std::string_view prefix, std::string_view line, std::string_view what, std::size_t size, Bytes& to) {
  to.clear();
  to.reserve(size + 1);  // it is wiped where it lies
  unsigned buffer = 0;
  int bits = 0;
  std::size_t digits = 0;
  for (char c : line.substr(prefix.size())) {
    if (c == '-' || c == ' ') continue;
    const int value = digit_value(c);
    if (value < 0) return Error(Errc::Key, fmt::format("{} contains '{}', which is not a digit of it", what, c));
    if (++digits > size * 8 / 5) continue;
    buffer = (buffer << 5) | static_cast<unsigned>(value);
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      to.push_back(static_cast<std::byte>(buffer >> bits));
      buffer &= (1u << bits) - 1;
    }
  }
  if (digits != size * 8 / 5) return Error(Errc::Key, fmt::format("{} has {} digits instead of {}", what, digits, size * 8 / 5));
  const auto sum = checksum(prefix, ByteView(to).first(size - kChecksum));
  if (!crypto::equal_constant_time(ByteView(sum).first(kChecksum), ByteView(to).last(kChecksum)))
    return Error(Errc::Key, fmt::format("{} has a typing mistake: its checksum does not fit", what));
  to.resize(size - kChecksum);
  return ok();
}

/// One line of a share.
struct ShareLine {
  ByteArray<kSetSize> set{};  ///< the same in all that were made together
  unsigned needed = 0;
  crypto::SecretShare share;
};

Result<ShareLine> parse_share(std::string_view line, std::size_t place) {
  const auto what = fmt::format("share {} of those given", place);
  if (!line.starts_with(kSharePrefix)) return Error(Errc::Key, fmt::format("{} does not start with {}", what, kSharePrefix), Hint{"shares and other keys do not go into one file"});
  Bytes payload;
  const auto decoded = decode_digits(kSharePrefix, line, what, kSharePayload, payload);
  ShareLine parsed;
  if (decoded) {
    std::ranges::copy(ByteView(payload).first(kSetSize), parsed.set.begin());
    parsed.needed = std::to_integer<unsigned>(payload[kSetSize]);
    parsed.share.number = std::to_integer<std::uint8_t>(payload[kSetSize + 1]);
    if (auto value = crypto::Key256::from_bytes(ByteView(payload).last(crypto::Key256::kSize))) parsed.share.value = std::move(*value);
  }
  crypto::wipe(payload);
  TRY(decoded);
  if (parsed.needed < 2 || parsed.needed > crypto::kSharesMax || parsed.share.number == 0 || parsed.share.number > crypto::kSharesMax)
    return Error(Errc::Key, fmt::format("{} is of a kind that this pgmint does not know", what));
  return parsed;
}

bool same_share(const ShareLine& a, const ShareLine& b) { return crypto::equal_constant_time(a.share.value.bytes(), b.share.value.bytes()); }

Result<crypto::Key256> join_lines(std::span<const std::string_view> lines) {
  std::vector<ShareLine> shares;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    auto parsed = TRY(parse_share(lines[i], i + 1));
    if (!shares.empty() && (parsed.set != shares[0].set || parsed.needed != shares[0].needed))
      return Error(Errc::Key, "the shares are of different keys, or were not made together", Hint{"shares that were made together begin with the same four digits"});
    const auto again = std::ranges::find(shares, parsed.share.number, [](const auto& other) { return other.share.number; });
    if (again == shares.end())
      shares.push_back(std::move(parsed));
    else if (!same_share(*again, parsed))
      return Error(Errc::Key, fmt::format("there are two different shares with the number {}", parsed.share.number));
  }
  const auto needed = shares[0].needed;
  if (shares.size() < needed) return Error(Errc::Key, fmt::format("{} of the recovery key's shares are not enough: {} are needed", shares.size(), needed), Hint{"one line for each share, in one file"});
  std::vector<const crypto::SecretShare*> all;
  for (const auto& one : shares) all.push_back(&one.share);
  auto key = crypto::join_shares(std::span(all).first(needed));
  // More than are needed must agree, whichever are taken.
  for (std::size_t i = 1; i + needed <= all.size(); ++i)
    if (!crypto::equal_constant_time(crypto::join_shares(std::span(all).subspan(i, needed)).bytes(), key.bytes()))
      return Error(Errc::Key, "the shares contradict each other: one of them was changed", Hint{fmt::format("try others, {} at a time", needed)});
  return key;
}

}  // namespace

std::string encode_key_text(KeyProvider provider, const crypto::Key256& key) { return encode_digits(prefix_of(provider), key.bytes(), kKeyGroup); }

Result<crypto::Key256> parse_key_text(KeyProvider provider, std::string_view text) {
  const auto prefix = prefix_of(provider);
  const std::string what = provider == KeyProvider::Recovery ? "the recovery key" : "the key file";
  const auto lines = key_lines(text);
  if (lines.empty()) return Error(Errc::Key, fmt::format("{} is empty", what));
  if (provider == KeyProvider::Recovery && lines[0].starts_with(kSharePrefix)) return join_lines(lines);
  if (lines.size() > 1) return Error(Errc::Key, fmt::format("{} holds more than one line", what));
  if (!lines[0].starts_with(prefix))
    return Error(Errc::Key, fmt::format("{} is not in pgmint's format: it must start with {}", what, prefix),
                 Hint{"`pgmint init` makes a key file; any other text is refused on purpose, since it would be a weak key"});
  Bytes payload;
  const auto decoded = decode_digits(prefix, lines[0], what, kKeyPayload, payload);
  auto key = decoded ? crypto::Key256::from_bytes(payload) : Result<crypto::Key256>(decoded.failure());
  crypto::wipe(payload);
  return key;
}

std::vector<std::string> encode_recovery_shares(const crypto::Key256& key, unsigned needed, unsigned count, RandomSource& random) {
  ByteArray<kSetSize> set{};
  random.fill(set);
  std::vector<std::string> texts;
  for (const auto& share : crypto::split_secret(key, needed, count, random)) {
    Bytes payload;
    payload.reserve(kSharePayload);
    append(payload, set);
    payload.push_back(static_cast<std::byte>(needed));
    payload.push_back(static_cast<std::byte>(share.number));
    append(payload, share.value.bytes());
    texts.push_back(encode_digits(kSharePrefix, payload, kShareGroup));
    crypto::wipe(payload);
  }
  return texts;
}

}  // namespace pgmint::repository
