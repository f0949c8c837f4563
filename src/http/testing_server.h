// A web server of a test's own: answers each request by a function, with whatever bytes that gives. A stand-in, for what no real server does on demand.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace pgmint::http {

/// What happens after a request was read: the bytes go out as they are, then the connection is kept or closed.
struct ScriptedReply {
  std::string bytes;
  bool keep = true;
  std::string behind{};  ///< goes out by a write of its own, with Nagle's algorithm on
};

inline ScriptedReply reply(int status, std::string_view body = {}, std::string_view headers = {}) {
  return {fmt::format("HTTP/1.1 {} Scripted\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), headers, body)};
}

/// On loopback, a port of its own, a thread for each connection; ends with its object. HTTP without TLS.
class ScriptedServer {
 public:
  /// `answer` is called with the whole request, head and body, one call at a time.
  explicit ScriptedServer(std::function<ScriptedReply(const std::string& request)> answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      PGMINT_ASSERT(!"no port on loopback");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;
  ~ScriptedServer() {
    stopping_ = true;
    acceptor_.join();
    for (auto& each : serving_) each.join();
    ::close(listener_);
  }

  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  unsigned connections() const { return connections_; }
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  bool readable(int fd) const {
    while (!stopping_) {
      pollfd waiting{fd, POLLIN, 0};
      if (::poll(&waiting, 1, 20) > 0) return true;
    }
    return false;
  }
  void accept_all() {
    while (readable(listener_)) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      ++connections_;
      serving_.emplace_back([this, fd] {
        serve(fd);
        ::close(fd);
      });
    }
  }
  /// False: the peer has gone.
  bool read_some(int fd, std::string& received) const {
    char buffer[65536];
    if (!readable(fd)) return false;
    const auto got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    received.append(buffer, static_cast<std::size_t>(got));
    return true;
  }
  static std::size_t body_length(const std::string& head) {
    const auto at = head.find("Content-Length: ");
    return at == std::string::npos ? 0 : std::stoull(head.substr(at + 16));
  }
  void serve(int fd) {
    std::string received;
    for (;;) {
      auto end = received.find("\r\n\r\n");
      while (end == std::string::npos) {
        if (!read_some(fd, received)) return;
        end = received.find("\r\n\r\n");
      }
      const auto whole = end + 4 + body_length(received.substr(0, end));
      while (received.size() < whole)
        if (!read_some(fd, received)) return;
      const auto request = received.substr(0, whole);
      received.erase(0, whole);
      ScriptedReply next;
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
        next = answer_(request);
      }
      for (const std::string& part : {next.bytes, next.behind})
        for (std::size_t sent = 0; sent < part.size();) {
          const auto n = ::send(fd, part.data() + sent, part.size() - sent, MSG_NOSIGNAL);
          if (n <= 0) return;
          sent += static_cast<std::size_t>(n);
        }
      if (!next.keep) return;
    }
  }

  const std::function<ScriptedReply(const std::string&)> answer_;
  int listener_ = -1;
  unsigned short port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<unsigned> connections_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<std::thread> serving_;
  std::thread acceptor_;
};

}  // namespace pgmint::http
