#include "service/document.h"

#include <gtest/gtest.h>

#include <regex>

namespace pgmint::service {
namespace {

Document with(const std::string& text) {
  return {text, text, {{text, {Paragraph{text, true}, Paragraph{text}, Table{{text}, {{text}}}, Commands{{{text, text}}}, Listing{text}}}}};
}

/// Every tag of an HTML text, in order.
std::vector<std::string> tags(const std::string& text) {
  static const std::regex tag("<[^>]*>");
  std::vector<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), tag), end; at != end; ++at) found.push_back(at->str());
  return found;
}

const std::vector<std::string>& hostile() {
  static const std::vector<std::string> texts = {"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "a&b", "' onclick='x", "</pre></body>", "```\n<b>", "| x | y |\n|---|",
                                                 "# heading", "**bold** _it_ [a](javascript:x) ![i](http://x/)", std::string("nul\0\x1b[31m", 9), "\n\n<h1>new</h1>\n", "</style><script>"};
  return texts;
}

TEST(Document, NoTextBecomesMarkupOfAPage) {
  const auto plain = tags(to_html(with("plain")));
  for (const auto& text : hostile()) EXPECT_EQ(tags(to_html(with(text))), plain) << text;
}

TEST(Document, APageNeedsNothingFromElsewhere) {
  const auto page = to_html(with("plain"));
  for (const auto* word : {"http:", "https:", "<script", "src=", "href=", "@import", "url("}) EXPECT_EQ(page.find(word), std::string::npos) << word;
}

TEST(Document, NoTextBecomesMarkupOfMarkdown) {
  for (const auto& text : hostile()) {
    const auto out = to_markdown(with(text));
    // Outside fences there is no tag, and no line that begins a heading or a row but ours.
    std::string fence;
    std::size_t headings = 0, rows = 0;
    for (std::size_t at = 0; at < out.size();) {
      const auto end = out.find('\n', at);
      const std::string line = out.substr(at, end - at);
      at = end + 1;
      if (fence.empty() && line.starts_with("```")) fence = line;
      else if (!fence.empty() && line == fence) fence.clear();
      else if (fence.empty()) {
        EXPECT_EQ(line.find('<'), std::string::npos) << line;
        for (auto at_link = line.find("]("); at_link != std::string::npos; at_link = line.find("](", at_link + 1)) EXPECT_EQ(line[at_link - 1], '\\') << line;
        headings += line.starts_with('#') ? 1U : 0U;
        rows += line.starts_with('|') ? 1U : 0U;
      }
    }
    EXPECT_TRUE(fence.empty()) << "a fence is left open by " << text;
    EXPECT_EQ(headings, 2U) << text;
    EXPECT_EQ(rows, 3U) << text;
  }
}

TEST(Document, TextsAreShownAsTheyAre) {
  EXPECT_NE(to_html(with("a<b & \"c\"")).find("<pre>a&lt;b &amp; &quot;c&quot;</pre>"), std::string::npos);
  EXPECT_NE(to_markdown(with("a<b 'c'")).find("```\na<b 'c'\n```"), std::string::npos);
}

}  // namespace
}  // namespace pgmint::service
