// Positions in the write-ahead log, timelines and the identity of a cluster.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/strong.h"

namespace pgmint::postgres {

/// A byte position in the WAL. Zero is invalid: no record starts there.
using Lsn = Strong<std::uint64_t, struct LsnTag>;
using TimelineId = Strong<std::uint32_t, struct TimelineTag>;
/// Drawn by initdb, the same on all standbys and restores of one cluster.
using SystemIdentifier = Strong<std::uint64_t, struct SystemIdentifierTag>;
using TransactionId = Strong<std::uint32_t, struct TransactionIdTag>;

inline constexpr Lsn kInvalidLsn{};
constexpr bool is_valid(Lsn lsn) {
  return lsn != kInvalidLsn;
}
constexpr Lsn operator+(Lsn lsn, std::uint64_t bytes) {
  return Lsn(lsn.value() + bytes);
}
constexpr std::uint64_t operator-(Lsn to, Lsn from) {
  return to.value() - from.value();
}

/// "16/B374D848", PostgreSQL's notation.
std::string format(Lsn lsn);
/// One to eight hexadecimal digits, a slash, one to eight more; anything else is nullopt.
std::optional<Lsn> parse_lsn(std::string_view text);
/// Decimal and above zero; anything else is nullopt.
std::optional<TimelineId> parse_timeline(std::string_view text);
/// Decimal and above zero, as pg_controldata prints it; anything else is nullopt.
std::optional<SystemIdentifier> parse_system_identifier(std::string_view text);

}  // namespace pgmint::postgres
