#include "service/metrics_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

Fd connected(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string answer_to(std::uint16_t port, std::string_view request) {
  const auto fd = connected(port);
  EXPECT_EQ(::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string all;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;) all.append(buffer.data(), static_cast<std::size_t>(got));
  return all;
}

std::string get(std::uint16_t port, std::string_view path, std::string_view host = "127.0.0.1") {
  return answer_to(port, fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n\r\n", path, host));
}

class MetricsServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = MetricsServer::start(*ListenAddress::parse("127.0.0.1:0"), [this] { return page; });
    ASSERT_TRUE(started) << started.error().describe();
    server = std::move(*started);
  }
  std::string page = "pgmint_build_info 1\n";
  std::unique_ptr<MetricsServer> server;
};

TEST(ListenAddress, IsOfThisHostAlone) {
  for (const auto* good : {"127.0.0.1:9891", "127.1.2.3:1", "[::1]:9891", "localhost:0"}) EXPECT_TRUE(ListenAddress::parse(good)) << good;
  for (const auto* bad : {"", ":9891", "0.0.0.0:9891", "[::]:9891", "192.168.1.1:9891", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "db1:9891", "::1:9891", "127.0.0.1:+1"})
    EXPECT_FALSE(ListenAddress::parse(bad)) << bad;
}

TEST_F(MetricsServerTest, ServesThePageAsPrometheusWantsIt) {
  const auto answer = get(server->port(), "/metrics");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n" + page)) << answer;
  EXPECT_TRUE(get(server->port(), "/metrics?x=y", "localhost:80").starts_with("HTTP/1.1 200"));
}

TEST_F(MetricsServerTest, ThePageIsAlwaysTheNewest) {
  get(server->port(), "/metrics");
  page.assign(std::size_t{1} << 20U, '#');
  page += '\n';
  EXPECT_TRUE(get(server->port(), "/metrics").ends_with(page)) << "also when it is larger than what a socket takes at once";
}

TEST_F(MetricsServerTest, NothingElseCanBeAskedFor) {
  EXPECT_TRUE(get(server->port(), "/").starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(get(server->port(), "/metrics/../etc/passwd").starts_with("HTTP/1.1 404"));
  EXPECT_TRUE(answer_to(server->port(), "POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 405"));
  EXPECT_TRUE(answer_to(server->port(), "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(answer_to(server->port(), "GET /metrics\r\n\r\n").starts_with("HTTP/1.1 400"));
  const auto head = answer_to(server->port(), "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(head.ends_with("\r\n\r\n")) << head;
}

TEST_F(MetricsServerTest, ANameThatOthersMadeLeadHereReadsNothing) {
  for (const auto* host : {"evil.example", "127.0.0.1.evil.example", "evil.example:9891", "", "localhost.evil.example"})
    EXPECT_TRUE(get(server->port(), "/metrics", host).starts_with("HTTP/1.1 421")) << host;
  EXPECT_TRUE(answer_to(server->port(), "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").starts_with("HTTP/1.1 421"));
  EXPECT_TRUE(answer_to(server->port(), "GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 421"));
}

TEST_F(MetricsServerTest, ARequestWithoutAnEndIsRefused) {
  EXPECT_TRUE(answer_to(server->port(), "GET /metrics HTTP/1.1\r\nX: " + std::string(8 << 10, 'x')).starts_with("HTTP/1.1 431"));
}

TEST_F(MetricsServerTest, WhoSaysNothingHoldsOthersUpForTwoSecondsAtMost) {
  const auto silent = connected(server->port());
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(get(server->port(), "/metrics").starts_with("HTTP/1.1 200"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2 * MetricsServer::kConnectionTime);
}

TEST_F(MetricsServerTest, ItEndsAtOnceAndLeavesThePort) {
  const auto silent = connected(server->port());
  const auto port = server->port();
  const auto began = std::chrono::steady_clock::now();
  server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, MetricsServer::kConnectionTime + 1s);
  EXPECT_TRUE(MetricsServer::start(ListenAddress{"127.0.0.1", port, false}, [] { return ""; }));
}

TEST_F(MetricsServerTest, APortThatIsTakenIsNamed) {
  const auto second = MetricsServer::start(ListenAddress{"127.0.0.1", server->port(), false}, [] { return ""; });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::Precondition);
  EXPECT_NE(second.error().describe().find(std::to_string(server->port())), std::string::npos);
}

}  // namespace
}  // namespace pgmint::service
