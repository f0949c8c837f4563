#include "policy/schedule_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <set>
#include <vector>

namespace pgmint::policy {
namespace {

constexpr std::array kWeekDays = {"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"};
constexpr std::array kMonths = {"january", "february", "march",     "april",   "may",      "june",
                                "july",    "august",   "september", "october", "november", "december"};
constexpr std::size_t kAbbreviation = 3;
constexpr unsigned kDayOfEveryMonth = 28;
constexpr std::string_view kRight =
    R"(write a cron line such as "0 1 * * *", or words: "hourly", "every 6 h", "every 15 min", "daily at 01:00", "weekdays at 01:00", )"
    R"("weekly on Sunday at 03:00", "monthly on the 1st at 04:00", "never")";

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

template <std::size_t N>
std::optional<unsigned> find_name(const std::array<const char*, N>& names, std::string_view given) {
  const auto name = lower(given);
  for (unsigned i = 0; i < N; ++i)
    if (name == names[i] || (name.size() == kAbbreviation && std::string_view(names[i]).starts_with(name))) return i;
  return std::nullopt;
}

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Lower-case words; commas are words, and "6h" is two.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool joins = false;
  for (const char c : lower(text)) {
    if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      joins = false;
      continue;
    }
    const bool digit_then_letter = joins && words.back().find_first_not_of("0123456789") == std::string::npos && c >= 'a' && c <= 'z';
    if (c == ',' || !joins || digit_then_letter) words.emplace_back();
    words.back() += c;
    joins = c != ',';
  }
  return words;
}

struct TimeOfDay {
  unsigned hour = 0, minute = 0;
};

class Words {
 public:
  explicit Words(std::string_view text) : text_(text), words_(words_of(text)) {}

  Result<std::string> cron() {
    if (take("hourly")) return every_hours(1);
    if (take("daily") || time_follows()) return on_days("*");
    if (take("weekdays")) return on_days("1-5");
    if (take("weekly")) {
      if (!take("on") && !week_day(peek())) return on_days("0");
      return on_days(TRY(day_list()));
    }
    if (take("monthly")) return monthly();
    if (take("every")) return every();
    return wrong("");
  }

 private:
  Error wrong(const std::string& what) const {
    return Error(Errc::Usage, fmt::format("\"{}\" is no schedule{}{}: {}", text_, what.empty() ? "" : ": ", what, kRight));
  }
  bool at_end() const { return at_ == words_.size(); }
  std::string peek() const { return at_end() ? "" : words_[at_]; }
  /// "01:00", with "at" left out.
  bool time_follows() const { return peek().find(':') != std::string::npos; }
  bool take(std::string_view word) {
    if (peek() != word) return false;
    ++at_;
    return true;
  }

  Result<std::string> every() {
    if (take("day")) return on_days("*");
    if (take("weekday")) return on_days("1-5");
    if (take("hour")) return every_hours(1);
    if (take("minute")) return every_minutes(1);
    if (week_day(peek())) return on_days(TRY(day_list()));
    const auto count = number(peek());
    if (!count) return wrong(at_end() ? "every what?" : fmt::format("\"{}\" is neither a number nor a day", peek()));
    ++at_;
    if (take("h") || take("hour") || take("hours")) return every_hours(*count);
    if (take("min") || take("minute") || take("minutes")) return every_minutes(*count);
    if (*count == 1 && (take("d") || take("day"))) return on_days("*");
    return wrong(fmt::format("after \"every {}\" comes h or min", *count));
  }

  Result<std::string> every_hours(unsigned count) {
    if (count == 0 || count > 24 || 24 % count != 0)
      return wrong(fmt::format("every {} h does not come out even in a day; 1, 2, 3, 4, 6, 8, 12 and 24 do", count));
    unsigned minute = 0;
    if (take("at")) {
      const auto given = number(peek().starts_with(':') && peek().size() == 3 ? peek().substr(1) : std::string());
      if (!given || *given > 59) return wrong("after \"at\" comes the minute of the hour, such as :15");
      minute = *given;
      ++at_;
    }
    return ended(fmt::format("{} {} * * *", minute, count == 24 ? "0" : count == 1 ? "*" : fmt::format("*/{}", count)));
  }

  Result<std::string> every_minutes(unsigned count) {
    if (count == 0 || count > 60 || 60 % count != 0)
      return wrong(fmt::format("every {} min does not come out even in an hour; 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 and 60 do", count));
    if (count == 60) return every_hours(1);
    return ended(count == 1 ? "* * * * *" : fmt::format("*/{} * * * *", count));
  }

  Result<std::string> on_days(const std::string& week_days) {
    const auto time = TRY(time_of_day());
    return ended(fmt::format("{} {} * * {}", time.minute, time.hour, week_days));
  }

  Result<std::string> monthly() {
    unsigned day = 1;
    if (take("on")) {
      take("the");
      const auto given = number(peek());
      if (!given || *given == 0 || *given > 31) return wrong("after \"on the\" comes a day of the month, such as 1st");
      if (*given > kDayOfEveryMonth) return wrong(fmt::format("not every month has a day {}; 1 to {} are in all of them", *given, kDayOfEveryMonth));
      day = *given;
      ++at_;
      for (const auto* ending : {"st", "nd", "rd", "th"})
        if (take(ending)) break;
    }
    const auto time = TRY(time_of_day());
    return ended(fmt::format("{} {} {} * *", time.minute, time.hour, day));
  }

  Result<std::string> day_list() {
    std::set<unsigned> days;
    do {
      const auto day = week_day(peek());
      if (!day) return wrong(at_end() ? "a day of the week is missing" : fmt::format("\"{}\" is no day of the week", peek()));
      days.insert(*day);
      ++at_;
    } while (take("and") || (take(",") && (take("and"), true)));
    return fmt::format("{}", fmt::join(days, ","));
  }

  Result<TimeOfDay> time_of_day() {
    if (!take("at") && !time_follows()) return TimeOfDay{};
    if (take("midnight")) return TimeOfDay{};
    if (take("noon")) return TimeOfDay{12, 0};
    const auto word = peek();
    const auto colon = std::min(word.find(':'), word.size());
    const auto hour = number(std::string_view(word).substr(0, colon));
    const auto minute = colon + 3 == word.size() ? number(std::string_view(word).substr(colon + 1)) : std::nullopt;
    if (!hour || !minute || colon > 2 || *hour > 23 || *minute > 59) return wrong("a time of day is from 00:00 to 23:59");
    ++at_;
    return TimeOfDay{*hour, *minute};
  }

  Result<std::string> ended(std::string line) const {
    if (!at_end()) return wrong(fmt::format("\"{}\" is too much", words_[at_]));
    return line;
  }

  std::string_view text_;
  std::vector<std::string> words_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<unsigned> week_day(std::string_view name) { return find_name(kWeekDays, name); }

std::optional<unsigned> month_number(std::string_view name) {
  const auto found = find_name(kMonths, name);
  return found ? std::optional(*found + 1) : std::nullopt;
}

Result<std::string> cron_of_words(std::string_view text) { return Words(text).cron(); }

}  // namespace pgmint::policy
