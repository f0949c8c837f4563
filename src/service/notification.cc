#include "service/notification.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"
#include "service/json_fields.h"
#include "service/utf8.h"

namespace pgmint::service {
namespace {

constexpr std::size_t kSubjectMax = 200;

std::string base64(std::string_view text, std::size_t line) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::size_t column = 0;
  for (std::size_t at = 0; at < text.size(); at += 3) {
    const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U; };
    const unsigned bits = byte(0) << 16U | byte(1) << 8U | byte(2);
    const std::size_t have = std::min<std::size_t>(3, text.size() - at);
    for (std::size_t i = 0; i < 4; ++i) out += i <= have ? kDigits[bits >> (18 - 6 * i) & 63U] : '=';
    column += 4;
    if (line != 0 && column >= line) {
      out += "\r\n";
      column = 0;
    }
  }
  return out;
}

/// One line without control characters.
std::string flat(std::string_view text) {
  std::string out = valid_utf8(text);
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7F'; }, ' ');
  return out;
}

/// RFC 2047 where the text is not plain ASCII: lines of at most 76 characters, cut between characters.
std::string header_text(const std::string& text) {
  if (std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return text;
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    std::size_t cut = std::min<std::size_t>(rest.size(), 39);  // 73 characters with "Subject: "
    while (cut < rest.size() && (static_cast<unsigned char>(rest[cut]) & 0xC0U) == 0x80U) --cut;
    if (!out.empty()) out += "\r\n ";
    out += "=?UTF-8?B?" + base64(rest.substr(0, cut), 0) + "?=";
    rest.remove_prefix(cut);
  }
  return out;
}

std::string_view heading(const Item& item) {
  if (item.event == Event::Recovered) return "RECOVERED";
  return item.finding.severity == Severity::Problem ? "PROBLEM" : "warning";
}

std::string where(const Finding& finding) {
  std::string text = finding.cluster;
  if (!finding.subject.empty() && finding.subject != "+") text += (text.empty() ? "" : ", ") + finding.subject;
  return text.empty() ? "" : " (" + text + ")";
}

std::string_view remark(const Item& item) {
  switch (item.event) {
    case Event::New: return "";
    case Event::Worse: return " - got worse";
    case Event::Better: return " - got better";
    case Event::Reminder: return " - still there";
    case Event::Recovered: return "";
  }
  return "";
}

}  // namespace

std::string new_notification_id(RandomSource& random) {
  std::array<std::byte, 16> bytes{};
  random.fill(bytes);
  std::string id;
  for (const auto byte : bytes) id += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return id;
}

std::string json_of(const Notification& notification) {
  Json problems = Json::array();
  for (const auto& item : notification.items) {
    if (problems.size() == Notification::kItemsMax) break;
    const auto& finding = item.finding;
    problems.push_back({{"event", event_name(item.event)}, {"severity", severity_name(finding.severity)}, {"code", finding.code},
                        {"cluster", finding.cluster.empty() ? Json(nullptr) : Json(valid_utf8(finding.cluster))},
                        {"subject", finding.subject.empty() ? Json(nullptr) : Json(valid_utf8(finding.subject))},
                        {"message", valid_utf8(redact(finding.message))}, {"hint", finding.hint.empty() ? Json(nullptr) : Json(valid_utf8(redact(finding.hint)))},
                        {"since", format_rfc3339(item.since)}, {"times_in_24h", item.times}});
  }
  const auto left_out = notification.items.size() - problems.size();
  return Json{{"version", 1}, {"id", notification.id}, {"kind", notification.test ? "test" : "alert"}, {"host", valid_utf8(notification.host)},
              {"time", format_rfc3339(notification.time)}, {"summary", subject_of(notification)}, {"problems", std::move(problems)},
              {"left_out", left_out}, {"open", notification.open}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string subject_of(const Notification& notification) {
  std::string text = fmt::format("pgmint {}: ", notification.host);
  if (notification.items.empty()) {
    text += notification.test ? "a test of this channel" : "this channel works again";
  } else {
    const auto& first = notification.items.front();
    text += fmt::format("{} {}{}", heading(first), first.finding.code, where(first.finding));
    if (notification.items.size() > 1) text += fmt::format(" and {} more", notification.items.size() - 1);
  }
  return shortened(flat(redact(text)), kSubjectMax);
}

std::string text_of(const Notification& notification) {
  std::string text;
  if (notification.test) text += "This is a test: somebody ran `pgmint alert test`. Nothing is wrong because of it.\n";
  else if (notification.items.empty()) text += "Messages could not be delivered through this channel for a while. Now they are, and nothing is due.\n";
  for (std::size_t i = 0; i < std::min(notification.items.size(), Notification::kItemsMax); ++i) {
    const auto& item = notification.items[i];
    text += fmt::format("{} {}{}{}\n  {}\n", heading(item), item.finding.code, flat(where(item.finding)), remark(item), flat(redact(item.finding.message)));
    text += fmt::format("  since {}{}\n", format_rfc3339(item.since), item.times > 1 ? fmt::format(", and {} times in the last 24 h", item.times) : "");
    if (item.event != Event::Recovered && !item.finding.hint.empty()) text += fmt::format("  next: {}\n", flat(redact(item.finding.hint)));
    text += "\n";
  }
  if (notification.items.size() > Notification::kItemsMax) text += fmt::format("and {} more\n", notification.items.size() - Notification::kItemsMax);
  text += fmt::format("{}, {}. Open in all: {}. What there is: pgmint alert list, pgmint status\n", flat(notification.host), format_rfc3339(notification.time), notification.open);
  return text;
}

std::string mail_of(const Notification& notification, const std::string& from, const std::vector<std::string>& to) {
  const auto date = std::chrono::floor<std::chrono::seconds>(notification.time);
  return fmt::format(
      "From: {}\r\nTo: {}\r\nSubject: {}\r\nDate: {:%a, %d %b %Y %H:%M:%S} +0000\r\nMessage-ID: <{}@{}>\r\nAuto-Submitted: auto-generated\r\n"
      "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
      from, fmt::join(to, ",\r\n "), header_text(subject_of(notification)), fmt::gmtime(date), notification.id, from.substr(from.rfind('@') + 1),
      base64(text_of(notification), 76));
}

}  // namespace pgmint::service
