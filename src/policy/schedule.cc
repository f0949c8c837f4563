#include "policy/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <vector>

#include "policy/schedule_text.h"

namespace pgmint::policy {
namespace {

using namespace std::chrono_literals;
using std::chrono::local_days;
using std::chrono::seconds;
using std::chrono::year_month_day;

/// A 29 February that is a Sunday comes every 28 years, and after 40 around a century that is no leap year.
constexpr auto kHorizon = std::chrono::days(50 * 366);
constexpr std::size_t kTextMax = 200;
constexpr auto kDelayMax = 12h;
/// Offsets from UTC lie between: a wall time is told by the offset long before it and the one long after it.
constexpr auto kWestMost = 13h, kEastMost = 15h;

struct Field {
  std::string_view name;
  unsigned least, most;
  std::optional<unsigned> (*named)(std::string_view);
};

constexpr std::array<Field, 5> kFields = {{{"minute", 0, 59, nullptr},
                                           {"hour", 0, 23, nullptr},
                                           {"day of the month", 1, 31, nullptr},
                                           {"month", 1, 12, month_number},
                                           {"day of the week", 0, 7, week_day}}};

struct Nickname {
  std::string_view name, line;
};
constexpr std::array<Nickname, 7> kNicknames = {{{"@hourly", "0 * * * *"},
                                                 {"@daily", "0 0 * * *"},
                                                 {"@midnight", "0 0 * * *"},
                                                 {"@weekly", "0 0 * * 0"},
                                                 {"@monthly", "0 0 1 * *"},
                                                 {"@yearly", "0 0 1 1 *"},
                                                 {"@annually", "0 0 1 1 *"}}};

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find_first_of(separators, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::optional<unsigned> plain_number(std::string_view text) {
  unsigned value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// One field of a line as a bit for each of its values.
class FieldReader {
 public:
  FieldReader(const Field& field, std::string_view text, std::string_view line) : field_(field), text_(text), line_(line) {}

  Result<std::uint64_t> read() const {
    std::uint64_t bits = 0;
    for (const auto part : split(text_, ",")) bits |= TRY(range(part));
    return bits;
  }

 private:
  Error wrong(const std::string& what) const {
    return Error(Errc::Usage, fmt::format("\"{}\": the {} \"{}\" is wrong: {}", line_, field_.name, text_, what));
  }

  Result<unsigned> value(std::string_view text) const {
    auto found = plain_number(text);
    if (!found && field_.named != nullptr && text.size() == 3) found = field_.named(text);
    if (!found || *found < field_.least || *found > field_.most)
      return wrong(fmt::format("\"{}\" is none; it goes from {} to {}{}", text, field_.least, field_.most,
                               field_.named == nullptr ? "" : ", or by three letters"));
    return *found;
  }

  Result<std::uint64_t> range(std::string_view part) const {
    const auto slash = std::min(part.find('/'), part.size());
    const auto span = part.substr(0, slash);
    unsigned step = 1;
    if (slash < part.size()) {
      const auto given = plain_number(part.substr(slash + 1));
      if (!given || *given == 0 || *given > field_.most) return wrong(fmt::format("a step goes from 1 to {}", field_.most));
      step = *given;
    }
    unsigned first = field_.least, last = field_.most;
    if (span != "*") {
      const auto dash = std::min(span.find('-'), span.size());
      first = last = TRY(value(span.substr(0, dash)));
      if (dash < span.size()) last = TRY(value(span.substr(dash + 1)));
      else if (slash < part.size()) return wrong("a step belongs behind * or a range, such as */15 or 8-18/2");
      // A week may end with Sunday by its name.
      if (last == 0 && first > 0 && field_.most == 7) last = 7;
      if (last < first) return wrong(fmt::format("{} goes backwards", span));
    }
    std::uint64_t bits = 0;
    for (unsigned i = first; i <= last; i += step) bits |= 1ULL << i;
    return bits;
  }

  const Field& field_;
  std::string_view text_, line_;
};

/// The moments at which clocks on the wall show `wall`; for a time in a gap its end. At most two, in order.
class Moments {
 public:
  Moments(std::chrono::local_seconds wall, const TimeZone& zone) : zone_(zone), as_utc_(wall.time_since_epoch()) {
    const auto before = zone.offset_at(as_utc_ - kEastMost), after = zone.offset_at(as_utc_ + kWestMost);
    for (const auto offset : {before, after}) {
      const TimePoint at = as_utc_ - offset;
      if (zone.offset_at(at) == offset && (count_ == 0 || at != at_[0])) at_[count_++] = at;
    }
    if (count_ == 2 && at_[1] < at_[0]) std::swap(at_[0], at_[1]);
    if (count_ == 0) at_[count_++] = end_of_gap(before);
  }
  std::span<const TimePoint> all() const { return std::span(at_).first(count_); }
  TimePoint first() const { return at_[0]; }

 private:
  TimePoint end_of_gap(seconds before) const {
    seconds low = (as_utc_ - kEastMost).time_since_epoch(), high = (as_utc_ + kWestMost).time_since_epoch();
    while (high - low > 1s) {
      const seconds middle = low + (high - low) / 2;
      (zone_.offset_at(TimePoint(middle)) == before ? low : high) = middle;
    }
    return TimePoint(high);
  }

  const TimeZone& zone_;
  std::chrono::sys_seconds as_utc_;
  std::array<TimePoint, 2> at_{};
  std::size_t count_ = 0;
};

}  // namespace

Result<Schedule> Schedule::parse(std::string_view given) {
  const auto begin = std::min(given.find_first_not_of(" \t"), given.size());
  const auto text = given.substr(begin, given.find_last_not_of(" \t") + 1 - begin);
  if (text.size() > kTextMax) return Error(Errc::Usage, fmt::format("a schedule has at most {} characters", kTextMax));
  if (text.find_first_of("\r\n") != std::string_view::npos) return Error(Errc::Usage, "a schedule is one line");
  if (text == "never") return never();
  std::string line(text);
  if (text.starts_with('@')) {
    const auto known = std::ranges::find(kNicknames, text, &Nickname::name);
    if (known == kNicknames.end())
      return Error(Errc::Usage, fmt::format("\"{}\" is no schedule: of that kind there are @hourly, @daily, @weekly, @monthly and @yearly", text));
    line = known->line;
  } else if (text.empty() || (text[0] != '*' && (text[0] < '0' || text[0] > '9')) || text.find(':') != std::string_view::npos) {
    line = TRY(cron_of_words(text));
  }
  auto schedule = TRY(parse_cron(line));
  schedule.text_ = text;
  return schedule;
}

Result<Schedule> Schedule::parse_cron(std::string_view line) {
  std::vector<std::string_view> texts;
  for (const auto word : split(line, " \t"))
    if (!word.empty()) texts.push_back(word);
  if (texts.size() != kFields.size())
    return Error(Errc::Usage, fmt::format("\"{}\" is no schedule: a cron line has five fields, minute, hour, day of the month, month and day of the week; this has {}",
                                          line, texts.size()));
  std::array<std::uint64_t, kFields.size()> bits{};
  for (std::size_t i = 0; i < kFields.size(); ++i) bits[i] = TRY(FieldReader(kFields[i], texts[i], line).read());
  Schedule schedule;
  schedule.minutes_ = bits[0];
  schedule.hours_ = static_cast<std::uint32_t>(bits[1]);
  schedule.month_days_ = static_cast<std::uint32_t>(bits[2]);
  schedule.months_ = static_cast<std::uint32_t>(bits[3]);
  schedule.week_days_ = static_cast<std::uint32_t>((bits[4] | bits[4] >> 7) & 0x7f);  // Sunday is 0 and 7
  schedule.either_day_ = texts[2][0] != '*' && texts[4][0] != '*';
  schedule.cron_ = fmt::format("{} {} {} {} {}", texts[0], texts[1], texts[2], texts[3], texts[4]);
  schedule.text_ = schedule.cron_;
  if (!schedule.next(TimePoint(), TimeZone::utc()))
    return Error(Errc::Usage, fmt::format("\"{}\" never comes: no month that it names has such a day", line));
  return schedule;
}

bool Schedule::has_day(local_days day) const {
  const year_month_day date(day);
  if ((months_ >> unsigned(date.month()) & 1) == 0) return false;
  const bool in_month = (month_days_ >> unsigned(date.day()) & 1) != 0;
  const bool in_week = (week_days_ >> std::chrono::weekday(day).c_encoding() & 1) != 0;
  return either_day_ ? in_month || in_week : in_month && in_week;
}

std::optional<TimePoint> Schedule::first_of_day(local_days day, TimePoint after, const TimeZone& zone) const {
  constexpr std::uint32_t kEveryHour = (1U << 24) - 1;
  std::optional<TimePoint> best;
  const auto consider = [&](TimePoint at) {
    if (at > after && (!best || at < *best)) best = at;
  };
  for (unsigned hour = 0; hour < 24; ++hour) {
    if ((hours_ >> hour & 1) == 0) continue;
    for (auto left = minutes_; left != 0; left &= left - 1) {
      const Moments moments(day + std::chrono::hours(hour) + std::chrono::minutes(std::countr_zero(left)), zone);
      if (hours_ != kEveryHour) consider(moments.first());
      else for (const auto at : moments.all()) consider(at);
    }
  }
  return best;
}

std::optional<TimePoint> Schedule::next(TimePoint after, const TimeZone& zone) const {
  if (is_never()) return std::nullopt;
  // A day more to either side: where clocks are set back at midnight, or a whole day is left out, days overlap.
  const auto first = zone.day_of(after) - std::chrono::days(2);
  std::optional<TimePoint> best;
  local_days found{};
  for (auto day = first; day < first + kHorizon && (!best || day <= found + std::chrono::days(1)); day += std::chrono::days(1)) {
    if (!has_day(day)) continue;
    const auto at = first_of_day(day, after, zone);
    if (!at || (best && *best <= *at)) continue;
    if (!best) found = day;
    best = at;
  }
  return best;
}

Result<seconds> parse_delay(std::string_view text) {
  constexpr unsigned kNoNumber = 999'999'999;  // above the most in every unit
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = digits <= 6 ? plain_number(text.substr(0, digits)).value_or(kNoNumber) : kNoNumber;
  auto unit = text.substr(digits);
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  std::optional<seconds> delay;
  if (unit == "s") delay = seconds(number);
  if (unit == "min") delay = std::chrono::minutes(number);
  if (unit == "h") delay = std::chrono::hours(number);
  if (unit.empty() && number == 0) delay = 0s;
  if (!delay || *delay > kDelayMax)
    return Error(Errc::Usage, fmt::format("\"{}\" is none: a number and s, min or h, such as \"5 min\", at most 12 h", text));
  return *delay;
}

std::string format_delay(seconds delay) {
  if (delay == 0s) return "0";
  if (delay % 1h == 0s) return fmt::format("{} h", delay / 1h);
  return delay % 1min == 0s ? fmt::format("{} min", delay / 1min) : fmt::format("{} s", delay.count());
}

seconds delay_of(std::string_view seed, seconds bound) {
  // FNV-1a, then the finish of SplitMix64: host names that differ in a digit lie far apart.
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : seed) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
  hash ^= hash >> 31;
  return seconds(hash % static_cast<std::uint64_t>(bound.count() + 1));
}

}  // namespace pgmint::policy
