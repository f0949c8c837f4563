#include "service/metrics_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/log.h"

namespace pgmint::service {
namespace {

constexpr std::size_t kRequestMax = 8 << 10;
constexpr int kPollMs = 200;  ///< how long the end of the server may go unnoticed
constexpr int kBacklog = 16;

/// Waits until the descriptor is ready, at most until `until`. False: time is over.
bool wait_for(const Fd& fd, short events, std::chrono::steady_clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd one{fd.get(), events, 0};
    const int n = ::poll(&one, 1, static_cast<int>(left));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

std::string response(std::string_view status, std::string_view type, std::string_view body, bool with_body) {
  return fmt::format("HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n{}", status, type,
                     body.size(), with_body ? body : "");
}

/// The value of a header, by its lower-case name. nullopt: absent, or there twice.
std::optional<std::string> header(std::string_view request, std::string_view wanted) {
  std::optional<std::string> found;
  for (auto at = request.find("\r\n"); at != std::string_view::npos && at + 2 < request.size();) {
    const auto end = request.find("\r\n", at + 2);
    const auto line = request.substr(at + 2, end == std::string_view::npos ? end : end - at - 2);
    if (line.empty()) break;
    const auto colon = line.find(':');
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (colon != std::string_view::npos && name == wanted) {
      if (found) return std::nullopt;
      auto value = line.substr(colon + 1);
      value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
      found = std::string(value.substr(0, value.find_last_not_of(" \t") + 1));
    }
    at = end;
  }
  return found;
}

/// A web page of another site whose name was made to lead here must not read this one.
bool is_ours(std::string host) {
  if (const auto colon = host.rfind(':'); colon != std::string::npos && host.back() != ']') host.resize(colon);
  return host == "localhost" || host == "[::1]" || (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

}  // namespace

std::optional<ListenAddress> ListenAddress::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  ListenAddress address;
  const auto port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size() || port.empty()) return std::nullopt;
  address.host = text.substr(0, colon);
  if (address.host == "localhost") address.host = "127.0.0.1";
  in_addr four{};
  if (address.host == "[::1]") {
    address.host = "::1";
    address.ipv6 = true;
  } else if (::inet_pton(AF_INET, address.host.c_str(), &four) != 1 || (ntohl(four.s_addr) >> 24U) != 127) {
    return std::nullopt;
  }
  return address;
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const ListenAddress& where, Page page) {
  Fd fd(::socket(where.ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return errno_error(errno, "metrics: socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // a wish: after a restart the old port may linger
  sockaddr_storage address{};
  socklen_t size = 0;
  if (where.ipv6) {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(where.port);
    six.sin6_addr = in6addr_loopback;
    std::memcpy(&address, &six, size = sizeof six);
  } else {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(where.port);
    PGMINT_ASSERT(::inet_pton(AF_INET, where.host.c_str(), &four.sin_addr) == 1);
    std::memcpy(&address, &four, size = sizeof four);
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return errno_error(errno, fmt::format("metrics: listen on {}:{}", where.host, where.port), errno == EADDRINUSE ? Errc::Precondition : Errc::Io);
  if (::listen(fd.get(), kBacklog) != 0) return errno_error(errno, "metrics: listen");
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return errno_error(errno, "metrics: getsockname");
  std::uint16_t port = 0;
  // Both kinds of address have their port behind the family.
  std::memcpy(&port, reinterpret_cast<const char*>(&address) + offsetof(sockaddr_in, sin_port), sizeof port);
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(fd), ntohs(port), std::move(page)));
}

MetricsServer::MetricsServer(Fd listener, std::uint16_t port, Page page)
    : listener_(std::move(listener)), port_(port), page_(std::move(page)), thread_([this] { run(); }) {}

MetricsServer::~MetricsServer() {
  stopping_ = true;
  thread_.join();
}

void MetricsServer::run() {
  bool was_out_of_descriptors = false;
  while (!stopping_) {
    if (!wait_for(listener_, POLLIN, std::chrono::steady_clock::now() + std::chrono::milliseconds(kPollMs))) continue;
    const Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.valid()) {
      was_out_of_descriptors = false;
      serve(connection);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // Whoever waits goes on waiting, so that poll() would return at once for ever.
      if (!was_out_of_descriptors) log_warning("metrics: no descriptor or memory is left for a connection");
      was_out_of_descriptors = true;
      ::poll(nullptr, 0, kPollMs);
    }
  }
}

void MetricsServer::serve(const Fd& connection) {
  const auto until = std::chrono::steady_clock::now() + kConnectionTime;
  std::string request;
  std::array<char, 2048> buffer{};
  while (request.find("\r\n\r\n") == std::string::npos && request.size() < kRequestMax) {
    if (stopping_ || !wait_for(connection, POLLIN, until)) return;
    const auto got = ::recv(connection.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return;
    request.append(buffer.data(), static_cast<std::size_t>(got));
  }
  const auto text = answer_to(request);
  for (std::string_view rest = text; !rest.empty();) {
    if (stopping_ || !wait_for(connection, POLLOUT, until)) return;
    const auto put = ::send(connection.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(put));
  }
  ::shutdown(connection.get(), SHUT_WR);
}

std::string MetricsServer::answer_to(std::string_view request) const {
  constexpr std::string_view kPlain = "text/plain; charset=utf-8";
  if (request.find("\r\n\r\n") == std::string_view::npos) return response("431 Request Header Fields Too Large", kPlain, "too long\n", true);
  const auto line = request.substr(0, request.find("\r\n"));
  const auto first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || last <= first || !line.substr(last + 1).starts_with("HTTP/1.")) return response("400 Bad Request", kPlain, "no HTTP request\n", true);
  const auto method = line.substr(0, first);
  auto path = line.substr(first + 1, last - first - 1);
  path = path.substr(0, path.find('?'));
  const auto host = header(request, "host");
  if (!host || !is_ours(*host)) return response("421 Misdirected Request", kPlain, "this is not that host\n", true);
  if (method != "GET" && method != "HEAD") return response("405 Method Not Allowed", kPlain, "GET only\n", true);
  if (path != "/metrics") return response("404 Not Found", kPlain, "there is only /metrics\n", method == "GET");
  return response("200 OK", "text/plain; version=0.0.4; charset=utf-8", page_(), method == "GET");
}

}  // namespace pgmint::service
