#include "cli/service_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/units.h"
#include "cli/option_values.h"
#include "policy/retention.h"
#include "service/metrics_server.h"

namespace pgmint::cli {
namespace {

Result<std::chrono::hours> age(const Value& value) {
  const auto text = TRY(value.text());
  const auto period = policy::parse_period(text);
  if (!period) return value.wrong(fmt::format("is wrong: {}", period.error().message()));
  const auto hours = hours_of(*period);
  if (hours.count() == 0) return value.wrong("must be at least a day");
  return hours;
}

Status read_age(std::optional<std::chrono::hours>& target, const Value& value) {
  target = TRY(age(value));
  return ok();
}

Result<SpaceLimit> space_limit(const Value& value) {
  const auto text = TRY(value.text());
  if (text.ends_with('%')) {
    const auto share = parse_share(text);
    if (!share) return value.wrong(fmt::format("is wrong: \"{}\" must be a share above 0% and up to 100%, such as 5%", text));
    return SpaceLimit{.share = *share};
  }
  const auto size = parse_size(text);
  if (!size) return value.wrong(fmt::format("is wrong: {}", size.error().message()));
  return SpaceLimit{.size = *size};
}

const std::vector<Key<HealthLimits>>& health_keys() {
  using T = HealthLimits;
  static const std::vector<Key<T>> keys = {
      {"disk_free_min", "share or size",
       "A file system with less free space than this, of the repository or of a data directory and its WAL, is nearly full: \"10%\" (the default; of a file "
       "system above 1 TiB a tenth of that, and 1 GiB at least), or a size such as \"50GiB\". Below a third of it, it is a problem and no longer a warning.",
       [](T& t, const Value& v) { return assign(t.disk_free, space_limit(v)); }},
      {"key_age_max", "period", "A key slot older than this is told: a number and d, w, mo or y. Default: \"365d\".",
       [](T& t, const Value& v) { return assign(t.key_age, age(v)); }},
      {"verify_age_max", "period", "What was last read and found sound longer ago than this is told. Default: \"40d\", for a verify --read-data --older-than 30d once a week.",
       [](T& t, const Value& v) { return assign(t.verify_age, age(v)); }},
      {"logical_age_max", "period", "A newest dump older than this is told, and none at all. Default: dumps are not expected.",
       [](T& t, const Value& v) { return read_age(t.logical_age, v); }},
      {"look_time_max", "time", "alert check gives up what it has not read after this time, and tells that. \"30s\", \"10m\". Default: \"2m\".",
       [](T& t, const Value& v) { return assign(t.look_time, v.duration(std::chrono::seconds(1), std::chrono::hours(1))); }},
      {"config_age_max", "period", "The same of configuration backups.", [](T& t, const Value& v) { return read_age(t.config_age, v); }},
  };
  return keys;
}

/// "4h", "1d", "2w".
Result<std::chrono::seconds> span_of(const Value& value) {
  const auto text = TRY(value.text());
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const std::chrono::hours each(unit == "h" ? 1 : unit == "d" ? 24 : unit == "w" ? 7 * 24 : 0);
  if (error != std::errc() || number == 0 || number > 10'000 || each.count() == 0)
    return value.wrong(fmt::format("must be a time such as \"4h\", \"1d\" or \"2w\", or \"none\", not \"{}\"", text));
  return std::chrono::seconds(each * number);
}

Status read_repeat(std::optional<std::chrono::seconds>& target, const Value& value) {
  const auto* text = value.node.as_string();
  if (text != nullptr && text->get() == "none") {
    target.reset();
    return ok();
  }
  target = TRY(span_of(value));
  return ok();
}

Status read_path(fs::path& target, const Value& value) {
  target = TRY(value.absolute_path());
  return ok();
}

Status read_type(service::ChannelType& target, const Value& value) {
  const auto text = TRY(value.text());
  for (const auto type : {service::ChannelType::Webhook, service::ChannelType::Smtp, service::ChannelType::Command})
    if (text == service::channel_type_name(type)) {
      target = type;
      return ok();
    }
  return value.wrong(fmt::format("must be \"webhook\", \"smtp\" or \"command\", not \"{}\"", text));
}

Status read_least(service::Severity& target, const Value& value) {
  const auto text = TRY(value.text());
  for (const auto severity : {service::Severity::Warning, service::Severity::Problem})
    if (text == service::severity_name(severity)) {
      target = severity;
      return ok();
    }
  return value.wrong(fmt::format("must be \"warning\" or \"problem\", not \"{}\"", text));
}

const std::vector<Key<service::Channel>>& alert_keys() {
  using T = service::Channel;
  static const std::vector<Key<T>> keys = {
      {"name", "text", "How messages and alert test name it.", [](T& t, const Value& v) { return assign(t.rules.name, v.text()); }},
      {"type", "text", "\"webhook\", \"smtp\" or \"command\".", [](T& t, const Value& v) { return read_type(t.type, v); }},
      {"least", "text", "\"warning\" (default): all is told here. \"problem\": no warnings.", [](T& t, const Value& v) { return read_least(t.rules.least, v); }},
      {"repeat", "time", "How often what is still wrong is told again: a number and h, d or w, or \"none\". A first reminder comes after 4 h at the latest; warnings are "
       "repeated every seventh time. Default: \"1d\".",
       [](T& t, const Value& v) { return read_repeat(t.rules.repeat, v); }},
      {"url", "URL", "Of a webhook: messages are posted there as JSON. https://, with TLS 1.3; http:// only to this host. It is told to nobody but for its host.",
       [](T& t, const Value& v) { return assign(t.url, v.text()); }},
      {"secret_file", "path", "Of a webhook: its first line, of 16 bytes at least, signs each message (HMAC-SHA-256).", [](T& t, const Value& v) { return read_path(t.secret_file, v); }},
      {"server", "URL", "Of smtp: \"smtp://mail.example.com:587\", which must offer STARTTLS unless it is this host, or \"smtps://mail.example.com\".",
       [](T& t, const Value& v) { return assign(t.server, v.text()); }},
      {"from", "address", "Of smtp: whose mail it is.", [](T& t, const Value& v) { return assign(t.from, v.text()); }},
      {"to", "list of addresses", "Of smtp: who gets it.", [](T& t, const Value& v) { return assign(t.to, v.texts()); }},
      {"user", "text", "Of smtp: to log in with.", [](T& t, const Value& v) { return assign(t.user, v.text()); }},
      {"password_file", "path", "Of smtp: its first line is the password of user.", [](T& t, const Value& v) { return read_path(t.password_file, v); }},
      {"ca_file", "path", "Of webhook and smtp: the authorities that may vouch for the server, in PEM, in place of the system's.", [](T& t, const Value& v) { return read_path(t.ca_file, v); }},
      {"command", "list of texts", "Of command: a program, by its absolute path, and its arguments. It gets the message as JSON on standard input, and has 30 s.",
       [](T& t, const Value& v) { return assign(t.command, v.texts()); }},
  };
  return keys;
}

/// Which keys belong to a type; the general ones to all.
bool belongs(std::string_view key, service::ChannelType type) {
  using Type = service::ChannelType;
  if (key == "url" || key == "secret_file") return type == Type::Webhook;
  if (key == "server" || key == "from" || key == "to" || key == "user" || key == "password_file") return type == Type::Smtp;
  if (key == "ca_file") return type != Type::Command;
  return key != "command" || type == Type::Command;
}

bool is_channel_name(std::string_view name) {
  return name.size() <= 63 && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
         });
}

const std::vector<Key<Configuration>>& metrics_keys() {
  using T = Configuration;
  static const std::vector<Key<T>> keys = {
      {"listen", "address", "Where the daemon serves /metrics: an address of this host alone and a port, such as \"127.0.0.1:9891\" or \"[::1]:9891\". Default: nowhere.",
       [](T& t, const Value& v) -> Status {
         const auto text = TRY(v.text());
         if (!service::ListenAddress::parse(text)) return v.wrong(fmt::format("must be an address of this host alone and a port, such as \"127.0.0.1:9891\", not \"{}\"", text));
         t.metrics_listen = text;
         return ok();
       }},
  };
  return keys;
}

}  // namespace

Status read_alerts(std::vector<service::Channel>& target, const Value& value) {
  const auto* array = value.node.as_array();
  if (array == nullptr) return value.wrong("must be tables [[alert]]");
  for (const auto& node : *array) {
    const auto* table = node.as_table();
    if (table == nullptr) return value.wrong("must be tables [[alert]]");
    if (!table->contains("type")) return config_error(value.place, node, "[[alert]] lacks \"type\": \"webhook\", \"smtp\" or \"command\"");
    service::Channel channel;
    TRY(read_table(*table, channel, alert_keys(), {value.place.source, "[[alert]]"}));
    for (const auto& [key, unused] : *table)
      if (!belongs(key.str(), channel.type))
        return config_error(value.place, unused, fmt::format("\"{}\" in [[alert]] does not belong to type \"{}\"", key.str(), service::channel_type_name(channel.type)));
    if (const auto complaint = service::complaint_of(channel); !complaint.empty())
      return config_error(value.place, node, fmt::format("[[alert]]{} {}", channel.rules.name.empty() ? "" : " \"" + channel.rules.name + "\"", complaint));
    if (!is_channel_name(channel.rules.name))
      return config_error(value.place, node, fmt::format("\"{}\" is no name for an alert channel: letters, digits, '.', '_' and '-', at most 63", channel.rules.name));
    for (const auto& other : target)
      if (other.rules.name == channel.rules.name) return config_error(value.place, node, fmt::format("two alert channels are named \"{}\"", channel.rules.name));
    target.push_back(std::move(channel));
  }
  return ok();
}

Status read_metrics(Configuration& target, const Value& value) {
  return read_table(*TRY(value.table()), target, metrics_keys(), {value.place.source, "[metrics]"});
}

Status read_health(HealthLimits& target, const Value& value) {
  return read_table(*TRY(value.table()), target, health_keys(), {value.place.source, "[health]"});
}

void document_service(std::vector<KeyDocumentation>& out) {
  document(out, "[health]", health_keys());
  document(out, "[[alert]]", alert_keys());
  document(out, "[metrics]", metrics_keys());
}

}  // namespace pgmint::cli
