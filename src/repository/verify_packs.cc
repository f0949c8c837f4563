#include "repository/verify_packs.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/queue.h"
#include "base/task_group.h"
#include "repository/layout.h"

namespace pgmint::repository {
namespace {

/// Read and opened at a time: no more than stays in a core's own cache, and enough to make a read call cheap.
constexpr std::size_t kStretch = 1 << 20;
/// Taken at once, so that stretches of growing length do not move it: a huge page.
constexpr std::size_t kStretchRoom = 2 << 20;
/// Holds the footer of a pack of the usual size; a longer one takes another read.
constexpr std::uint64_t kTailRead = 16 << 10;
/// Packs that are not in the page cache come from the disk: meanwhile another thread has the core.
constexpr unsigned kThreadsPerWorker = 2;

constexpr std::string_view kNotCommitted = "its content is not what was committed (SHA-256)";

}  // namespace

PackChecker::PackChecker(const Cluster& cluster, const RecordMarker& marker, VerifyDepth depth)
    : cluster_(cluster), marker_(marker), depth_(depth), opener_(cluster.context(), cluster.keys()) {}

bool PackChecker::can_open(RecordType type) const {
  return is_map_type(type) ? !cluster_.keys().map_key.is_zero() : cluster_.keys().can_read_data();
}

Result<PackVerdict> PackChecker::check(const PackSummary& pack) {
  const auto name = pack_name(cluster_.id(), pack.id);
  PackVerdict verdict;
  const auto checked = [&]() -> Status {
    const auto ends = TRY(read_ends(name, pack));
    const bool all_open = std::ranges::all_of(ends.lines, [&](const auto& line) { return can_open(line.type); });
    std::optional<crypto::Sha256> hash;
    if (!all_open || depth_ == VerifyDepth::Decompress) hash.emplace();
    if (hash) hash->update(ends.header);
    TRY(read_records(name, pack, ends, hash ? &*hash : nullptr, verdict));
    if (hash) hash->update(ends.tail);
    if (hash && hash->finish() != pack.sha256) return Error(Errc::Corruption, std::string(kNotCommitted));
    verdict.bytes = pack.size;
    verdict.opened = all_open;
    std::ranges::sort(verdict.marks);
    return ok();
  }();
  if (checked) return verdict;
  // A header of a newer format, unless it is a damaged one of this format.
  const bool newer = checked.failure().code() == Errc::Precondition;
  if (!newer && !is_damage(checked.failure())) return checked.failure();
  PackVerdict bad;
  if (checked.failure().code() == Errc::NotFound) {
    bad.problem = "the pack is missing";
    return bad;
  }
  // Whether the store spoilt it or it was committed like this is the first thing that whoever reads the finding wants to know.
  bad.problem = checked.failure().describe();
  const auto committed = is_as_committed(pack);
  if (!committed && !is_damage(committed.failure())) return committed.failure();
  bad.as_committed = committed && *committed;
  if (newer && bad.as_committed) return checked.failure();
  if (committed && !*committed && bad.problem != kNotCommitted) bad.problem = fmt::format("{}: {}", kNotCommitted, bad.problem);
  return bad;
}

Result<PackChecker::Ends> PackChecker::read_ends(const std::string& name, const PackSummary& pack) {
  auto& store = cluster_.store();
  Ends ends;
  ends.tail.resize(std::min(pack.size, kTailRead));
  TRY(store.read_range(name, pack.size - ends.tail.size(), ends.tail));
  const auto tail_size = TRY(pack_tail_size(ends.tail, pack.size, pack.id));
  if (tail_size <= ends.tail.size()) {
    ends.tail.erase(ends.tail.begin(), ends.tail.end() - static_cast<std::ptrdiff_t>(tail_size));
  } else {
    ends.tail.resize(tail_size);
    TRY(store.read_range(name, pack.size - tail_size, ends.tail));
  }
  TRY(store.read_range(name, 0, ends.header));
  ends.lines = TRY(parse_pack_ends(ends.header, ends.tail, pack.size, cluster_.context(), pack.id,
                                   cluster_.keys().maintenance_key));
  return ends;
}

Status PackChecker::read_records(const std::string& name, const PackSummary& pack, const Ends& ends, crypto::Sha256* hash,
                                 PackVerdict& verdict) {
  verdict.marks.reserve(ends.lines.size());
  std::uint64_t offset = kPackHeaderSize;
  for (std::size_t i = 0; i < ends.lines.size();) {
    std::size_t end = i;
    std::size_t bytes = 0;
    while (end < ends.lines.size() && (end == i || bytes + ends.lines[end].stored_length <= kStretch))
      bytes += ends.lines[end++].stored_length;
    auto stretch = stretch_.of(std::max(bytes, kStretchRoom)).first(bytes);
    TRY(cluster_.store().read_range(name, offset, stretch));
    if (hash != nullptr) hash->update(stretch);
    for (; i < end; ++i) {
      const auto& line = ends.lines[i];
      RecordLocation l{pack.id, offset, line.stored_length, line.raw_length, line.type, line.codec, line.epoch, {}};
      const auto stored = stretch.first(line.stored_length);
      stretch = stretch.subspan(line.stored_length);
      offset += line.stored_length;
      if (stored.size() < crypto::kSealOverhead) return Error(Errc::Corruption, "a record is too short");
      std::memcpy(l.nonce.data(), stored.data(), l.nonce.size());
      if (can_open(line.type)) TRY(open_record(l, stored, verdict).context(fmt::format("record at {}", l.offset)));
    }
  }
  return ok();
}

Status PackChecker::open_record(const RecordLocation& l, MutableByteView stored, PackVerdict& verdict) {
  if (depth_ != VerifyDepth::Decompress) {
    TRY(opener_.unseal(l, stored));
    verdict.marks.push_back(marker_.mark(l));
    return ok();
  }
  const auto plain = plain_.of(l.raw_length);
  TRY(opener_.open(l, stored, plain));
  // What maps say of these is their plaintext's sum; of other types nothing is said, or of parts.
  const bool has_fingerprint = l.type == RecordType::Extent || l.type == RecordType::Delta;
  verdict.marks.push_back(has_fingerprint ? marker_.mark(l, opener_.fingerprint(l.nonce, plain)) : marker_.mark(l));
  return ok();
}

Result<bool> PackChecker::is_as_committed(const PackSummary& pack) {
  const auto name = pack_name(cluster_.id(), pack.id);
  crypto::Sha256 hash;
  for (std::uint64_t at = 0; at < pack.size;) {
    const auto stretch = stretch_.of(kStretchRoom).first(std::min<std::uint64_t>(kStretch, pack.size - at));
    TRY(cluster_.store().read_range(name, at, stretch));
    hash.update(stretch);
    at += stretch.size();
  }
  return hash.finish() == pack.sha256;
}

Status check_packs(const Cluster& cluster, const RecordMarker& marker, VerifyDepth depth, std::vector<PackSummary>& waiting,
                   const PackReading& reading) {
  const unsigned workers = kThreadsPerWorker * std::max(1u, reading.workers);
  BoundedQueue<PackSummary> queue(workers);
  BoundedQueue<std::uint64_t> done(64);  // bytes of each pack that was read
  TaskGroup group(reading.cancel);
  group.on_failure([&] {
    queue.cancel();
    done.cancel();
  });
  std::atomic<unsigned> working{workers};
  for (unsigned i = 0; i < workers; ++i)
    group.spawn([&]() -> Status {
      auto status = [&]() -> Status {
        PackChecker checker(cluster, marker, depth);
        while (auto pack = queue.pop()) {
          TRY(group.check());
          reading.note(*pack, TRY(checker.check(*pack)));
          done.push(pack->size);
        }
        return ok();
      }();
      if (--working == 0) done.close();
      return status;
    });
  group.spawn([&]() -> Status {
    for (bool first = true; !waiting.empty() && (first || reading.goes_on()) && queue.push(waiting.back()); first = false) waiting.pop_back();
    queue.close();
    return group.check();
  });
  while (const auto bytes = done.pop()) reading.progress(*bytes);
  return group.join();
}

}  // namespace pgmint::repository
