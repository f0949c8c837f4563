#include "cli/secrets.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "cli/recall_command.h"
#include "cli/store_probe.h"
#include "storage/memory_store.h"

namespace pgmint::cli {
namespace {

class Secrets : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/pgmint-secrets-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path file(const std::string& name, const std::string& text, mode_t mode = 0600) {
    const fs::path path = folder_ / name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }

  fs::path folder_;
};

TEST_F(Secrets, AKeyFileThatIsMadeCanBeRead) {
  const auto made = create_key_file(folder_ / "new/repository.key", system_random());
  ASSERT_TRUE(made) << made.error().describe();
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "new/repository.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  const auto read = unlock_from_key_file(folder_ / "new/repository.key");
  ASSERT_TRUE(read) << read.error().describe();
  EXPECT_TRUE(crypto::equal_constant_time(read->key.bytes(), made->key.bytes()));
  const auto again = create_key_file(folder_ / "new/repository.key", system_random());
  ASSERT_FALSE(again) << "an existing key is never replaced";
  EXPECT_EQ(again.error().code(), Errc::Precondition);
}

TEST_F(Secrets, AKeyThatOthersMayReadIsRefusedWithTheChmodToType) {
  const auto path = file("open.key", "x", 0640);
  const auto read = unlock_from_key_file(path);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::Key);
  EXPECT_NE(read.error().hint().find("chmod 600 " + path.string()), std::string::npos) << read.error().hint();
}

TEST_F(Secrets, AMissingKeyAndAFolderAreKeyErrors) {
  EXPECT_EQ(unlock_from_key_file(folder_ / "absent").error().code(), Errc::Key);
  EXPECT_EQ(unlock_from_key_file(folder_).error().code(), Errc::Key);
}

TEST_F(Secrets, ARecoveryKeyMayBeTypedInLowerCase) {
  const auto made = create_recovery_key({}, system_random());
  std::string typed = "  " + made.printed.texts.at(0) + " \n\n";
  for (char& c : typed) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto read = unlock_from_recovery_file(file("paper", typed));
  ASSERT_TRUE(read) << read.error().describe();
  EXPECT_TRUE(crypto::equal_constant_time(read->key.bytes(), made.unlock.key.bytes()));
}

TEST_F(Secrets, ThePassphraseIsTheFirstLine) {
  EXPECT_EQ(unlock_from_passphrase_file(file("p", "correct horse\r\nsecond\n"))->passphrase, "correct horse");
  EXPECT_EQ(unlock_from_passphrase_file(file("q", "no newline"))->passphrase, "no newline");
  EXPECT_EQ(unlock_from_passphrase_file(file("r", "\nsecond\n")).error().code(), Errc::Key);
}

TEST_F(Secrets, WithoutAnyConfiguredKeyTheConfigurationIsAtFault) {
  EXPECT_EQ(configured_unlocks({}).error().code(), Errc::Configuration);
}

TEST(ShellQuoting, QuotesOnlyWhereNeeded) {
  EXPECT_EQ(shell_quoted("/usr/bin/pgmint"), "/usr/bin/pgmint");
  EXPECT_EQ(shell_quoted("/srv/my data"), "'/srv/my data'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("$(rm)"), "'$(rm)'");
  EXPECT_EQ(shell_quoted(""), "''");
}

/// A store whose create() lets everybody win, as some S3 services do with versioning on.
class EverybodyWins final : public storage::BlobStore {
 public:
  Result<storage::Created> create(const std::string& name, ByteView data) override {
    inner_.replace(name, to_bytes(data));
    return storage::Created::Yes;
  }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    return inner_.read(name, limit);
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    return inner_.read_range(name, offset, out);
  }
  Result<std::optional<storage::BlobInfo>> stat(const std::string& name) override { return inner_.stat(name); }
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const storage::BlobInfo&)>& visit) override {
    return inner_.list(prefix, after, visit);
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override { return inner_.list_parts(prefix); }
  Status remove(const std::string& name) override { return inner_.remove(name); }
  std::string describe() const override { return "everybody wins"; }

  storage::MemoryStore inner_;
};

TEST(StoreProbe, PassesAStoreThatKeepsItsPromiseAndLeavesNothing) {
  storage::MemoryStore store;
  const auto probed = probe_create_if_absent(store, system_random());
  EXPECT_TRUE(probed) << probed.error().describe();
  EXPECT_TRUE(store.snapshot().empty());
}

TEST(StoreProbe, FindsAStoreThatLetsEverybodyWin) {
  EverybodyWins store;
  const auto probed = probe_create_if_absent(store, system_random());
  ASSERT_FALSE(probed);
  EXPECT_EQ(probed.error().code(), Errc::Storage);
  EXPECT_NE(probed.error().describe().find("16 were told"), std::string::npos) << probed.error().describe();
  EXPECT_TRUE(store.inner_.snapshot().empty());
}

}  // namespace
}  // namespace pgmint::cli
