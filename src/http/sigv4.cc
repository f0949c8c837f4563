#include "http/sigv4.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "crypto/hash.h"
#include "crypto/hmac.h"

namespace pgmint::http {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

/// Blanks at both ends go, and runs of them become one.
std::string without_blanks(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c != ' ' && c != '\t')
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

struct Target {
  std::string_view path;   ///< "/" at least
  std::string_view query;  ///< without '?'
};

Target target_of(std::string_view url) {
  const auto authority = authority_of(url);
  std::string_view rest = authority.empty() ? url : url.substr(static_cast<std::size_t>(authority.data() + authority.size() - url.data()));
  rest = rest.substr(0, rest.find('#'));
  const auto mark = rest.find('?');
  const auto path = rest.substr(0, mark);
  return {path.empty() ? std::string_view("/") : path, mark == std::string_view::npos ? std::string_view() : rest.substr(mark + 1)};
}

/// "name=value" pairs in byte order of names, then values; a name alone is an empty value.
std::string sorted_query(std::string_view query) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto pair = query.substr(0, end);
    const auto equals = pair.find('=');
    if (!pair.empty()) pairs.emplace_back(pair.substr(0, equals), equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1));
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
  }
  std::ranges::sort(pairs);
  std::string out;
  for (const auto& [name, value] : pairs) out += fmt::format("{}{}={}", out.empty() ? "" : "&", name, value);
  return out;
}

ByteView view(const crypto::Digest& digest) { return digest; }

crypto::Digest signing_key(std::string_view secret, std::string_view day, const SigningScope& scope) {
  const auto first = fmt::format("AWS4{}", secret);
  auto key = crypto::hmac_sha256(as_bytes(first), as_bytes(day));
  for (const std::string_view part : {std::string_view(scope.region), std::string_view(scope.service), std::string_view("aws4_request")})
    key = crypto::hmac_sha256(view(key), as_bytes(part));
  return key;
}

}  // namespace

std::string payload_hash(ByteView body) { return to_hex(crypto::sha256(body)); }

void sign(Request& request, const AwsCredentials& credentials, const SigningScope& scope, TimePoint now, const std::string& hash) {
  const auto time = format_compact(now);
  const auto day = time.substr(0, 8);
  request.headers.push_back({"host", std::string(authority_of(request.url))});
  request.headers.push_back({"x-amz-date", time});
  if (scope.service == "s3") request.headers.push_back({"x-amz-content-sha256", hash});
  if (!credentials.session_token.empty()) request.headers.push_back({"x-amz-security-token", credentials.session_token});

  std::map<std::string, std::string> headers;
  for (const auto& [name, value] : request.headers) {
    auto& joined = headers[lower(name)];
    joined += (joined.empty() ? "" : ",") + without_blanks(value);
  }
  std::string header_lines, names;
  for (const auto& [name, value] : headers) {
    header_lines += fmt::format("{}:{}\n", name, value);
    names += (names.empty() ? "" : ";") + name;
  }
  const auto target = target_of(request.url);
  // S3 signs the path as it is sent; every other service encodes it once more.
  const auto path = scope.service == "s3" ? std::string(target.path) : percent_encoded(target.path, true);
  const auto canonical =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, path, sorted_query(target.query), header_lines, names, hash);
  const auto credential_scope = fmt::format("{}/{}/{}/aws4_request", day, scope.region, scope.service);
  const auto to_sign = fmt::format("{}\n{}\n{}\n{}", kAlgorithm, time, credential_scope, to_hex(crypto::sha256(as_bytes(canonical))));
  const auto key = signing_key(credentials.secret_access_key, day, scope);
  const auto signature = to_hex(crypto::hmac_sha256(view(key), as_bytes(to_sign)));
  request.headers.push_back({"authorization", fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm,
                                                          credentials.access_key_id, credential_scope, names, signature)});
}

}  // namespace pgmint::http
