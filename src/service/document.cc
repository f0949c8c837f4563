#include "service/document.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgmint::service {
namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#111}"
    "h1{margin-bottom:0}h2{border-bottom:1px solid #999;margin-top:2em}table{border-collapse:collapse;margin:1em 0}"
    "th,td{border:1px solid #999;padding:.2em .6em;text-align:left;vertical-align:top}th{background:#eee}"
    "pre{background:#f4f4f4;border:1px solid #ccc;padding:.6em;white-space:pre-wrap;overflow-wrap:anywhere}"
    ".loud{border:3px solid #b00;padding:.5em 1em;font-weight:bold}.what{margin:.8em 0 0}"
    "@media print{body{margin:0;max-width:none;font-size:11pt}h2{break-after:avoid}pre,table,.loud{break-inside:avoid}}";

/// What would end a line, or change the terminal or page that shows it.
bool control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string html(std::string_view text, bool keep_lines = false) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += !control(c) || (keep_lines && (c == '\n' || c == '\t')) ? c : ' ';
    }
  }
  return out;
}

/// Running text of Markdown, which most readers take for HTML as well.
std::string markdown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (std::string_view("\\`*_[]#|~").find(c) != std::string_view::npos) out += fmt::format("\\{}", c);
    else out += control(c) ? ' ' : c;
  }
  return out;
}

/// A block of code whose fence is longer than any within it.
std::string fenced(std::string_view text) {
  std::size_t longest = 2, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  std::string body;
  for (const char c : text) body += control(c) && c != '\n' && c != '\t' ? ' ' : c;
  const std::string fence(longest + 1, '`');
  return fmt::format("{}\n{}{}{}\n", fence, body, body.ends_with('\n') ? "" : "\n", fence);
}

struct AsMarkdown {
  std::string operator()(const Paragraph& p) const { return p.loud ? fmt::format("> **{}**\n", markdown(p.text)) : markdown(p.text) + "\n"; }
  std::string operator()(const Table& table) const {
    std::string out = "|", line = "|";
    for (const auto& heading : table.headings) {
      out += fmt::format(" {} |", markdown(heading));
      line += "---|";
    }
    out += "\n" + line + "\n";
    for (const auto& row : table.rows) {
      out += "|";
      for (const auto& cell : row) out += fmt::format(" {} |", markdown(cell));
      out += "\n";
    }
    return out;
  }
  std::string operator()(const Commands& commands) const {
    std::string out;
    for (const auto& one : commands.lines) out += fmt::format("{}{}:\n\n{}", out.empty() ? "" : "\n", markdown(one.what), fenced(one.line));
    return out;
  }
  std::string operator()(const Listing& listing) const { return fenced(listing.text); }
};

struct AsHtml {
  std::string operator()(const Paragraph& p) const { return fmt::format("<p{}>{}</p>\n", p.loud ? " class=\"loud\"" : "", html(p.text)); }
  std::string operator()(const Table& table) const {
    std::string out = "<table>\n<tr>";
    for (const auto& heading : table.headings) out += fmt::format("<th>{}</th>", html(heading));
    out += "</tr>\n";
    for (const auto& row : table.rows) {
      out += "<tr>";
      for (const auto& cell : row) out += fmt::format("<td>{}</td>", html(cell));
      out += "</tr>\n";
    }
    return out + "</table>\n";
  }
  std::string operator()(const Commands& commands) const {
    std::string out;
    for (const auto& one : commands.lines) out += fmt::format("<p class=\"what\">{}:</p>\n<pre>{}</pre>\n", html(one.what), html(one.line, true));
    return out;
  }
  std::string operator()(const Listing& listing) const { return fmt::format("<pre>{}</pre>\n", html(listing.text, true)); }
};

}  // namespace

std::string to_markdown(const Document& document) {
  std::string out = fmt::format("# {}\n\n{}\n", markdown(document.title), markdown(document.subtitle));
  for (const auto& section : document.sections) {
    out += fmt::format("\n## {}\n", markdown(section.title));
    for (const auto& block : section.blocks) out += "\n" + std::visit(AsMarkdown{}, block);
  }
  return out;
}

std::string html_text(std::string_view text) { return html(text, true); }

std::string to_html(const Document& document) {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<h1>{}</h1>\n<p>{}</p>\n",
      html(document.title), kStyle, html(document.title), html(document.subtitle));
  for (const auto& section : document.sections) {
    out += fmt::format("<h2>{}</h2>\n", html(section.title));
    for (const auto& block : section.blocks) out += std::visit(AsHtml{}, block);
  }
  return out + "</body>\n</html>\n";
}

}  // namespace pgmint::service
