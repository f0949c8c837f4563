#include "service/alert_book.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "service/json_fields.h"
#include "service/utf8.h"

namespace pgmint::service {
namespace {

using std::chrono::seconds;
using namespace std::chrono_literals;

constexpr auto kDay = std::chrono::hours(24);
constexpr auto kFirstReminder = std::chrono::hours(4);
constexpr auto kCalmLasts = std::chrono::hours(6);
constexpr unsigned kWarningsRarer = 7;
constexpr std::size_t kCameMax = 100;
constexpr std::size_t kMessageMax = 1000;
constexpr auto kFirstWait = std::chrono::minutes(10);  ///< after the second failure in a row; none after the first
constexpr auto kLongestWait = std::chrono::hours(1);
constexpr auto kLooksApart = std::chrono::seconds(30);  ///< a timer is not punctual
constexpr std::string_view kRest = "+";  // the subject of what a family has beyond kFamilyMax

bool covers(const Unknown& unknown, const Finding& finding) {
  return (!unknown.cluster || *unknown.cluster == finding.cluster) && (unknown.code.empty() || unknown.code == finding.code);
}

std::size_t within(const std::vector<TimePoint>& times, TimePoint now, seconds span) {
  return static_cast<std::size_t>(std::ranges::count_if(times, [&](TimePoint time) { return now - time < span; }));
}

void forget_old(std::vector<TimePoint>& times, TimePoint now) {
  std::erase_if(times, [&](TimePoint time) { return now - time >= kDay; });
}

/// Ordered, and unique by subject.
std::vector<Finding> unique(std::vector<Finding> findings) {
  std::ranges::stable_sort(findings, {}, [](const Finding& f) { return std::tie(f.cluster, f.code, f.subject); });
  const auto again = std::ranges::unique(findings, {}, [](const Finding& f) { return std::tie(f.cluster, f.code, f.subject); });
  findings.erase(again.begin(), again.end());
  return findings;
}

/// Of each family kFamilyMax at most. Those that were told of keep their names: what the rest is made of changes with every look.
template <class IsKnown>
std::vector<Finding> bounded(std::vector<Finding> findings, const IsKnown& is_known) {
  std::ranges::stable_sort(findings, {}, [&](const Finding& f) { return std::tuple(std::string_view(f.cluster), std::string_view(f.code), !is_known(f)); });
  std::vector<Finding> out;
  for (std::size_t at = 0; at < findings.size();) {
    std::size_t end = at;
    while (end < findings.size() && findings[end].cluster == findings[at].cluster && findings[end].code == findings[at].code) ++end;
    const auto few = std::min(end, at + (end - at > AlertBook::kFamilyMax ? AlertBook::kFamilyMax - 1 : AlertBook::kFamilyMax));
    for (auto i = at; i < few; ++i) out.push_back(findings[i]);
    if (few < end) {
      Finding rest = findings[few];
      for (auto i = few; i < end; ++i) rest.severity = std::max(rest.severity, findings[i].severity);
      rest.subject = kRest;
      rest.message = fmt::format("{} more of this kind, such as: {}", end - few, rest.message);
      out.push_back(std::move(rest));
    }
    at = end;
  }
  return out;
}

/// Times, which change without being news, are left out.
std::vector<std::string> names_of(const std::vector<Item>& items) {
  std::vector<std::string> names;
  for (const auto& item : items)
    names.push_back(Json::array({event_name(item.event), severity_name(item.finding.severity), item.finding.cluster, item.finding.code, item.finding.subject})
                        .dump(-1, ' ', false, Json::error_handler_t::replace));
  std::ranges::sort(names);
  return names;
}

Json times_json(const std::vector<TimePoint>& times) {
  Json list = Json::array();
  for (const auto time : times) list.push_back(time.time_since_epoch().count());
  return list;
}

}  // namespace

std::string_view severity_name(Severity severity) { return severity == Severity::Problem ? "problem" : "warning"; }

std::string_view event_name(Event event) {
  switch (event) {
    case Event::New: return "new";
    case Event::Worse: return "worse";
    case Event::Better: return "better";
    case Event::Reminder: return "reminder";
    case Event::Recovered: return "recovered";
  }
  return "new";
}

bool Item::operator==(const Item& other) const {
  const auto what = [](const Item& i) { return std::tie(i.event, i.finding.cluster, i.finding.code, i.finding.subject, i.finding.severity, i.since, i.times); };
  return what(*this) == what(other);
}

AlertBook::Key AlertBook::key_of(const Finding& finding) { return {{finding.cluster, finding.code}, finding.subject}; }

/// A clock that was set back must not silence reminders for years.
void AlertBook::forget_the_future(TimePoint now) {
  const auto limit = [&](TimePoint& time) { time = std::min(time, now); };
  for (auto& [key, entry] : entries_) {
    limit(entry.since);
    limit(entry.changed);
    std::ranges::for_each(entry.came, limit);
    for (auto& [channel, told] : entry.told) limit(told.last);
  }
  // What was sent in the future would hold back messages until then.
  for (auto& [key, times] : calms_) std::ranges::for_each(times, limit);
  for (auto& [channel, times] : sent_) std::ranges::for_each(times, limit);
  for (auto& [name, channel] : channels_) {
    if (channel.delivered) limit(*channel.delivered);
    if (channel.failing_since) limit(*channel.failing_since);
    limit(channel.last_try);
  }
}

void AlertBook::see(const Look& look, TimePoint now) {
  forget_the_future(now);
  saved_ = now;
  std::map<Key, Finding> present;
  auto findings = unique(look.findings);
  std::set<Key> all;
  for (const auto& finding : findings) all.insert(key_of(finding));
  const auto is_known = [&](const Finding& finding) {
    const auto at = entries_.find(key_of(finding));
    return at != entries_.end() && at->second.present;
  };
  for (auto& finding : bounded(std::move(findings), is_known)) {
    finding.message = shortened(finding.message, kMessageMax);
    finding.hint = shortened(finding.hint, kMessageMax);
    present.emplace(key_of(finding), std::move(finding));
  }
  for (auto& [key, finding] : present) {
    auto [at, added] = entries_.try_emplace(key);
    auto& entry = at->second;
    if (added || !entry.present) {
      entry.present = true;
      entry.since = entry.changed = now;
      entry.came.push_back(now);
      if (entry.came.size() > kCameMax) entry.came.erase(entry.came.begin());
    } else if (entry.finding.severity != finding.severity) {
      entry.changed = now;
    }
    entry.finding = finding;
  }
  for (auto& [key, entry] : entries_) {
    // What is told as part of the rest now is there all the same.
    if (!entry.present || present.contains(key) || all.contains(key)) continue;
    if (std::ranges::any_of(look.unknown, [&](const Unknown& unknown) { return covers(unknown, entry.finding); })) continue;
    entry.present = false;
    entry.changed = now;
  }
  for (auto& [key, entry] : entries_) forget_old(entry.came, now);
  for (auto& [key, times] : calms_) forget_old(times, now);
  for (auto& [channel, times] : sent_) forget_old(times, now);
  std::erase_if(entries_, [](const auto& one) { return !one.second.present && one.second.told.empty() && one.second.came.empty(); });
  std::erase_if(calms_, [](const auto& one) { return one.second.empty(); });
}

bool AlertBook::may_calm(const std::string& channel, const Entry& entry, TimePoint now) const {
  const auto told = calms_.find({{entry.finding.cluster, entry.finding.code}, channel});
  return told == calms_.end() || within(told->second, now, kDay) < kCalmsAtOnce || now - entry.changed >= kCalmLasts;
}

/// What to tell of it; a reminder `early` when three quarters of its time have passed.
std::optional<Item> AlertBook::item_of(const ChannelRules& channel, const Entry& entry, TimePoint now, bool early) const {
  if (entry.finding.code == "alert-channel-failing" && entry.finding.subject == channel.name) return std::nullopt;
  Item item{Event::New, entry.finding, entry.since, std::max(1U, static_cast<unsigned>(within(entry.came, now, kDay)))};
  const auto heard = entry.present && entry.finding.severity >= channel.least;
  const auto told = entry.told.find(channel.name);
  if (told == entry.told.end()) return heard ? std::optional(item) : std::nullopt;
  const auto& before = told->second;
  if (!entry.present || entry.finding.severity < before.severity) {
    if (!may_calm(channel.name, entry, now)) return std::nullopt;
    item.event = entry.present ? Event::Better : Event::Recovered;
    return item;
  }
  if (entry.finding.severity > before.severity) {
    item.event = Event::Worse;
    return item;
  }
  if (!channel.repeat) return std::nullopt;
  const seconds first = entry.finding.severity == Severity::Problem ? std::min<seconds>(kFirstReminder, *channel.repeat) : *channel.repeat;
  const seconds later = entry.finding.severity == Severity::Problem ? *channel.repeat : *channel.repeat * kWarningsRarer;
  const auto wait = before.reminders == 0 ? first : later;
  if (now - before.last < (early ? wait * 3 / 4 : wait)) return std::nullopt;
  item.event = Event::Reminder;
  return item;
}

/// It begins a family, or makes it worse, as far as the channel knows.
bool AlertBook::is_urgent(const std::string& channel, const Item& item) const {
  if (item.event != Event::New && item.event != Event::Worse) return false;
  const Family family{item.finding.cluster, item.finding.code};
  for (auto at = entries_.lower_bound({family, ""}); at != entries_.end() && at->first.first == family; ++at)
    if (const auto told = at->second.told.find(channel); told != at->second.told.end() && told->second.severity >= item.finding.severity) return false;
  return true;
}

bool AlertBook::is_within_limits(const std::string& channel, TimePoint now) const {
  const auto sent = sent_.find(channel);
  return sent == sent_.end() || (within(sent->second, now, 1h) < kMessagesPerHour && within(sent->second, now, kDay) < kMessagesPerDay);
}

std::vector<Item> AlertBook::due(const ChannelRules& channel, TimePoint now) const {
  const auto gather = [&](bool early) {
    std::vector<Item> items;
    for (const auto& [key, entry] : entries_)
      if (auto item = item_of(channel, entry, now, early)) items.push_back(std::move(*item));
    return items;
  };
  auto items = gather(false);
  if (items.empty()) return items;
  if (!is_within_limits(channel.name, now) && std::ranges::none_of(items, [&](const Item& item) { return is_urgent(channel.name, item); })) return {};
  // Reminders that would come soon come along, so that those of many problems become one message a day.
  items = gather(true);
  std::ranges::stable_sort(items, {}, [](const Item& item) {
    return std::tuple(item.event == Event::Recovered, item.event == Event::Reminder, item.event == Event::Better, item.finding.severity == Severity::Warning);
  });
  return items;
}

void AlertBook::delivered(const ChannelRules& channel, const std::vector<Item>& items, TimePoint now) {
  auto& state = channels_[channel.name];
  state.delivered = now;
  state.failing_since.reset();
  state.error.clear();
  state.failures = 0;
  state.id.clear();
  state.pending.clear();
  if (items.empty()) return;
  sent_[channel.name].push_back(now);
  for (const auto& item : items) {
    const Family family{item.finding.cluster, item.finding.code};
    const auto at = entries_.find({family, item.finding.subject});
    if (at == entries_.end()) continue;
    auto& told = at->second.told;
    if (item.event == Event::Recovered || item.event == Event::Better) calms_[{family, channel.name}].push_back(now);
    if (item.event == Event::Recovered || item.finding.severity < channel.least) {
      told.erase(channel.name);
      continue;
    }
    auto& one = told[channel.name];
    one.reminders = item.event == Event::Reminder ? one.reminders + 1 : 0;
    one.severity = item.finding.severity;
    one.last = now;
  }
}

bool AlertBook::waits(const std::string& channel, const std::vector<Item>& items, TimePoint now) const {
  const auto found = channels_.find(channel);
  if (found == channels_.end() || found->second.failures < 2) return false;
  const auto& state = found->second;
  const seconds wait = std::min<seconds>(kLongestWait, kFirstWait * (1U << std::min(state.failures - 2, 10U)));
  if (now - state.last_try >= wait - kLooksApart) return false;
  return std::ranges::none_of(items, [&](const Item& item) { return is_urgent(channel, item) && !std::ranges::binary_search(state.pending, names_of({item}).front()); });
}

std::string AlertBook::pending_id(const std::string& channel, const std::vector<Item>& items) const {
  const auto found = channels_.find(channel);
  return found != channels_.end() && !items.empty() && found->second.pending == names_of(items) ? found->second.id : "";
}

void AlertBook::undelivered(const std::string& channel, std::string error, TimePoint now, const std::string& id, const std::vector<Item>& items) {
  auto& state = channels_[channel];
  if (!state.failing_since) state.failing_since = now;
  state.error = shortened(error, kMessageMax);
  if (id.empty()) return;
  state.failures = std::min(state.failures + 1, 1'000'000U);
  state.last_try = now;
  state.id = id;
  state.pending = names_of(items);
}

void AlertBook::keep_channels(const std::vector<ChannelRules>& channels) {
  const auto gone = [&](const std::string& name) { return std::ranges::find(channels, name, &ChannelRules::name) == channels.end(); };
  std::erase_if(channels_, [&](const auto& one) { return gone(one.first); });
  std::erase_if(sent_, [&](const auto& one) { return gone(one.first); });
  std::erase_if(calms_, [&](const auto& one) { return gone(one.first.second); });
  for (auto& [key, entry] : entries_) std::erase_if(entry.told, [&](const auto& one) { return gone(one.first); });
}

std::vector<OpenProblem> AlertBook::open() const {
  std::vector<OpenProblem> all;
  for (const auto& [key, entry] : entries_) {
    if (!entry.present) continue;
    OpenProblem problem{entry.finding, entry.since, {}};
    for (const auto& [channel, told] : entry.told) problem.told.emplace(channel, told.last);
    all.push_back(std::move(problem));
  }
  std::ranges::stable_sort(all, {}, [](const OpenProblem& one) { return one.finding.severity == Severity::Warning; });
  return all;
}

std::vector<Finding> AlertBook::failing_channels() const {
  std::vector<Finding> findings;
  for (const auto& [name, state] : channels_)
    if (state.failing_since)
      findings.push_back({"", "alert-channel-failing", name, Severity::Problem, fmt::format("alerts cannot be delivered through {}: {}", name, state.error),
                          fmt::format("pgmint alert test {}", name)});
  return findings;
}

std::optional<AlertBook> AlertBook::parse(std::string_view text) {
  const auto json = Json::parse(text, nullptr, false);
  if (!json.is_object() || number_field(json, "version") != 1) return std::nullopt;
  const auto severity_of = [](const Json& one) { return text_field(one, "severity") == "warning" ? Severity::Warning : Severity::Problem; };
  const auto time_of = [](const Json& one, const char* key) { return time_field(one, key).value_or(TimePoint{}); };
  AlertBook book;
  book.saved_ = time_of(json, "saved");
  for (const auto& one : part_field(json, "entries")) {
    Entry entry;
    entry.finding = {text_field(one, "cluster"), text_field(one, "code"), text_field(one, "subject"), severity_of(one), text_field(one, "message"), text_field(one, "hint")};
    if (entry.finding.code.empty()) return std::nullopt;
    entry.present = flag_field(one, "present");
    entry.since = time_of(one, "since");
    entry.changed = time_of(one, "changed");
    entry.came = times_field(one, "came");
    for (const auto& [channel, told] : part_field(one, "told").items())
      entry.told[channel] = {severity_of(told), time_of(told, "last"), static_cast<unsigned>(std::min<std::uint64_t>(number_field(told, "reminders"), 1'000'000))};
    const Key key{{entry.finding.cluster, entry.finding.code}, entry.finding.subject};
    book.entries_.emplace(key, std::move(entry));
  }
  for (const auto& one : part_field(json, "calms"))
    book.calms_[{{text_field(one, "cluster"), text_field(one, "code")}, text_field(one, "channel")}] = times_field(one, "times");
  for (const auto& [name, one] : part_field(json, "channels").items()) {
    auto& state = book.channels_[name];
    state.delivered = time_field(one, "delivered");
    state.failing_since = time_field(one, "failing_since");
    state.error = text_field(one, "error");
    state.failures = static_cast<unsigned>(std::min<std::uint64_t>(number_field(one, "failures"), 1'000'000));
    state.last_try = time_of(one, "last_try");
    state.id = text_field(one, "id");
    for (const auto& name_of_item : part_field(one, "pending"))
      if (name_of_item.is_string()) state.pending.push_back(name_of_item.get<std::string>());
    std::ranges::sort(state.pending);
    if (auto sent = times_field(one, "sent"); !sent.empty()) book.sent_[name] = std::move(sent);
  }
  return book;
}

std::string AlertBook::text() const {
  Json entries = Json::array();
  for (const auto& [key, entry] : entries_) {
    Json told = Json::object();
    for (const auto& [channel, one] : entry.told)
      told[channel] = {{"severity", severity_name(one.severity)}, {"last", one.last.time_since_epoch().count()}, {"reminders", one.reminders}};
    entries.push_back({{"cluster", entry.finding.cluster}, {"code", entry.finding.code}, {"subject", entry.finding.subject},
                       {"severity", severity_name(entry.finding.severity)}, {"message", entry.finding.message}, {"hint", entry.finding.hint},
                       {"present", entry.present}, {"since", entry.since.time_since_epoch().count()}, {"changed", entry.changed.time_since_epoch().count()},
                       {"came", times_json(entry.came)}, {"told", std::move(told)}});
  }
  Json calms = Json::array();
  for (const auto& [key, times] : calms_)
    calms.push_back({{"cluster", key.first.first}, {"code", key.first.second}, {"channel", key.second}, {"times", times_json(times)}});
  Json channels = Json::object();
  for (const auto& [name, state] : channels_) {
    const auto sent = sent_.find(name);
    channels[name] = {{"delivered", state.delivered ? Json(state.delivered->time_since_epoch().count()) : Json(nullptr)},
                      {"failing_since", state.failing_since ? Json(state.failing_since->time_since_epoch().count()) : Json(nullptr)},
                      {"error", state.error}, {"failures", state.failures}, {"last_try", state.last_try.time_since_epoch().count()},
                      {"id", state.id}, {"pending", state.pending}, {"sent", times_json(sent == sent_.end() ? std::vector<TimePoint>() : sent->second)}};
  }
  return Json{{"version", 1}, {"saved", saved_.time_since_epoch().count()}, {"entries", std::move(entries)}, {"calms", std::move(calms)}, {"channels", std::move(channels)}}
      .dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace pgmint::service
