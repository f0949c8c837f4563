#include "cli/store_probe.h"

#include <fmt/format.h>

#include <array>
#include <barrier>
#include <mutex>
#include <thread>
#include <vector>

namespace pgmint::cli {
namespace {

constexpr int kRacers = 16;
constexpr std::size_t kContent = 64;
constexpr std::string_view kUnfit =
    "this file system or store cannot hold a repository; where it is a bucket with versioning or object lock on, one without them may do";

struct Race {
  std::mutex mutex;
  int created = 0, existed = 0;
  std::optional<Error> failure;
  Bytes winner;
};

void run_racer(storage::BlobStore& store, const std::string& name, Bytes content, std::barrier<>& start, Race& race) {
  start.arrive_and_wait();
  auto result = store.create(name, content);
  const std::lock_guard lock(race.mutex);
  if (!result) {
    if (!race.failure) race.failure = std::move(result.error());
  } else if (*result == storage::Created::Yes) {
    ++race.created;
    race.winner = std::move(content);
  } else {
    ++race.existed;
  }
}

Status judge(storage::BlobStore& store, const std::string& name, Race& race) {
  if (race.failure) return *std::move(race.failure);
  if (race.created != 1)
    return Error(Errc::Storage,
                 fmt::format("of {} who created one object at once, {} were told that they did", kRacers, race.created),
                 Hint{std::string(kUnfit)});
  const auto content = TRY(store.read(name, kContent + 1));
  if (!content || *content != race.winner)
    return Error(Errc::Storage, "the object does not hold what its creator wrote", Hint{std::string(kUnfit)});
  if (TRY(store.create(name, as_bytes("again"))) != storage::Created::AlreadyExists)
    return Error(Errc::Storage, "an existing object was replaced", Hint{std::string(kUnfit)});
  return ok();
}

}  // namespace

Status probe_create_if_absent(storage::BlobStore& store, RandomSource& random) {
  ByteArray<16> unique{};
  random.fill(unique);
  const std::string name = std::string(kProbePrefix) + to_hex(unique);
  Race race;
  std::barrier<> start(kRacers);
  {
    std::vector<std::jthread> racers;
    for (int i = 0; i < kRacers; ++i) {
      Bytes content(kContent);
      random.fill(content);
      racers.emplace_back(
          [&, content = std::move(content)]() mutable { run_racer(store, name, std::move(content), start, race); });
    }
  }
  auto verdict = judge(store, name, race);
  auto removed = store.remove(name);
  if (!verdict) return verdict;
  return removed;
}

}  // namespace pgmint::cli
