#include "storage/s3_removal.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/log.h"
#include "base/task_group.h"
#include "crypto/md5.h"
#include "http/base64.h"
#include "storage/blob_name.h"
#include "storage/s3_answer.h"

namespace pgmint::storage {
namespace {

constexpr std::uint64_t kAnswerMax = 8 << 20;
constexpr std::size_t kDeletionsMax = 1000;  ///< names in one request, S3's limit
constexpr std::size_t kRemoversMax = 8;
/// Of one folder: of more names the folder's versions are listed, of fewer those of each name.
constexpr std::size_t kListedSingly = 3;

}  // namespace

Status S3Removal::hide_one(const std::string& name) {
  http::Request request;
  request.method = "DELETE";
  request.url = address_.object_url(name);
  const auto answer = TRY(session_.send(request).context(fmt::format("remove {}", name)));
  if (answer.success() || is_absent_object(answer)) return ok();
  return s3_error(answer, fmt::format("remove {}", name), true);
}

Status S3Removal::hide_singly(std::span<const std::string> names) {
  if (names.size() == 1) return hide_one(names.front());
  std::atomic<std::size_t> next{0};
  TaskGroup removers;
  for (std::size_t i = 0; i < std::min(kRemoversMax, names.size()); ++i)
    removers.spawn([&]() -> Status {
      for (auto at = next++; at < names.size() && !removers.cancelled(); at = next++) TRY(hide_one(names[at]));
      return ok();
    });
  return removers.join();
}

Status S3Removal::hide_some(std::span<const std::string> names) {
  std::string xml = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>";
  // Our names hold nothing that XML would take for its own; the prefix is the user's.
  for (const auto& name : names) xml += fmt::format("<Object><Key>{}</Key></Object>", xml_escaped(address_.key(name)));
  xml += "</Delete>";
  http::Request request;
  request.method = "POST";
  request.url = address_.bucket_url("delete=");
  request.body = as_bytes(xml);
  request.answer_max = kAnswerMax;
  request.headers.push_back({"content-md5", http::base64(TRY(crypto::md5(request.body)))});
  request.headers.push_back({"content-type", "application/xml"});
  const auto what = fmt::format("remove {} objects", names.size());
  const auto answer = TRY(session_.send(request).context(what));
  // RGW 16 holds this request against the bucket and not against the names in it: who may remove those alone is refused, and may remove them one by one.
  if (answer.status == 403) {
    many_at_once_ = false;
    return hide_singly(names);
  }
  if (!answer.success()) return s3_error(answer, what, true);
  const auto failed = TRY(parse_s3_deletions(answer.body));
  if (failed.empty()) return ok();
  const bool denied = failed.front().ends_with("AccessDenied");
  return Error(denied ? Errc::Key : Errc::Storage, fmt::format("{}: {} were not removed, first {}", what, failed.size(), failed.front()));
}

Status S3Removal::hide(std::span<const std::string> names) {
  while (!names.empty()) {
    const auto some = names.first(std::min(names.size(), kDeletionsMax));
    TRY(some.size() > 1 && many_at_once_ ? hide_some(some) : hide_singly(some));
    names = names.subspan(some.size());
  }
  return ok();
}

Result<bool> S3Removal::is_versioned() {
  const std::lock_guard lock(mutex_);
  if (versioned_) return *versioned_;
  http::Request request;
  request.url = address_.bucket_url("versioning=");
  const auto what = std::string("ask for the bucket's versioning");
  const auto answer = TRY(session_.fetch(request, what));
  if (answer.status != 200) return s3_error(answer, what, false);
  // Suspended versioning keeps what was there before.
  versioned_ = s3_element(answer.body, "VersioningConfiguration", "Status").has_value();
  return *versioned_;
}

Result<bool> S3Removal::removes_versions() {
  if (!may_remove_versions_) return false;
  // Answers to what this process has read or written say so too, and then nobody has to be asked.
  if (session_.shows_versions()) return true;
  const auto versioned = is_versioned();
  if (versioned) return *versioned;
  if (is_transient(versioned.failure().code())) return versioned.failure();
  may_remove_versions_ = false;  // may not ask, or the service does not know the question
  return false;
}

Result<std::vector<ObjectVersion>> S3Removal::versions_of(std::span<const std::string> names) {
  std::map<std::string, std::set<std::string>> folders;
  for (const auto& name : names) folders[parent_of(name)].insert(name);
  std::vector<ObjectVersion> found;
  const Error enough(Errc::Cancelled, "enough");
  for (const auto& [folder, wanted] : folders) {
    const auto look = [&](const std::string& prefix, const std::string& first, const std::string& last) -> Status {
      bool ended = false;
      auto listed = versions_.list(prefix, first, [&](const ObjectVersion& version) -> Status {
        if (version.name > last) {
          ended = true;
          return enough;
        }
        if (wanted.contains(version.name)) found.push_back(version);
        return ok();
      });
      return ended ? ok() : listed;
    };
    if (wanted.size() > kListedSingly) {
      TRY(look(folder.empty() ? std::string() : folder + '/', *wanted.begin(), *wanted.rbegin()));
      continue;
    }
    for (const auto& name : wanted) TRY(look(name, "", name));
  }
  return found;
}

Result<std::vector<std::string>> S3Removal::remove(std::span<const std::string> names) {
  std::set<std::string> locked;
  while (!names.empty()) {
    const auto some = names.first(std::min(names.size(), kDeletionsMax));
    if (!TRY(removes_versions())) {
      TRY(hide(names));
      break;
    }
    const auto versions = versions_of(some);
    std::set<std::string> denied;
    if (versions) {
      for (const auto& refused : TRY(versions_.remove(*versions))) (refused.locked ? locked : denied).insert(refused.version.name);
    } else if (versions.failure().code() == Errc::Key) {
      denied.insert(some.begin(), some.end());
    } else {
      return versions.failure();
    }
    if (!denied.empty()) {
      may_remove_versions_ = false;
      log_info("these credentials may not remove versions: what is removed is hidden, and stays as old versions");
      const std::vector<std::string> hidden(denied.begin(), denied.end());
      TRY(hide(hidden));
    }
    names = names.subspan(some.size());
  }
  return std::vector<std::string>(locked.begin(), locked.end());
}

}  // namespace pgmint::storage
