#include "cli/repository_store.h"

#include <fmt/format.h>

#include "cli/s3_connection.h"
#include "cli/store_probe.h"
#include "repository/layout.h"
#include "storage/posix_store.h"

namespace pgmint::cli {
namespace {

struct BucketUse {
  storage::RetryPolicy patience{};
  bool one_writer = false;
  bool log_is_apart = false;
};

/// Versioning may have been turned on since init looked: an entry of the log must not take another one's place.
bool is_log_entry(const std::string& name) { return repository::parse_log_entry_name(name).has_value(); }
/// Beside a log that is apart, in a bucket whose service need not decide: WAL. And the probe's objects, which find out whether that works.
bool is_contended_beside_log(const std::string& name) { return repository::is_wal(name) || name.starts_with(kProbePrefix); }

Result<RepositoryStore> open_bucket(const std::string& url, const S3Settings& s3, const BucketUse& use, CancelToken& cancel) {
  auto connection = TRY(s3_connection(url, s3, cancel));
  connection.options.one_writer = use.one_writer;
  connection.options.decided_by_versions = use.log_is_apart ? is_contended_beside_log : is_log_entry;
  connection.options.keeps_versions = use.log_is_apart;
  auto bucket = TRY(storage::open_s3_store(connection.options, std::move(connection.client), std::move(connection.identity), system_clock()));
  RepositoryStore made;
  made.bucket = bucket.get();
  made.store = storage::make_retry_store(std::move(bucket), use.patience, system_clock(), system_random(), &cancel);
  return made;
}

}  // namespace

Result<RepositoryStore> open_repository_store(const RepositorySettings& repository, const S3Settings& s3, bool create, const storage::RetryPolicy& patience, CancelToken& cancel) {
  if (repository.is_s3()) {
    auto packs = TRY(open_bucket(repository.url, s3, {patience, false, !repository.log_url.empty()}, cancel));
    if (repository.log_url.empty()) return packs;
    auto unlocked = s3;
    unlocked.object_lock.reset();
    auto logs = TRY(open_bucket(repository.log_url, unlocked, {patience, false, false}, cancel).context("log_url"));
    packs.log_bucket = logs.bucket;
    packs.log_store = logs.store.get();
    packs.store = storage::make_split_store(std::move(packs.store), std::move(logs.store), repository::log_apart_rule());
    return packs;
  }
  storage::PosixOptions options;
  options.create_root = create;
  return RepositoryStore{TRY(storage::open_posix_store(TRY(repository.directory()), options))};
}

Result<RepositoryStore> open_mirror_store(const MirrorSettings& mirror, const S3Settings& general, bool create, bool brief, CancelToken& cancel) {
  RepositorySettings place;
  place.url = mirror.url;
  const auto what = fmt::format("mirror {}", mirror.name);
  if (!place.is_s3()) return open_repository_store(place, {}, create, {}, cancel).context(what);
  BucketUse use{{}, mirror.one_writer, false};
  if (brief) use.patience.attempts_max = 2;
  return open_bucket(mirror.url, mirror.s3.empty() ? general : mirror.s3, use, cancel).context(what);
}

}  // namespace pgmint::cli
