#include "backup/resources.h"

#include <algorithm>
#include <thread>

#include "repository/pack.h"

namespace pgmint::backup {
namespace {

constexpr unsigned kWorkersMax = 256;
constexpr unsigned kUploaders = 2;
constexpr unsigned kFarUploaders = 4;  ///< packs stay nearly whole within the memory that is usual
constexpr unsigned kOtherStreams = 2;  ///< of maps, and of the rest
constexpr std::size_t kPackMin = 4U << 20;
constexpr std::size_t kSlack = 8;      ///< a pack may outgrow its target by one of so many parts before a run is torn apart

}  // namespace

unsigned worker_count(const BackupRequest& request) {
  const auto wanted = request.workers != 0 ? request.workers : std::thread::hardware_concurrency();
  return std::clamp(wanted, 1U, kWorkersMax);
}

unsigned uploader_count(const repository::Cluster& cluster) { return cluster.reads_at_once() > 1 ? kFarUploaders : kUploaders; }

PackSizes pack_sizes(std::uint64_t memory_max, unsigned workers, unsigned uploaders, std::uint64_t lists) {
  const auto held = workers + uploaders + kQueuedPacks + kOtherStreams;
  const auto left = memory_max - std::min(memory_max, lists);
  const auto target = std::clamp<std::size_t>(left / held * kSlack / (kSlack + 1), kPackMin, repository::kPackTarget);
  return {target, target + target / kSlack};
}

}  // namespace pgmint::backup
