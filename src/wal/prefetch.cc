// The prefetcher: runs in a process of its own while PostgreSQL replays.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/log.h"
#include "base/task_group.h"
#include "postgres/wal_name.h"
#include "wal/get.h"
#include "wal/prefetch_cache.h"

namespace pgmint::wal {

using namespace std::chrono_literals;

namespace {

constexpr auto kPoll = 20ms;
/// After the end of WAL, or an error, the store is not asked again for this long.
constexpr auto kRest = 500ms;
/// The cache never takes more than this, whatever the segment size, and leaves as much free.
constexpr std::uint64_t kCacheMax = std::uint64_t{256} << 20;

/// The files that should be ready once `wanted` has been delivered.
std::vector<std::string> behind(const std::string& wanted, postgres::WalSegmentSize size, unsigned count) {
  std::vector<std::string> names;
  const auto name = postgres::parse_wal_file_name(wanted, size);
  if (!name) return names;
  auto segment = name->segment;
  for (unsigned i = 0; i < count; ++i) {
    segment = postgres::next(segment);
    names.push_back(postgres::segment_file_name(name->timeline, segment, size));
  }
  return names;
}

/// Fetches what is missing of `names`, in order. @return false when the archive does not have one of them (yet)
Result<bool> fill(PrefetchCache& cache, const std::vector<std::string>& names, repository::Cluster& cluster,
                  const repository::WalIdentity& identity, const PrefetchRequest& request) {
  std::vector<std::string> missing;
  for (const auto& name : names) {
    if (!cache.has(name)) missing.push_back(name);
  }
  if (missing.empty()) return true;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> ended{false};
  TaskGroup group(request.cancel);
  const auto workers = std::min<std::size_t>(request.workers, missing.size());
  for (std::size_t w = 0; w < workers; ++w) {
    group.spawn([&]() -> Status {
      repository::WalArchive archive(cluster, identity);
      for (;;) {
        const std::size_t i = next.fetch_add(1);
        if (i >= missing.size() || ended.load() || group.cancelled()) return ok();
        const auto fetched = TRY(fetch_to_file(archive, missing[i], cache.incoming(missing[i])));
        if (fetched) {
          TRY(cache.publish(missing[i], fetched->size, fetched->crc));
        } else {
          ended.store(true);
        }
      }
    });
  }
  TRY(group.join());
  return !ended.load();
}

}  // namespace

Status prefetch(repository::Cluster& cluster, const repository::WalIdentity& identity, const PrefetchRequest& request) {
  Clock& clock = *request.clock;
  PrefetchCache cache(request.cache, cluster, identity);
  const auto lock = TRY(cache.try_lock());
  if (!lock) return ok();
  repository::WalArchive archive(cluster, identity);
  const auto info = TRY(archive.info(request.file_name));
  if (!info) return ok();
  const auto size = TRY(postgres::WalSegmentSize::of(info->wal_segment_size));
  const auto count = static_cast<unsigned>(std::min<std::uint64_t>(request.count, std::max<std::uint64_t>(1, kCacheMax / size.bytes())));

  std::string wanted = request.file_name;
  auto asked_at = clock.now();
  auto rest_until = TimePoint{};
  Status outcome = ok();
  for (;;) {
    if (request.cancel != nullptr && request.cancel->cancelled()) break;
    const auto here = stat_if_exists(cache.directory());
    if (!here || !*here) break;
    if (auto now = cache.wanted(); now && *now != wanted) {
      wanted = std::move(*now);
      asked_at = clock.now();
      rest_until = {};
    }
    if (clock.now() - asked_at >= request.idle) break;
    if (clock.now() >= rest_until) {
      const auto names = behind(wanted, size, count);
      cache.sweep([&](const std::string& name) { return std::ranges::find(names, name) != names.end(); });
      const auto space = free_space(cache.directory());
      if (!space || *space < 2 * std::uint64_t{count} * size.bytes()) {
        rest_until = clock.now() + kRest;
      } else {
        auto filled = fill(cache, names, cluster, identity, request);
        if (!filled && !is_transient(filled.failure().code())) {
          outcome = std::move(filled).failure();
          break;
        }
        if (!filled || !*filled) rest_until = clock.now() + kRest;
      }
    }
    clock.sleep(kPoll);
  }
  cache.remove();
  return outcome;
}

}  // namespace pgmint::wal
