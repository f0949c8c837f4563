// Requests to one S3 service: signed, sent, and signed anew where the refusal was about the signature's age.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "http/aws_credentials.h"
#include "http/client.h"

namespace pgmint::storage {

/// Thread-safe. Borrows the clock.
class S3Session {
 public:
  /// @param description  of the bucket, for messages
  S3Session(std::string region, std::string description, std::unique_ptr<http::Client> client, std::unique_ptr<http::AwsCredentialSource> credentials, Clock& clock)
      : region_(std::move(region)), description_(std::move(description)), client_(std::move(client)), credentials_(std::move(credentials)), clock_(clock) {}

  /// Sent once. Refused for expired credentials or for the time, once more. @errors as http::Client, and those of the credentials
  Result<http::Answer> send(const http::Request& request);
  /// As send(), of what only reads: an unknown outcome is none.
  Result<http::Answer> fetch(const http::Request& request, const std::string& what);

  std::optional<TimePoint> store_time() const;
  /// By the store's clock, and by ours as long as it has not told.
  TimePoint now() const { return store_time().value_or(clock_.now()); }
  /// The store's clock less ours, at the last answer; nullopt: none has told.
  std::optional<std::chrono::microseconds> store_ahead() const;
  /// Some answer has named the version of an object: the bucket keeps them.
  bool shows_versions() const { return shows_versions_; }

 private:
  void note_time(const http::Answer& answer);

  const std::string region_, description_;
  const std::unique_ptr<http::Client> client_;
  const std::unique_ptr<http::AwsCredentialSource> credentials_;
  Clock& clock_;
  std::atomic<bool> time_known_{false}, shows_versions_{false};
  std::atomic<std::int64_t> store_ahead_us_{0};
  std::atomic<std::int64_t> signing_ahead_us_{0};  ///< added to our time in signatures once the store has refused it
};

}  // namespace pgmint::storage
