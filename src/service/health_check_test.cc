#include "service/health_check.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "service/http_probe.h"

namespace pgmint::service {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Listens on 127.0.0.1; answers each connection with `answer`, or with nothing at all.
class Listener {
 public:
  explicit Listener(std::string answer) : answer_(std::move(answer)), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_.get(), raw, size), 0);
    EXPECT_EQ(::listen(fd_.get(), 8), 0);
    EXPECT_EQ(::getsockname(fd_.get(), raw, &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Listener() {
    stop_ = true;
    thread_.join();
  }
  unsigned port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/health"; }

 private:
  void serve() {
    std::vector<Fd> silent;
    while (!stop_) {
      pollfd one{fd_.get(), POLLIN, 0};
      if (::poll(&one, 1, 20) <= 0) continue;
      Fd peer(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (answer_.empty()) {
        silent.push_back(std::move(peer));
        continue;
      }
      std::array<char, 4096> request{};
      if (::recv(peer.get(), request.data(), request.size(), 0) > 0) ::send(peer.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
    }
  }
  std::string answer_;
  Fd fd_;
  unsigned port_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

Status look_at(decltype(HealthCheck::look) what, milliseconds limit = milliseconds(3000)) {
  static const CancelToken never;
  return look({std::move(what)}, limit, system_clock(), never);
}

std::string why(const Status& status) { return status ? "well" : status.error().describe(); }

TEST(HealthCheck, HttpTakesTheStatusThatIsExpected) {
  const Listener good("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  const Listener moved("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(look_at(HttpCheck{good.url()}));
  EXPECT_NE(why(look_at(HttpCheck{good.url(), 204, std::nullopt})).find("answered 200 where 204 was expected: ok"), std::string::npos);
  EXPECT_TRUE(look_at(HttpCheck{moved.url(), 302, std::nullopt})) << "no redirection is followed";
}

TEST(HealthCheck, NobodyThereAndNobodyAnsweringAreNotWellInTime) {
  const Listener silent("");
  unsigned closed = 0;
  {
    const Listener gone("x");
    closed = gone.port();
  }
  EXPECT_FALSE(look_at(HttpCheck{"http://127.0.0.1:" + std::to_string(closed)}));
  EXPECT_FALSE(look_at(TcpCheck{"127.0.0.1", closed}));
  EXPECT_TRUE(look_at(TcpCheck{"127.0.0.1", silent.port()}));
  const auto before = steady_clock::now();
  EXPECT_FALSE(look_at(HttpCheck{silent.url()}, milliseconds(300)));
  EXPECT_FALSE(look_at(SqlCheck{"SELECT 1", "host=127.0.0.1 sslmode=disable port=" + std::to_string(silent.port()), std::nullopt}, milliseconds(300)));
  EXPECT_FALSE(look_at(CommandCheck{{"sleep", "600"}}, milliseconds(300)));
  EXPECT_LT(steady_clock::now() - before, std::chrono::seconds(4));
}

TEST(HealthCheck, TlsToWhoSpeaksNoneIsNotWell) {
  const Listener plain("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(look_at(HttpCheck{"https://127.0.0.1:" + std::to_string(plain.port())}));
}

TEST(HealthCheck, ACommandsExitStatusDecidesAndItsWordsAreTold) {
  EXPECT_TRUE(look_at(CommandCheck{{"true"}}));
  EXPECT_EQ(why(look_at(CommandCheck{{"sh", "-c", "echo because; exit 3"}})), "exit 3: because ");
  EXPECT_NE(why(look_at(CommandCheck{{"no-such-program"}})).find("no program"), std::string::npos);
}

TEST(HealthCheck, NoSecretIsTold) {
  const auto refused = why(look_at(SqlCheck{"SELECT 1", "host=127.0.0.1 port=1 password=geheim", std::nullopt}));
  EXPECT_EQ(refused.find("geheim"), std::string::npos) << refused;
  EXPECT_EQ(describe({HttpCheck{"https://u:geheim@h/"}}).find("geheim"), std::string::npos);
  EXPECT_EQ(describe({CommandCheck{{"x", "--password", "geheim"}}}).find("geheim"), std::string::npos);
  EXPECT_EQ(why(look_at(CommandCheck{{"sh", "-c", "echo password=geheim; exit 1"}})).find("geheim"), std::string::npos);
}

TEST(HealthCheck, ACancelledLookEndsAndSaysSo) {
  const Listener silent("");
  CancelToken cancel;
  cancel.cancel();
  for (const HealthCheck& check : {HealthCheck{HttpCheck{silent.url()}}, HealthCheck{CommandCheck{{"sleep", "600"}}}, HealthCheck{TcpCheck{"127.0.0.1", silent.port()}},
                                   HealthCheck{SqlCheck{"SELECT 1", "host=127.0.0.1 port=" + std::to_string(silent.port()), std::nullopt}}}) {
    const auto looked = look(check, milliseconds(5000), system_clock(), cancel);
    ASSERT_FALSE(looked);
    EXPECT_EQ(looked.error().code(), Errc::Cancelled) << describe(check);
  }
}

TEST(HealthCheck, ADataDirectoryIsCompleteWithItsControlFile) {
  char place[] = "/tmp/pgmint-check-XXXXXX";
  const fs::path folder = ::mkdtemp(place);
  EXPECT_FALSE(look_at(DataDirectoryCheck{folder.string()}));
  fs::create_directory(folder / "global");
  for (const auto* name : {"PG_VERSION", "global/pg_control"}) ASSERT_TRUE(create_file_durably(folder / name, as_bytes(std::string_view("15")), 0600));
  EXPECT_TRUE(look_at(DataDirectoryCheck{folder.string()}));
  fs::remove_all(folder);
}

TEST(HealthCheck, PlacesAreParsed) {
  EXPECT_EQ(parse_tcp("db1:5432").value(), (TcpCheck{"db1", 5432}));
  EXPECT_EQ(parse_tcp("[::1]:80").value(), (TcpCheck{"::1", 80}));
  for (const auto* wrong : {"", "db1", ":1", "db1:", "db1:0", "db1:70000", "db1:1x", "::1:80", "a b:1", "u@h:1", "[]:1"}) EXPECT_FALSE(parse_tcp(wrong)) << wrong;
}

TEST(HealthCheck, WhatCanBeToldWithoutLooking) {
  EXPECT_TRUE(check_syntax({HttpCheck{"https://h:1/x"}}));
  for (const auto* wrong : {"ftp://h/", "h:80", "https://", "http:///x", "http://a b/"}) EXPECT_FALSE(check_syntax({HttpCheck{wrong}})) << wrong;
  EXPECT_FALSE(check_syntax({SqlCheck{"SELECT 1", "host", std::nullopt}}));
  EXPECT_TRUE(check_syntax({SqlCheck{"SELECT 1", "host=a", std::nullopt}}));
  EXPECT_EQ(misgiving({HttpCheck{"https://h:1/x"}}), "");
  EXPECT_NE(misgiving({HttpCheck{"https://h/", 200, "/no/such/file"}}), "");
  EXPECT_NE(misgiving({CommandCheck{{"no-such-program"}}}), "");
  EXPECT_EQ(misgiving({CommandCheck{{"sh"}}}), "");
}

}  // namespace
}  // namespace pgmint::service
