#include "backup/stream_copy.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/queue.h"

namespace pgmint::backup {
namespace {

using postgres::EntryKind;
using repository::FileEntry;
using repository::FileKind;

constexpr std::uint64_t kStretchMax = 4U << 20;
constexpr std::size_t kQueuedMax = 8;

/// As large as many pieces at once allow: what one worker takes stands together in its packs.
std::uint64_t stretch_of(std::uint64_t extent, std::size_t pieces) {
  return std::max(extent, std::min(kStretchMax, kInFlightMax / pieces) / extent * extent);
}

/// What the front hands on.
class ArrivingFeed final : public CopyFeed {
 public:
  explicit ArrivingFeed(std::size_t capacity) : queue_(capacity) {}
  std::optional<CopyWork> next() override { return queue_.pop(); }
  Status push(CopyWork work) {
    if (!queue_.push(std::move(work))) return Error(Errc::Cancelled, "cancelled");
    return ok();
  }
  void close() { queue_.close(); }
  void cancel() { queue_.cancel(); }

 private:
  BoundedQueue<CopyWork> queue_;
};

/// Whoever leaves, the workers do not wait for ever.
struct Closing {
  ArrivingFeed& feed;
  ~Closing() { feed.close(); }
};

FileEntry wal_entry(const StreamedEntry& file) {
  FileEntry entry;
  entry.area = repository::FileArea::Wal;
  entry.path = file.entry.path;
  entry.mode = file.entry.mode;
  entry.uid = file.entry.uid;
  entry.gid = file.entry.gid;
  entry.mtime_us = file.entry.mtime_ns / 1000;
  entry.kind = FileKind::Empty;
  entry.size = file.copied.length;
  if (const auto member = file.copied.content.member()) {
    entry.kind = FileKind::Bundled;
    entry.content = *member;
  } else if (const auto* map = file.copied.content.map()) {
    entry.kind = FileKind::Mapped;
    entry.content = *map;
  }
  return entry;
}

/// The server sends links only when it sends no tablespace_map, and what is in tablespaces comes under their numbers in any case.
void add_tablespace_links(const postgres::BaseBackupStart& begun, std::deque<StreamedEntry>& entries) {
  for (const auto& tablespace : begun.tablespaces) {
    if (tablespace.in_place) continue;
    StreamedEntry link;
    link.entry.path = fmt::format("pg_tblspc/{}", tablespace.oid.value());
    link.entry.kind = EntryKind::TablespaceLink;
    link.entry.mode = 0777;
    link.link = tablespace.location;
    entries.push_back(std::move(link));
  }
}

/// Out of the order of the stream into that of paths. @errors Postgres: one path twice
Status arrange(std::deque<StreamedEntry>& entries, StreamedCluster& cluster) {
  std::vector<std::uint32_t> order(entries.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](std::uint32_t i) -> const std::string& { return entries[i].entry.path; });
  cluster.scan.entries.reserve(order.size());
  cluster.copied.files.reserve(order.size());
  for (const auto i : order) {
    auto& each = entries[i];
    if (!cluster.scan.entries.empty() && cluster.scan.entries.back().path == each.entry.path)
      return Error(Errc::Postgres, fmt::format("PostgreSQL: it sends {} twice", each.entry.path));
    if (!each.link.empty()) cluster.scan.link_targets.emplace(each.entry.path, std::move(each.link));
    cluster.scan.total_bytes += each.entry.size;
    cluster.scan.entries.push_back(std::move(each.entry));
    cluster.copied.files.push_back(std::move(each.copied));
  }
  return ok();
}

}  // namespace

Result<StreamedCluster> copy_stream(const StreamInput& input, CopyCounters& counters, PageFindings& findings,
                                    const std::function<Status()>& tick) {
  const auto& copy = input.copy;
  const auto queued = std::min<std::size_t>(copy.workers, kQueuedMax);
  ArrivingFeed feed(queued);
  std::optional<std::string> refuted;
  const auto plan_part = [&](const postgres::DirectoryEntry& entry, postgres::IncrementalFile sent) -> Result<FilePlan> {
    auto plan = input.plan_part(entry, std::move(sent));
    if (auto* planned = std::get_if<FilePlan>(&plan)) return std::move(*planned);
    refuted = std::get<std::string>(std::move(plan));
    return Error(Errc::Cancelled, "the incremental backup gives way to a full one");
  };
  StreamFrontOptions options{.extent_size = copy.extent_size,
                             .stretch = stretch_of(copy.extent_size, queued + copy.workers + 1),
                             .bundle_size = input.bundle_size,
                             .block_size = copy.check.block_size,
                             .blocks_per_segment = copy.blocks_per_segment,
                             .plan = input.plan,
                             .plan_part = {},
                             .passed =
                                 [&](std::uint64_t bytes, std::uint64_t files) {
                                   counters.bytes_done.fetch_add(bytes, std::memory_order_relaxed);
                                   counters.files_done.fetch_add(files, std::memory_order_relaxed);
                                 },
                             .hand_on = [&](CopyWork work) { return feed.push(std::move(work)); },
                             .before = [&](std::uint64_t bytes) -> Status {
                               counters.received.fetch_add(bytes, std::memory_order_relaxed);
                               return copy.rate != nullptr ? copy.rate->take(bytes) : ok();
                             }};
  if (input.plan_part) options.plan_part = plan_part;
  StreamFront front(input.source, std::move(options));
  StreamedCluster cluster;
  const CopyProducer producer{.run = [&]() -> Status {
                                const Closing closing{feed};
                                cluster.end = TRY(input.server.receive(front));
                                return front.finish();
                              },
                              .stop =
                                  [&] {
                                    feed.cancel();
                                    input.server.interrupt();
                                  }};
  auto fed = copy;
  fed.rate = nullptr;  // taken where the bytes come in
  const auto copied = copy_fed(fed, feed, &producer, cluster.copied, counters, findings, tick);
  if (refuted && (copy.cancel == nullptr || !copy.cancel->cancelled())) cluster.copied.refuted = std::move(refuted);
  if (cluster.copied.refuted) return cluster;
  TRY(Status(copied));

  auto& entries = front.entries();
  add_tablespace_links(input.server.begun(), entries);
  TRY(arrange(entries, cluster));
  std::deque<StreamedEntry>().swap(entries);
  for (const auto& tablespace : input.server.begun().tablespaces)
    cluster.scan.tablespaces.push_back({tablespace.oid, tablespace.in_place ? "" : tablespace.location, tablespace.in_place});
  for (const auto& file : front.wal()) cluster.wal.push_back(wal_entry(file));
  std::ranges::sort(cluster.wal, repository::entry_before);
  cluster.control = front.take_control();
  cluster.label = front.label();
  cluster.tablespace_map = front.tablespace_map();
  cluster.owner = front.owner();
  cluster.last_segment = front.last_segment();
  return cluster;
}

}  // namespace pgmint::backup
