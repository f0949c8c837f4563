// A bucket as the place that export writes to: which service it is, and how objects are kept there.
#pragma once

#include <memory>
#include <string>

#include "cli/context.h"
#include "storage/s3_upload.h"

namespace pgmint::cli {

struct ExportBucket {
  std::unique_ptr<storage::S3Upload> objects;
  std::string encryption;     ///< asked of the store: "aws:kms", "AES256"; empty: as the bucket says
  std::string storage_class;
};

bool is_bucket(std::string_view to);
/// [export.s3], else [s3], else the usual chain; --sse and --kms-key-id. Asks nobody. @param url  s3://bucket/prefix
/// @errors Usage, Configuration
Result<ExportBucket> open_export_bucket(Context& context, const std::string& url);
/// What only a bucket can be told was told of a folder. @errors Usage
Status refuse_bucket_options(const Arguments& arguments);
/// "shop/20240120_010000": the folder of a dump below the prefix. @errors Precondition: the database has a name that no part of a key can be
Result<std::string> folder_in_bucket(const std::string& database, const std::string& file_name);

}  // namespace pgmint::cli
