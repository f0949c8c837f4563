// Who was told what, and what is to be told now. Pure: what is wrong, what was told before and the time in; what to tell out.
// Decision: docs/adr/0023-alerts.md
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace pgmint::service {

enum class Severity { Warning, Problem };
std::string_view severity_name(Severity severity);  ///< "warning", "problem"

/// Something that is wrong. Cluster, code and subject say what; message and severity may differ from look to look.
struct Finding {
  std::string cluster;  ///< empty: the repository, or this host
  std::string code;     ///< "wal-gap"
  std::string subject;  ///< which one of several
  Severity severity = Severity::Problem;
  std::string message, hint;
};

/// What could not be looked at: whatever was wrong there is neither there nor gone.
struct Unknown {
  std::optional<std::string> cluster;  ///< nullopt: nothing could be looked at but what `findings` name
  std::string code;                    ///< empty: every code
};

struct Look {
  std::vector<Finding> findings;
  std::vector<Unknown> unknown;
};

struct ChannelRules {
  std::string name;
  Severity least = Severity::Warning;
  std::optional<std::chrono::seconds> repeat = std::chrono::hours(24);  ///< nullopt: no reminders
};

enum class Event { New, Worse, Better, Reminder, Recovered };
std::string_view event_name(Event event);  ///< "new", "worse", ...

struct Item {
  Event event = Event::New;
  Finding finding;
  TimePoint since{};        ///< it is, or was, there
  unsigned times = 1;       ///< it came in the last 24 h
  bool operator==(const Item& other) const;
};

struct OpenProblem {
  Finding finding;
  TimePoint since{};
  std::map<std::string, TimePoint> told;  ///< channel to when it last heard of it
};

struct ChannelState {
  std::optional<TimePoint> delivered, failing_since;
  std::string error;  ///< of the newest attempt
  // Of what could not be delivered since.
  unsigned failures = 0;               ///< in a row
  TimePoint last_try{};
  std::string id;                      ///< of that message: the next attempt keeps it while it tells the same
  std::vector<std::string> pending{};  ///< what it told, as names
};

/// The rules: a new problem and one that gets worse are told at the next look; a reminder of a problem comes after 4 h and then each
/// `repeat`, of a warning each `repeat` and then each seventh; an end is told once. What is due at one time is one message.
///
/// Never a storm. Problems of one cluster and code are a family. Of a family three ends (or improvements) are told at once in 24 h;
/// after that one is told when it has lasted 6 h, so that what comes and goes stays one problem. A message that neither begins a
/// family nor makes it worse waits while the channel has had 3 messages in the last hour, or 12 in the last day. So a channel
/// hears in any 24 h at most 12 + 16 x families messages, and nothing new of an unknown family is untold for longer than one look.
///
/// A channel that fails is tried again at the next look, then after 10, 20, 40 minutes and each hour; at once when a family begins, or
/// gets worse, that it was not tried with.
class AlertBook {
 public:
  static constexpr unsigned kCalmsAtOnce = 3;
  static constexpr unsigned kMessagesPerHour = 3, kMessagesPerDay = 12;
  static constexpr std::size_t kFamilyMax = 50;  ///< of more, the rest is one problem

  /// What text() wrote; nullopt: damaged. Everything that is wrong is new to an empty book.
  static std::optional<AlertBook> parse(std::string_view text);
  std::string text() const;
  /// When it was last written; the newer of two is right.
  TimePoint saved() const { return saved_; }

  void see(const Look& look, TimePoint now);
  /// Empty: nothing. In the order worst first.
  std::vector<Item> due(const ChannelRules& channel, TimePoint now) const;
  void delivered(const ChannelRules& channel, const std::vector<Item>& items, TimePoint now);
  /// @param id  of the message that held `items`; without items a test, which counts for nothing but the channel's state
  void undelivered(const std::string& channel, std::string error, TimePoint now, const std::string& id = {}, const std::vector<Item>& items = {});
  /// It failed, and it is too early to try again with these.
  bool waits(const std::string& channel, const std::vector<Item>& items, TimePoint now) const;
  /// Of the message that failed with the same items; empty: none.
  std::string pending_id(const std::string& channel, const std::vector<Item>& items) const;
  /// Of channels that are configured no more nothing is kept.
  void keep_channels(const std::vector<ChannelRules>& channels);

  std::vector<OpenProblem> open() const;
  const std::map<std::string, ChannelState>& channels() const { return channels_; }
  /// "alert-channel-failing" for each that fails, for the others to tell.
  std::vector<Finding> failing_channels() const;

 private:
  struct Told {
    Severity severity = Severity::Problem;
    TimePoint last{};
    unsigned reminders = 0;
  };
  struct Entry {
    Finding finding;
    bool present = true;
    TimePoint since{};    ///< it came
    TimePoint changed{};  ///< it came, went, or changed its severity
    std::vector<TimePoint> came;     ///< in the last 24 h
    std::map<std::string, Told> told;  ///< the channels that believe it to be there
  };
  using Family = std::pair<std::string, std::string>;
  using Key = std::pair<Family, std::string>;

  static Key key_of(const Finding& finding);
  bool may_calm(const std::string& channel, const Entry& entry, TimePoint now) const;
  std::optional<Item> item_of(const ChannelRules& channel, const Entry& entry, TimePoint now, bool early) const;
  bool is_urgent(const std::string& channel, const Item& item) const;
  bool is_within_limits(const std::string& channel, TimePoint now) const;
  void forget_the_future(TimePoint now);

  std::map<Key, Entry> entries_;
  std::map<std::pair<Family, std::string>, std::vector<TimePoint>> calms_;  ///< ends and improvements told, by family and channel
  std::map<std::string, std::vector<TimePoint>> sent_;                      ///< messages of the last 24 h, by channel
  std::map<std::string, ChannelState> channels_;
  TimePoint saved_{};
};

}  // namespace pgmint::service
