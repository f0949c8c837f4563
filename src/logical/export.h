// A dump as the runbook's file, NAME.sql.gz.enc with its .sha256, and such files back into the repository.
#pragma once

#include <functional>
#include <string>

#include "base/file.h"
#include "logical/dump.h"
#include "logical/dump_file.h"
#include "logical/load.h"

namespace pgmint::logical {

struct ExportRequest {
  DumpFileRequest dump;
  fs::path directory;
};

struct ExportReport {
  fs::path file, sum_file;
  std::uint64_t bytes = 0;   ///< of the file
  std::string sha256;        ///< in hex
};

/// Streams the archive through gzip and `openssl enc -aes-256-cbc -pbkdf2` into a file that appears when it is whole, then writes the sum
/// beside it. No plaintext touches the disk. @errors Precondition (the file exists), Io, Key, NotFound, Corruption, Storage, Cancelled
Result<ExportReport> export_dump(const ExportRequest& request);

struct ImportRequest {
  repository::Cluster& cluster;
  fs::path file;
  std::string passphrase;        ///< may be empty when the file is not encrypted
  std::string database;          ///< empty: as the archive says
  TimePoint started;             ///< when it was taken, as far as that is known
  std::string note{};
  codec::CodecChoice codec{};
  unsigned workers = 2;
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t bytes)> progress{};
};

/// Takes what pg_dump -Fc wrote, plain or through gzip, and either of them through openssl enc with any of its derivations.
/// @errors NotFound, Io; Key (the passphrase does not open it); Corruption (not such a file); Storage, Cancelled
Result<DumpReport> import_dump(const ImportRequest& request);

}  // namespace pgmint::logical
