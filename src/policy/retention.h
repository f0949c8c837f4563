// Which backups stay and which may go. A pure function over facts, rules, a time and a zone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time_zone.h"

namespace pgmint::policy {

/// A span of calendar days or months: "30d", "12w", "6mo", "7y".
struct Period {
  unsigned months = 0, days = 0;
  bool operator==(const Period&) const = default;
};
constexpr Period days(unsigned n) { return {0, n}; }
constexpr Period years(unsigned n) { return {12 * n, 0}; }
/// A whole number and one of d, w, mo, y; at most 200 years. @errors Usage
Result<Period> parse_period(std::string_view text);
/// The shortest text that parse_period reads as this.
std::string format(Period period);
/// The day `period` after `day`. Where the month has no such day it is the first of the next one: later rather than earlier.
std::chrono::local_days later_by(std::chrono::local_days day, Period period);

/// Of each day, week (Monday to Sunday), month and year the newest backup stays until so much time has passed since the last
/// day of that span: for whatever moment within the period there was a backup, one of its day, week, month or year is there.
struct RetentionRules {
  std::optional<Period> daily = policy::days(30), weekly = policy::days(90), monthly = policy::days(365), yearly = policy::years(7);
  std::optional<Period> window;         ///< everything of the last so many days
  std::optional<unsigned> count;        ///< the newest so many
  unsigned minimum = 1;                 ///< the newest so many, however old
  bool operator==(const RetentionRules&) const = default;
};

/// What one backup can stand in for. Those of different kinds never take each other's place.
enum class BackupKind { Cluster, Logical, Configuration };

struct BackupFact {
  std::string name;
  TimePoint time{};          ///< when it was published: nothing is added to a day that is over
  std::uint64_t order = 0;   ///< in which backups were published, whatever the clocks said
  BackupKind kind = BackupKind::Cluster;
  std::uint64_t lineage = 0; ///< backups of another incarnation of the cluster are another database
  bool sound = true;         ///< false: damaged pages, or its manifest cannot be read
  /// Published with a clock that was far behind what the log had seen: its time may be wrong.
  bool clock_was_behind = false;
  std::optional<std::string> hold;       ///< why it is held
  std::optional<TimePoint> hold_until;   ///< nullopt: until it is released
  TimePoint retain_until{};  ///< epoch: none
};

struct Verdict {
  bool keep = true;
  /// No rule keeps it but `minimum`: only a person may let it go.
  bool by_minimum_only = false;
  std::vector<std::string> reasons;  ///< at least one; for one that goes: why nothing keeps it
  /// Until then it is kept whatever backups come and go: by spans that are over, `window`, and what people have said. Epoch: by none of them.
  TimePoint firmly_until{};
  /// Something keeps it whose end is not known: a span that is not over, `count`, `minimum`, a hold without an end.
  bool open_end = false;
};

/// One verdict a backup, in the same order.
///
/// A span's backup is its newest. That is stable: a day that is over gets no more backups, since `time` is that of publication;
/// and the newest of a month so far was its newest when it was made, so no shorter rule ever drops what a longer one wants.
/// Unsound backups, those with a doubtful time and those of another kind or lineage have spans of their own.
std::vector<Verdict> decide(const std::vector<BackupFact>& backups, const RetentionRules& rules, TimePoint now,
                            const TimeZone& zone);

/// The day of the zone on which `decide` would let each backup go, if nothing new came and nothing was released; nullopt: none within `horizon`, or it goes
/// now. In the same order. A backup of a span that is not over may go earlier, when a newer one takes its place.
std::vector<std::optional<std::chrono::local_days>> kept_until(const std::vector<BackupFact>& backups, const RetentionRules& rules, TimePoint now, const TimeZone& zone,
                                                               std::chrono::days horizon);

}  // namespace pgmint::policy
