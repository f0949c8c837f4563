// What it takes to talk to a bucket, made of a table of the configuration.
#pragma once

#include <memory>
#include <string>

#include "base/cancel.h"
#include "cli/s3_settings.h"
#include "http/aws_credentials.h"
#include "http/client.h"
#include "storage/s3_store.h"

namespace pgmint::cli {

struct S3Connection {
  storage::S3Options options;
  std::unique_ptr<http::Client> client;
  std::unique_ptr<http::AwsCredentialSource> identity;
};

/// How objects are locked; nullopt: not at all.
std::optional<storage::S3LockRule> lock_rule(const S3Settings& s3);

/// Asks nobody. Borrows `cancel`. @param url  s3://bucket/prefix  @errors Configuration
Result<S3Connection> s3_connection(const std::string& url, const S3Settings& s3, const CancelToken& cancel);

}  // namespace pgmint::cli
