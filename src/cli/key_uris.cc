#include "cli/key_uris.h"

#include <fmt/format.h>

#include "service/channel.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kUrisMax = 16;

}  // namespace

Status read_key_uris(std::vector<std::string>& target, const Value& value, Status (*check)(std::string_view uri)) {
  const auto uris = value.node.is_array() ? TRY(value.texts()) : std::vector{TRY(value.line())};
  if (uris.empty() || uris.size() > kUrisMax) return value.wrong(fmt::format("must name 1 to {} keys", kUrisMax));
  for (const auto& uri : uris)
    if (auto checked = check(uri); !checked) return value.wrong(fmt::format("{}; one looks like {}", checked.error().message(), checked.error().hint()));
  target = uris;
  return ok();
}

std::string complaint_of_service_url(std::string_view url) {
  const auto to = service::Destination::parse(url);
  if (!to || (to->scheme != "https" && to->scheme != "http")) return "must be a URL such as https://keys.example:8200";
  if (to->scheme == "http" && !to->loopback) return "a key must not travel without TLS: http:// is for this host alone";
  return "";
}

Status read_service_url(std::optional<std::string>& target, const Value& value) {
  auto text = TRY(value.line());
  if (const auto complaint = complaint_of_service_url(text); !complaint.empty()) return value.wrong(complaint);
  target = std::move(text);
  return ok();
}

}  // namespace pgmint::cli
