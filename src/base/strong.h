// A number that does not mix with other numbers: explicit in, value() out.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace pgmint {

template <class T, class Tag>
class Strong {
 public:
  constexpr Strong() = default;
  constexpr explicit Strong(T value) : value_(value) {}
  constexpr T value() const { return value_; }
  constexpr auto operator<=>(const Strong&) const = default;

 private:
  T value_{};
};

using ByteCount = Strong<std::uint64_t, struct ByteCountTag>;

constexpr ByteCount operator""_KiB(unsigned long long n) { return ByteCount(n << 10); }
constexpr ByteCount operator""_MiB(unsigned long long n) { return ByteCount(n << 20); }
constexpr ByteCount operator""_GiB(unsigned long long n) { return ByteCount(n << 30); }

}  // namespace pgmint

template <class T, class Tag>
struct std::hash<pgmint::Strong<T, Tag>> {
  std::size_t operator()(const pgmint::Strong<T, Tag>& s) const { return std::hash<T>{}(s.value()); }
};
