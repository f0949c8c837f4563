#include "storage/s3_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <map>
#include <set>

#include "base/guarded.h"
#include "base/log.h"
#include "base/units.h"
#include "crypto/md5.h"
#include "http/base64.h"
#include "storage/block_cache.h"
#include "storage/blob_name.h"
#include "storage/s3_address.h"
#include "storage/s3_answer.h"
#include "storage/s3_removal.h"
#include "storage/s3_session.h"
#include "storage/s3_settings.h"
#include "storage/s3_versions.h"

namespace pgmint::storage {
namespace {

constexpr std::uint64_t kPageMax = 8 << 20;     ///< bytes of a listing's page of a thousand names
constexpr std::uint64_t kExplanationMax = 64 << 10;
constexpr std::uint64_t kShortRead = BlockCache::kBlockSize / 2;  ///< up to here a read asks for the whole block
constexpr std::size_t kCreatedEtagsMax = 64;
constexpr std::size_t kBlocksMax = 128;                           ///< 8 MiB
constexpr std::chrono::microseconds kClockApartMax = std::chrono::minutes(1);

class Bucket final : public S3Store {
 public:
  Bucket(S3Options options, S3Address address, std::unique_ptr<http::Client> client, std::unique_ptr<http::AwsCredentialSource> credentials,
          Clock& clock)
      : options_(std::move(options)), address_(std::move(address)), session_(options_.region, address_.describe(), std::move(client), std::move(credentials), clock) {}

  Result<Created> create(const std::string& name, ByteView data) override;
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override;
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override;
  Result<std::optional<BlobInfo>> stat(const std::string& name) override;
  Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length) override;
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const BlobInfo&)>& visit) override;
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override;
  std::string take_created_etag(const std::string& name) override {
    return created_etags_.with([&](auto& etags) {
      auto found = etags.extract(name);
      return found ? std::move(found.mapped()) : std::string();
    });
  }
  Status remove(const std::string& name) override;
  Status remove_all(std::span<const std::string> names) override;
  Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names) override;
  std::optional<TimePoint> store_time() override { return session_.store_time(); }
  std::string describe() const override { return address_.describe(); }
  Result<std::vector<S3Finding>> examine() override;
  ObjectVersions& versions() override { return versions_; }
  Result<bool> is_versioned() override { return removal_.is_versioned(); }
  Result<bool> takes_locks() override;
  Result<Created> create_locked(const std::string& name, ByteView data, const ObjectLock& lock) override { return create_with(name, data, lock); }

 private:
  Result<Created> create_with(const std::string& name, ByteView data, const std::optional<ObjectLock>& lock);
  /// What a new object of that name is locked with.
  std::optional<ObjectLock> lock_for(const std::string& name) const;
  Result<http::Answer> send(const http::Request& request) { return session_.send(request); }
  Result<http::Answer> fetch(const http::Request& request, const std::string& what) { return session_.fetch(request, what); }
  http::Request request_for(std::string method, const std::string& name) const;
  /// Who of several has created it, after one of them was told that it did: the oldest version is what was created, and is what is read from then on.
  /// @param id  of the version that this one has written
  Result<Created> decide_by_versions(const std::string& name, const std::string& id);
  Result<S3Page> page(const std::string& prefix, std::string_view more);
  /// A block of an object, the last one shorter. nullptr: no such object. A block behind the end has no bytes.
  /// @param goes_on  the next one will be asked for too: where neither is known they are one request
  Result<BlockCache::Shared> block(const std::string& name, std::uint64_t index, bool goes_on);
  /// The same, asked of the store, with some that follow it.
  Result<BlockCache::Shared> fetch_blocks(const std::string& name, std::uint64_t index, std::size_t count);
  /// What `?topic` of the bucket answers; nullopt: nothing is set. @errors as s3_error()
  Result<std::optional<Bytes>> setting(const std::string& topic);

  const S3Options options_;
  const S3Address address_;
  S3Session session_;
  S3Versions versions_{session_, address_, options_.page_size};
  S3Removal removal_{session_, address_, versions_};
  BlockCache blocks_{kBlocksMax};
  Guarded<std::map<std::string, std::string>> created_etags_;
};

http::Request Bucket::request_for(std::string method, const std::string& name) const {
  http::Request request;
  request.method = std::move(method);
  request.url = address_.object_url(name);
  request.answer_max = kExplanationMax;
  return request;
}

std::optional<ObjectLock> Bucket::lock_for(const std::string& name) const {
  if (!options_.lock || std::ranges::any_of(options_.never_locked, [&](const auto& start) { return name.starts_with(start); })) return std::nullopt;
  return ObjectLock{options_.lock->mode, session_.now() + options_.lock->period};
}

Result<Created> Bucket::create(const std::string& name, ByteView data) { return create_with(name, data, lock_for(name)); }

Result<Created> Bucket::create_with(const std::string& name, ByteView data, const std::optional<ObjectLock>& lock) {
  TRY(check_blob_name(name));
  const bool by_versions = options_.decided_by_versions != nullptr && options_.decided_by_versions(name);
  // Whoever does not look first finds out behind its own version, unless the answer to that is lost.
  const bool looks_first = options_.one_writer || (by_versions && (options_.keeps_versions || session_.shows_versions()));
  if (looks_first && TRY(stat(name))) return Created::AlreadyExists;
  auto request = request_for("PUT", name);
  request.body = data;
  if (!options_.one_writer) request.headers.push_back({"if-none-match", "*"});
  request.headers.push_back({"content-type", "application/octet-stream"});
  for (auto& header : s3_keeping(options_)) request.headers.push_back(std::move(header));
  if (lock) {
    request.headers.push_back({"x-amz-object-lock-mode", std::string(lock_mode_name(lock->mode))});
    request.headers.push_back({"x-amz-object-lock-retain-until-date", s3_lock_time(lock->until)});
    // S3 wants a checksum of its own with a lock, beside the one that is signed.
    request.headers.push_back({"content-md5", http::base64(TRY(crypto::md5(data)))});
  }
  const auto what = fmt::format("create {}", name);
  const auto answer = TRY(send(request).context(what));
  if (answer.status == 412) return Created::AlreadyExists;
  if (lock && s3_error_code(answer) == "InvalidRequest") return no_object_lock(what);
  if (!answer.success()) return s3_error(answer, what, true);
  if (const auto etag = answer.header("etag"))
    created_etags_.with([&](auto& etags) {
      if (etags.size() >= kCreatedEtagsMax) etags.clear();
      etags[name] = s3_etag(*etag);
    });
  const auto id = answer.header("x-amz-version-id");
  // Without versions the service has decided by itself, or it does not hold a repository: the probe finds out.
  if (!by_versions || !id || *id == "null") return Created::Yes;
  auto decided = decide_by_versions(name, std::string(*id));
  if (decided || !is_transient(decided.failure().code())) return decided;
  // Whoever reads back finds its own bytes, and would take itself for the one.
  return std::move(decided).failure().with_code(Errc::Io);
}

Result<Created> Bucket::decide_by_versions(const std::string& name, const std::string& id) {
  const auto what = fmt::format("find out who created {}", name);
  std::string oldest;
  bool ended = false, ours = false;
  TRY(versions_.list(name, name, [&](const ObjectVersion& version) -> Status {
    if (version.name != name || version.marker) ended = true;  // what was removed before does not count
    if (ended) return ok();
    oldest = version.id;
    ours = ours || version.id == id;
    return ok();
  }).context(what));
  if (!ours) return Error(Errc::Storage, fmt::format("{}: the store does not list the version that it has just taken", what));
  if (oldest == id) return Created::Yes;
  TRY(versions_.bring_back(name, oldest).context(what));
  return Created::AlreadyExists;
}

Result<std::optional<Bytes>> Bucket::read(const std::string& name, std::uint64_t limit) {
  TRY(check_blob_name(name));
  auto request = request_for("GET", name);
  // What explains a refusal may be longer than the object.
  request.answer_max = std::max(limit, kExplanationMax);
  const auto what = fmt::format("read {}", name);
  auto answer = TRY(fetch(request, what));
  if (is_absent_object(answer)) return std::optional<Bytes>();
  if (answer.status != 200) return s3_error(answer, what, false);
  // Without its length nothing tells an object that was cut short, and a part of a log entry would pass for one that is void.
  if (answer.header("content-length") != fmt::to_string(answer.size)) return Error(Errc::Storage, fmt::format("{}: the store does not say how long the object is", what));
  if (answer.size > limit) return Error(Errc::ResourceLimit, fmt::format("{} is {} bytes, more than {}", name, answer.size, limit));
  return std::optional(std::move(answer.body));
}

Result<BlockCache::Shared> Bucket::block(const std::string& name, std::uint64_t index, bool goes_on) {
  if (auto known = blocks_.find(name, index)) return known;
  return fetch_blocks(name, index, goes_on && blocks_.find(name, index + 1) == nullptr ? 2 : 1);
}

Result<BlockCache::Shared> Bucket::fetch_blocks(const std::string& name, std::uint64_t index, std::size_t count) {
  const auto what = fmt::format("read {}", name);
  const auto first = index * BlockCache::kBlockSize;
  const auto wanted = count * BlockCache::kBlockSize;
  auto request = request_for("GET", name);
  request.headers.push_back({"range", fmt::format("bytes={}-{}", first, first + wanted - 1)});
  request.answer_max = std::max<std::uint64_t>(kExplanationMax, wanted);
  auto answer = TRY(fetch(request, what));
  if (is_absent_object(answer)) return BlockCache::Shared();
  if (answer.status == 416) {
    const auto info = TRY(stat(name));
    if (!info) return BlockCache::Shared();
    if (first < info->size) return Error(Errc::Storage, fmt::format("{}: the store contradicts itself about the object's length", what));
    auto behind = std::make_shared<BlockCache::Block>();
    behind->object_size = info->size;
    return BlockCache::Shared(std::move(behind));
  }
  if (answer.status != 206) return s3_error(answer, what, false);
  const auto range = answer.header("content-range");
  const auto size = range && range->starts_with(fmt::format("bytes {}-", first)) ? size_in_range(*range) : std::nullopt;
  if (!size || *size <= first || answer.body.size() != std::min<std::uint64_t>(wanted, *size - first))
    return Error(Errc::Storage, fmt::format("{}: the store answered with another range than was asked for", what));
  BlockCache::Shared front;
  for (std::size_t at = 0; at < answer.body.size(); at += BlockCache::kBlockSize) {
    const auto bytes = ByteView(answer.body).subspan(at, std::min(BlockCache::kBlockSize, answer.body.size() - at));
    auto made = std::make_shared<BlockCache::Block>();
    made->object_size = *size;
    made->bytes.assign(bytes.begin(), bytes.end());
    BlockCache::Shared shared = std::move(made);
    blocks_.add(name, index + at / BlockCache::kBlockSize, shared);
    if (at == 0) front = std::move(shared);
  }
  return front;
}

Result<std::optional<BlobFront>> Bucket::read_front(const std::string& name, std::size_t length) {
  static_assert(kFrontMax == BlockCache::kBlockSize);
  PGMINT_ASSERT(length > 0 && length <= kFrontMax);
  TRY(check_blob_name(name));
  // Whether it is there, the store is asked each time; what comes behind its front in this block need not be asked for again.
  const auto block = TRY(fetch_blocks(name, 0, 1));
  if (block == nullptr) return std::optional<BlobFront>();
  const auto bytes = ByteView(block->bytes).first(std::min(length, block->bytes.size()));
  return std::optional(BlobFront{block->object_size, Bytes(bytes.begin(), bytes.end())});
}

Status Bucket::read_range(const std::string& name, std::uint64_t offset, MutableByteView out) {
  TRY(check_blob_name(name));
  const auto too_short = [&](std::uint64_t size) {
    return Error(Errc::Corruption, fmt::format("{} ends at {} bytes, before {} + {}", name, size, offset, out.size()));
  };
  if (out.empty() || offset > ~std::uint64_t{0} - out.size()) {
    const auto info = TRY(stat(name));
    if (!info) return Error(Errc::NotFound, fmt::format("{}: no such object", name));
    if (offset > info->size || out.size() > info->size - offset) return too_short(info->size);
    return ok();
  }
  if (out.size() <= kShortRead) {
    for (auto rest = out; !rest.empty();) {
      const auto at = offset + (out.size() - rest.size());
      const auto block = TRY(this->block(name, at / BlockCache::kBlockSize, at % BlockCache::kBlockSize + rest.size() > BlockCache::kBlockSize));
      if (block == nullptr) return Error(Errc::NotFound, fmt::format("{}: no such object", name));
      if (out.size() > block->object_size || offset > block->object_size - out.size()) return too_short(block->object_size);
      const auto part = ByteView(block->bytes).subspan(at % BlockCache::kBlockSize);
      const auto n = std::min(part.size(), rest.size());
      std::copy_n(part.begin(), n, rest.begin());
      rest = rest.subspan(n);
    }
    return ok();
  }
  auto request = request_for("GET", name);
  request.headers.push_back({"range", fmt::format("bytes={}-{}", offset, offset + out.size() - 1)});
  request.into = out;
  const auto what = fmt::format("read {}", name);
  const auto answer = TRY(fetch(request, what));
  if (is_absent_object(answer)) return Error(Errc::NotFound, fmt::format("{}: no such object", name));
  if (answer.status == 416) {
    const auto info = TRY(stat(name));
    return info ? too_short(info->size) : Error(Errc::NotFound, fmt::format("{}: no such object", name));
  }
  if (answer.status != 206) return s3_error(answer, what, false);
  const auto range = answer.header("content-range");
  if (!range || !range->starts_with(fmt::format("bytes {}-", offset)))
    return Error(Errc::Storage, fmt::format("{}: the store answered with another range than was asked for", what));
  if (answer.size != out.size()) return too_short(offset + answer.size);
  return ok();
}

/// A GET of one byte: the answer to a HEAD has no body, and with it no way to tell an absent object from an absent bucket.
Result<std::optional<BlobInfo>> Bucket::stat(const std::string& name) {
  TRY(check_blob_name(name));
  const auto what = fmt::format("look for {}", name);
  auto request = request_for("GET", name);
  request.headers.push_back({"range", "bytes=0-0"});
  const auto answer = TRY(fetch(request, what));
  if (is_absent_object(answer)) return std::optional<BlobInfo>();
  if (answer.status == 206) {
    const auto range = answer.header("content-range");
    if (const auto size = range ? size_in_range(*range) : std::nullopt) return std::optional(BlobInfo{name, *size});
    return Error(Errc::Storage, fmt::format("{}: the store does not say how long the object is", what));
  }
  if (answer.status != 416) return s3_error(answer, what, false);
  // An empty object has no first byte.
  const auto head = TRY(fetch(request_for("HEAD", name), what));
  if (head.status == 200 && head.header("content-length") == "0") return std::optional(BlobInfo{name, 0});
  return Error(Errc::Storage, fmt::format("{}: the store contradicts itself about the object's length", what));
}

Result<S3Page> Bucket::page(const std::string& prefix, std::string_view more) {
  http::Request request;
  request.url = address_.bucket_url(fmt::format("list-type=2&max-keys={}&prefix={}{}", options_.page_size, http::percent_encoded(address_.key(prefix)), more));
  request.answer_max = kPageMax;
  const auto what = fmt::format("list {}", prefix);
  const auto answer = TRY(fetch(request, what));
  if (answer.status != 200) return s3_error(answer, what, false);
  return parse_s3_page(answer.body).context(what);
}

Status Bucket::list(const std::string& prefix, const std::string& after, const std::function<Status(const BlobInfo&)>& visit) {
  TRY(check_blob_prefix(prefix));
  std::string more = after.empty() ? std::string() : fmt::format("&start-after={}", http::percent_encoded(address_.key(after)));
  std::string last = after;
  for (;;) {
    auto found = TRY(page(prefix, more));
    for (auto& object : found.objects) {
      const auto& own = address_.prefix();
      if (!object.name.starts_with(own)) return Error(Errc::Storage, fmt::format("list {}: the store lists what was not asked for", prefix));
      BlobInfo info{object.name.substr(own.size()), object.size, std::move(object.etag), object.written};
      if (!valid_blob_name(info.name)) continue;  // somebody else's, such as the "folders" of a console
      // A listing that goes back would be read for ever, and one out of order would leave names out.
      if (info.name <= last) return Error(Errc::Io, fmt::format("list {}: the store does not list in byte order", prefix), Hint{"this store cannot hold a repository"});
      last = info.name;
      TRY(visit(info));
    }
    if (found.next.empty()) return ok();
    more = fmt::format("&continuation-token={}", http::percent_encoded(found.next));
  }
}

Result<std::vector<std::string>> Bucket::list_parts(const std::string& prefix) {
  TRY(check_parts_prefix(prefix));
  std::set<std::string> parts;
  const auto whole = address_.key(prefix);
  const auto add = [&](std::string_view key) -> Status {
    if (!key.starts_with(whole)) return Error(Errc::Storage, fmt::format("list {}: the store lists what was not asked for", prefix));
    key.remove_prefix(whole.size());
    if (key.ends_with('/')) key.remove_suffix(1);
    if (!key.empty()) parts.emplace(key);  // also what others put there: an empty place has none of it
    return ok();
  };
  std::string more = "&delimiter=%2F";
  for (;;) {
    const auto found = TRY(page(prefix, more));
    for (const auto& object : found.objects)
      if (!object.name.ends_with('/')) TRY(add(object.name));
    for (const auto& each : found.prefixes) TRY(add(each));
    if (found.next.empty()) return std::vector<std::string>(parts.begin(), parts.end());
    more = fmt::format("&delimiter=%2F&continuation-token={}", http::percent_encoded(found.next));
  }
}

Status Bucket::remove(const std::string& name) { return remove_all({&name, 1}); }

Status Bucket::remove_all(std::span<const std::string> names) {
  const auto locked = TRY(remove_unlocked(names));
  if (locked.empty()) return ok();
  // A key slot that is removed, or a marker that a newer one replaces, must not stand there for years; collect, which comes back, asks for remove_unlocked().
  TRY(removal_.hide(locked));
  log_warning("{}: locked by the store (object lock): hidden, and stays as an old version until its lock has passed{}", locked.front(), locked.size() > 1 ? fmt::format("; so do {} others", locked.size() - 1) : "");
  return ok();
}

Result<std::vector<std::string>> Bucket::remove_unlocked(std::span<const std::string> names) {
  for (const auto& name : names) TRY(check_blob_name(name));
  for (const auto& name : names) blocks_.forget(name);
  return removal_.remove(names);
}

Result<std::optional<Bytes>> Bucket::setting(const std::string& topic) {
  http::Request request;
  request.url = address_.bucket_url(topic + '=');
  const auto what = fmt::format("ask for the bucket's {}", topic);
  auto answer = TRY(fetch(request, what));
  if (answer.status == 200) return std::optional(std::move(answer.body));
  // "NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError": whatever the topic, and never "NoSuchBucket".
  if (answer.status == 404 && s3_error_code(answer).find("Configuration") != std::string::npos) return std::optional<Bytes>();
  return s3_error(answer, what, false);
}

Result<bool> Bucket::takes_locks() { return bears_object_lock(TRY(setting("object-lock"))); }

Result<std::vector<S3Finding>> Bucket::examine() {
  using Grade = S3Finding::Grade;
  std::vector<S3Finding> findings;
  const auto ask = [&](const std::string& topic, const std::string& subject, const std::function<Result<std::vector<S3Finding>>(const std::optional<Bytes>&)>& judge) -> Status {
    const auto answer = setting(topic);
    if (!answer && is_transient(answer.failure().code())) return answer.failure();
    if (!answer) {
      findings.push_back({Grade::Warning, subject, fmt::format("not known: {}", answer.failure().describe()), fmt::format("let these credentials read the bucket's {}, or look yourself", topic)});
      return ok();
    }
    for (auto& finding : TRY(judge(*answer))) {
      finding.subject = subject;
      findings.push_back(std::move(finding));
    }
    return ok();
  };
  TRY(ask("versioning", "bucket versioning", judge_versioning));
  TRY(ask("object-lock", "object lock", [&](const std::optional<Bytes>& xml) { return judge_object_lock(xml, options_.lock.has_value()); }));
  TRY(ask("lifecycle", "lifecycle rules", [&](const std::optional<Bytes>& xml) { return judge_lifecycle(xml, address_.prefix()); }));
  const auto known = session_.store_ahead();
  const auto ahead = known.value_or(std::chrono::microseconds(0));
  const auto apart = ahead < std::chrono::microseconds(0) ? -ahead : ahead;
  if (!known)
    findings.push_back({Grade::Warning, "store's clock", "not known: its answers have no date", ""});
  else if (apart > kClockApartMax)
    findings.push_back({Grade::Warning, "store's clock", fmt::format("it is {} {} this host's", human(apart), ahead.count() > 0 ? "ahead of" : "behind"), "set this host's clock (timedatectl), or the store's"});
  else
    findings.push_back({Grade::Fine, "store's clock", "agrees with this host's", ""});
  return findings;
}

}  // namespace

std::vector<http::Header> s3_keeping(const S3Options& options) {
  std::vector<http::Header> headers;
  if (!options.storage_class.empty()) headers.push_back({"x-amz-storage-class", options.storage_class});
  if (!options.encryption.empty()) headers.push_back({"x-amz-server-side-encryption", options.encryption});
  if (!options.kms_key_id.empty()) headers.push_back({"x-amz-server-side-encryption-aws-kms-key-id", options.kms_key_id});
  return headers;
}

Result<std::unique_ptr<S3Store>> open_s3_store(const S3Options& options, std::unique_ptr<http::Client> client,
                                               std::unique_ptr<http::AwsCredentialSource> credentials, Clock& clock) {
  auto address = TRY(S3Address::parse(options.url, options.endpoint, options.region, options.path_style));
  return std::unique_ptr<S3Store>(std::make_unique<Bucket>(options, std::move(address), std::move(client), std::move(credentials), clock));
}

}  // namespace pgmint::storage
