#include "service/channel.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace pgmint::service {
namespace {

bool is_loopback(const std::string& host) {
  in_addr four{};
  in6_addr six{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24U) == 127;
  if (::inet_pton(AF_INET6, host.c_str(), &six) == 1) return IN6_IS_ADDR_LOOPBACK(&six);
  return host == "localhost";  // libcurl resolves it by itself, to loopback
}

/// What may stand in a header of a mail and in SMTP's MAIL FROM and RCPT TO.
bool is_address(std::string_view text) {
  const auto at = text.rfind('@');
  return at != std::string_view::npos && at > 0 && at + 1 < text.size() && text.size() <= 254 &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7F' && c != '<' && c != '>' && c != ',' && c != ';' && c != '"'; });
}

std::string complaint_of_webhook(const Channel& channel) {
  if (channel.url.empty()) return "lacks \"url\"";
  const auto to = Destination::parse(channel.url);
  if (!to || (to->scheme != "https" && to->scheme != "http")) return "needs a \"url\" such as https://hooks.example.com/path, without user or password in it";
  if (to->scheme == "http" && !to->loopback) return "has a \"url\" without TLS: http:// is for this host alone (127.0.0.1, [::1], localhost)";
  return "";
}

std::string complaint_of_mail(const Channel& channel) {
  if (channel.server.empty()) return "lacks \"server\"";
  const auto to = Destination::parse(channel.server);
  if (!to || (to->scheme != "smtp" && to->scheme != "smtps")) return "needs a \"server\" such as smtp://mail.example.com:587 or smtps://mail.example.com";
  if (!is_address(channel.from)) return "needs an address in \"from\", such as pgmint@example.com";
  if (channel.to.empty()) return "lacks \"to\", a list of addresses";
  for (const auto& address : channel.to)
    if (!is_address(address)) return fmt::format("has \"{}\" in \"to\", which is no address such as ops@example.com", address);
  if (channel.user.empty() != channel.password_file.empty()) return "needs \"user\" and \"password_file\" together";
  return "";
}

}  // namespace

std::string_view channel_type_name(ChannelType type) {
  switch (type) {
    case ChannelType::Webhook: return "webhook";
    case ChannelType::Smtp: return "smtp";
    case ChannelType::Command: return "command";
  }
  return "command";
}

std::optional<Destination> Destination::parse(std::string_view url) {
  // A backslash or a user would let two readers see two hosts.
  if (url.size() > 2048 || std::ranges::any_of(url, [](char c) { return c <= ' ' || c >= '\x7F' || c == '\\' || c == '@'; })) return std::nullopt;
  const auto colon = url.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  Destination to;
  to.scheme = url.substr(0, colon);
  auto rest = url.substr(colon + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (rest.starts_with('[')) {
    const auto close = rest.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    to.host = rest.substr(1, close - 1);
    rest.remove_prefix(close + 1);
  } else {
    to.host = rest.substr(0, rest.find(':'));
    rest.remove_prefix(to.host.size());
  }
  const bool has_port = rest.size() > 1 && rest.size() <= 6 && rest[0] == ':' && std::ranges::all_of(rest.substr(1), [](char c) { return c >= '0' && c <= '9'; });
  if (to.host.empty() || !(rest.empty() || has_port)) return std::nullopt;
  to.loopback = is_loopback(to.host);
  return to;
}

std::string Channel::describe() const {
  const auto host = [](const std::string& whole) {
    const auto destination = Destination::parse(whole);
    return destination ? destination->host : std::string("?");
  };
  switch (type) {
    case ChannelType::Webhook: return fmt::format("webhook to {}", host(url));
    case ChannelType::Smtp: return fmt::format("mail to {} by {}", fmt::join(to, ", "), host(server));
    case ChannelType::Command: return fmt::format("command {}", command.empty() ? "?" : command.front());
  }
  return "?";
}

std::string complaint_of(const Channel& channel) {
  if (channel.rules.name.empty()) return "lacks \"name\"";
  switch (channel.type) {
    case ChannelType::Webhook: return complaint_of_webhook(channel);
    case ChannelType::Smtp: return complaint_of_mail(channel);
    case ChannelType::Command:
      if (channel.command.empty()) return "lacks \"command\", a list of a program and its arguments";
      if (!channel.command.front().starts_with('/')) return fmt::format("needs an absolute path as the first of \"command\", not \"{}\"", channel.command.front());
      return "";
  }
  return "";
}

}  // namespace pgmint::service
