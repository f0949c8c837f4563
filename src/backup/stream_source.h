// Files of a stream, as a source: what has arrived and was not yet read. Each byte is given out once.
#pragma once

#include <map>
#include <unordered_map>

#include "backup/source.h"
#include "base/bytes.h"
#include "base/guarded.h"

namespace pgmint::backup {

/// What has come of one file. Thread-safe.
class ArrivedFile {
 public:
  explicit ArrivedFile(std::uint64_t size) : size_(size) {}
  std::uint64_t size() const { return size_; }  ///< as the stream announced it
  void put(std::uint64_t offset, Bytes piece);
  /// The piece that begins at `offset`, which is gone then; empty: there is none.
  Bytes take(std::uint64_t offset);

 private:
  const std::uint64_t size_;
  Guarded<std::map<std::uint64_t, Bytes>> pieces_;
};

/// Thread-safe. A file is opened once, and its ranges are the pieces as they were put.
class StreamSource final : public Source {
 public:
  /// @errors Postgres: two files of one name
  Result<std::shared_ptr<ArrivedFile>> announce(const std::string& path, std::uint64_t size);

  /// Before another stream.
  void clear();

  Result<std::unique_ptr<SourceFile>> open(const std::string& path) override;
  /// Nobody can look behind a stream.
  Result<bool> exists(const std::string&) override { return true; }

 private:
  Guarded<std::unordered_map<std::string, std::shared_ptr<ArrivedFile>>> files_;
};

}  // namespace pgmint::backup
