#include "cli/manual.h"

#include <gtest/gtest.h>

#include <set>

#include "cli/arguments.h"

namespace pgmint::cli {
namespace {

TEST(Manual, EveryCommandHasAllSections) {
  for (const auto* command : all_commands()) {
    EXPECT_NE(command->run, nullptr) << command->verb;
    EXPECT_FALSE(command->summary.empty()) << command->verb;
    EXPECT_FALSE(command->description.empty()) << command->verb;
    EXPECT_FALSE(command->examples.empty()) << command->verb;
    const auto text = help_text(*command);
    for (const auto* section :
         {"NAME\n", "SYNOPSIS\n", "DESCRIPTION\n", "OPTIONS\n", "EXIT STATUS\n", "EXAMPLES\n", "SEE ALSO\n"})
      EXPECT_NE(text.find(section), std::string::npos) << command->verb << " lacks " << section;
  }
}

TEST(Manual, NoLineIsLongerThanAskedForButUnbreakableOnes) {
  for (const auto* command : all_commands()) {
    const auto text = help_text(*command, 80);
    std::set<std::string_view> examples;
    for (const auto& example : command->examples) examples.insert(example.command);
    for (std::size_t at = 0; at < text.size();) {
      const auto end = text.find('\n', at);
      const std::string_view line(text.data() + at, end - at);
      if (line.size() > 80) {
        EXPECT_TRUE(examples.contains(line.substr(4))) << line;
      }
      at = end + 1;
    }
  }
}

TEST(Manual, SeeAlsoNamesCommandsThatAreThere) {
  std::set<std::string_view> verbs;
  for (const auto* command : all_commands()) EXPECT_TRUE(verbs.insert(command->verb).second) << command->verb;
  for (const auto* command : all_commands())
    for (const auto& other : command->see_also)
      EXPECT_TRUE(verbs.contains(other)) << command->verb << " names " << other;
}

/// Splits an example as a shell would, as far as the examples go: blanks, quotes, leading assignments.
std::vector<std::string> shell_words(std::string_view line) {
  std::vector<std::string> words(1);
  char quote = 0;
  for (char c : line) {
    if (quote != 0 ? c == quote : (c == '"' || c == '\''))
      quote = quote != 0 ? '\0' : c;
    else if (c == ' ' && quote == 0)
      words.emplace_back();
    else
      words.back() += c;
  }
  std::erase(words, "");
  while (!words.empty() && words[0].find('=') != std::string::npos) words.erase(words.begin());
  return words;
}

TEST(Manual, ExamplesParse) {
  for (const auto* command : all_commands())
    for (const auto& example : command->examples) {
      auto words = shell_words(example.command);
      if (words.empty() || words[0] != "pgmint") continue;  // a setting of PostgreSQL
      words.erase(words.begin());
      const auto parsed = parse_arguments(words);
      EXPECT_TRUE(parsed) << example.command << ": " << (parsed ? "" : parsed.error().describe());
      if (parsed) {
        EXPECT_EQ(parsed->command, command) << example.command;
      }
    }
}

TEST(Manual, OptionsAreWrittenAsOptions) {
  for (const auto* command : all_commands()) {
    std::set<std::string_view> names;
    for (const auto& option : global_options()) names.insert(option.name);
    for (const auto& option : command->options) {
      EXPECT_TRUE(option.name.starts_with("--")) << command->verb << " " << option.name;
      EXPECT_TRUE(names.insert(option.name).second) << command->verb << " has twice " << option.name;
      EXPECT_FALSE(option.text.empty());
    }
  }
}

TEST(Manual, PagesAreRoffWithoutBareHyphensInOptions) {
  for (const auto* command : all_commands()) {
    const auto page = man_page(*command);
    EXPECT_EQ(page.find(" --"), std::string::npos) << command->verb;
    EXPECT_NE(page.find(".SH NAME"), std::string::npos);
  }
  EXPECT_NE(man_overview().find("pgmint\\-init"), std::string::npos);
  EXPECT_NE(man_configuration().find("data_directory"), std::string::npos);
}

TEST(Manual, CompletionKnowsEveryCommand) {
  const auto script = bash_completion();
  for (const auto* command : all_commands())
    EXPECT_NE(script.find(std::string(command->verb)), std::string::npos) << command->verb;
}

}  // namespace
}  // namespace pgmint::cli
