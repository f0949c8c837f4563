// gzip, for files that other programs open.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/error.h"

namespace pgmint::codec {

/// Not thread-safe. Appends to what it is given.
class GzipWriter {
 public:
  GzipWriter();
  ~GzipWriter();
  void update(ByteView plain, Bytes& out);
  void finish(Bytes& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One member after the other, as gunzip takes them. Not thread-safe.
class GzipReader {
 public:
  GzipReader();
  ~GzipReader();
  /// @errors Corruption
  Status update(ByteView packed, Bytes& out);
  /// @errors Corruption: it is cut off
  Status finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::codec
