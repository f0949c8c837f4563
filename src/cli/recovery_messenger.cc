#include "cli/recovery_messenger.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/guarded.h"
#include "base/log.h"
#include "base/queue.h"
#include "cli/secrets.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kMessagesMax = 4096;  ///< a plan has at most a thousand steps
constexpr auto kStep = std::chrono::milliseconds(20);

service::Event event_of(service::Notice::Kind kind, bool failed) {
  switch (kind) {
    case service::Notice::Kind::Started: return service::Event::New;
    case service::Notice::Kind::GroupDone: return service::Event::Better;
    case service::Notice::Kind::Failed: return service::Event::Worse;
    case service::Notice::Kind::Ended: return failed ? service::Event::Worse : service::Event::Recovered;
  }
  return service::Event::New;
}

}  // namespace

class RecoveryMessenger::Line {
 public:
  explicit Line(const service::Channel& channel) : channel_(channel), queue_(kMessagesMax), thread_([this] { deliver_all(); }) {}
  ~Line() { end(); }

  void send(const Message& message) { queue_.push(message); }
  void close() { queue_.close(); }
  bool done() const {
    return done_.with([](bool done) { return done; });
  }
  /// Gives up what has not been delivered. @return who was not told what
  std::vector<std::string> end() {
    const bool complete = done();
    cancel_.cancel();
    queue_.cancel();
    if (thread_.joinable()) thread_.join();
    auto all = failures_.with([](auto& failures) { return std::exchange(failures, {}); });
    if (!complete) all.push_back(fmt::format("{} was still not told all when the recovery had ended", channel_.rules.name));
    return all;
  }

 private:
  void deliver_all() {
    const auto transport = service::make_curl_transport();
    service::Notifier notifier({*transport, system_clock(), read_secret_file, &cancel_});
    while (auto message = queue_.pop())
      if (auto sent = notifier.deliver(channel_, message->notification); !sent)
        failures_.with([&](auto& failures) { failures.push_back(redact(fmt::format("{} was not told that {}: {}", channel_.rules.name, message->what, sent.error().describe()))); });
    done_.with([](bool& done) { done = true; });
  }

  const service::Channel& channel_;
  CancelToken cancel_;
  BoundedQueue<Message> queue_;
  Guarded<std::vector<std::string>> failures_;
  Guarded<bool> done_;
  std::thread thread_;  // last: it uses the others
};

RecoveryMessenger::RecoveryMessenger(const std::vector<service::Channel>& channels) {
  for (const auto& channel : channels) lines_.push_back(std::make_unique<Line>(channel));
}

RecoveryMessenger::~RecoveryMessenger() = default;

void RecoveryMessenger::send(const service::Notice& notice, const std::string& incident, bool failed) {
  Message message;
  message.what = redact(notice.text);
  auto& told = message.notification;
  told.id = service::new_notification_id(system_random());
  told.host = host_name();
  told.time = system_clock().now();
  told.open = 1;
  service::Item item;
  item.event = event_of(notice.kind, failed);
  item.finding = {"", std::string(service::notice_name(notice.kind)), incident, service::Severity::Problem, message.what, ""};
  item.since = told.time;
  told.items.push_back(std::move(item));
  for (const auto& line : lines_) line->send(message);
}

std::vector<std::string> RecoveryMessenger::finish(std::chrono::seconds limit) {
  for (const auto& line : lines_) line->close();
  const auto until = system_clock().now() + limit;
  while (std::ranges::any_of(lines_, [](const auto& line) { return !line->done(); }) && system_clock().now() < until) system_clock().sleep(kStep);
  std::vector<std::string> all;
  for (const auto& line : lines_)
    for (auto& failure : line->end()) all.push_back(std::move(failure));
  lines_.clear();
  return all;
}

}  // namespace pgmint::cli
