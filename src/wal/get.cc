#include "wal/get.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/spawn.h"
#include "postgres/control_file.h"
#include "repository/wal_coverage.h"
#include "wal/absence.h"
#include "wal/prefetch_cache.h"

extern char** environ;

namespace pgmint::wal {

using namespace std::chrono_literals;
using repository::WalContent;

namespace {

constexpr auto kFirstPause = 200ms;
constexpr auto kPauseMax = 5s;
/// How long a segment that the prefetcher is just writing is waited for, instead of fetching it twice.
constexpr auto kIncomingWait = 500ms;

/// What why_not_absent() needs to know and no more: a standby asks for the segment that does not exist yet every few
/// seconds, and the archive may hold a hundred thousand others.
Result<repository::WalInventory> inventory_behind(repository::WalArchive& archive, const GetRequest& request) {
  const auto control = postgres::read_control_file(request.directory);
  if (!control) return repository::load_wal_inventory(archive);
  repository::WalInventory inventory(control->control.wal_segment_size);
  const bool history = repository::wal_content_of(request.file_name) == WalContent::History;
  for (const auto number : TRY(archive.timelines())) {
    const postgres::TimelineId timeline(number);
    const auto asked = static_cast<std::uint32_t>(std::stoul(request.file_name.substr(0, 8), nullptr, 16));
    if (history) {
      inventory.add(postgres::history_file_name(timeline), 0);  // that it has files is all that matters
      continue;
    }
    if (number < asked) continue;
    bool list = number == asked;
    if (!list) {
      const auto text = archive.get(postgres::history_file_name(timeline));
      if (!text && text.failure().code() != Errc::Corruption) return text.failure();
      auto parsed = text && *text ? postgres::TimelineHistory::parse(timeline, as_text(**text))
                                  : Result<postgres::TimelineHistory>(Error(Errc::NotFound, "no history"));
      list = !parsed;
      if (parsed) {
        inventory.add_history(timeline, std::move(*parsed));
      } else if (!text || *text) {
        inventory.add_history(timeline, std::nullopt);
      }
    }
    if (list) {
      for (const auto& file : TRY(archive.list(number, number == asked ? request.file_name : ""))) {
        inventory.add(file.file_name, file.stored);
      }
    }
  }
  return inventory;
}

/// Whether recovery may be told that the file does not exist. @errors Precondition: a hole
Result<std::string> judge_absence(repository::Cluster& cluster, repository::WalArchive& archive, const GetRequest& request) {
  const auto inventory = TRY(inventory_behind(archive, request));
  repository::WalFloors floors;
  if (auto refreshed = cluster.log().refresh()) {
    floors = repository::floors_of(cluster.state(), archive.identity());
  } else if (refreshed.failure().code() == Errc::Corruption) {
    // A damaged log must not keep a restore from ending; a segment that was let go still has later ones behind it.
    log_warning("the log is damaged, so the floor of expired WAL is not known: {}", refreshed.failure().describe());
  } else {
    return std::move(refreshed).failure();
  }
  const auto name = postgres::parse_wal_file_name(request.file_name, inventory.segment_size());
  if (!name) {
    return Error(Errc::Precondition, fmt::format("{} is no file of a cluster with segments of {} bytes", request.file_name,
                                                 inventory.segment_size().bytes()));
  }
  if (auto why = why_not_absent(*name, inventory, floors)) {
    if (request.until && name->kind == postgres::WalFileKind::Segment) {
      const auto until = postgres::parse_wal_file_name(*request.until, inventory.segment_size());
      if (until && until->kind == postgres::WalFileKind::Segment && name->segment > until->segment)
        return fmt::format("{} is not in the archive ({}), and recovery to its target needs nothing behind {}", request.file_name, *why,
                           *request.until);
    }
    return Error(Errc::Precondition, fmt::format("{} is not in the archive, but WAL does not end there: {}", request.file_name, *why),
                 Hint{"pgmint wal status names the gaps; restore to a point before it, or from a backup after it"});
  }
  return fmt::format("{} is not archived, and nothing behind it is", request.file_name);
}

void start_prefetcher(const GetRequest& request, const fs::path& cache) {
  auto command = request.prefetch_command;
  command.push_back(cache.string());
  command.push_back(request.file_name);
  if (const auto started = start_detached(std::move(command)); !started) log_debug("no prefetcher: {}", started.failure().message());
}

/// One request: where it goes, and the cache beside it when there is one.
class Getter {
 public:
  Getter(repository::Cluster& cluster, const repository::WalIdentity& identity, const GetRequest& request)
      : cluster_(cluster), archive_(cluster, identity), request_(request) {
    const fs::path given(request.destination);
    destination_ = given.is_absolute() ? given : request.directory / given;
    const bool segment = repository::wal_content_of(request.file_name) == WalContent::Segment;
    if (request.prefetch > 0 && segment && destination_.parent_path().filename() == "pg_wal") {
      cache_.emplace(PrefetchCache::directory_for(destination_.parent_path(), cluster, identity), cluster, identity);
    }
  }

  Result<GetReport> attempt() {
    GetReport report;
    if (const auto bytes = from_cache()) {
      report.delivered = report.from_cache = true;
      report.bytes = *bytes;
      return report;
    }
    // Under another name until it is whole: recovery must never find a part under its own.
    const fs::path incoming = destination_.string() + ".pgmint-tmp";
    const auto fetched = TRY(fetch_to_file(archive_, request_.file_name, incoming));
    if (!fetched) {
      report.explanation = TRY(judge_absence(cluster_, archive_, request_));
      return report;
    }
    if (::rename(incoming.c_str(), destination_.c_str()) != 0) {
      return errno_error(errno, fmt::format("rename {} to {}", incoming.string(), destination_.string()));
    }
    // Inside pg_wal the server gives the file its final name, durably, by itself (xlogarchive.c).
    if (destination_.parent_path().filename() != "pg_wal") TRY(sync_directory(destination_.parent_path()));
    report.delivered = true;
    report.bytes = fetched->size;
    return report;
  }

  /// After a delivery. Prefetching is a help: nothing that fails in it matters here.
  void prefetch_behind() {
    if (!cache_ || request_.prefetch_command.empty()) return;
    if (auto made = cache_->create(); !made) return log_debug("no prefetch: {}", made.failure().describe());
    if (auto noted = cache_->note_wanted(request_.file_name); !noted) return log_debug("no prefetch: {}", noted.failure().describe());
    auto lock = cache_->try_lock();
    if (!lock || !*lock) return;
    lock->reset();
    start_prefetcher(request_, cache_->directory());
  }

 private:
  std::optional<std::uint64_t> from_cache() {
    if (!cache_) return std::nullopt;
    if (!cache_->has(request_.file_name)) {
      const auto until = request_.clock->now() + kIncomingWait;
      while (cache_->is_being_fetched(request_.file_name) && request_.clock->now() < until) request_.clock->sleep(2ms);
      if (!cache_->has(request_.file_name)) return std::nullopt;
    }
    if (auto noted = cache_->note_wanted(request_.file_name); !noted) return std::nullopt;
    return cache_->deliver(request_.file_name, destination_);
  }

  repository::Cluster& cluster_;
  repository::WalArchive archive_;
  const GetRequest& request_;
  fs::path destination_;
  std::optional<PrefetchCache> cache_;
};

bool is_standby(const GetRequest& request) {
  const auto signal = stat_if_exists(request.directory / "standby.signal");
  return signal && *signal;
}

}  // namespace

Result<GetReport> get(repository::Cluster& cluster, const repository::WalIdentity& identity, const GetRequest& request) {
  if (!repository::wal_content_of(request.file_name)) {
    return Error(Errc::Usage, fmt::format("\"{}\" is not the name of a file that PostgreSQL archives", request.file_name),
                 Hint{"restore_command = 'pgmint wal get %f %p'"});
  }
  Clock& clock = *request.clock;
  const bool standby = is_standby(request);
  const auto standby_until = clock.now() + request.standby_retry;
  Getter getter(cluster, identity, request);
  std::chrono::milliseconds pause = kFirstPause;
  for (unsigned tried = 1;; ++tried) {
    if (request.cancel != nullptr) TRY(request.cancel->check());
    auto report = getter.attempt();
    if (report) {
      if (report->delivered) getter.prefetch_behind();
      return report;
    }
    const Error& error = report.failure();
    const bool again = is_transient(error.code()) && (tried < request.attempts || (standby && clock.now() < standby_until));
    if (!again) {
      const bool may_give_up = error.code() != Errc::Usage && error.code() != Errc::Cancelled && error.code() != Errc::Internal;
      if (standby && request.on_error == OnError::Absent && may_give_up) {
        log_warning("{}: {}; reported as absent, since on_error says so", request.file_name, error.describe());
        GetReport absent;
        absent.explanation = error.describe();
        return absent;
      }
      return report;
    }
    log_debug("{}: {}; once more in {} ms", request.file_name, error.describe(), pause.count());
    clock.sleep(pause);
    pause = std::min<std::chrono::milliseconds>(2 * pause, kPauseMax);
  }
}

int get_exit_code(const Result<GetReport>& result) {
  if (!result) return kGetFailed;
  return result->delivered ? 0 : 1;
}

}  // namespace pgmint::wal
