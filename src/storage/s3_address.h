// Where a bucket is: the s3:// URL, the service's endpoint, and the URLs of requests that follow from both.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace pgmint::storage {

class S3Address {
 public:
  /// @param url  "s3://bucket/prefix", the prefix may be absent; it ends at a '/' of its own
  /// @param endpoint  "https://host:port", without a path; empty: AWS's for `region`
  /// @param path_style  the bucket stands in the path, not before the host. A bucket name with dots stands there always under https, since no
  /// certificate fits it otherwise
  /// @errors Configuration
  static Result<S3Address> parse(std::string_view url, std::string_view endpoint, std::string_view region, bool path_style);

  const std::string& bucket() const { return bucket_; }
  const std::string& prefix() const { return prefix_; }  ///< "" or ending in '/'
  /// The key of an object of ours.
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  std::string object_url(std::string_view name) const;
  /// @param query  percent-encoded, without '?'; may be empty
  std::string bucket_url(std::string_view query) const;
  std::string describe() const;

 private:
  std::string bucket_, prefix_;
  std::string base_;  ///< of the bucket, without a '/' at the end
};

}  // namespace pgmint::storage
