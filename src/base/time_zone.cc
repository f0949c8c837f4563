// TZif is read here and not by a library: date-tz would cost every wal push 0.2 ms at its start, a tenth of its run.
#include "base/time_zone.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <vector>

#include "base/file.h"

namespace pgmint {
namespace {

using std::chrono::local_days;
using Seconds = std::int64_t;  ///< since 1970-01-01, or between two clocks

constexpr Seconds kDay = 86'400;
/// From year 1 to 9999: beyond, nobody knows a calendar, and the library's years end.
constexpr Seconds kFirstSecond = -62'135'596'800, kLastSecond = 253'402'300'799;
constexpr std::size_t kFileMax = 1 << 20;
constexpr std::size_t kHeaderSize = 44;
constexpr std::string_view kDatabase = "/usr/share/zoneinfo";

/// The end of summer or winter time in a POSIX TZ string: "M10.5.0/3".
struct YearlyChange {
  enum class Form { Month, JulianWithoutLeapDay, DayOfYear } form = Form::Month;
  int month = 0, week = 0, day = 0;
  Seconds time = 2 * 3600;  ///< on the wall clock before the change

  /// Seconds on that wall clock.
  Seconds in(std::chrono::year year) const {
    using namespace std::chrono;
    local_days date;
    switch (form) {
      case Form::Month: {
        const auto first = local_days(year / month / 1);
        const unsigned ahead = (static_cast<unsigned>(day) + 7 - weekday(first).c_encoding()) % 7;
        date = first + days(ahead + 7 * static_cast<unsigned>(week - 1));
        // Week 5 is the last one.
        if (date > local_days(year_month_day_last(year, month_day_last(std::chrono::month(static_cast<unsigned>(month)))))) date -= days(7);
        break;
      }
      case Form::JulianWithoutLeapDay:
        date = local_days(year / January / 1) + days(day - 1 + (year.is_leap() && day > 59 ? 1 : 0));
        break;
      case Form::DayOfYear: date = local_days(year / January / 1) + days(day); break;
    }
    return date.time_since_epoch().count() * kDay + time;
  }
};

/// What holds after the last listed change: "CET-1CEST,M3.5.0,M10.5.0/3".
struct Footer {
  Seconds winter = 0, summer = 0;  ///< east of UTC
  std::optional<std::pair<YearlyChange, YearlyChange>> changes;  ///< to summer, to winter

  Seconds offset_at(Seconds time) const {
    if (!changes) return winter;
    const auto day = std::chrono::floor<std::chrono::days>(std::chrono::sys_seconds(std::chrono::seconds(time + winter)));
    const auto year = std::chrono::year_month_day(day).year();
    const Seconds to_summer = changes->first.in(year) - winter, to_winter = changes->second.in(year) - summer;
    const bool in_summer = to_summer < to_winter ? to_summer <= time && time < to_winter : time < to_winter || to_summer <= time;
    return in_summer ? summer : winter;
  }
};

class FooterText {
 public:
  explicit FooterText(std::string_view text) : text_(text) {}

  std::optional<Footer> read() {
    Footer footer;
    if (!name()) return std::nullopt;
    const auto west = clock();
    if (!west) return std::nullopt;
    footer.winter = footer.summer = -*west;
    if (text_.empty()) return footer;
    if (!name()) return std::nullopt;
    footer.summer = footer.winter + 3600;
    if (!text_.empty() && text_[0] != ',') {
      const auto west_in_summer = clock();
      if (!west_in_summer) return std::nullopt;
      footer.summer = -*west_in_summer;
    }
    const auto to_summer = change();
    const auto to_winter = to_summer ? change() : std::nullopt;
    if (!to_winter || !text_.empty()) return std::nullopt;
    footer.changes = std::pair(*to_summer, *to_winter);
    return footer;
  }

 private:
  bool take(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool name() {
    if (take('<')) {
      const auto end = text_.find('>');
      if (end == std::string_view::npos) return false;
      text_.remove_prefix(end + 1);
      return true;
    }
    std::size_t length = 0;
    while (length < text_.size() && ((text_[length] | 0x20) >= 'a' && (text_[length] | 0x20) <= 'z')) ++length;
    text_.remove_prefix(length);
    return length >= 3;
  }
  std::optional<int> number(int most) {
    int value = 0;
    std::size_t digits = 0;
    while (digits < text_.size() && digits < 4 && text_[digits] >= '0' && text_[digits] <= '9') value = value * 10 + (text_[digits++] - '0');
    text_.remove_prefix(digits);
    if (digits == 0 || value > most) return std::nullopt;
    return value;
  }
  /// [+-]hh[:mm[:ss]]
  std::optional<Seconds> clock() {
    const bool negative = take('-');
    if (!negative) take('+');
    const auto hours = number(167);
    if (!hours) return std::nullopt;
    Seconds seconds = Seconds{*hours} * 3600;
    for (const Seconds unit : {60, 1}) {
      if (!take(':')) break;
      const auto part = number(59);
      if (!part) return std::nullopt;
      seconds += *part * unit;
    }
    return negative ? -seconds : seconds;
  }
  std::optional<YearlyChange> change() {
    if (!take(',')) return std::nullopt;
    YearlyChange change;
    std::optional<int> month = 1, week = 1, day;
    if (take('M')) {
      month = number(12);
      if (!month || !take('.')) return std::nullopt;
      week = number(5);
      if (!week || !take('.')) return std::nullopt;
      day = number(6);
    } else {
      change.form = take('J') ? YearlyChange::Form::JulianWithoutLeapDay : YearlyChange::Form::DayOfYear;
      day = number(365);
    }
    if (!day || *month < 1 || *week < 1) return std::nullopt;
    change.month = *month;
    change.week = *week;
    change.day = *day;
    if (take('/')) {
      const auto time = clock();
      if (!time) return std::nullopt;
      change.time = *time;
    }
    return change;
  }

  std::string_view text_;
};

/// Big-endian numbers at known places; callers look at sizes first.
std::uint64_t big_endian(ByteView bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
  return value;
}

struct Counts {
  std::uint64_t ut = 0, standard = 0, leap = 0, times = 0, types = 0, chars = 0;
  std::uint64_t size(std::uint64_t time_size) const {
    return times * (time_size + 1) + types * 6 + chars + leap * (time_size + 4) + standard + ut;
  }
};

/// nullopt: no header stands there.
std::optional<Counts> read_header(ByteView tzif, std::uint64_t at) {
  if (at + kHeaderSize > tzif.size() || as_text(tzif.subspan(at, 4)) != "TZif") return std::nullopt;
  const auto count = [&](std::size_t n) { return big_endian(tzif, at + 20 + 4 * n, 4); };
  return Counts{count(0), count(1), count(2), count(3), count(4), count(5)};
}

Seconds clamped(TimePoint time) {
  return std::clamp<Seconds>(std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count(), kFirstSecond, kLastSecond);
}

bool is_name(std::string_view name) {
  return !name.empty() && name[0] != '/' && name.find("..") == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace

struct TimeZone::Rules {
  struct Change {
    Seconds at = 0, offset = 0;
  };
  Seconds first_offset = 0;
  std::vector<Change> changes;  ///< by time
  std::optional<Footer> footer;

  Seconds offset_at(Seconds time) const {
    const auto next = std::ranges::upper_bound(changes, time, {}, &Change::at);
    if (next == changes.end() && footer) return footer->offset_at(time);
    return next == changes.begin() ? first_offset : std::prev(next)->offset;
  }
};

TimeZone TimeZone::of_system() {
  ::tzset();
  return {"local time", Kind::System};
}

Result<TimeZone> TimeZone::named(const std::string& name) {
  const auto unknown = [&](const std::string& why) {
    return Error(Errc::Configuration, fmt::format("there is no time zone \"{}\" on this system: {}", name, why),
                 Hint{fmt::format("names are those below {}, such as Europe/Berlin", kDatabase)});
  };
  if (!is_name(name)) return unknown("no name of a zone");
  const auto file = read_file(fs::path(kDatabase) / name, kFileMax);
  if (!file) return unknown(file.failure().describe());
  auto zone = parse(name, *file);
  if (!zone) return unknown(zone.failure().message());
  return zone;
}

Result<TimeZone> TimeZone::parse(std::string name, ByteView tzif) {
  const auto wrong = [](std::string_view what) { return Error(Errc::Configuration, fmt::format("not a TZif file: {}", what)); };
  const auto old = read_header(tzif, 0);
  if (!old) return wrong("no header");
  if (tzif[4] < std::byte{'2'}) return wrong("a version before 2");
  const auto second = kHeaderSize + old->size(4);
  const auto counts = read_header(tzif, second);
  if (!counts || counts->types == 0 || counts->types > 256) return wrong("no second header");
  const auto begin = second + kHeaderSize;
  const auto end = begin + counts->size(8);
  if (end > tzif.size()) return wrong("it is truncated");

  const auto indexes = begin + counts->times * 8, types = indexes + counts->times;
  const auto offset = [&](std::uint64_t type) { return Seconds{static_cast<std::int32_t>(big_endian(tzif, types + type * 6, 4))}; };
  auto rules = std::make_shared<Rules>();
  rules->first_offset = offset(0);
  for (std::uint64_t i = 0; i < counts->times; ++i) {
    const auto type = std::to_integer<std::uint64_t>(tzif[indexes + i]);
    if (type >= counts->types) return wrong("a change to no type");
    rules->changes.push_back({static_cast<Seconds>(big_endian(tzif, begin + i * 8, 8)), offset(type)});
    if (i > 0 && rules->changes[i - 1].at >= rules->changes[i].at) return wrong("changes out of order");
  }
  for (const auto& change : rules->changes)
    if (std::abs(change.offset) > 2 * kDay) return wrong("an offset of days");
  auto text = as_text(tzif.subspan(end));
  if (!text.starts_with('\n') || !text.ends_with('\n') || text.size() < 2) return wrong("no footer");
  text = text.substr(1, text.size() - 2);
  if (!text.empty()) {
    rules->footer = FooterText(text).read();
    if (!rules->footer) return wrong(fmt::format("its footer \"{}\"", text));
  }
  return TimeZone(std::move(name), Kind::Named, std::move(rules));
}

std::chrono::seconds TimeZone::offset_at(TimePoint time) const {
  const Seconds seconds = clamped(time);
  Seconds offset = 0;
  if (kind_ == Kind::System) {
    const std::time_t at = seconds;
    std::tm local{};
    if (::localtime_r(&at, &local) != nullptr) offset = local.tm_gmtoff;
  } else if (kind_ == Kind::Named) {
    offset = rules_->offset_at(seconds);
  }
  return std::chrono::seconds(offset);
}

local_days TimeZone::day_of(TimePoint time) const {
  return local_days(std::chrono::floor<std::chrono::days>(std::chrono::seconds(clamped(time)) + offset_at(time)));
}

}  // namespace pgmint
