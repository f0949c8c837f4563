#include "storage/s3_address.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/client.h"

namespace pgmint::storage {
namespace {

/// A bucket's name, S3's rules: 3 to 63 of a-z 0-9 '.' '-'; older buckets and other services have '_' and capitals too.
bool valid_bucket(std::string_view name) {
  return name.size() >= 3 && name.size() <= 255 && name.front() != '.' && name.front() != '-' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
         });
}

/// Parts of a prefix become part of a URL's path: none may mean something there.
bool valid_prefix(std::string_view prefix) {
  while (!prefix.empty()) {
    const auto part = prefix.substr(0, prefix.find('/'));
    if (part.empty() || part == "." || part == ".." || std::ranges::any_of(part, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
      return false;
    prefix.remove_prefix(std::min(prefix.size(), part.size() + 1));
  }
  return true;
}

}  // namespace

Result<S3Address> S3Address::parse(std::string_view url, std::string_view endpoint, std::string_view region, bool path_style) {
  constexpr std::string_view kScheme = "s3://";
  const auto malformed = [&](std::string_view why) {
    return Error(Errc::Configuration, fmt::format("repository \"{}\": {}", url, why), Hint{"write s3://bucket/prefix"});
  };
  if (!url.starts_with(kScheme)) return malformed("not an s3:// URL");
  auto rest = url.substr(kScheme.size());
  const auto slash = rest.find('/');
  S3Address made;
  made.bucket_ = rest.substr(0, slash);
  if (!valid_bucket(made.bucket_)) return malformed("not the name of a bucket");
  if (slash != std::string_view::npos) {
    auto prefix = rest.substr(slash + 1);
    while (prefix.ends_with('/')) prefix.remove_suffix(1);
    if (!valid_prefix(prefix) || prefix.size() > 400) return malformed("not a prefix of names");
    if (!prefix.empty()) made.prefix_ = std::string(prefix) + '/';
  }
  std::string service(endpoint);
  if (service.empty()) service = fmt::format("https://s3.{}.amazonaws.com", region);
  while (service.ends_with('/')) service.pop_back();
  const auto authority = http::authority_of(service);
  const bool https = service.starts_with("https://");
  if (authority.empty() || (!https && !service.starts_with("http://")) || !service.ends_with(authority))
    return Error(Errc::Configuration, fmt::format("endpoint \"{}\" is not https://host or https://host:port", endpoint), Hint{"endpoint in [s3] or the bucket's own table"});
  if (authority.find('@') != std::string_view::npos)
    return Error(Errc::Configuration, "the endpoint holds a user name", Hint{"access_key_id and secret_access_key in [s3] or the bucket's own table"});
  if (path_style || (https && made.bucket_.find('.') != std::string::npos))
    made.base_ = fmt::format("{}/{}", service, made.bucket_);
  else
    made.base_ = fmt::format("{}://{}.{}", https ? "https" : "http", made.bucket_, authority);
  return made;
}

std::string S3Address::object_url(std::string_view name) const { return base_ + '/' + http::percent_encoded(key(name), true); }

std::string S3Address::bucket_url(std::string_view query) const {
  return query.empty() ? base_ + '/' : fmt::format("{}/?{}", base_, query);
}

std::string S3Address::describe() const {
  auto text = fmt::format("s3://{}/{}", bucket_, prefix_);
  if (text.ends_with('/')) text.pop_back();
  return text;
}

}  // namespace pgmint::storage
