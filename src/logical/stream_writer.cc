#include "logical/stream_writer.h"

#include "codec/block_codec.h"

namespace pgmint::logical {

using repository::RecordLocation;
using repository::RecordType;
using repository::StreamChunk;

namespace {

/// Chunks that wait for a worker, beside those being made.
constexpr std::size_t kQueuedChunks = 8;
/// Of so many the first worker is thought to keep up: the others rest then, and leave their cores to the server and to pg_dump.
constexpr std::size_t kBacklog = 4;
/// A delta has to be so much smaller than its bases, byte for byte, or the chunk is stored whole and later ones resemble it.
constexpr std::uint64_t kDeltaGain = 2;

}  // namespace

/// Chunks come from workers in any order and leave in the stream's.
struct StreamWriter::Order {
  std::map<std::uint64_t, StreamChunk> waiting;
  std::uint64_t next = 0;
  std::vector<StreamChunk> part;
  std::uint64_t part_length = 0;
  repository::StreamIndex index;
};

class StreamWriter::Worker {
 public:
  explicit Worker(StreamWriter& writer)
      : writer_(writer),
        shared_(writer.shared_),
        packs_(shared_.packs, repository::PackKind::Stream, shared_.upload),
        summer_(shared_.keys.mac_key),
        reader_(shared_.store, shared_.packs.context, shared_.keys),
        delta_(codec::BlockCompressor::for_deltas()) {}

  /// @param is_helper  one of those that rest as long as the first keeps up
  Status run(bool is_helper) {
    while (auto job = is_helper ? writer_.queue_.pop_backlog() : writer_.queue_.pop()) {
      TRY(writer_.group_.check());
      TRY(take(*job));
    }
    TRY(writer_.group_.check());
    return packs_.close();
  }

 private:
  Status take(const Job& job) {
    StreamChunk chunk;
    chunk.length = static_cast<std::uint32_t>(job.bytes.size());
    chunk.sum = summer_.sum(job.bytes);
    chunk.anchor = job.anchor;
    const auto* same = writer_.predecessor_ != nullptr ? writer_.predecessor_->same(chunk.sum) : nullptr;
    if (same != nullptr) {
      chunk.record = same->record;
      chunk.bases = same->bases;
    } else if (job.bases.empty() || !TRY(say_against(job.bases, job.bytes, chunk))) {
      chunk.record = TRY(packs_.append(RecordType::StreamChunk, job.bytes));
    }
    return writer_.done(job.number, std::move(chunk), same != nullptr);
  }

  /// False: that would not be small, or a base cannot be read.
  Result<bool> say_against(const std::vector<RecordLocation>& bases, ByteView bytes, StreamChunk& chunk) {
    const auto prefix = reader_.read_bases(bases);
    if (!prefix) {
      if (repository::is_damage(prefix.failure())) return false;  // verify names it; this dump does not suffer from it
      return prefix.failure();
    }
    std::uint64_t base_stored = 0;
    for (const auto& base : bases) base_stored += base.stored_length;
    frame_.resize(codec::BlockCompressor::bound(bytes.size()));
    const auto size = delta_.compress_against(*prefix, bytes, frame_);
    if (size == 0 || size * kDeltaGain * prefix->size() > base_stored * bytes.size()) return false;
    chunk.record = TRY(packs_.append(RecordType::StreamDelta, ByteView(frame_).first(size)));
    chunk.bases = bases;
    return true;
  }

  StreamWriter& writer_;
  const StreamShared& shared_;
  repository::PackStream packs_;
  repository::ChunkSummer summer_;
  repository::StreamChunkReader reader_;
  codec::BlockCompressor delta_;
  Bytes frame_;
};

StreamWriter::StreamWriter(const StreamShared& shared, const Predecessor* predecessor)
    : shared_(shared), predecessor_(predecessor), queue_(kQueuedChunks, kBacklog), order_(std::make_unique<Guarded<Order>>()), group_(shared.cancel) {
  group_.on_failure([this] { queue_.cancel(); });
  for (unsigned i = 0; i < std::max(1U, shared.workers); ++i)
    group_.spawn([this, i]() -> Status { return Worker(*this).run(i > 0); });
}

StreamWriter::~StreamWriter() {
  group_.cancel();
  queue_.cancel();
}

Status StreamWriter::push() {
  job_.bases.clear();
  if (predecessor_ != nullptr) {
    // Where no chunk of the dump before starts behind the same bytes, both go on as far as they came.
    old_place_ = predecessor_->following(job_.anchor).value_or(old_place_);
    job_.bases = predecessor_->bases_at(old_place_, job_.bytes.size());
    old_place_ += job_.bytes.size();
  }
  const auto number = job_.number;
  if (!queue_.push(std::move(job_))) {
    TRY(group_.join());
    return Error(Errc::Cancelled, "cancelled");
  }
  job_ = Job();
  job_.number = number + 1;
  return ok();
}

Status StreamWriter::write(ByteView data) {
  counts_.length += data.size();
  while (!data.empty()) {
    if (job_.bytes.empty()) job_.anchor = cutter_.anchor();
    const auto before = data;
    const bool ends = cutter_.take(data);
    append(job_.bytes, before.first(before.size() - data.size()));
    if (ends) TRY(push());
  }
  return ok();
}

Status StreamWriter::done(std::uint64_t number, StreamChunk chunk, bool shared) {
  return order_->with([&](Order& order) -> Status {
    if (shared) counts_.shared += chunk.length;
    else if (!chunk.bases.empty()) counts_.resembling += chunk.length;
    order.waiting.emplace(number, std::move(chunk));
    for (auto next = order.waiting.begin(); next != order.waiting.end() && next->first == order.next; next = order.waiting.erase(next)) {
      ++order.next;
      order.part_length += next->second.length;
      order.part.push_back(std::move(next->second));
      if (repository::ends_stream_part(order.part.back().sum, order.part.size())) TRY(end_part(order));
    }
    return ok();
  });
}

/// Stores the part, unless the dump before has the same.
Status StreamWriter::end_part(Order& order) {
  const auto encoded = repository::encode_stream_part(order.part);
  repository::StreamPart part;
  part.length = std::exchange(order.part_length, 0);
  part.chunk_count = order.part.size();
  const auto* before = predecessor_ != nullptr ? predecessor_->part_starting(order.part.front().sum) : nullptr;
  TRY(shared_.maps.with([&](repository::PackStream& maps) -> Status {
    if (before != nullptr && maps.fingerprint(before->location.nonce, encoded) == before->fingerprint) {
      part.location = before->location;
      part.fingerprint = before->fingerprint;
      return ok();
    }
    part.location = TRY(maps.append(RecordType::StreamPart, encoded));
    part.fingerprint = maps.fingerprint(part.location.nonce, encoded);
    return ok();
  }));
  shared_.records.with([&](repository::DistinctRecords& records) {
    records.add(part.location);
    for (const auto& chunk : order.part) {
      records.add(chunk.record);
      for (const auto& base : chunk.bases) records.add(base);
    }
  });
  order.part.clear();
  order.index.length += part.length;
  order.index.chunk_count += part.chunk_count;
  order.index.parts.push_back(part);
  return ok();
}

Result<RecordLocation> StreamWriter::finish() {
  if (!job_.bytes.empty()) TRY(push());
  queue_.close();
  TRY(group_.join());
  return order_->with([&](Order& order) -> Result<RecordLocation> {
    PGMINT_ASSERT(order.waiting.empty());
    if (!order.part.empty()) TRY(end_part(order));
    const auto location = TRY(shared_.maps.with([&](repository::PackStream& maps) {
      return maps.append(RecordType::StreamIndex, repository::encode_stream_index(order.index));
    }));
    shared_.records.with([&](repository::DistinctRecords& records) { records.add(location); });
    return location;
  });
}

}  // namespace pgmint::logical
