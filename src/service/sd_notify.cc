#include "service/sd_notify.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace pgmint::service {

Result<ServiceManager> ServiceManager::open(const std::string& socket, const std::optional<std::string>& watchdog_us) {
  ServiceManager manager;
  if (watchdog_us) {
    std::int64_t us = 0;
    const auto [end, failure] = std::from_chars(watchdog_us->data(), watchdog_us->data() + watchdog_us->size(), us);
    if (failure == std::errc() && end == watchdog_us->data() + watchdog_us->size() && us > 1) manager.watchdog_ = std::chrono::microseconds(us / 2);
  }
  if (socket.empty()) return manager;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if ((socket[0] != '/' && socket[0] != '@') || socket.size() >= sizeof address.sun_path)
    return Error(Errc::Configuration, fmt::format("NOTIFY_SOCKET={}: neither a path nor a name behind '@', or too long", socket));
  std::memcpy(address.sun_path, socket.data(), socket.size());
  if (socket[0] == '@') address.sun_path[0] = '\0';
  const auto size = offsetof(sockaddr_un, sun_path) + socket.size();
  manager.address_.resize(size);
  std::memcpy(manager.address_.data(), &address, size);
  manager.socket_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!manager.socket_.valid()) return errno_error(errno, "a socket for NOTIFY_SOCKET");
  return manager;
}

void ServiceManager::tell(std::string_view message) const {
  if (!socket_.valid()) return;
  sockaddr_un address{};
  std::memcpy(&address, address_.data(), address_.size());
  const auto* generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  // Dropped on purpose: a service that cannot tell its state still has its work to do, and systemd's watchdog sees silence.
  (void)::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL, generic, static_cast<socklen_t>(address_.size()));
}

}  // namespace pgmint::service
