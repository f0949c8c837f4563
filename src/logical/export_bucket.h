// A dump as the runbook's file in an S3 bucket, beside its .sha256, read back before it counts.
#pragma once

#include <string>
#include <string_view>

#include "base/file.h"
#include "logical/dump_file.h"
#include "storage/s3_upload.h"

namespace pgmint::logical {

struct BucketExportRequest {
  DumpFileRequest dump;
  storage::S3Upload& bucket;
  std::string folder;        ///< the key of the file without its name: "shop/20240120_010000"
  fs::path spool_directory;  ///< where the encrypted file waits, without a name; made when it is not there
  std::function<void(std::string_view phase, std::uint64_t done, std::uint64_t total)> progress{};  ///< behind what dump.progress tells
};

struct BucketExportReport {
  std::string url, sum_url;  ///< "s3://bucket/..."
  std::uint64_t bytes = 0, sum_bytes = 0;
  std::string sha256;        ///< of the file, in hex; of what was read back too
  bool was_there = false;    ///< both objects, with these bytes; nothing was written
  std::string encryption;    ///< by the store, as it says; empty: it does not say
};

/// The file waits, encrypted and without a name, on a disk of this host until it is sent, since S3 must know its length and hash first; then its sum follows.
/// An object that is there is compared with what would be written in its place (under its own salt) and never replaced.
/// @errors Precondition (another object of that name, nothing changed; or no such bucket), Corruption (what was read back is not what was sent),
/// NotFound, Io, Key, Storage, Unknown, Cancelled, ResourceLimit
Result<BucketExportReport> export_dump_to_bucket(const BucketExportRequest& request);

}  // namespace pgmint::logical
