#include "logical/stream_reader.h"

#include <condition_variable>
#include <map>
#include <mutex>

#include "base/queue.h"
#include "base/task_group.h"
#include "repository/pack.h"
#include "repository/repository.h"

namespace pgmint::logical {
namespace {

/// Chunks that are read ahead of the one that is handed on.
constexpr std::uint64_t kAhead = 16;

}  // namespace

struct StreamReader::Job {
  std::uint64_t number = 0;
  repository::StreamChunk chunk;
  std::uint32_t from = 0, to = 0;  ///< of the chunk
};

/// Chunks come from workers in any order and are handed on in the stream's.
struct StreamReader::Order {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::uint64_t, Bytes> waiting;  ///< what is wanted of each
  std::uint64_t next = 0;
  std::optional<std::uint64_t> count;  ///< once all are known
  bool ended = false;

  void end() {
    std::lock_guard lock(mutex);
    ended = true;
    changed.notify_all();
  }
  /// False: nobody wants it any more.
  bool wait_for_room(std::uint64_t number) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ended || number < next + kAhead; });
    return !ended;
  }
  void give(std::uint64_t number, Bytes piece) {
    std::lock_guard lock(mutex);
    waiting.emplace(number, std::move(piece));
    changed.notify_all();
  }
  void know(std::uint64_t total) {
    std::lock_guard lock(mutex);
    count = total;
    changed.notify_all();
  }
  /// The next piece; nullopt: there is none, or the reading ended.
  std::optional<Bytes> take() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ended || (count && next == *count) || waiting.contains(next); });
    const auto found = waiting.find(next);
    if (ended || found == waiting.end()) return std::nullopt;
    auto piece = std::move(found->second);
    waiting.erase(found);
    ++next;
    changed.notify_all();
    return piece;
  }
};

Result<StreamReader> StreamReader::open(const repository::Cluster& cluster, const repository::RecordLocation& location, unsigned workers,
                                        const CancelToken* cancel) {
  repository::RecordOpener opener(cluster.context(), cluster.keys());
  return StreamReader(cluster, TRY(repository::read_stream_index(cluster.store(), cluster.context(), opener, location)), workers, cancel);
}

Status StreamReader::read(const std::vector<StreamRange>& ranges, const StreamSink& sink) {
  if (!ranges.empty() && ranges.back().offset + ranges.back().length > index_.length)
    return Error(Errc::Corruption, "a part of the stream that is wanted lies beyond its end");
  Order order;
  BoundedQueue<Job> queue(kAhead);
  TaskGroup group(cancel_);
  group.on_failure([&] {
    queue.cancel();
    order.end();
  });
  for (unsigned i = 0; i < std::max(1U, workers_); ++i)
    group.spawn([&]() -> Status {
      repository::StreamChunkReader reader(cluster_->store(), cluster_->context(), cluster_->keys());
      while (auto job = queue.pop()) {
        TRY(group.check());
        const auto bytes = TRY(reader.read(job->chunk));
        order.give(job->number, to_bytes(bytes.subspan(job->from, job->to - job->from)));
      }
      return ok();
    });
  // Walks the map, and queues what is wanted of each chunk.
  group.spawn([&]() -> Status {
    repository::RecordOpener opener(cluster_->context(), cluster_->keys());
    std::uint64_t at = 0, number = 0;
    std::size_t range = 0;
    auto walked = [&]() -> Status {
      for (const auto& part : index_.parts) {
        while (range < ranges.size() && ranges[range].offset + ranges[range].length <= at) ++range;
        if (range == ranges.size()) break;
        if (ranges[range].offset >= at + part.length) {  // nothing of this part
          at += part.length;
          continue;
        }
        repository::StreamIndex one;
        one.parts = {part};
        TRY(repository::walk_stream(
            cluster_->store(), cluster_->context(), opener, one, [](const repository::StreamPart&) { return ok(); },
            [&](const repository::StreamChunk& chunk) -> Status {
              for (; range < ranges.size() && ranges[range].offset < at + chunk.length; ++range) {
                const auto start = std::max(ranges[range].offset, at);
                const auto end = std::min(ranges[range].offset + ranges[range].length, at + chunk.length);
                if (start < end) {
                  if (!order.wait_for_room(number) ||
                      !queue.push({number, chunk, static_cast<std::uint32_t>(start - at), static_cast<std::uint32_t>(end - at)}))
                    return Error(Errc::Cancelled, "cancelled");
                  ++number;
                }
                if (ranges[range].offset + ranges[range].length > at + chunk.length) break;  // goes on in the next chunk
              }
              at += chunk.length;
              return ok();
            }));
      }
      return ok();
    }();
    queue.close();
    if (walked) order.know(number);
    return walked;
  });

  Status handed = ok();
  bool stopped = false;
  while (auto piece = order.take()) {
    auto more = sink(*piece);
    if (more && *more) continue;
    if (!more) handed = std::move(more).failure();
    stopped = true;
    break;
  }
  if (stopped) {
    group.cancel();
    order.end();
    queue.cancel();
  }
  auto joined = group.join();
  TRY(std::move(handed));
  if (stopped) return cancel_ != nullptr ? cancel_->check() : ok();
  return joined;
}

Result<Bytes> StreamReader::read_all(std::size_t limit) {
  if (index_.length > limit) return Error(Errc::ResourceLimit, "a stream is longer than it may be");
  Bytes all;
  TRY(read([&](ByteView bytes) -> Result<bool> {
    append(all, bytes);
    return true;
  }));
  return all;
}

}  // namespace pgmint::logical
