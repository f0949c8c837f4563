#include "policy/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <tuple>

namespace pgmint::policy {
namespace {

using std::chrono::local_days;
using std::chrono::year_month_day;

constexpr unsigned kPeriodYearsMax = 200;

enum class Grain { Day, Week, Month, Year };


local_days week_start(local_days day) { return day - (std::chrono::weekday(day) - std::chrono::Monday); }

/// Its last day identifies the span.
local_days last_day(Grain grain, local_days day) {
  using namespace std::chrono;
  const year_month_day date(day);
  switch (grain) {
    case Grain::Day: return day;
    case Grain::Week: return week_start(day) + std::chrono::days(6);
    case Grain::Month: return local_days(year_month_day_last(date.year(), month_day_last(date.month())));
    case Grain::Year: return local_days(date.year() / December / 31);
  }
  return day;
}

std::string text_of(local_days day) {
  const year_month_day date(day);
  return fmt::format("{:04}-{:02}-{:02}", int(date.year()), unsigned(date.month()), unsigned(date.day()));
}

std::string span_name(Grain grain, local_days last) {
  const year_month_day date(last);
  switch (grain) {
    case Grain::Day: return text_of(last);
    case Grain::Week: return fmt::format("the week {} to {}", text_of(last - std::chrono::days(6)), text_of(last));
    case Grain::Month: return fmt::format("{:04}-{:02}", int(date.year()), unsigned(date.month()));
    case Grain::Year: return fmt::format("{:04}", int(date.year()));
  }
  return {};
}

struct SpanRule {
  Grain grain;
  std::string_view name;
  Period period;
};

std::vector<SpanRule> span_rules(const RetentionRules& rules) {
  std::vector<SpanRule> found;
  const auto add = [&](Grain grain, std::string_view name, const std::optional<Period>& period) {
    if (period) found.push_back({grain, name, *period});
  };
  add(Grain::Day, "daily", rules.daily);
  add(Grain::Week, "weekly", rules.weekly);
  add(Grain::Month, "monthly", rules.monthly);
  add(Grain::Year, "yearly", rules.yearly);
  return found;
}

using Company = std::tuple<BackupKind, std::uint64_t, bool, bool>;  ///< who may take whose place

/// The first moment of that day on these clocks, or up to an hour later where they are set.
TimePoint begin_of(local_days day, const TimeZone& zone) {
  const TimePoint utc{day.time_since_epoch()};
  auto at = utc - zone.offset_at(utc);
  while (zone.day_of(at) < day) at += std::chrono::minutes(15);
  return at;
}

class Decision {
 public:
  Decision(const std::vector<BackupFact>& backups, const RetentionRules& rules, TimePoint now, const TimeZone& zone)
      : backups_(backups), rules_(rules), zone_(zone), spans_(span_rules(rules)), now_(now), today_(zone.day_of(now)),
        verdicts_(backups.size()) {
    days_.reserve(backups.size());
    for (const auto& backup : backups) days_.push_back(zone.day_of(backup.time));
  }

  std::vector<Verdict> run() && {
    for (const auto& rule : spans_) newest_of_spans(rule);
    if (rules_.window) all_of_window();
    if (rules_.count) newest(*rules_.count, "count", false);
    for (std::size_t i = 0; i < backups_.size(); ++i) person(i);
    newest(rules_.minimum, "minimum", true);
    for (std::size_t i = 0; i < backups_.size(); ++i)
      if (verdicts_[i].reasons.empty()) let_go(i);
    return std::move(verdicts_);
  }

 private:
  void keep(std::size_t i, std::string reason) { verdicts_[i].reasons.push_back(std::move(reason)); }
  void firmly(std::size_t i, TimePoint until) { verdicts_[i].firmly_until = std::max(verdicts_[i].firmly_until, until); }
  /// As reaches() is true to the end of that day.
  void firmly_through(std::size_t i, local_days last) { firmly(i, begin_of(last + std::chrono::days(1), zone_)); }
  bool reaches(local_days day, Period period) const { return later_by(day, period) >= today_; }
  Company company(std::size_t i) const {
    const auto& b = backups_[i];
    return {b.kind, b.lineage, b.sound, b.clock_was_behind};
  }
  bool newer(std::size_t a, std::size_t b) const {
    return std::tie(backups_[a].time, backups_[a].order, backups_[a].name) >
           std::tie(backups_[b].time, backups_[b].order, backups_[b].name);
  }

  void newest_of_spans(const SpanRule& rule) {
    auto& first = newest_[rule.grain];
    for (std::size_t i = 0; i < backups_.size(); ++i) {
      const auto [at, added] = first.try_emplace({company(i), last_day(rule.grain, days_[i])}, i);
      if (!added && newer(i, at->second)) at->second = i;
    }
    for (const auto& [span, i] : first)
      if (reaches(span.second, rule.period)) {
        keep(i, fmt::format("newest of {}, {} {}", span_name(rule.grain, span.second), rule.name, format(rule.period)));
        // Of a span that is not over another backup may become the newest.
        if (span.second < today_) firmly_through(i, later_by(span.second, rule.period));
        else verdicts_[i].open_end = true;
      }
  }

  void all_of_window() {
    for (std::size_t i = 0; i < backups_.size(); ++i)
      if (reaches(days_[i], *rules_.window)) {
        keep(i, fmt::format("of {}, window {}", text_of(days_[i]), format(*rules_.window)));
        firmly_through(i, later_by(days_[i], *rules_.window));
      }
  }

  /// By the order of publication, so that no wrong clock makes an old backup new. Damaged ones do not count among the others.
  void newest(unsigned count, std::string_view rule, bool last_resort) {
    std::map<std::pair<BackupKind, bool>, std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < backups_.size(); ++i) groups[{backups_[i].kind, backups_[i].sound}].push_back(i);
    for (auto& [group, members] : groups) {
      std::ranges::sort(members, [&](std::size_t a, std::size_t b) {
        return std::tie(backups_[a].order, backups_[a].time, backups_[a].name) >
               std::tie(backups_[b].order, backups_[b].time, backups_[b].name);
      });
      if (members.size() > count) members.resize(count);
      for (const auto i : members) {
        if (last_resort) verdicts_[i].by_minimum_only = verdicts_[i].reasons.empty();
        verdicts_[i].open_end = true;
        keep(i, count == 1 ? fmt::format("the newest, {} 1", rule) : fmt::format("one of the newest {}, {} {}", count, rule, count));
      }
    }
  }

  /// What people have said about it.
  void person(std::size_t i) {
    if (const auto& backup = backups_[i]; backup.hold && (!backup.hold_until || *backup.hold_until > now_)) {
      if (backup.hold_until) firmly(i, *backup.hold_until);
      else verdicts_[i].open_end = true;
      keep(i, backup.hold_until ? fmt::format("held until {}: {}", format_rfc3339(*backup.hold_until), *backup.hold) : fmt::format("held: {}", *backup.hold));
    }
    if (backups_[i].retain_until > now_) {
      firmly(i, backups_[i].retain_until);
      keep(i, fmt::format("to be kept until {}", format_rfc3339(backups_[i].retain_until)));
    }
  }

  void let_go(std::size_t i) {
    auto& verdict = verdicts_[i];
    verdict.keep = false;
    for (const auto& rule : spans_) {
      const auto span = last_day(rule.grain, days_[i]);
      if (!reaches(span, rule.period)) continue;
      verdict.reasons.push_back(fmt::format("{}: {} is the newer one of {}", rule.name,
                                            backups_[newest_[rule.grain].at({company(i), span})].name, span_name(rule.grain, span)));
    }
    if (verdict.reasons.empty())
      verdict.reasons.emplace_back(spans_.empty() && !rules_.window ? "not one of those that the rules keep" : "older than every rule");
  }

  const std::vector<BackupFact>& backups_;
  const RetentionRules& rules_;
  const TimeZone& zone_;
  std::vector<SpanRule> spans_;
  TimePoint now_;
  local_days today_;
  std::vector<local_days> days_;
  std::vector<Verdict> verdicts_;
  std::map<Grain, std::map<std::pair<Company, local_days>, std::size_t>> newest_;
};

}  // namespace

Result<Period> parse_period(std::string_view text) {
  const auto wrong = [&] {
    return Error(Errc::Usage, fmt::format("\"{}\" is no period: a number and d, w, mo or y, such as 30d, 12w, 6mo, 7y", text));
  };
  unsigned number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end == text.data()) return wrong();
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const auto at_most = [&](unsigned most) -> Status {
    if (number <= most) return ok();
    return Error(Errc::Usage, fmt::format("{} is longer than {} years", text, kPeriodYearsMax));
  };
  if (unit == "d" || unit == "w") {
    const unsigned each = unit == "w" ? 7 : 1;
    TRY(at_most(kPeriodYearsMax * 365 / each));
    return Period{0, number * each};
  }
  if (unit == "mo" || unit == "y") {
    const unsigned each = unit == "y" ? 12 : 1;
    TRY(at_most(kPeriodYearsMax * 12 / each));
    return Period{number * each, 0};
  }
  return wrong();
}

std::string format(Period period) {
  if (period.months == 0) return fmt::format("{}d", period.days);
  return period.months % 12 == 0 ? fmt::format("{}y", period.months / 12) : fmt::format("{}mo", period.months);
}

local_days later_by(local_days day, Period period) {
  const year_month_day date = year_month_day(day) + std::chrono::months(period.months);
  const local_days moved = date.ok() ? local_days(date)
                                     : local_days(std::chrono::year_month_day_last(date.year(), std::chrono::month_day_last(date.month()))) +
                                           std::chrono::days(1);
  return moved + std::chrono::days(period.days);
}

std::vector<Verdict> decide(const std::vector<BackupFact>& backups, const RetentionRules& rules, TimePoint now,
                            const TimeZone& zone) {
  return Decision(backups, rules, now, zone).run();
}

std::vector<std::optional<std::chrono::local_days>> kept_until(const std::vector<BackupFact>& backups, const RetentionRules& rules, TimePoint now, const TimeZone& zone,
                                                               std::chrono::days horizon) {
  using std::chrono::days;
  const auto kept_on = [&](int day) {
    const auto verdicts = decide(backups, rules, now + days(day), zone);
    std::vector<bool> kept;
    for (const auto& verdict : verdicts) kept.push_back(verdict.keep);
    return kept;
  };
  std::vector<std::optional<std::chrono::local_days>> until(backups.size());
  // What stays on one day and goes on a later one goes once in between: halves in which nothing goes are not looked into.
  const std::function<void(int, const std::vector<bool>&, int, const std::vector<bool>&)> look = [&](int from, const std::vector<bool>& before, int to, const std::vector<bool>& after) {
    if (before == after) return;
    if (to - from == 1) {
      for (std::size_t i = 0; i < backups.size(); ++i)
        if (before[i] && !after[i]) until[i] = zone.day_of(now + days(to));
      return;
    }
    const int middle = from + (to - from) / 2;
    const auto between = kept_on(middle);
    look(from, before, middle, between);
    look(middle, between, to, after);
  };
  const int last = static_cast<int>(horizon.count());
  look(0, kept_on(0), last, kept_on(last));
  return until;
}

}  // namespace pgmint::policy
