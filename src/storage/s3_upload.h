// Files of people into a bucket, under any name: created once, in parts where they are large, and read back. A repository's objects go through s3_store.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/strong.h"
#include "storage/attempts.h"
#include "storage/s3_address.h"
#include "storage/s3_session.h"
#include "storage/s3_store.h"

namespace pgmint::storage {

/// What S3 takes with one request.
inline constexpr ByteCount kS3PutMax{std::uint64_t{5} << 30};
/// The least that a part may have which is not the last.
inline constexpr ByteCount kS3PartMin{std::uint64_t{5} << 20};
inline constexpr ByteCount kS3ObjectMax{std::uint64_t{5} << 40};

struct S3UploadOptions {
  S3Options bucket;
  ByteCount parts_above = kS3PutMax;  ///< a longer file goes in parts
  RetryPolicy patience{};
};

class Attempts;

/// Not thread-safe. Borrows clock, random and cancel (may be null), which outlive it.
class S3Upload {
 public:
  /// @errors Configuration
  static Result<std::unique_ptr<S3Upload>> open(S3UploadOptions options, std::unique_ptr<http::Client> client, std::unique_ptr<http::AwsCredentialSource> credentials,
                                                Clock& clock, RandomSource& random, const CancelToken* cancel = nullptr);

  struct Front {
    std::uint64_t size = 0;  ///< of the whole object
    Bytes bytes;
    std::string encryption;  ///< by the store, as it says: "aws:kms"; empty: it does not say
  };
  /// The first bytes of an object, at most `length` and at least one; absence as a value. @errors Storage, Key, Precondition (no such bucket)
  Result<std::optional<Front>> front(const std::string& key, std::size_t length);
  /// All of an object whose size is known, from front to end. @errors as front(); Corruption (it has another size, or is gone)
  Status read(const std::string& key, std::uint64_t size, const std::function<Status(ByteView)>& visit);

  /// Creates the object where there is none of that name; a reader sees all of it or nothing. What may have been carried out is looked for before it is
  /// sent again: then, and where somebody else was first, AlreadyExists, and the caller compares. Parts of a creation that failed are removed.
  /// @param data  not empty  @errors Storage, Unknown (it may be there), Key, Precondition, ResourceLimit (above kS3ObjectMax), Cancelled
  Result<Created> create(const std::string& key, ByteView data, const std::function<void(std::uint64_t sent)>& progress = {});

  /// False once the store has said that it has no conditional creation, or parts were put together by a service that may have passed over the condition (all but
  /// AWS): it was looked before writing, and nothing guards against another writer in between.
  bool guarded() const { return conditional_ && !condition_unproven_; }
  /// "s3://bucket/prefix/key"
  std::string url_of(const std::string& key) const { return address_.describe() + '/' + key; }

 private:
  struct Part;

  S3Upload(S3UploadOptions options, S3Address address, std::unique_ptr<http::Client> client, std::unique_ptr<http::AwsCredentialSource> credentials, Clock& clock,
           RandomSource& random, const CancelToken* cancel);
  Attempts attempts();
  http::Request request_for(std::string method, const std::string& key, std::string_view query = {}) const;
  /// One attempt.
  Result<std::optional<Front>> ask_front(const std::string& key, std::size_t length);
  Result<Created> put(const std::string& key, ByteView data);
  Result<Created> put_whole(const std::string& key, ByteView data);
  Result<Created> put_parts(const std::string& key, ByteView data, const std::function<void(std::uint64_t)>& progress);
  Result<std::string> begin_parts(const std::string& key);
  /// @return what the service calls it
  Result<std::string> put_part(const Part& part, ByteView data);
  Result<Created> join_parts(const std::string& key, const std::string& id, std::string_view list);
  Result<Created> join_once(const std::string& key, const std::string& id, std::string_view list);
  void drop_parts(const std::string& key, const std::string& id);
  void note_unguarded();
  /// Of a creation: what the store was asked for besides may be what it lacks.
  Error refusal(const http::Answer& answer, const std::string& what) const;

  const S3UploadOptions options_;
  const S3Address address_;
  S3Session session_;
  Clock& clock_;
  RandomSource& random_;
  const CancelToken* const cancel_;
  StoreTrouble trouble_;
  bool conditional_ = true;
  bool condition_unproven_ = false;
};

}  // namespace pgmint::storage
