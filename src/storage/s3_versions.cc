#include "storage/s3_versions.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <pugixml.hpp>

#include "base/task_group.h"
#include "crypto/md5.h"
#include "http/base64.h"
#include "storage/blob_name.h"
#include "storage/s3_answer.h"

namespace pgmint::storage {
namespace {

constexpr std::uint64_t kPageMax = 8 << 20;
constexpr std::uint64_t kExplanationMax = 64 << 10;
constexpr std::size_t kDeletionsMax = 1000;  ///< S3's limit
constexpr std::size_t kRemoversMax = 8;
constexpr std::size_t kVersionIdMax = 1024;

Error not_understood(std::string_view what) { return Error(Errc::Storage, fmt::format("the store's answer is no {}: was it the store that answered?", what)); }

bool valid_id(std::string_view id) {
  return !id.empty() && id.size() <= kVersionIdMax && std::ranges::all_of(id, [](char c) { return c > 0x20 && c < 0x7f; });
}

http::Request request_for(std::string method, std::string url) {
  http::Request request;
  request.method = std::move(method);
  request.url = std::move(url);
  request.answer_max = kExplanationMax;
  return request;
}

bool is_gone(const http::Answer& answer) { return answer.status == 404 && (is_absent_object(answer) || s3_error_code(answer) == "NoSuchVersion"); }

}  // namespace

std::string_view lock_mode_name(LockMode mode) { return mode == LockMode::Compliance ? "COMPLIANCE" : "GOVERNANCE"; }

Error no_object_lock(const std::string& what) {
  return {Errc::Precondition, fmt::format("{}: the bucket was made without object lock", what), Hint{"object lock is chosen when a bucket is made: name a new bucket, or take object_lock out of the configuration"}};
}

std::string s3_lock_time(TimePoint time) {
  return format_rfc3339(std::chrono::floor<std::chrono::seconds>(time));
}

Result<S3VersionsPage> parse_s3_versions(ByteView xml) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size(), pugi::parse_minimal | pugi::parse_escapes)) return not_understood("listing of versions");
  auto root = document.child("ListVersionsResult");
  if (!root) root = document.child("ListVersionResult");  // RGW's name for it has an s more than AWS's
  if (!root) return not_understood("listing of versions");
  S3VersionsPage page;
  for (const auto node : root.children()) {
    const std::string_view kind = node.name();
    if (kind != "Version" && kind != "DeleteMarker") continue;
    ObjectVersion version;
    version.name = node.child_value("Key");
    version.id = node.child_value("VersionId");
    version.marker = kind == "DeleteMarker";
    version.latest = std::string_view(node.child_value("IsLatest")) == "true";
    const auto modified = parse_s3_time(node.child_value("LastModified"));
    if (version.name.empty() || !valid_id(version.id) || !modified) return not_understood("listing of versions");
    version.modified = *modified;
    if (!version.marker) {
      const std::string_view size = node.child_value("Size");
      const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), version.size);
      if (size.empty() || error != std::errc() || end != size.data() + size.size()) return not_understood("listing of versions");
      version.etag = s3_etag(node.child_value("ETag"));
    }
    page.versions.push_back(std::move(version));
  }
  if (std::string_view(root.child_value("IsTruncated")) == "true") {
    page.next_key = root.child_value("NextKeyMarker");
    page.next_id = root.child_value("NextVersionIdMarker");
    if (page.next_key.empty()) return not_understood("listing of versions that can be continued");
  }
  return page;
}

std::optional<ObjectLock> parse_s3_retention(ByteView xml) {
  const auto mode = s3_element(xml, "Retention", "Mode");
  const auto until = s3_element(xml, "Retention", "RetainUntilDate");
  const auto time = until ? parse_s3_time(*until) : std::nullopt;
  if (!mode || !time || (*mode != "GOVERNANCE" && *mode != "COMPLIANCE")) return std::nullopt;
  return ObjectLock{*mode == "COMPLIANCE" ? LockMode::Compliance : LockMode::Governance, *time};
}

std::string S3Versions::url_of(const std::string& name, const std::string& topic, const std::string& id) const {
  std::string query = topic;
  if (!id.empty()) query += fmt::format("{}versionId={}", query.empty() ? "" : "&", http::percent_encoded(id));
  const auto url = address_.object_url(name);
  return query.empty() ? url : fmt::format("{}?{}", url, query);
}

Result<S3VersionsPage> S3Versions::page(const std::string& prefix, std::string_view more) {
  auto request = request_for("GET", address_.bucket_url(fmt::format("versions=&max-keys={}&prefix={}{}", page_size_, http::percent_encoded(address_.key(prefix)), more)));
  request.answer_max = kPageMax;
  const auto what = fmt::format("list versions of {}", prefix);
  const auto answer = TRY(session_.fetch(request, what));
  if (answer.status != 200) return s3_error(answer, what, false);
  return parse_s3_versions(answer.body).context(what);
}

Status S3Versions::list(const std::string& prefix, const std::string& from, const std::function<Status(const ObjectVersion&)>& visit) {
  TRY(check_blob_prefix(prefix));
  std::string more;
  std::string last, last_page;
  // Begins behind a marker: what stands at `from` itself is behind the last name before it.
  if (!from.empty()) {
    auto before = from;
    --before.back();  // names are of printable characters
    before += '~';
    more = fmt::format("&key-marker={}", http::percent_encoded(address_.key(before)));
  }
  for (;;) {
    auto found = TRY(page(prefix, more));
    for (auto& version : found.versions) {
      const auto& own = address_.prefix();
      if (!version.name.starts_with(own)) return Error(Errc::Storage, fmt::format("list versions of {}: the store lists what was not asked for", prefix));
      version.name.erase(0, own.size());
      if (!valid_blob_name(version.name) || version.name < from) continue;
      if (version.name < last) return Error(Errc::Io, fmt::format("list versions of {}: the store does not list in byte order", prefix));
      last = version.name;
      TRY(visit(version));
    }
    if (found.next_key.empty()) return ok();
    more = fmt::format("&key-marker={}", http::percent_encoded(found.next_key));
    if (!found.next_id.empty()) more += fmt::format("&version-id-marker={}", http::percent_encoded(found.next_id));
    if (more == last_page) return Error(Errc::Io, fmt::format("list versions of {}: the store does not go on", prefix));
    last_page = more;
  }
}

Result<std::optional<Bytes>> S3Versions::read_front(const std::string& name, const std::string& id, std::size_t length) {
  TRY(check_blob_name(name));
  auto request = request_for("GET", url_of(name, "", id));
  request.headers.push_back({"range", fmt::format("bytes=0-{}", length - 1)});
  request.answer_max = std::max<std::uint64_t>(length, kExplanationMax);
  const auto what = fmt::format("read a version of {}", name);
  auto answer = TRY(session_.fetch(request, what));
  if (is_gone(answer) || answer.status == 405) return std::optional<Bytes>();  // 405: a marker
  if (answer.status == 416) return std::optional(Bytes());
  if (answer.status != 206 && answer.status != 200) return s3_error(answer, what, false);
  return std::optional(std::move(answer.body));
}

Status S3Versions::bring_back(const std::string& name, const std::string& id) {
  TRY(check_blob_name(name));
  auto request = request_for("PUT", address_.object_url(name));
  request.headers.push_back({"x-amz-copy-source", fmt::format("/{}/{}?versionId={}", address_.bucket(), http::percent_encoded(address_.key(name), true), http::percent_encoded(id))});
  const auto what = fmt::format("bring back {}", name);
  const auto answer = TRY(session_.send(request).context(what));
  // S3 begins to answer before a copy has ended: 200 may hold an error.
  if (answer.success() && is_s3_document(answer.body, "CopyObjectResult")) return ok();
  return s3_error(answer, what, true);
}

Result<ObjectVersions::Refused> S3Versions::refused(const ObjectVersion& version) {
  const auto lock = lock_of(version.name, version.id);
  if (!lock && is_transient(lock.failure().code())) return lock.failure();
  return Refused{version, lock && lock->has_value()};
}

Result<std::optional<ObjectVersions::Refused>> S3Versions::remove_one(const ObjectVersion& version) {
  const auto what = fmt::format("remove a version of {}", version.name);
  const auto answer = TRY(session_.send(request_for("DELETE", url_of(version.name, "", version.id))).context(what));
  if (answer.success() || is_gone(answer)) return std::optional<Refused>();
  if (answer.status == 403 && s3_error_code(answer) == "AccessDenied") return std::optional(TRY(refused(version)));
  return s3_error(answer, what, true);
}

Result<bool> S3Versions::remove_bypassing(const ObjectVersion& version) {
  TRY(check_blob_name(version.name));
  const auto what = fmt::format("remove a locked version of {}", version.name);
  auto request = request_for("DELETE", url_of(version.name, "", version.id));
  request.headers.push_back({"x-amz-bypass-governance-retention", "true"});
  const auto answer = TRY(session_.send(request).context(what));
  if (answer.success() || is_gone(answer)) return true;
  if (answer.status == 403) return false;
  return s3_error(answer, what, true);
}

Result<std::vector<ObjectVersions::Refused>> S3Versions::remove_singly(std::span<const ObjectVersion> versions) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::vector<Refused> all;
  TaskGroup removers;
  for (std::size_t i = 0; i < std::min(kRemoversMax, versions.size()); ++i)
    removers.spawn([&]() -> Status {
      for (auto at = next++; at < versions.size() && !removers.cancelled(); at = next++)
        if (auto one = TRY(remove_one(versions[at]))) {
          const std::lock_guard lock(mutex);
          all.push_back(std::move(*one));
        }
      return ok();
    });
  TRY(removers.join());
  return all;
}

Result<std::vector<ObjectVersions::Refused>> S3Versions::remove_some(std::span<const ObjectVersion> versions) {
  std::string xml = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>";
  for (const auto& version : versions)
    xml += fmt::format("<Object><Key>{}</Key><VersionId>{}</VersionId></Object>", xml_escaped(address_.key(version.name)), xml_escaped(version.id));
  xml += "</Delete>";
  auto request = request_for("POST", address_.bucket_url("delete="));
  request.body = as_bytes(xml);
  request.answer_max = kPageMax;
  request.headers.push_back({"content-md5", http::base64(TRY(crypto::md5(request.body)))});
  request.headers.push_back({"content-type", "application/xml"});
  const auto what = fmt::format("remove {} versions", versions.size());
  const auto answer = TRY(session_.send(request).context(what));
  if (answer.status == 403) {  // RGW 16 holds it against the bucket, not against the names
    many_at_once_ = false;
    return remove_singly(versions);
  }
  if (!answer.success()) return s3_error(answer, what, true);
  // Which one was refused is asked for one by one: there, nothing has to be guessed from messages.
  if (TRY(parse_s3_deletions(answer.body)).empty()) return std::vector<Refused>();
  return remove_singly(versions);
}

Result<std::vector<ObjectVersions::Refused>> S3Versions::remove(std::span<const ObjectVersion> versions) {
  for (const auto& version : versions) TRY(check_blob_name(version.name));
  std::vector<Refused> all;
  while (!versions.empty()) {
    const auto some = versions.first(std::min(versions.size(), kDeletionsMax));
    auto refused = TRY(some.size() > 1 && many_at_once_ ? remove_some(some) : remove_singly(some));
    all.insert(all.end(), std::make_move_iterator(refused.begin()), std::make_move_iterator(refused.end()));
    versions = versions.subspan(some.size());
  }
  return all;
}

Result<std::optional<ObjectLock>> S3Versions::lock_of(const std::string& name, const std::string& id) {
  TRY(check_blob_name(name));
  const auto what = fmt::format("ask for the lock of {}", name);
  const auto answer = TRY(session_.fetch(request_for("GET", url_of(name, "retention=", id)), what));
  if (answer.status == 200) {
    const auto lock = parse_s3_retention(answer.body);
    if (!lock) return not_understood("retention");
    return std::optional(*lock);
  }
  const auto code = s3_error_code(answer);
  // None on this version; none in this bucket; a marker, which bears none.
  if (is_gone(answer) || code == "NoSuchObjectLockConfiguration" || code == "ObjectLockConfigurationNotFoundError" || code == "InvalidRequest" || answer.status == 405) return std::optional<ObjectLock>();
  return s3_error(answer, what, false);
}

Status S3Versions::lock(const std::string& name, const std::string& id, const ObjectLock& lock) {
  TRY(check_blob_name(name));
  const auto xml = fmt::format("<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>", lock_mode_name(lock.mode), s3_lock_time(lock.until));
  auto request = request_for("PUT", url_of(name, "retention=", id));
  request.body = as_bytes(xml);
  request.headers.push_back({"content-md5", http::base64(TRY(crypto::md5(request.body)))});
  request.headers.push_back({"content-type", "application/xml"});
  const auto what = fmt::format("lock {}", name);
  const auto answer = TRY(session_.send(request).context(what));
  if (answer.success()) return ok();
  if (is_gone(answer)) return Error(Errc::NotFound, fmt::format("{}: it is gone", what));
  if (s3_error_code(answer) == "InvalidRequest")
    return no_object_lock(what);
  return s3_error(answer, what, true);
}

}  // namespace pgmint::storage
