// A stream on its way into packs: cut into chunks, what the dump before has referred to, the rest compressed by several workers.
//
//   write() -> chunks -> bounded queue -> workers (sum, compare, compress, seal) -> packs; their places, in order -> parts
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/cancel.h"
#include "base/guarded.h"
#include "base/queue.h"
#include "base/task_group.h"
#include "logical/predecessor.h"
#include "repository/pack_stream.h"
#include "repository/stream_chunk.h"

namespace pgmint::logical {

/// What became of a stream's chunks, in bytes of the stream.
struct StreamCounts {
  std::uint64_t length = 0;
  std::uint64_t shared = 0;     ///< the dump before has them
  std::uint64_t resembling = 0; ///< said against one of the dump before
};

/// What all streams of a run share. Borrowed, outlives them.
struct StreamShared {
  storage::BlobStore& store;
  const repository::PackSettings& packs;
  repository::PackSink upload;   ///< thread-safe
  const repository::ClusterKeys& keys;
  unsigned workers = 2;
  const CancelToken* cancel = nullptr;
  /// Takes indexes and parts, under its lock.
  Guarded<repository::PackStream>& maps;
  /// Every record that the streams refer to.
  Guarded<repository::DistinctRecords>& records;
};

/// One stream. Its owner's thread writes.
class StreamWriter {
 public:
  /// @param predecessor  borrowed; null: there is none
  StreamWriter(const StreamShared& shared, const Predecessor* predecessor);
  ~StreamWriter();

  /// @errors Key, Storage, Unknown, Cancelled
  Status write(ByteView data);
  /// Everything but the maps' last pack is durable then. @return the index. @errors as write()
  Result<repository::RecordLocation> finish();
  const StreamCounts& counts() const { return counts_; }

 private:
  struct Job {
    std::uint64_t number = 0;
    Bytes bytes;
    std::uint64_t anchor = 0;
    std::vector<repository::RecordLocation> bases{};  ///< what it may resemble
  };
  struct Order;
  class Worker;

  Status push();
  Status done(std::uint64_t number, repository::StreamChunk chunk, bool shared);
  Status end_part(Order& order);

  const StreamShared& shared_;
  const Predecessor* predecessor_;
  repository::ChunkCutter cutter_;
  Job job_;
  std::uint64_t old_place_ = 0;  ///< where the dump before probably has what comes next
  BoundedQueue<Job> queue_;
  std::unique_ptr<Guarded<Order>> order_;
  StreamCounts counts_;
  TaskGroup group_;
};

}  // namespace pgmint::logical
