#include "cli/arguments.h"

#include <gtest/gtest.h>

#include "cli/exit_rules.h"

namespace pgmint::cli {
namespace {

Arguments parsed(const std::vector<std::string>& words) {
  auto arguments = parse_arguments(words);
  EXPECT_TRUE(arguments) << arguments.error().describe();
  return arguments ? std::move(*arguments) : Arguments();
}

void expect_refused(const std::vector<std::string>& words, Errc code, const std::vector<std::string>& naming) {
  const auto arguments = parse_arguments(words);
  ASSERT_FALSE(arguments);
  EXPECT_EQ(arguments.error().code(), code);
  for (const auto& word : naming)
    EXPECT_NE(arguments.error().describe().find(word), std::string::npos)
        << "no \"" << word << "\" in: " << arguments.error().describe();
  EXPECT_FALSE(arguments.error().hint().empty()) << arguments.error().describe();
}

TEST(Arguments, GlobalOptionsStandAnywhere) {
  for (const auto& words : {std::vector<std::string>{"--config", "/c", "key", "list", "--json"},
                            {"key", "list", "--json", "--config=/c"},
                            {"key", "--config", "/c", "--json", "list"}}) {
    const auto arguments = parsed(words);
    ASSERT_NE(arguments.command, nullptr);
    EXPECT_EQ(arguments.command->verb, "key list");
    EXPECT_EQ(arguments.get("--config"), "/c");
    EXPECT_TRUE(arguments.has("--json"));
  }
}

TEST(Arguments, ValuesArriveAsTyped) {
  EXPECT_EQ(parsed({"key", "add", "--recovery", "--note", "[a,b]"}).get("--note"), "[a,b]");
  EXPECT_EQ(parsed({"key", "add", "--recovery", "--note=-x=y"}).get("--note"), "-x=y");
  EXPECT_EQ(parsed({"key", "remove", "--", "--odd"}).position("SLOT"), "--odd");
}

TEST(Arguments, RepeatableOptionsKeepTheirOrder) {
  const auto arguments = parsed({"key", "rotate", "--root", "--file", "a", "--file", "b"});
  EXPECT_EQ(arguments.all("--file"), (std::vector<std::string>{"a", "b"}));
}

TEST(Arguments, AGroupAloneIsItsList) {
  EXPECT_EQ(parsed({"key"}).command->verb, "key list");
}

TEST(Arguments, NamesTheNearestCommand) {
  expect_refused({"inti"}, Errc::Usage, {"\"inti\"", "init"});
  expect_refused({"key", "lst"}, Errc::Usage, {"key list"});
  expect_refused({"frobnicate"}, Errc::Usage, {"frobnicate"});
  expect_refused({}, Errc::Usage, {"no command"});
}

TEST(Arguments, NamesTheNearestOption) {
  expect_refused({"key", "list", "--jsno"}, Errc::Usage, {"--jsno", "--json"});
  expect_refused({"key", "add", "--pasphrase-file", "x"}, Errc::Usage, {"--passphrase-file"});
  expect_refused({"key", "list", "--frobnicate=1"}, Errc::Usage, {"--frobnicate"});
}

TEST(Arguments, ChecksPositionsAndValues) {
  expect_refused({"key", "remove"}, Errc::Usage, {"SLOT"});
  expect_refused({"key", "remove", "a", "b"}, Errc::Usage, {"\"b\""});
  expect_refused({"key", "list", "--config"}, Errc::Usage, {"--config"});
  expect_refused({"key", "list", "--config", "--json"}, Errc::Usage, {"--config"});
  expect_refused({"key", "list", "--json=yes"}, Errc::Usage, {"--json"});
  expect_refused({"key", "list", "--config", "a", "--config", "b"}, Errc::Usage, {"2 times"});
  expect_refused({"key", "add", "--role", "admin", "--recovery"}, Errc::Usage, {"admin", "maintenance"});
  expect_refused({"key", "list", "--log-level", "loud"}, Errc::Usage, {"loud", "debug"});
}

TEST(Arguments, LaterVerbsAreRefusedAndNotUnknown) {
  expect_refused({"wal", "receive"}, Errc::Precondition, {"wal receive", "not in this version"});
}

TEST(Arguments, HelpNeedsNothingElse) {
  EXPECT_TRUE(parsed({"--help"}).help);
  EXPECT_EQ(parsed({"key", "remove", "--help"}).command->verb, "key remove");
  EXPECT_EQ(parsed({"help", "key", "remove"}).command->verb, "key remove");
  EXPECT_EQ(parsed({"key", "--help"}).help_group, "key");
  // A command that has others below it.
  EXPECT_EQ(parsed({"replicate", "--help"}).command->verb, "replicate");
  EXPECT_EQ(parsed({"replicate", "promote", "--help"}).command->verb, "replicate promote");
  EXPECT_TRUE(parsed({"--version"}).version);
  expect_refused({"frobnicate", "--help"}, Errc::Usage, {"frobnicate"});
}

TEST(ExitRules, WalGetFailsAboveAndWalPushBelow125) {
  for (auto code : {Errc::NotFound, Errc::Usage, Errc::Configuration, Errc::Precondition, Errc::Storage, Errc::Key,
                    Errc::Corruption, Errc::Internal, Errc::Cancelled}) {
    EXPECT_GT(exit_code_for("wal get", Error(code, "")), 125);
    EXPECT_LE(exit_code_for("wal push", Error(code, "")), 125);
    EXPECT_GT(exit_code_for("wal push", Error(code, "")), 0);
    EXPECT_EQ(exit_code_for("backup", Error(code, "")), exit_code(code));
  }
  EXPECT_EQ(verb_of({"--config", "x", "wal", "get"}), "wal get");
  EXPECT_EQ(verb_of({"list"}), "");
}

}  // namespace
}  // namespace pgmint::cli
