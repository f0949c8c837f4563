#include "service/metrics.h"

#include <gtest/gtest.h>

#include <limits>

#include "service/utf8.h"
#include "storage/temporary_directory.h"

namespace pgmint::service {
namespace {

TEST(Metrics, AFamilyHasHelpTypeAndItsSamples) {
  MetricsText metrics;
  metrics.family("pgmint_wal_gaps", "Stretches of WAL that are missing.");
  metrics.sample({{"cluster", "main"}}, 2);
  metrics.sample({{"cluster", "other"}, {"kind", "x"}}, 0.25);
  EXPECT_EQ(metrics.text(),
            "# HELP pgmint_wal_gaps Stretches of WAL that are missing.\n# TYPE pgmint_wal_gaps gauge\n"
            "pgmint_wal_gaps{cluster=\"main\"} 2\npgmint_wal_gaps{cluster=\"other\",kind=\"x\"} 0.25\n");
}

TEST(Metrics, AFamilyWithoutSamplesIsLeftOut) {
  MetricsText metrics;
  metrics.family("pgmint_nothing", "Nothing.");
  EXPECT_EQ(metrics.text(), "");
}

TEST(Metrics, LabelsFromOutsideCannotBreakTheFormat) {
  MetricsText metrics;
  metrics.family("pgmint_a", "Backslash \\ and\nline.");
  metrics.sample({{"cluster", "a\"b\\c\nd\xFF"}}, 1);
  EXPECT_EQ(metrics.text(),
            "# HELP pgmint_a Backslash \\\\ and\\nline.\n# TYPE pgmint_a gauge\npgmint_a{cluster=\"a\\\"b\\\\c\\nd\xEF\xBF\xBD\"} 1\n");
}

TEST(Metrics, NumbersAreWrittenExactly) {
  MetricsText metrics;
  metrics.family("pgmint_a", "A.");
  metrics.sample({}, std::numeric_limits<double>::infinity());
  metrics.sample({}, 1099511627776.0);
  metrics.sample({}, TimePoint(std::chrono::microseconds(1'795'000'000'123'456)));
  EXPECT_NE(metrics.text().find("pgmint_a +Inf\npgmint_a 1099511627776\npgmint_a 1795000000.123\n"), std::string::npos) << metrics.text();
}

TEST(Metrics, TextfileIsReplacedWholeAndReadableForItsCollector) {
  storage::TemporaryDirectory directory;
  const auto file = directory.path() / "pgmint.prom";
  ASSERT_TRUE(write_textfile(file, "a 1\n"));
  ASSERT_TRUE(write_textfile(file, "a 2\n"));
  EXPECT_EQ(*read_text_file(file, 100), "a 2\n");
  EXPECT_EQ((*stat_if_exists(file))->st_mode & 0777U, 0644U);
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(directory.path())) files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 1U) << "something was left beside it, which the collector may read";
  const auto refused = write_textfile(directory.path() / "pgmint.txt", "a 1\n");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::Usage);
}

TEST(Utf8, WellFormedTextStaysAndOtherBytesAreReplaced) {
  EXPECT_EQ(valid_utf8("Bäckup € 𝄞"), "Bäckup € 𝄞");
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(valid_utf8("a\x80z"), "a" + mark + "z");
  EXPECT_EQ(valid_utf8("\xC0\xAF"), mark + mark) << "an overlong slash";
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), mark + mark + mark) << "a surrogate";
  EXPECT_EQ(valid_utf8("\xE2\x82"), mark + mark) << "cut off";
}

TEST(Utf8, ShortenedCutsBetweenCharacters) {
  EXPECT_EQ(shortened("abcdef", 6), "abcdef");
  EXPECT_EQ(shortened("abcdefg", 6), "abc...");
  EXPECT_EQ(shortened("ab\xC3\xA4xyz", 6), "ab...") << "a character is not cut in two";
}

TEST(MetricsText, AFamilyThatIsBegunAgainGoesOnAndCommonLabelsComeFirst) {
  MetricsText first, second, all;
  first.set_common({{"repository", "near"}});
  first.family("pgmint_a", "A.");
  first.sample({{"cluster", "main"}}, 1);
  second.set_common({{"repository", "far"}});
  second.family("pgmint_b", "B.");
  second.sample({}, 2);
  second.family("pgmint_a", "A.");
  second.sample({{"cluster", "main"}}, 3);
  all.add(first);
  all.add(second);
  EXPECT_EQ(all.text(),
            "# HELP pgmint_a A.\n# TYPE pgmint_a gauge\npgmint_a{repository=\"near\",cluster=\"main\"} 1\npgmint_a{repository=\"far\",cluster=\"main\"} 3\n"
            "# HELP pgmint_b B.\n# TYPE pgmint_b gauge\npgmint_b{repository=\"far\"} 2\n");
}

}  // namespace
}  // namespace pgmint::service
