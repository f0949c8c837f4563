#include "cli/export_bucket.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/machine_time.h"
#include "cli/dump_names.h"
#include "cli/s3_connection.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kByKms = "aws:kms";

/// The service, and who we are to it. What is said of objects alone says nothing of either.
S3Settings service_of(const ExportSettings& own, const S3Settings& general) {
  auto service = own.s3;
  for (auto* kept : {&service.storage_class, &service.server_side_encryption, &service.kms_key_id}) kept->reset();
  return service.empty() ? general : service;
}

/// The option, else the configuration, else what the runbook's scripts asked for.
Result<std::string> wanted_encryption(const Arguments& arguments, const S3Settings& own) {
  const auto option = arguments.get("--sse");
  if (!option) return own.server_side_encryption.value_or(std::string(kByKms));
  if (*option == "none") return std::string();
  if (*option == kByKms || *option == "AES256") return *option;
  return Error(Errc::Usage, fmt::format("--sse {} is none of aws:kms, AES256 and none", *option));
}

}  // namespace

bool is_bucket(std::string_view to) { return to.starts_with("s3://"); }

Status refuse_bucket_options(const Arguments& arguments) {
  for (const auto* option : {"--sse", "--kms-key-id"})
    if (arguments.get(option)) return Error(Errc::Usage, fmt::format("{} is about a bucket, and --to names a folder", option), Hint{"--to s3://bucket/prefix"});
  return ok();
}

Result<ExportBucket> open_export_bucket(Context& context, const std::string& url) {
  const auto& configuration = *TRY(context.configuration());
  const auto& own = configuration.exports.s3;
  ExportBucket made;
  made.encryption = TRY(wanted_encryption(context.arguments(), own));
  made.storage_class = own.storage_class.value_or("STANDARD_IA");
  if (made.storage_class == "GLACIER" || made.storage_class == "DEEP_ARCHIVE")
    return Error(Errc::Configuration, fmt::format("what is kept as {} cannot be read back at once, and what was not read back does not count as exported", made.storage_class),
                 Hint{"storage_class in [export.s3]: STANDARD_IA or GLACIER_IR; a lifecycle rule of the bucket may move the objects later"});
  auto service = service_of(configuration.exports, configuration.s3);
  service.storage_class = made.storage_class;
  service.server_side_encryption = made.encryption;
  const auto key = context.arguments().get("--kms-key-id");
  if (key && made.encryption != kByKms) return Error(Errc::Usage, "--kms-key-id names a key of AWS KMS, and the store is not asked to use one", Hint{"--sse aws:kms"});
  service.kms_key_id = key ? key : own.kms_key_id;
  if (made.encryption != kByKms) service.kms_key_id.reset();

  auto connection = TRY(s3_connection(url, service, context.cancel()).context("--to"));
  storage::S3UploadOptions options;
  options.bucket = connection.options;
  if (configuration.exports.parts_above) options.parts_above = *configuration.exports.parts_above;
  made.objects = TRY(storage::S3Upload::open(options, std::move(connection.client), std::move(connection.identity), system_clock(), system_random(), &context.cancel()).context("--to"));
  return made;
}

Result<std::string> folder_in_bucket(const std::string& database, const std::string& file_name) {
  const bool unusable = database == "." || database == ".." || std::ranges::any_of(database, [](char c) { return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (unusable)
    return Error(Errc::Precondition, "a database whose name is . or .., or holds a slash or control characters, has no folder in a bucket", Hint{"choose others with --db"});
  PGMINT_ASSERT(file_name.size() > database.size() + 1 + kDumpSuffix.size());
  const auto stamp = file_name.substr(database.size() + 1, file_name.size() - database.size() - 1 - kDumpSuffix.size());
  return fmt::format("{}/{}", database, stamp);
}

}  // namespace pgmint::cli
