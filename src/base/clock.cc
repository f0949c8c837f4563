#include "base/clock.h"

#include <date/date.h>
#include <fmt/format.h>

#include <ctime>
#include <sstream>
#include <thread>

namespace pgmint {
namespace {

class SystemClock final : public Clock {
 public:
  TimePoint now() const override {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
  }
  void sleep(std::chrono::microseconds duration) override { std::this_thread::sleep_for(duration); }
};

struct Parts {
  date::year_month_day day;
  int hour, minute, second;
  long micros;
};

Parts split(TimePoint time) {
  auto days = date::floor<date::days>(time);
  auto rest = (time - days).count();
  return {date::year_month_day(days), static_cast<int>(rest / 3'600'000'000), static_cast<int>(rest / 60'000'000 % 60),
          static_cast<int>(rest / 1'000'000 % 60), static_cast<long>(rest % 1'000'000)};
}

std::string fraction(long micros) { return micros == 0 ? "" : fmt::format(".{:06}", micros); }

/// Reads exactly `count` digits at the front of `text`.
bool take_digits(std::string_view& text, std::size_t count, int& value) {
  if (text.size() < count) return false;
  value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool take_char(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

std::string format_rfc3339(TimePoint time) {
  auto p = split(time);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z", int(p.day.year()), unsigned(p.day.month()),
                     unsigned(p.day.day()), p.hour, p.minute, p.second, fraction(p.micros));
}

std::string format_compact(TimePoint time) {
  auto p = split(time);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", int(p.day.year()), unsigned(p.day.month()),
                     unsigned(p.day.day()), p.hour, p.minute, p.second);
}

std::string format_postgres(TimePoint time) {
  auto p = split(time);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}{}+00", int(p.day.year()), unsigned(p.day.month()),
                     unsigned(p.day.day()), p.hour, p.minute, p.second, fraction(p.micros));
}

std::string format_local(TimePoint time) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t seconds = whole.time_since_epoch().count();
  std::tm local{};
  ::localtime_r(&seconds, &local);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time - whole).count();
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}", local.tm_year + 1900, local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min,
                     local.tm_sec, millis);
}

Result<TimePoint> parse_time(std::string_view text) {
  const std::string original(text);
  auto bad = [&](std::string_view why) {
    return Error(Errc::Usage, fmt::format("'{}' is not a time: {}", original, why),
                 Hint{"write for example '2026-11-22 08:40:01.123456+00' or 2026-11-22T08:40:01Z"});
  };
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!take_digits(text, 4, year) || !take_char(text, '-') || !take_digits(text, 2, month) || !take_char(text, '-') ||
      !take_digits(text, 2, day))
    return bad("it must start with YYYY-MM-DD");
  date::year_month_day ymd{date::year(year), date::month(static_cast<unsigned>(month)),
                           date::day(static_cast<unsigned>(day))};
  if (!ymd.ok()) return bad("there is no such day");
  long micros = 0;
  if (!text.empty()) {
    if (!take_char(text, 'T') && !take_char(text, 't') && !take_char(text, ' ')) return bad("expected 'T' or a blank after the date");
    if (!take_digits(text, 2, hour) || !take_char(text, ':') || !take_digits(text, 2, minute))
      return bad("the time of day must be HH:MM[:SS[.fraction]]");
    if (take_char(text, ':')) {
      if (!take_digits(text, 2, second)) return bad("the seconds must be two digits");
      if (take_char(text, '.') || take_char(text, ',')) {
        long scale = 100'000;
        bool any = false;
        while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
          micros += (text[0] - '0') * scale;
          scale /= 10;
          any = true;
          text.remove_prefix(1);
        }
        if (!any) return bad("digits must follow the decimal point");
      }
    }
  }
  if (hour > 23 || minute > 59 || second > 59) return bad("there is no such time of day");
  auto naive = date::sys_days(ymd) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
               std::chrono::seconds(second) + std::chrono::microseconds(micros);
  while (take_char(text, ' ')) {
  }
  if (text.empty()) {  // local time
    std::tm tm{};
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;
    tm.tm_hour = hour;
    tm.tm_min = minute;
    tm.tm_sec = second;
    tm.tm_isdst = -1;
    std::time_t t = std::mktime(&tm);
    if (tm.tm_hour != hour || tm.tm_min != minute) return bad("it does not exist in the local time zone (clock change)");
    return TimePoint(std::chrono::seconds(t)) + std::chrono::microseconds(micros);
  }
  if (text == "Z" || text == "z" || text == "UTC" || text == "GMT") return TimePoint(naive);
  int sign = text[0] == '+' ? 1 : text[0] == '-' ? -1 : 0;
  if (sign == 0) return bad("the zone must be Z, UTC or an offset such as +01:00");
  text.remove_prefix(1);
  int zone_hour = 0, zone_minute = 0, zone_second = 0;
  if (!take_digits(text, 2, zone_hour)) return bad("the zone offset must be +HH, +HHMM or +HH:MM");
  if (!text.empty()) {
    take_char(text, ':');
    if (!take_digits(text, 2, zone_minute)) return bad("the zone offset must be +HH, +HHMM or +HH:MM");
    if (take_char(text, ':') && !take_digits(text, 2, zone_second)) return bad("the zone offset's seconds must be two digits");
  }
  if (!text.empty() || zone_hour > 15 || zone_minute > 59 || zone_second > 59) return bad("trailing characters after the zone");
  auto offset = std::chrono::hours(zone_hour) + std::chrono::minutes(zone_minute) + std::chrono::seconds(zone_second);
  return TimePoint(naive - sign * offset);
}

}  // namespace pgmint
