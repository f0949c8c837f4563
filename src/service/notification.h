// What is told, in the forms in which it is told. Pure; secrets redacted, whatever the findings hold.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "service/alert_book.h"

namespace pgmint::service {

struct Notification {
  static constexpr std::size_t kItemsMax = 100;  ///< of more, the rest is counted

  std::string id;    ///< the same however often it is sent: a receiver can drop a second one
  std::string host;
  TimePoint time{};
  bool test = false;         ///< sent by a person to see whether it arrives; without items
  std::vector<Item> items;   ///< none and no test: the channel works again, and nothing is due
  std::size_t open = 0;      ///< problems and warnings in all
};

/// 32 hexadecimal digits.
std::string new_notification_id(RandomSource& random);

/// The document of docs/manual/alerts.md, on one line.
std::string json_of(const Notification& notification);
/// "pgmint db1: PROBLEM wal-gap (main) and 2 more": one line, ASCII only where the findings are.
std::string subject_of(const Notification& notification);
/// For people, in lines.
std::string text_of(const Notification& notification);
/// A whole mail, with CRLF: text in base64, headers that nothing in a finding can break.
std::string mail_of(const Notification& notification, const std::string& from, const std::vector<std::string>& to);

}  // namespace pgmint::service
