#include "cli/reuse.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <tuple>

#include "backup/parent.h"
#include "base/log.h"
#include "cli/option_values.h"
#include "repository/manifest.h"
#include "repository/wal_coverage.h"

namespace pgmint::cli {
namespace {

using namespace std::chrono_literals;
using repository::LiveSnapshot;

constexpr std::uint64_t kReuseMax = 7ULL * 86400;  ///< seconds
/// Jobs for several repositories are started at the same moment: the earlier one's may say so a little later.
constexpr auto kGrace = 3s;
constexpr auto kPoll = 200ms;

Result<fs::path> announcement(Context& context, const std::string& cluster, const std::string& repository) {
  const auto directory = TRY(context.state_directory()) / "running";
  TRY(create_directories(directory, 0700));
  return directory / fmt::format("backup-{}@{}", cluster, repository);
}

/// @param operation  of flock(2), without waiting
Result<std::optional<Fd>> try_lock(const fs::path& path, int operation) {
  auto fd = TRY(open_file(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  while (::flock(fd.get(), operation | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::optional<Fd>();
    if (errno != EINTR) return errno_error(errno, path.string());
  }
  return std::optional(std::move(fd));
}

std::tuple<std::uint32_t, std::uint64_t> position(const LiveSnapshot& snapshot) { return {snapshot.snap.timeline, snapshot.snap.start_lsn}; }

class Search {
 public:
  Search(Context& context, const repository::Cluster& mine, const std::string& cluster, TimePoint oldest) : context_(context), mine_(mine), cluster_(cluster), oldest_(oldest) {}

  /// nullopt: it has none that would do.
  Result<std::optional<ReusableBackup>> in(const std::string& repository) const {
    auto arguments = context_.arguments();
    arguments.set("--repository", repository);
    auto context = std::make_unique<Context>(std::move(arguments), context_.cancel());
    context->give_up_early();
    auto cluster = TRY(existing_cluster(*context, cluster_));
    if (repository::current_identity(cluster->state()).system_id != repository::current_identity(mine_.state()).system_id) return none("it is of another server", repository);
    const auto* newest = backup::newest_physical(cluster->state());
    if (newest == nullptr || newest->committed < oldest_) return none("it has no new one", repository);
    const auto* own = backup::newest_physical(mine_.state());
    if (own != nullptr && position(*own) >= position(*newest)) return none("what it has is here", repository);
    const auto session = newest->snap.session;
    const auto root = TRY(repository::read_root(cluster->store(), cluster->context(), session, cluster->keys()));
    if (root.started < oldest_) return none("it has no new one", repository);
    return std::optional(ReusableBackup{std::move(context), std::move(cluster), session, fmt::format("{} of repository {}", root.name, repository)});
  }

 private:
  static std::optional<ReusableBackup> none(std::string_view why, const std::string& repository) {
    log_debug("no backup of repository {} is copied: {}", repository, why);
    return std::nullopt;
  }

  Context& context_;
  const repository::Cluster& mine_;
  const std::string& cluster_;
  const TimePoint oldest_;
};

/// Those that come before this one, where they are several.
Result<std::vector<std::string>> earlier_repositories(Context& context) {
  std::vector<std::string> names;
  const auto& own = TRY(context.repository_settings())->name;
  // What the command knows is narrowed to the one that it is about.
  const auto all = TRY(load_configuration(context.arguments().get("--config"), [](const char* name) -> std::optional<std::string> {
    return std::string_view(name) == "PGMINT_REPOSITORY" ? std::nullopt : process_environment(name);
  }));
  for (const auto& repository : all.repositories) {
    if (repository.name == own) return names;
    names.push_back(repository.name);
  }
  return std::vector<std::string>();  // named by its place: it is none of them
}

/// nullopt: somebody has it.
Result<std::optional<Fd>> lock_announcement(Context& context, const std::string& cluster, const std::string& repository, int operation) {
  return try_lock(TRY(announcement(context, cluster, repository)), operation);
}

bool any_running(Context& context, const std::string& cluster, const std::vector<std::string>& repositories) {
  return std::ranges::any_of(repositories, [&](const auto& repository) {
    const auto lock = lock_announcement(context, cluster, repository, LOCK_SH);
    return lock && !*lock;
  });
}

/// Until none is on its way, at most `patience` long.
Status wait_for_others(Context& context, const std::string& cluster, const std::vector<std::string>& repositories, std::chrono::seconds patience) {
  const auto start = std::chrono::steady_clock::now();
  for (bool told = false;;) {
    TRY(context.cancel().check());
    const auto waited = std::chrono::steady_clock::now() - start;
    const bool running = any_running(context, cluster, repositories);
    if (!running && (told || waited >= kGrace)) return ok();
    if (running && !told) log_info("a backup of {} into another repository is on its way: it will be copied", cluster);
    told |= running;
    if (waited >= patience) {
      log_warning("a backup of {} into another repository takes long: the database is read for this one", cluster);
      return ok();
    }
    system_clock().sleep(kPoll);
  }
}

}  // namespace

Fd announce_backup(Context& context, const std::string& cluster) {
  const auto settings = context.repository_settings();
  if (!settings || (*settings)->name.empty()) return {};
  // Those who look have it for a moment; another run of the same has it for long, and announces for both.
  for (int attempt = 0; attempt < 10; ++attempt) {
    auto lock = lock_announcement(context, cluster, (*settings)->name, LOCK_EX);
    if (!lock) {
      log_debug("runs for other repositories cannot be told of this one: {}", lock.failure().describe());
      return {};
    }
    if (*lock) return std::move(**lock);
    system_clock().sleep(10ms);
  }
  return {};
}

Result<std::optional<ReusableBackup>> backup_to_reuse(Context& context, const repository::Cluster& mine, const std::string& cluster, TimePoint began) {
  const auto& arguments = context.arguments();
  const auto given = arguments.get("--reuse");
  const std::chrono::seconds age(given ? TRY(parse_number(*given, "--reuse", 0, kReuseMax)) : 0);
  auto candidates = TRY(earlier_repositories(context));
  if (!given) std::erase_if(candidates, [&](const auto& name) { return std::ranges::find(arguments.done_in, name) == arguments.done_in.end(); });
  if (candidates.empty() || (given && age == 0s)) return std::optional<ReusableBackup>();
  if (given && !arguments.one_of_several) TRY(wait_for_others(context, cluster, candidates, age));
  const Search search(context, mine, cluster, began - age);
  for (const auto& repository : candidates) {
    auto found = search.in(repository);
    if (found && *found) return found;
    if (found) continue;
    if (found.failure().code() == Errc::Cancelled) return found;
    log_warning("repository {} cannot be asked for its backup: {}", repository, found.failure().describe());
  }
  return std::optional<ReusableBackup>();
}

}  // namespace pgmint::cli
