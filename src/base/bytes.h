// Byte sequences, their views, hexadecimal, and 16-byte identities.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pgmint {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;
using MutableByteView = std::span<std::byte>;
template <std::size_t N>
using ByteArray = std::array<std::byte, N>;

inline ByteView as_bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView view) { return {view.begin(), view.end()}; }
inline void append(Bytes& to, ByteView what) { to.insert(to.end(), what.begin(), what.end()); }
inline const unsigned char* as_u8(ByteView view) { return reinterpret_cast<const unsigned char*>(view.data()); }
inline unsigned char* as_u8(MutableByteView view) { return reinterpret_cast<unsigned char*>(view.data()); }

std::string to_hex(ByteView bytes);
/// Lower or upper case, even length; anything else is nullopt.
std::optional<Bytes> from_hex(std::string_view text);

/// A 128-bit identity that is drawn at random: repository, cluster, session. Tag keeps kinds apart.
template <class Tag>
struct Id128 {
  ByteArray<16> bytes{};
  auto operator<=>(const Id128&) const = default;
  std::string hex() const { return to_hex(bytes); }
  static std::optional<Id128> parse(std::string_view text) {
    auto raw = from_hex(text);
    if (!raw || raw->size() != 16) return std::nullopt;
    Id128 id;
    std::memcpy(id.bytes.data(), raw->data(), 16);
    return id;
  }
  bool is_zero() const { return *this == Id128{}; }
};

}  // namespace pgmint
