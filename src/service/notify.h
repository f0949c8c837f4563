// Delivers one notification through one channel, with a limit of time and a few attempts.
#pragma once

#include <functional>
#include <string>

#include "base/cancel.h"
#include "base/clock.h"
#include "service/channel.h"
#include "service/http_transport.h"
#include "service/notification.h"

namespace pgmint::service {

constexpr unsigned kAttempts = 3;
constexpr auto kFirstWait = std::chrono::seconds(1);  ///< before the second attempt; four times that before the third
constexpr std::size_t kSecretMin = 16;

/// Reads a secret's file, with the checks of its owner. @errors Key, Io
using ReadSecret = std::function<Result<std::string>(const fs::path&)>;

/// "v1=" and HMAC-SHA-256 in hexadecimal over the timestamp, a dot and the body, under the secret's bytes.
std::string signature_of(std::string_view secret, std::int64_t timestamp, std::string_view body);

/// Not thread-safe. Borrows all that it is made of.
class Notifier {
 public:
  struct Parts {
    Transport& transport;
    Clock& clock;
    ReadSecret read_secret;
    const CancelToken* cancel = nullptr;
    std::chrono::milliseconds command_time = std::chrono::seconds(30);
  };
  explicit Notifier(Parts parts) : parts_(std::move(parts)) {}

  /// Attempts again what may succeed then. @errors Storage, Precondition, Key, Io, Cancelled; without a secret in it
  Status deliver(const Channel& channel, const Notification& notification);

 private:
  Status attempt(const Channel& channel, const Notification& notification);
  Status post(const Channel& channel, const Notification& notification);
  Status mail(const Channel& channel, const Notification& notification);
  Status command(const Channel& channel, const Notification& notification);
  Parts parts_;
};

}  // namespace pgmint::service
