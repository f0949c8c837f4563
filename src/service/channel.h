// A way in which alerts go out, as [[alert]] in the configuration says.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "service/alert_book.h"

namespace pgmint::service {

enum class ChannelType { Webhook, Smtp, Command };
std::string_view channel_type_name(ChannelType type);  ///< "webhook", "smtp", "command"

struct Channel {
  ChannelRules rules;
  ChannelType type = ChannelType::Command;
  // webhook
  std::string url;  ///< may hold a secret in its path: never told but for its host
  fs::path secret_file;
  // smtp
  std::string server, from, user;
  std::vector<std::string> to;
  fs::path password_file;
  // webhook and smtp
  fs::path ca_file;
  // command
  std::vector<std::string> command;

  /// For people: "webhook to hooks.example.com", "mail to ops@example.com by mail.example.com", "command /usr/local/bin/page".
  std::string describe() const;
};

/// Scheme, host and port of a URL that we send to.
struct Destination {
  std::string scheme, host;  ///< an IPv6 address without brackets
  bool loopback = false;     ///< 127.0.0.0/8, ::1, localhost: the bytes do not leave this host
  static std::optional<Destination> parse(std::string_view url);  ///< nullopt: no such URL, or one with a user, a backslash, blanks
};

/// What is wrong with it, in words for its owner; empty: nothing. Not whether files are there.
std::string complaint_of(const Channel& channel);

}  // namespace pgmint::service
