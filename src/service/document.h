// A document of headings, paragraphs, tables and commands, as Markdown and as one HTML page that needs nothing else.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pgmint::service {

struct Paragraph {
  std::string text;
  bool loud = false;  ///< something that must not be overlooked
};
struct Table {
  std::vector<std::string> headings;
  std::vector<std::vector<std::string>> rows;
};
/// Typed one after the other.
struct Commands {
  struct One {
    std::string line;  ///< as a shell reads it
    std::string what;  ///< for
  };
  std::vector<One> lines;
};
/// A file's text, or the like.
struct Listing {
  std::string text;
};
using Block = std::variant<Paragraph, Table, Commands, Listing>;

struct Section {
  std::string title;
  std::vector<Block> blocks;
};

struct Document {
  std::string title, subtitle;
  std::vector<Section> sections;
};

/// Text between tags or in an attribute: what would be markup is shown, other control characters than line breaks and tabs are blanks.
std::string html_text(std::string_view text);

/// Whatever its texts hold, they are shown as they are and are never taken for markup.
std::string to_markdown(const Document& document);
/// Complete, without scripts and without anything from elsewhere; prints well.
std::string to_html(const Document& document);

}  // namespace pgmint::service
