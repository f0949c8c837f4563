#include "crypto/kernel_keyring.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>


namespace pgmint::crypto {
namespace {

using std::chrono::seconds;

struct KernelKeyringTest : testing::Test {
  void SetUp() override {
    const auto kept = KernelKeyring::keep(name, key, now, seconds(60));
    if (!kept && kept.failure().code() == Errc::Precondition) GTEST_SKIP() << "no keyrings here: " << kept.failure().describe();
    ASSERT_TRUE(kept) << kept.failure().describe();
  }
  void TearDown() override { KernelKeyring::forget(name); }

  const std::string name = fmt::format("pgmint-test:{}", ::getpid());
  const TimePoint now{seconds(1'800'000'000)};
  SeededRandom random{5};
  const Key256 key = Key256::generate(random);
};

TEST_F(KernelKeyringTest, GivesBackWhatWasKeptAndWhen) {
  const auto found = KernelKeyring::find(name);
  ASSERT_TRUE(found);
  EXPECT_TRUE(equal_constant_time(found->key.bytes(), key.bytes()));
  EXPECT_EQ(found->since, now);
  EXPECT_FALSE(KernelKeyring::find(name + "x"));
}

TEST_F(KernelKeyringTest, AnotherProcessOfThisUserFindsItAndAnotherUserDoesNot) {
  const auto status_in_child = [&](uid_t uid) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (uid != ::getuid() && ::setuid(uid) != 0) ::_exit(9);
      const auto found = KernelKeyring::find(name);
      ::_exit(found && equal_constant_time(found->key.bytes(), key.bytes()) ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(status_in_child(::getuid()), 0);
  if (::getuid() == 0) {
    EXPECT_EQ(status_in_child(65534), 1);
  }
}

TEST_F(KernelKeyringTest, AnotherOneTakesItsPlaceAndAForgottenOneIsGone) {
  const auto other = Key256::generate(random);
  ASSERT_TRUE(KernelKeyring::keep(name, other, now + seconds(1), seconds(60)));
  const auto found = KernelKeyring::find(name);
  ASSERT_TRUE(found);
  EXPECT_TRUE(equal_constant_time(found->key.bytes(), other.bytes()));
  KernelKeyring::forget(name);
  EXPECT_FALSE(KernelKeyring::find(name));
}

TEST_F(KernelKeyringTest, TheKernelForgetsItWhenItsTimeIsOver) {
  ASSERT_TRUE(KernelKeyring::keep(name, key, now, seconds(1)));
  const auto until = std::chrono::steady_clock::now() + seconds(20);
  while (KernelKeyring::find(name) && std::chrono::steady_clock::now() < until) system_clock().sleep(std::chrono::milliseconds(20));
  EXPECT_FALSE(KernelKeyring::find(name));
}

}  // namespace
}  // namespace pgmint::crypto
