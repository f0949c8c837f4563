#include "cli/config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cli/nearest.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kContract = R"(repository = "/var/lib/pgmint"
[encryption]
key_file = "/etc/pgmint/repository.key"
[cluster.main]
data_directory = "/var/lib/postgresql/15/main"
connection     = "host=/var/run/postgresql port=5432 user=postgres dbname=postgres"
environment    = "production"
[s3]
endpoint = "https://localhost:17443"
region = "us-east-1"
path_style = true
ca_file = "/etc/pgmint/ca.crt"
access_key_id = "a"
secret_access_key = "b"
)";

std::string message_of(std::string_view text) {
  const auto parsed = parse_configuration(text, "test.toml");
  if (parsed) return "accepted";
  EXPECT_EQ(parsed.error().code(), Errc::Configuration);
  return parsed.error().describe();
}

void expect_refused(std::string_view text, const std::vector<std::string>& naming) {
  const auto message = message_of(text);
  for (const auto& word : naming)
    EXPECT_NE(message.find(word), std::string::npos) << "no \"" << word << "\" in: " << message;
}

GetEnvironment variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

struct TemporaryFile {
  explicit TemporaryFile(std::string_view text) {
    char name[] = "/tmp/pgmint-config-XXXXXX";
    const int fd = ::mkstemp(name);
    if (fd >= 0) ::close(fd);
    path = name;
    std::ofstream(path) << text;
  }
  ~TemporaryFile() { fs::remove(path); }
  std::string path;
};

TEST(Configuration, ReadsWhatTheContractShows) {
  const auto parsed = parse_configuration(kContract, "test.toml");
  ASSERT_TRUE(parsed) << parsed.error().describe();
  ASSERT_EQ(parsed->repositories.size(), 1U);
  EXPECT_EQ(parsed->repositories[0].url, "/var/lib/pgmint");
  EXPECT_EQ(parsed->encryption.key_file, "/etc/pgmint/repository.key");
  ASSERT_EQ(parsed->clusters.size(), 1U);
  EXPECT_EQ(parsed->clusters[0].name, "main");
  EXPECT_EQ(parsed->clusters[0].data_directory, "/var/lib/postgresql/15/main");
  EXPECT_EQ(parsed->clusters[0].environment, EnvironmentKind::Production);
  EXPECT_EQ(parsed->s3.path_style, true);
}

TEST(Configuration, ReadsSeveralRepositoriesWithTheirOwnTables) {
  const auto parsed = parse_configuration(
      "[[repository]]\nname = \"a\"\nurl = \"/a\"\n[repository.encryption]\nkey_file = \"/k\"\n[[repository]]\nname = "
      "\"b\"\nurl = \"s3://b/x\"\n"
      "[repository.s3]\nregion = \"r\"\n",
      "test.toml");
  ASSERT_TRUE(parsed) << parsed.error().describe();
  ASSERT_EQ(parsed->repositories.size(), 2U);
  EXPECT_EQ(parsed->repositories[0].encryption.key_file, "/k");
  EXPECT_EQ(parsed->repositories[1].s3.region, "r");
  EXPECT_TRUE(parsed->repositories[1].is_s3());
}

TEST(Configuration, ReadsWhereExportsGo) {
  const auto parsed = parse_configuration("[export]\nparts_above = \"64MiB\"\n[export.s3]\nregion = \"r\"\nserver_side_encryption = \"none\"\n", "test.toml");
  ASSERT_TRUE(parsed) << parsed.error().describe();
  EXPECT_EQ(parsed->exports.parts_above, 64_MiB);
  EXPECT_EQ(parsed->exports.s3.region, "r");
  EXPECT_EQ(parsed->exports.s3.server_side_encryption, "") << "said, and nothing asked";
  EXPECT_TRUE(parsed->s3.empty());
  for (const char* wrong : {"4MiB", "6GiB", "much"}) {
    const auto refused = parse_configuration(fmt::format("[export]\nparts_above = \"{}\"\n", wrong), "test.toml");
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.failure().code(), Errc::Configuration);
  }
  EXPECT_FALSE(parse_configuration("[export.s3]\nendpont = \"x\"\n", "test.toml"));
}

TEST(Configuration, KeepsTheOrderOfClusters) {
  const auto parsed = parse_configuration(
      "[cluster.zeta]\ndata_directory = \"/z\"\n[cluster.alpha]\ndata_directory = \"/a\"\n", "test.toml");
  ASSERT_TRUE(parsed) << parsed.error().describe();
  ASSERT_EQ(parsed->clusters.size(), 2U);
  EXPECT_EQ(parsed->clusters[0].name, "zeta");
}

TEST(Configuration, ObjectivesHangOnTheEnvironmentUnlessTheyAreGiven) {
  const auto parsed = parse_configuration("[cluster.a]\ndata_directory = \"/a\"\nenvironment = \"staging\"\n[cluster.b]\ndata_directory = \"/b\"\nrpo = \"15min\"\nrto = \"2h\"\n", "test.toml");
  ASSERT_TRUE(parsed) << parsed.error().describe();
  EXPECT_EQ(objectives_of(&parsed->clusters[0]).rto, std::chrono::hours(24));
  EXPECT_EQ(objectives_of(&parsed->clusters[1]).rpo, std::chrono::minutes(15));
  EXPECT_EQ(objectives_of(&parsed->clusters[1]).rto, std::chrono::hours(2));
  EXPECT_EQ(objectives_of(nullptr).rpo, std::chrono::hours(1));
  expect_refused("[cluster.a]\ndata_directory = \"/a\"\nrpo = \"soon\"\n", {"test.toml:3", "rpo", "soon"});
  expect_refused("[cluster.a]\ndata_directory = \"/a\"\nrto = 4\n", {"rto"});
}

TEST(Configuration, ReadsWhatARestoredServerIsHeldAgainst) {
  const auto parsed = parse_configuration(
      "[cluster.a]\ndata_directory = \"/a\"\n[cluster.a.validation]\ncount = [\"public.t\"]\nnewest = [\"t.at\"]\nlogin = \"user=app\"\nslower_than = 5\n"
      "[[validation]]\nname = \"q\"\nsql = \"select 1\"\nexpect = 1\n[[validation]]\nname = \"r\"\nsql = \"select true\"\nexpect = true\ncluster = \"a\"\ndatabase = \"d\"\nlimit = 5\n"
      "[[validation]]\nname = \"s\"\nsql = \"select 2\"\nexpect_at_least = 1.5\n",
      "test.toml");
  ASSERT_TRUE(parsed) << parsed.error().describe();
  EXPECT_EQ(parsed->clusters[0].validation.slower_than, 5U);
  EXPECT_EQ(parsed->clusters[0].validation.login, "user=app");
  ASSERT_EQ(parsed->validation_queries.size(), 3U);
  EXPECT_EQ(parsed->validation_queries[0].expect, "1");
  EXPECT_EQ(parsed->validation_queries[1].expect, "t");
  EXPECT_EQ(parsed->validation_queries[1].limit, std::chrono::seconds(5));
  EXPECT_EQ(parsed->validation_queries[2].expect_at_least, "1.5");
  const std::string query = "[[validation]]\nname = \"q\"\nsql = \"select 1\"\n";
  expect_refused(query, {"expect", "expect_at_least"});
  expect_refused(query + "expect = 1\nexpect_at_least = 1\n", {"one of"});
  expect_refused(query + "expect = []\n", {"expect"});
  expect_refused(query + "expect = 1\n" + query + "expect = 1\n", {"two", "\"q\""});
  expect_refused("[[validation]]\nname = \"q\"\nexpect = 1\n", {"sql"});
  expect_refused("[validation]\ncount = []\n", {"[[validation]]", "[cluster.NAME.validation]"});
  expect_refused("[cluster.a]\ndata_directory = \"/a\"\n[cluster.a.validation]\nnewest = [\"created_at\"]\n", {"table.column"});
}

TEST(Configuration, NamesTheNearestKnownKeyAndTheLine) {
  expect_refused("repository = \"/r\"\n[encryption]\nkey_fle = \"/k\"\n",
                 {"test.toml:3", "\"key_fle\"", "[encryption]", "\"key_file\""});
  expect_refused("repositry = \"/r\"\n", {"test.toml:1", "\"repository\""});
  expect_refused("[cluster.main]\ndata_dir = \"/d\"\n", {"test.toml:2", "[cluster.main]", "\"data_directory\""});
  expect_refused("[s3]\nendpont = \"x\"\n", {"\"endpoint\""});
}

TEST(Configuration, SaysWhereAMisplacedKeyBelongs) {
  expect_refused("key_file = \"/k\"\n", {"[encryption]"});
  expect_refused("[cluster.main]\ndata_directory = \"/d\"\njobs = 2\n", {"top level"});
}

TEST(Configuration, ListsKnownKeysWhenNoneIsNear) {
  expect_refused("[encryption]\nzzzzzzzzzz = 1\n", {"key_file", "passphrase_file", "recovery_key_file"});
}

TEST(Configuration, ChecksTypesAndRanges) {
  expect_refused("repository = 5\n", {"test.toml:1", "repository"});
  expect_refused("repository = \"\"\n", {"empty"});
  expect_refused("[s3]\npath_style = \"yes\"\n", {"path_style", "true or false"});
  expect_refused("jobs = 0\n", {"from 1 to 256"});
  expect_refused("[wal]\nbatch = -1\n", {"batch"});
  expect_refused("[encryption]\nkey_file = \"repository.key\"\n", {"absolute"});
  expect_refused("compression = \"brotli\"\n", {"compression"});
  expect_refused("log_level = \"loud\"\n", {"loud", "debug"});
  expect_refused("[cluster.main]\ndata_directory = \"/d\"\nenvironment = \"prod\"\n", {"prod", "production"});
}

TEST(Configuration, RefusesClustersThatCannotBeTold) {
  expect_refused("[cluster.main]\nenvironment = \"staging\"\n", {"data_directory", "connection"});
  const auto remote = parse_configuration("[cluster.main]\nconnection = \"host=db1\"\n", "test.toml");
  ASSERT_TRUE(remote) << remote.error().describe();
  EXPECT_TRUE(remote->clusters.at(0).is_remote());
  expect_refused("[cluster.\"a/b\"]\ndata_directory = \"/d\"\n", {"a/b"});
  expect_refused("[cluster.a]\ndata_directory = \"/d\"\n[cluster.b]\ndata_directory = \"/d\"\n",
                 {"same data_directory"});
  expect_refused("cluster = 3\n", {"table"});
}

TEST(Configuration, RefusesWhatIsNoToml) {
  expect_refused("repository = \n", {"test.toml:1"});
  expect_refused("repository = \"/r\"\n[= \"x\"\n", {"test.toml:2"});
  expect_refused("repository = \"/r\"\nrepository = \"/s\"\n", {"test.toml:2"});
  expect_refused(std::string(2U << 20, '#'), {"1 MiB"});
}

TEST(Configuration, ABucketIsNoDirectory) {
  const auto parsed = parse_configuration("repository = \"s3://bucket/prefix\"\n", "test.toml");
  ASSERT_TRUE(parsed);
  const auto directory = parsed->repositories[0].directory();
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code(), Errc::Configuration);
}

TEST(Configuration, LocalRepositoriesAreAbsolutePathsOrFileUrls) {
  RepositorySettings repository;
  repository.url = "file:///srv/pgmint";
  EXPECT_EQ(*repository.directory(), "/srv/pgmint");
  repository.url = "srv/pgmint";
  EXPECT_EQ(repository.directory().error().code(), Errc::Configuration);
}

TEST(Configuration, CompressionTakesModesAndPlainCodecs) {
  for (const std::string mode : {"balanced", "fast", "small", "none", "zstd:5", "lz4"}) {
    const auto parsed = parse_configuration("compression = \"" + mode + "\"\ncompression_check = false\n", "test.toml");
    ASSERT_TRUE(parsed) << parsed.error().describe();
    EXPECT_EQ(parsed->compression, mode);
    EXPECT_EQ(parsed->compression_check, false);
  }
  expect_refused("compression_check = \"no\"\n", {"compression_check"});
}

TEST(Configuration, RetentionHasDefaultsAndReadsWhatIsSaid) {
  const std::string cluster = "[cluster.main]\ndata_directory = \"/d\"\n";
  const auto plain = parse_configuration(cluster, "test.toml");
  ASSERT_TRUE(plain) << plain.error().describe();
  const auto& defaults = plain->clusters[0].retention;
  EXPECT_EQ(defaults.rules, (policy::RetentionRules{policy::days(30), policy::days(90), policy::days(365), policy::years(7), {}, {}, 1}));
  EXPECT_EQ(defaults.wal, policy::days(30));
  EXPECT_FALSE(defaults.timezone);

  const auto parsed = parse_configuration(cluster +
                                              "[cluster.main.retention]\ndaily = \"2w\"\nweekly = \"none\"\nmonthly = \"6mo\"\n"
                                              "count = 5\nwindow = \"3d\"\nminimum = 2\nwal = \"0d\"\ntimezone = \"Europe/Berlin\"\n",
                                          "test.toml");
  ASSERT_TRUE(parsed) << parsed.error().describe();
  const auto& said = parsed->clusters[0].retention;
  EXPECT_EQ(said.rules,
            (policy::RetentionRules{policy::days(14), {}, policy::Period{6, 0}, policy::years(7), policy::days(3), 5, 2}));
  EXPECT_EQ(said.wal, policy::days(0));
  EXPECT_EQ(said.timezone, "Europe/Berlin");
}

TEST(Configuration, RetentionIsCheckedKeyByKey) {
  const auto refused = [](const std::string& line, std::vector<std::string> words) {
    expect_refused("[cluster.main]\ndata_directory = \"/d\"\n[cluster.main.retention]\n" + line + "\n", std::move(words));
  };
  refused("dialy = \"30d\"", {"test.toml:4", "\"dialy\"", "[cluster.main.retention]", "\"daily\""});
  refused("daily = 30", {"daily", "text in quotes"});
  refused("daily = \"30\"", {"\"daily\"", "\"30\"", "30d"});
  refused("wal = \"none\"", {"\"wal\"", "30d"});
  refused("minimum = 0", {"minimum", "from 1"});
  expect_refused("[cluster.main]\ndata_directory = \"/d\"\ndaily = \"30d\"\n", {"[cluster.NAME.retention]"});
}

TEST(Configuration, EnvironmentTakesThePlaceOfTheFile) {
  const TemporaryFile file(kContract);
  const auto loaded = load_configuration(std::nullopt, variables({{"PGMINT_CONFIG", file.path},
                                                                  {"PGMINT_REPOSITORY", "/elsewhere"},
                                                                  {"PGMINT_RECOVERY_KEY_FILE", "/media/recovery"},
                                                                  {"PGMINT_JOBS", "3"}}));
  ASSERT_TRUE(loaded) << loaded.error().describe();
  EXPECT_EQ(loaded->repositories[0].url, "/elsewhere");
  EXPECT_EQ(loaded->jobs, 3U);
  EXPECT_EQ(loaded->encryption.recovery_key_file, "/media/recovery");
  EXPECT_FALSE(loaded->encryption.key_file) << "the key that is named is the only one tried";
}

TEST(Configuration, FlagBeatsEnvironment) {
  const TemporaryFile file(kContract);
  EXPECT_TRUE(load_configuration(file.path, variables({{"PGMINT_CONFIG", "/nonexistent"}})));
}

TEST(Configuration, OnlyTheDefaultFileMayBeMissing) {
  const auto missing = load_configuration(std::nullopt, variables({{"PGMINT_CONFIG", "/nonexistent/pgmint.toml"}}));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::Configuration);
  EXPECT_NE(missing.error().describe().find("/nonexistent/pgmint.toml"), std::string::npos);
}

TEST(Configuration, RepositoryVariableChoosesByName) {
  const TemporaryFile file("[[repository]]\nname = \"a\"\nurl = \"/a\"\n[[repository]]\nname = \"b\"\nurl = \"/b\"\n");
  const auto loaded = load_configuration(file.path, variables({{"PGMINT_REPOSITORY", "b"}}));
  ASSERT_TRUE(loaded) << loaded.error().describe();
  ASSERT_EQ(loaded->repositories.size(), 1U);
  EXPECT_EQ(loaded->repositories[0].url, "/b");
  EXPECT_TRUE(loaded->chosen_of_several);
  EXPECT_FALSE(load_configuration(file.path, variables({{"PGMINT_REPOSITORY", "c"}})));
  EXPECT_FALSE(load_configuration(file.path, variables({{"PGMINT_REPOSITORY", "/c"}}))->chosen_of_several) << "a place of its own";
  EXPECT_FALSE(load_configuration(file.path, variables({}))->chosen_of_several);
}

TEST(Configuration, ALogOfItsOwnBelongsToOneRepository) {
  const TemporaryFile file("repository = \"s3://b/prod\"\nlog_url = \"s3://b-log/prod\"\n");
  const auto loaded = load_configuration(file.path, variables({}));
  ASSERT_TRUE(loaded) << loaded.error().describe();
  EXPECT_EQ(loaded->repositories[0].log_url, "s3://b-log/prod");
  const auto elsewhere = load_configuration(file.path, variables({{"PGMINT_REPOSITORY", "s3://c/prod"}}));
  ASSERT_TRUE(elsewhere);
  EXPECT_EQ(elsewhere->repositories[0].log_url, "") << "it is that of the configured one";
  const auto both = load_configuration(file.path, variables({{"PGMINT_REPOSITORY", "s3://c/prod"}, {"PGMINT_LOG_URL", "s3://c-log/prod"}}));
  ASSERT_TRUE(both);
  EXPECT_EQ(both->repositories[0].log_url, "s3://c-log/prod");
  EXPECT_FALSE(load_configuration(file.path, variables({{"PGMINT_LOG_URL", "/var/log"}})));
  EXPECT_TRUE(parse_configuration("[[repository]]\nname = \"a\"\nurl = \"s3://a/\"\nlog_url = \"s3://a-log/\"\n", "test.toml"));
}

TEST(Configuration, ALogOfItsOwnLiesOutsideTheRepository) {
  expect_refused("repository = \"s3://b/prod\"\nlog_url = \"s3://b/prod/log\"\n", {"lies in"});
  expect_refused("repository = \"s3://b/prod/x\"\nlog_url = \"s3://b/prod\"\n", {"lies in"});
  expect_refused("repository = \"s3://b\"\nlog_url = \"s3://b\"\n", {"lies in"});
  expect_refused("repository = \"/var/lib/pgmint\"\nlog_url = \"s3://b\"\n", {"is a directory"});
  expect_refused("log_url = \"s3://b\"\n", {"repository"});
  expect_refused("log_url = \"s3://c\"\n[[repository]]\nname = \"a\"\nurl = \"s3://a\"\n", {"log_url", "beside it"});
}

TEST(Configuration, TheCommandLineChoosesARepositoryBeforeTheVariable) {
  const TemporaryFile file("[[repository]]\nname = \"a\"\nurl = \"/a\"\n[[repository]]\nname = \"b\"\nurl = \"/b\"\n");
  auto arguments = parse_arguments({"list", "--config", file.path, "--repository", "b"});
  ASSERT_TRUE(arguments) << arguments.error().describe();
  ASSERT_EQ(::setenv("PGMINT_REPOSITORY", "a", 1), 0);
  const auto loaded = load_configuration(*arguments);
  ASSERT_EQ(::unsetenv("PGMINT_REPOSITORY"), 0);
  ASSERT_TRUE(loaded) << loaded.error().describe();
  ASSERT_EQ(loaded->repositories.size(), 1U);
  EXPECT_EQ(loaded->repositories[0].name, "b");
  arguments->set("--repository", "c");
  const auto unknown = load_configuration(*arguments);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().describe().find("a, b"), std::string::npos) << unknown.error().describe();
}

TEST(Configuration, StateDirectoryFollowsXdg) {
  Configuration configuration;
  EXPECT_EQ(*state_directory(configuration, variables({{"XDG_STATE_HOME", "/s"}, {"HOME", "/h"}})), "/s/pgmint");
  EXPECT_EQ(*state_directory(configuration, variables({{"HOME", "/h"}})), "/h/.local/state/pgmint");
  EXPECT_EQ(state_directory(configuration, variables({})).error().code(), Errc::Configuration);
  configuration.state_directory = "/var/lib/pgmint-state";
  EXPECT_EQ(*state_directory(configuration, variables({{"HOME", "/h"}})), "/var/lib/pgmint-state");
}

TEST(Configuration, LogFilesHaveTheirTimes) {
  const auto defaults = parse_configuration("[logs]\ndirectory = \"/var/log/pgmint\"", "f");
  ASSERT_TRUE(defaults);
  EXPECT_EQ(defaults->logs.keep("backup"), policy::days(90));
  EXPECT_EQ(defaults->logs.keep("restore"), policy::days(90));
  EXPECT_EQ(defaults->logs.keep("access"), policy::days(365));
  EXPECT_EQ(defaults->logs.keep("audit"), policy::years(7));
  EXPECT_FALSE(defaults->logs.json);
  const auto chosen = parse_configuration("[logs]\nformat = \"json\"\naudit = \"10y\"\nbackup = \"2w\"", "f");
  ASSERT_TRUE(chosen);
  EXPECT_TRUE(chosen->logs.json);
  EXPECT_FALSE(chosen->logs.directory);
  EXPECT_EQ(chosen->logs.keep("audit"), policy::years(10));
  EXPECT_EQ(chosen->logs.keep("backup"), policy::days(14));
  for (const auto* wrong : {"[logs]\ndirectory = \"logs\"", "[logs]\nformat = \"xml\"", "[logs]\naudit = \"ever\"", "[logs]\nfolder = \"/x\"", "log_format = \"colour\""})
    EXPECT_EQ(parse_configuration(wrong, "f").error().code(), Errc::Configuration) << wrong;
}

TEST(Configuration, EveryKeyIsDocumented) {
  for (const auto& key : documented_keys()) EXPECT_FALSE(key.kind.empty()) << key.table << " " << key.key;
  EXPECT_GE(documented_keys().size(), 20U);
}

TEST(Nearest, CountsSwapsOnce) {
  EXPECT_EQ(edit_distance("restore", "restoer"), 1U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Nearest, OffersNothingWhenNothingIsNear) {
  EXPECT_EQ(nearest("bakup", {"backup", "list"}), "backup");
  EXPECT_EQ(nearest("frobnicate", {"backup", "list"}), std::nullopt);
  EXPECT_EQ(nearest("x", {"backup"}), std::nullopt);
  EXPECT_EQ(nearest("list", {}), std::nullopt);
}

TEST(Nearest, CompletesABeginningThatOnlyOneWordHas) {
  EXPECT_EQ(nearest("data_dir", {"connection", "data_directory"}), "data_directory");
  EXPECT_EQ(nearest("passph", {"passphrase_file", "passphrase_command"}), std::nullopt) << "which of the two?";
  EXPECT_EQ(nearest("da", {"connection", "data_directory"}), std::nullopt);
}

}  // namespace
}  // namespace pgmint::cli
