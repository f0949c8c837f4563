// Where files are read from: the data directory, without pushing PostgreSQL's pages out of the cache. A seam for tests.
// Method and measurement: docs/adr/0007-extent-size-and-pipeline.md, "Reading".
#pragma once

#include <memory>
#include <string>

#include "base/file.h"

namespace pgmint::backup {

/// A stretch of a file that one worker reads in order. Not thread-safe. What its reading brought into the page cache is
/// dropped when it goes; what was cached before stays.
class SourceRange {
 public:
  virtual ~SourceRange() = default;
  /// Reads until `out` is full or the file ends; returns the bytes read. @errors Io, Key
  virtual Result<std::size_t> read(MutableByteView out, std::uint64_t offset) = 0;
  /// Whether another read may give other bytes: a page that was being written may be whole then.
  virtual bool looks_again() const { return true; }
};

/// An open file; ranges of it may be read by several workers at once.
class SourceFile {
 public:
  virtual ~SourceFile() = default;
  /// When it was opened.
  virtual std::uint64_t size() const = 0;
  /// Borrows the file.
  virtual std::unique_ptr<SourceRange> range(std::uint64_t offset, std::uint64_t length) = 0;
};

/// Thread-safe.
class Source {
 public:
  virtual ~Source() = default;
  /// @param path  relative to the data directory
  /// @return nullptr when there is no such file (any more)
  /// @errors Key (permission), Io, Precondition (no longer an ordinary file)
  virtual Result<std::unique_ptr<SourceFile>> open(const std::string& path) = 0;
  /// Whether a directory (or file) of that name stands there. @errors Key, Io
  virtual Result<bool> exists(const std::string& path) = 0;
};

std::unique_ptr<Source> open_source(fs::path data_directory);

}  // namespace pgmint::backup
