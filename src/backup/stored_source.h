// The files of a backup in a repository, read as if they stood in a directory: what a copy for another repository is made from.
#pragma once

#include <memory>

#include "backup/parent.h"
#include "backup/source.h"
#include "repository/repository.h"

namespace pgmint::backup {

/// Data files of one backup. What is read was opened: bytes that are not authentic are an error, never data. Thread-safe.
///
/// Errors of open() and read(): NotFound (a pack is gone), Corruption, Storage, Key
class StoredSource final : public Source {
 public:
  /// Borrows the cluster. @param files  of the backup
  StoredSource(repository::Cluster& cluster, ParentFiles files);
  ~StoredSource() override;

  /// @param path  of a data file, relative to the data directory
  Result<std::unique_ptr<SourceFile>> open(const std::string& path) override;
  Result<bool> exists(const std::string& path) override;
  /// Of any area.
  Result<std::unique_ptr<SourceFile>> open(repository::FileArea area, const std::string& path);
  /// A whole small file; nullopt: there is none. @errors also ResourceLimit
  Result<std::optional<Bytes>> read_all(repository::FileArea area, const std::string& path, std::uint64_t size_max);

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
  const ParentFiles files_;
};

}  // namespace pgmint::backup
