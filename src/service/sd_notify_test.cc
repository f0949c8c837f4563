#include "service/sd_notify.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

/// What systemd has: a datagram socket that waits at a path, or at a name of the abstract space.
class Listener {
 public:
  explicit Listener(const std::string& name) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd_.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)), size), 0) << std::strerror(errno);
  }
  /// "" when nothing has come.
  std::string next() {
    std::array<char, 4096> buffer{};
    const auto got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    return got < 0 ? "" : std::string(buffer.data(), static_cast<std::size_t>(got));
  }

 private:
  Fd fd_;
};

TEST(ServiceManager, TellsASocketAtAPathAndOneOfTheAbstractSpace) {
  const auto path = fmt::format("/tmp/pgmint-notify-{}", ::getpid());
  for (const auto& name : {path, fmt::format("@pgmint-notify-{}", ::getpid())}) {
    Listener listener(name);
    const auto manager = ServiceManager::open(name, std::nullopt);
    ASSERT_TRUE(manager) << manager.failure().describe();
    manager->tell("READY=1");
    manager->tell("RELOADING=1\nMONOTONIC_USEC=7");
    EXPECT_EQ(listener.next(), "READY=1");
    EXPECT_EQ(listener.next(), "RELOADING=1\nMONOTONIC_USEC=7");
    EXPECT_EQ(listener.next(), "");
  }
  ::unlink(path.c_str());
}

TEST(ServiceManager, WhoeverDoesNotListenDisturbsNobody) {
  const auto nobody = ServiceManager::open("", std::nullopt);
  ASSERT_TRUE(nobody);
  nobody->tell("READY=1");
  const auto gone = ServiceManager::open("/tmp/pgmint-no-such-socket", std::nullopt);
  ASSERT_TRUE(gone);
  gone->tell("READY=1");
  EXPECT_FALSE(ServiceManager::open("relative", std::nullopt));
  EXPECT_FALSE(ServiceManager::open("/" + std::string(200, 'x'), std::nullopt));
}

TEST(ServiceManager, TheWatchdogIsFedTwiceInItsTime) {
  EXPECT_EQ(ServiceManager::open("", "30000000")->watchdog(), 15s);
  for (const auto* none : {"", "0", "-5", "x", "30s"}) EXPECT_EQ(ServiceManager::open("", none)->watchdog(), std::nullopt) << none;
  EXPECT_EQ(ServiceManager::open("", std::nullopt)->watchdog(), std::nullopt);
}

}  // namespace
}  // namespace pgmint::service
