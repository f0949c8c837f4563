#include "cli/alert_round.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/random.h"
#include "cli/alert_look.h"
#include "cli/secrets.h"
#include "service/notify.h"

namespace pgmint::cli {
namespace {

using service::AlertBook;
using service::AlertStore;

class Round {
 public:
  Round(Context& context, AlertStore store, std::vector<const service::Channel*> channels)
      : context_(context),
        store_(std::move(store)),
        channels_(std::move(channels)),
        transport_(service::make_curl_transport()),
        notifier_({*transport_, system_clock(), read_secret_file, &context.cancel()}) {}

  Result<AlertRound> run() {
    std::vector<std::string> unreadable;
    book_ = store_.load(&unreadable);
    std::vector<service::ChannelRules> rules;
    for (const auto* channel : channels_) rules.push_back(channel->rules);
    book_.keep_channels(rules);
    look_ = TRY(look_at_everything(context_));
    for (const auto& what : unreadable)
      look_.findings.push_back({"", "state-unreadable", "alerts", service::Severity::Warning, fmt::format("{}: what is wrong is told anew", what), "pgmint alert list"});
    for (const auto* channel : channels_) round_.channels.push_back({channel->rules.name, 0, std::nullopt, false, {}});
    see();
    TRY(tell());
    // What the others have to tell of a channel that failed just now.
    if (round_.failed()) {
      see();
      TRY(tell());
    }
    const auto open = book_.open();
    round_.open = open.size();
    round_.open_problems = static_cast<std::size_t>(std::ranges::count_if(open, [](const auto& one) { return one.finding.severity == service::Severity::Problem; }));
    return std::move(round_);
  }

 private:
  void see() {
    auto look = look_;
    for (auto& finding : book_.failing_channels()) look.findings.push_back(std::move(finding));
    book_.see(look, system_clock().now());
    // Before anything goes out it has to be known whether it can be remembered.
    std::string why;
    kept_ = store_.save(book_, &why);
    if (kept_ == AlertStore::Kept::State) return;
    look.findings.push_back({"", "alert-state-unwritable", "", service::Severity::Problem,
                             fmt::format("what was told cannot be remembered in the state directory: {}", why), "pgmint doctor"});
    look_.findings.push_back(look.findings.back());
    book_.see(look, system_clock().now());
    kept_ = store_.save(book_, nullptr);
  }

  Status tell() {
    for (std::size_t i = 0; i < channels_.size(); ++i) {
      TRY(context_.cancel().check());
      auto& outcome = round_.channels[i];
      if (!outcome.failure) TRY(tell_one(*channels_[i], outcome));
    }
    return ok();
  }

  Status tell_one(const service::Channel& channel, ChannelOutcome& outcome) {
    const auto now = system_clock().now();
    const auto items = book_.due(channel.rules, now);
    const auto known = book_.channels().find(channel.rules.name);
    const bool was_failing = known != book_.channels().end() && known->second.failing_since;
    // One that failed has something to say even when nothing is due any more: that it works.
    if (items.empty() && !was_failing) return ok();
    if (book_.waits(channel.rules.name, items, now)) {
      outcome.waiting = known->second.error;
      return ok();
    }
    if (kept_ == AlertStore::Kept::Nowhere && !service::may_tell_without_memory(now)) {
      outcome.held_back = true;
      return ok();
    }
    // Of a message that may have arrived all the same the receiver drops the second.
    auto id = book_.pending_id(channel.rules.name, items);
    if (id.empty()) id = service::new_notification_id(system_random());
    const service::Notification notification{id, host_name(), now, false, items, book_.open().size()};
    auto sent = notifier_.deliver(channel, notification);
    if (!sent && sent.error().code() == Errc::Cancelled) return sent;
    if (sent) {
      outcome.told += items.size();
      book_.delivered(channel.rules, items, system_clock().now());
    } else {
      outcome.failure = sent.error();
      book_.undelivered(channel.rules.name, redact(sent.error().describe()), system_clock().now(), id, items);
    }
    // After each: what comes next may take its time, or be killed.
    kept_ = store_.save(book_, nullptr);
    return ok();
  }

  Context& context_;
  AlertStore store_;
  std::vector<const service::Channel*> channels_;
  std::unique_ptr<service::Transport> transport_;
  service::Notifier notifier_;
  AlertBook book_;
  service::Look look_;
  AlertStore::Kept kept_ = AlertStore::Kept::State;
  AlertRound round_;
};

}  // namespace

bool AlertRound::failed() const {
  return std::ranges::any_of(channels, [](const auto& channel) { return channel.failure.has_value(); });
}

Result<AlertRound> run_alert_round(Context& context) {
  auto channels = TRY(alert_channels(context, std::nullopt));
  const auto store = TRY(alert_store(context));
  const auto lock = TRY(store.lock());
  if (!lock) return Error(Errc::Busy, "another alert check is under way", Hint{"pgmint alert list"});
  return Round(context, store, std::move(channels)).run();
}

}  // namespace pgmint::cli
