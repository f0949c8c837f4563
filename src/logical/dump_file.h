// The runbook's file of a dump, NAME.sql.gz.enc, as bytes that go wherever they are wanted, and the line of its .sha256.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "crypto/openssl_enc.h"
#include "logical/dump.h"
#include "logical/load.h"

namespace pgmint::logical {

struct DumpFileRequest {
  const repository::Cluster& cluster;
  const DumpOverview& dump;
  std::string database;
  std::string file_name;     ///< "shop_20240120_010000.sql.gz.enc"
  std::string passphrase;
  unsigned workers = 2;
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress{};  ///< in bytes of what pg_dump wrote
};

/// Borrows the request.
class DumpFile {
 public:
  /// @errors NotFound: the backup has no dump of that database
  static Result<DumpFile> find(const DumpFileRequest& request);

  /// Streams the archive through gzip and `openssl enc -aes-256-cbc -pbkdf2`; no plaintext touches a disk.
  /// @param salt  of a file to compare with; absent: a new one, so that no two runs give the same bytes
  /// @errors Key, Corruption, Storage, Cancelled, and as `sink`
  Status write(const std::optional<crypto::EncSalt>& salt, const std::function<Status(ByteView)>& sink) const;

 private:
  DumpFile(const DumpFileRequest& request, repository::RecordLocation archive) : request_(request), archive_(std::move(archive)) {}

  const DumpFileRequest& request_;
  repository::RecordLocation archive_;
};

/// "shop_20240120_010000.sql.gz.enc.sha256"
std::string sum_name(const std::string& file_name);
/// The line that `sha256sum -c` takes. @param sha256  in hex
std::string sum_text(const std::string& sha256, const std::string& file_name);

}  // namespace pgmint::logical
