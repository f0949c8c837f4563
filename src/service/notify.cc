#include "service/notify.h"

#include <fmt/format.h>

#include "base/child_process.h"
#include "base/log.h"
#include "crypto/hmac.h"
#include "service/deadline.h"
#include "service/utf8.h"

namespace pgmint::service {
namespace {

constexpr std::size_t kWordsOfCommand = 300;
constexpr std::size_t kLineOfCommand = 4096;  ///< of a longer one no more is looked through for secrets, which takes stack

Result<std::string> first_line(const ReadSecret& read, const fs::path& file) {
  auto text = TRY(read(file));
  return text.substr(0, text.find_first_of("\r\n"));
}

}  // namespace

std::string signature_of(std::string_view secret, std::int64_t timestamp, std::string_view body) {
  const auto digest = crypto::hmac_sha256(as_bytes(secret), as_bytes(fmt::format("{}.{}", timestamp, body)));
  std::string text = "v1=";
  for (const auto byte : digest) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

Status Notifier::deliver(const Channel& channel, const Notification& notification) {
  auto wait = std::chrono::microseconds(kFirstWait);
  for (unsigned attempt = 1;; ++attempt, wait *= 4) {
    auto sent = this->attempt(channel, notification);
    if (sent || attempt == kAttempts || sent.error().code() != Errc::Storage) return sent;
    log_info("alert channel {}: attempt {} of {}: {}", channel.rules.name, attempt, kAttempts, sent.error().describe());
    if (parts_.cancel != nullptr) TRY(parts_.cancel->check());
    parts_.clock.sleep(wait);
  }
}

Status Notifier::attempt(const Channel& channel, const Notification& notification) {
  switch (channel.type) {
    case ChannelType::Webhook: return post(channel, notification);
    case ChannelType::Smtp: return mail(channel, notification);
    case ChannelType::Command: return command(channel, notification);
  }
  return ok();
}

Status Notifier::post(const Channel& channel, const Notification& notification) {
  WebRequest request{.url = channel.url, .headers = {"Content-Type: application/json"}, .body = json_of(notification), .ca_file = channel.ca_file};
  // Of the attempt, not of the notification: a receiver refuses what is too old.
  const auto timestamp = std::chrono::floor<std::chrono::seconds>(parts_.clock.now()).time_since_epoch().count();
  request.headers.push_back(fmt::format("Pgmint-Timestamp: {}", timestamp));
  request.headers.push_back(fmt::format("Pgmint-Id: {}", notification.id));
  if (!channel.secret_file.empty()) {
    const auto secret = TRY(first_line(parts_.read_secret, channel.secret_file));
    if (secret.size() < kSecretMin)
      return Error(Errc::Key, fmt::format("{}: a secret of {} bytes can be guessed", channel.secret_file.string(), secret.size()),
                   Hint{fmt::format("openssl rand -hex 32 > {}", channel.secret_file.string())});
    request.headers.push_back("Pgmint-Signature: " + signature_of(secret, timestamp, request.body));
  }
  return parts_.transport.post(request, parts_.cancel);
}

Status Notifier::mail(const Channel& channel, const Notification& notification) {
  MailRequest request{.server = channel.server, .from = channel.from, .to = channel.to, .user = channel.user, .password = {},
                      .mail = mail_of(notification, channel.from, channel.to), .ca_file = channel.ca_file};
  if (!channel.password_file.empty()) request.password = TRY(first_line(parts_.read_secret, channel.password_file));
  return parts_.transport.send(request, parts_.cancel);
}

Status Notifier::command(const Channel& channel, const Notification& notification) {
  Deadline deadline(parts_.command_time, parts_.cancel);
  const auto run = [&]() -> Status {
    auto child = TRY(ChildProcess::start({.arguments = channel.command, .environment = {}, .pipe_input = true, .pipe_output = false, .cancel = &deadline.token()}));
    // A command that does not want to read it all is no failure: what counts is how it ends.
    TRY(child->write(as_bytes(json_of(notification) + "\n")));
    child->close_input();
    const int status = TRY(child->wait());
    if (status == 0) return ok();
    auto said = child->errors();
    while (!said.empty() && (said.back() == '\n' || said.back() == '\r')) said.pop_back();
    said = said.substr(said.rfind('\n') + 1);
    return Error(Errc::Storage, fmt::format("{} ended with {}{}{}", channel.command.front(), status, said.empty() ? "" : ": ", shortened(redact(shortened(said, kLineOfCommand)), kWordsOfCommand)));
  };
  auto result = run();
  if (!result && result.error().code() == Errc::Cancelled && deadline.passed())
    return Error(Errc::Precondition, fmt::format("{} did not end within {} s, and was ended", channel.command.front(), std::chrono::duration_cast<std::chrono::seconds>(parts_.command_time).count()));
  return result;
}

}  // namespace pgmint::service
