// What systemd is told of a service: sd_notify(3) by its protocol, a datagram to the socket of NOTIFY_SOCKET.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"

namespace pgmint::service {

class ServiceManager {
 public:
  /// @param socket  NOTIFY_SOCKET: a path, or '@' and a name of the abstract space; empty: nobody listens
  /// @param watchdog_us  WATCHDOG_USEC; absent, or not a number above zero: no watchdog
  /// @errors Configuration (no such form), Io
  static Result<ServiceManager> open(const std::string& socket, const std::optional<std::string>& watchdog_us);

  /// "READY=1", or several lines. Nobody waits for an answer, and whoever cannot be told is not told.
  void tell(std::string_view message) const;
  /// How often WATCHDOG=1 is to be told: half of what systemd waits.
  std::optional<std::chrono::microseconds> watchdog() const { return watchdog_; }

 private:
  Fd socket_;
  std::string address_;  ///< a sockaddr_un
  std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace pgmint::service
