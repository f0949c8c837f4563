// A stream read back, from front to end or in parts, several chunks ahead.
#pragma once

#include <functional>

#include "base/cancel.h"
#include "repository/repository.h"
#include "repository/stream_chunk.h"

namespace pgmint::logical {

struct StreamRange {
  std::uint64_t offset = 0, length = 0;
};

/// Takes bytes in the stream's order. False ends the reading without an error.
using StreamSink = std::function<Result<bool>(ByteView)>;

/// Not thread-safe, but several readers of one cluster may be used at once.
class StreamReader {
 public:
  /// Reads the index. @errors as repository::read_stream_index
  static Result<StreamReader> open(const repository::Cluster& cluster, const repository::RecordLocation& index, unsigned workers,
                                   const CancelToken* cancel);
  std::uint64_t length() const { return index_.length; }

  /// Hands on what lies in `ranges`, which ascend and do not overlap; other chunks are not read.
  /// @errors Corruption (a chunk is not what its sum says, or a range lies beyond the end), NotFound, Storage, Key, Cancelled; the sink's
  Status read(const std::vector<StreamRange>& ranges, const StreamSink& sink);
  /// All of it.
  Status read(const StreamSink& sink) { return read({{0, index_.length}}, sink); }
  /// All of it in memory. @errors also ResourceLimit
  Result<Bytes> read_all(std::size_t limit);

 private:
  struct Job;
  struct Order;

  StreamReader(const repository::Cluster& cluster, repository::StreamIndex index, unsigned workers, const CancelToken* cancel)
      : cluster_(&cluster), index_(std::move(index)), workers_(workers), cancel_(cancel) {}

  const repository::Cluster* cluster_;
  repository::StreamIndex index_;
  unsigned workers_;
  const CancelToken* cancel_;
};

}  // namespace pgmint::logical
