#include "storage/s3_answer.h"

#include <fmt/format.h>
#include <time.h>

#include <charconv>
#include <pugixml.hpp>

namespace pgmint::storage {
namespace {

constexpr std::size_t kEtagMax = 128;

/// A service's words on a terminal: one line, printable, not long.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 300)) out += c >= 0x20 && c < 0x7f ? c : ' ';
  return out;
}

/// The root element, or nothing: not XML, or of another name.
std::optional<pugi::xml_node> root_of(pugi::xml_document& document, ByteView xml, const char* name) {
  if (!document.load_buffer(xml.data(), xml.size(), pugi::parse_minimal | pugi::parse_escapes)) return std::nullopt;
  const auto root = document.child(name);
  if (!root) return std::nullopt;
  return root;
}

Error not_understood(std::string_view what) {
  return Error(Errc::Storage, fmt::format("the store's answer is no {}: was it the store that answered?", what));
}

struct ErrorDocument {
  std::string code, message;
};
ErrorDocument error_document(const http::Answer& answer) {
  pugi::xml_document document;
  const auto root = root_of(document, answer.body, "Error");
  if (!root) return {};
  return {shown(root->child_value("Code")), shown(root->child_value("Message"))};
}

struct Meaning {
  std::string_view code;
  Errc kind;
  const char* hint;
};
/// What is known by its code, whatever the status.
constexpr Meaning kMeanings[] = {
    {"NoSuchBucket", Errc::Precondition, "create the bucket first: pgmint does not"},
    {"InvalidBucketName", Errc::Configuration, "repository = \"s3://bucket/prefix\""},
    {"AccessDenied", Errc::Key, "these credentials may not do this (s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket are needed); some services say so of a wrong secret_access_key too"},
    {"InvalidAccessKeyId", Errc::Key, "access_key_id in [s3] or the bucket's own table, or where the usual chain found it"},
    {"SignatureDoesNotMatch", Errc::Key, "secret_access_key in [s3] or the bucket's own table (or the profile's), and region"},
    {"AuthorizationHeaderMalformed", Errc::Configuration, "region in [s3] or the bucket's own table"},
    {"PermanentRedirect", Errc::Configuration, "the bucket is elsewhere: endpoint and region in [s3] or the bucket's own table"},
    {"IllegalLocationConstraintException", Errc::Configuration, "the bucket is elsewhere: endpoint and region in [s3] or the bucket's own table"},
    {"ExpiredToken", Errc::Key, "renew the session's credentials"},
    {"InvalidToken", Errc::Key, "session_token belongs to other credentials"},
    {"RequestTimeTooSkewed", Errc::Precondition, "set this host's clock (timedatectl), or the store's"},
    {"QuotaExceeded", Errc::ResourceLimit, "the bucket's or user's quota is full: raise it, or make room with pgmint expire and pgmint collect"},
    {"EntityTooLarge", Errc::ResourceLimit, ""},
    {"InvalidStorageClass", Errc::Configuration, "storage_class in [s3] or the bucket's own table"},
    {"KMS.NotFoundException", Errc::Configuration, "kms_key_id in [s3] or the bucket's own table"},
};

}  // namespace

Result<S3Page> parse_s3_page(ByteView xml) {
  pugi::xml_document document;
  const auto root = root_of(document, xml, "ListBucketResult");
  if (!root) return not_understood("listing");
  S3Page page;
  for (const auto node : root->children("Contents")) {
    BlobInfo info;
    info.name = node.child_value("Key");
    const std::string_view size = node.child_value("Size");
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), info.size);
    if (info.name.empty() || size.empty() || error != std::errc() || end != size.data() + size.size()) return not_understood("listing");
    info.etag = s3_etag(node.child_value("ETag"));
    info.written = parse_s3_time(node.child_value("LastModified"));
    page.objects.push_back(std::move(info));
  }
  for (const auto node : root->children("CommonPrefixes")) page.prefixes.emplace_back(node.child_value("Prefix"));
  if (std::string_view(root->child_value("IsTruncated")) == "true") {
    page.next = root->child_value("NextContinuationToken");
    if (page.next.empty()) return not_understood("listing that can be continued");
  }
  return page;
}

std::string s3_etag(std::string_view text) {
  if (text.size() >= 2 && text.starts_with('"') && text.ends_with('"')) text = text.substr(1, text.size() - 2);
  return std::string(text.substr(0, kEtagMax));
}

std::optional<TimePoint> parse_s3_time(std::string_view text) {
  constexpr std::size_t kDigits = 6;
  const auto dot = text.find('.');
  const bool fine = dot != std::string_view::npos && text.ends_with('Z') && text.size() - dot > kDigits + 2;
  const auto parsed = parse_time(fine ? fmt::format("{}Z", text.substr(0, dot + 1 + kDigits)) : std::string(text));
  return parsed ? std::optional(*parsed) : std::nullopt;
}

Result<std::vector<std::string>> parse_s3_deletions(ByteView xml) {
  pugi::xml_document document;
  const auto root = root_of(document, xml, "DeleteResult");
  if (!root) return not_understood("result of deletions");
  std::vector<std::string> failed;
  for (const auto node : root->children("Error"))
    if (std::string_view(node.child_value("Code")) != "NoSuchKey") failed.push_back(shown(fmt::format("{}: {}", node.child_value("Key"), node.child_value("Code"))));
  return failed;
}

std::string s3_error_code(const http::Answer& answer) { return error_document(answer).code; }

bool is_absent_object(const http::Answer& answer) { return answer.status == 404 && s3_error_code(answer) == "NoSuchKey"; }

bool is_s3_document(ByteView xml, const char* root) {
  pugi::xml_document document;
  return root_of(document, xml, root).has_value();
}

std::optional<std::string> s3_element(ByteView xml, const char* root, const char* name) {
  pugi::xml_document document;
  const auto found = root_of(document, xml, root);
  if (!found) return std::nullopt;
  std::string text = found->child_value(name);
  if (text.empty()) return std::nullopt;
  return text;
}

Error s3_error(const http::Answer& answer, const std::string& what, bool may_have_written) {
  const auto document = error_document(answer);
  std::string said = fmt::format("the store answered {}", answer.status);
  if (!document.code.empty()) said += ' ' + document.code;
  if (!document.message.empty() && document.message != document.code) said += fmt::format(" ({})", document.message);
  const auto error = [&](Errc code, std::string hint = {}) { return Error(code, fmt::format("{}: {}", what, said), Hint{std::move(hint)}); };
  for (const auto& meaning : kMeanings)
    if (document.code == meaning.code) return error(meaning.kind, meaning.hint);
  if (answer.status == 409) return error(Errc::Busy);  // two requests met, ours was not carried out
  if (answer.status >= 500 || answer.status == 429 || answer.status == 408 || document.code == "RequestTimeout") {
    if (answer.status == 501) return error(Errc::Precondition, "this store lacks what pgmint needs of S3 (PUT with If-None-Match): it can only hold a mirror");
    return error(may_have_written ? Errc::Unknown : Errc::Storage);
  }
  if (document.code == "BadDigest" || document.code == "XAmzContentSHA256Mismatch" || document.code == "IncompleteBody") return error(Errc::Storage);
  if (answer.status == 401 || answer.status == 403) return error(Errc::Key, "do the credentials belong to this store, and may they do this?");
  if (answer.status >= 300 && answer.status < 400) return error(Errc::Configuration, "redirects are not followed: endpoint and region in [s3] or the bucket's own table");
  return error(Errc::Io);
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default: out += c;
    }
  }
  return out;
}

std::optional<std::uint64_t> size_in_range(std::string_view range) {
  const auto slash = range.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  range.remove_prefix(slash + 1);
  std::uint64_t size = 0;
  const auto [end, error] = std::from_chars(range.data(), range.data() + range.size(), size);
  if (range.empty() || error != std::errc() || end != range.data() + range.size()) return std::nullopt;
  return size;
}

std::optional<TimePoint> parse_http_date(std::string_view text) {
  struct tm parts {};
  const std::string copy(text);
  const char* end = ::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return TimePoint(std::chrono::seconds(::timegm(&parts)));
}

}  // namespace pgmint::storage
