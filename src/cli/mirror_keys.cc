#include "cli/mirror_keys.h"

#include <fmt/format.h>

#include "base/units.h"
#include "cli/option_values.h"
#include "cli/s3_keys.h"

namespace pgmint::cli {
namespace {

Status read_rate(std::optional<ByteCount>& target, const Value& value) {
  const auto text = TRY(value.text());
  const auto rate = parse_size(text);
  if (!rate) return value.wrong(fmt::format("is wrong: {}", rate.error().message()));
  if (rate->value() == 0) return value.wrong("must be more than nothing");
  target = *rate;
  return ok();
}

Status read_keep(std::chrono::hours& target, const Value& value) {
  const auto text = TRY(value.text());
  const auto period = policy::parse_period(text);
  if (!period) return value.wrong(fmt::format("is wrong: {}", period.error().message()));
  target = hours_of(*period);
  if (target < std::chrono::hours(24)) return value.wrong("must be at least a day: it is what is left to notice a mistake");
  return ok();
}

bool is_name(std::string_view name) {
  return name.size() <= 63 && name != "promote" && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
         });
}

}  // namespace

const std::vector<Key<MirrorSettings>>& mirror_keys() {
  using T = MirrorSettings;
  static const std::vector<Key<T>> keys = {
      {"name", "text", "How replicate and messages name it.", [](T& t, const Value& v) { return assign(t.name, v.text()); }},
      {"url", "path or URL", "A directory, or s3://bucket/prefix: a place of its own, empty at first.", [](T& t, const Value& v) { return assign(t.url, v.line()); }},
      {"repository", "text", "Of several repositories the one that is copied. Default: the first.", [](T& t, const Value& v) { return assign(t.repository, v.text()); }},
      {"max_rate", "size", "Bytes a second to copy at most, such as \"20MiB\". Default: as fast as it goes.", [](T& t, const Value& v) { return read_rate(t.max_rate, v); }},
      {"keep_removed", "period",
       "How long objects stay in the mirror once they have vanished at the source: a number and d, w, mo or y, \"1d\" at least. Default: \"30d\".",
       [](T& t, const Value& v) { return read_keep(t.keep_removed, v); }},
      {"lag_max", "duration", "status, doctor and alerts tell of a mirror that is older than this: such as \"2h\". Default: \"24h\".",
       [](T& t, const Value& v) { return assign(t.lag_max, v.duration(std::chrono::minutes(1), std::chrono::hours(24 * 366))); }},
      {"one_writer", "true or false",
       "The store has no create-if-absent (Swift): replicate looks first and then writes, so that nothing else may write there, and the mirror cannot be promoted. Default: false.",
       [](T& t, const Value& v) { return assign(t.one_writer, v.boolean()); }},
      {"s3", "table", "Takes the place of [s3].", [](T& t, const Value& v) { return read_s3(t.s3, v, "[mirror.s3]"); }},
  };
  return keys;
}

Status read_mirrors(std::vector<MirrorSettings>& target, const Value& value) {
  const auto* array = value.node.as_array();
  if (array == nullptr) return value.wrong("must be tables [[mirror]]");
  for (const auto& node : *array) {
    const auto* table = node.as_table();
    if (table == nullptr) return value.wrong("must be tables [[mirror]]");
    MirrorSettings mirror;
    TRY(read_table(*table, mirror, mirror_keys(), {value.place.source, "[[mirror]]"}));
    if (mirror.name.empty()) return config_error(value.place, node, "[[mirror]] lacks \"name\"");
    if (mirror.url.empty()) return config_error(value.place, node, "[[mirror]] lacks \"url\"");
    if (!is_name(mirror.name)) return config_error(value.place, node, fmt::format("\"{}\" is no name for a mirror: letters, digits, '.', '_' and '-', at most 63, and not \"promote\"", mirror.name));
    for (const auto& other : target) {
      if (other.name == mirror.name) return config_error(value.place, node, fmt::format("two mirrors are named \"{}\"", other.name));
      if (other.url == mirror.url) return config_error(value.place, node, fmt::format("mirrors \"{}\" and \"{}\" have the same url", other.name, mirror.name));
    }
    target.push_back(std::move(mirror));
  }
  return ok();
}

}  // namespace pgmint::cli
