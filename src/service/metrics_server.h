// GET /metrics on this host: a web server of one page, for Prometheus. Loopback only; nothing but the page can be asked for.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/file.h"

namespace pgmint::service {

/// "127.0.0.1:9891" or "[::1]:9891": an address of this host alone, and a port; 0: any.
struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;
  bool ipv6 = false;
  static std::optional<ListenAddress> parse(std::string_view text);
};

/// One connection at a time, each for at most kConnectionTime. Destroying it ends it.
class MetricsServer {
 public:
  /// Called in the server's own thread for each request; it should answer at once.
  using Page = std::function<std::string()>;
  static constexpr auto kConnectionTime = std::chrono::seconds(2);

  /// @errors Precondition (somebody else listens there), Io
  static Result<std::unique_ptr<MetricsServer>> start(const ListenAddress& where, Page page);
  ~MetricsServer();
  std::uint16_t port() const { return port_; }

 private:
  MetricsServer(Fd listener, std::uint16_t port, Page page);
  void run();
  void serve(const Fd& connection);
  std::string answer_to(std::string_view request) const;

  Fd listener_;
  std::uint16_t port_;
  Page page_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace pgmint::service
