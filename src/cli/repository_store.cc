#include "cli/repository_store.h"

#include <fmt/format.h>

#include "cli/s3_connection.h"
#include "storage/posix_store.h"

namespace pgmint::cli {
namespace {

struct BucketUse {
  storage::RetryPolicy patience{};
  bool one_writer = false;
};

Result<RepositoryStore> open_bucket(const std::string& url, const S3Settings& s3, const BucketUse& use, CancelToken& cancel) {
  auto connection = TRY(s3_connection(url, s3, cancel));
  connection.options.one_writer = use.one_writer;
  auto bucket = TRY(storage::open_s3_store(connection.options, std::move(connection.client), std::move(connection.identity), system_clock()));
  RepositoryStore made;
  made.bucket = bucket.get();
  made.store = storage::make_retry_store(std::move(bucket), use.patience, system_clock(), system_random(), &cancel);
  return made;
}

}  // namespace

Result<RepositoryStore> open_repository_store(const RepositorySettings& repository, const S3Settings& s3, bool create, const storage::RetryPolicy& patience, CancelToken& cancel) {
  if (repository.is_s3()) return open_bucket(repository.url, s3, {patience, false}, cancel);
  storage::PosixOptions options;
  options.create_root = create;
  return RepositoryStore{TRY(storage::open_posix_store(TRY(repository.directory()), options))};
}

Result<RepositoryStore> open_mirror_store(const MirrorSettings& mirror, const S3Settings& general, bool create, bool brief, CancelToken& cancel) {
  RepositorySettings place;
  place.url = mirror.url;
  const auto what = fmt::format("mirror {}", mirror.name);
  if (!place.is_s3()) return open_repository_store(place, {}, create, {}, cancel).context(what);
  BucketUse use{{}, mirror.one_writer};
  if (brief) use.patience.attempts_max = 2;
  return open_bucket(mirror.url, mirror.s3.empty() ? general : mirror.s3, use, cancel).context(what);
}

}  // namespace pgmint::cli
