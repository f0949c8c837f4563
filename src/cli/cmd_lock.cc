#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/audit_trail.h"
#include "cli/backup_facts.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/lock_facts.h"
#include "cli/progress.h"
#include "cli/repository_store.h"
#include "cli/s3_connection.h"
#include "repository/clocks.h"
#include "repository/lock_batch.h"
#include "storage/retry_versions.h"

namespace pgmint::cli {
namespace {

/// What is locked is locked for years, and no clock that is wrong may say until when.
Result<TimePoint> time_of(RepositoryPlace& place) {
  const auto local = system_clock().now(), store = place.store->store_time().value_or(local);
  if (repository::is_ahead_of(store, local) || repository::is_ahead_of(local, store))
    return Error(Errc::Precondition, fmt::format("this host's clock says {} and the store's {}: nothing is locked by clocks that disagree", format_rfc3339(local), format_rfc3339(store)),
                 Hint{"set the clock right (timedatectl), then run pgmint lock again"});
  return store;
}

/// One cluster's look.
class Look {
 public:
  Look(Context& context, repository::Cluster& cluster, const RetentionSettings& retention, const storage::S3LockRule& rule)
      : context_(context), cluster_(cluster), retention_(retention), rule_(rule), began_(system_clock().now()) {}

  Status run() {
    auto& place = *TRY(context_.place());
    const auto now = TRY(time_of(place));
    const auto plan = TRY(lock_plan(cluster_, retention_, rule_.period, now));
    const auto file = lock_memory_file(TRY(context_.state_directory()), cluster_, place.store->describe());
    auto memory = repository::LockMemory::load(file);
    const auto versions = storage::make_retry_versions(place.bucket->versions(), {}, system_clock(), system_random(), &context_.cancel());
    ProgressDisplay display(progress_mode(context_));
    const std::string prefixes[] = {std::string(repository::kFormatName), std::string(repository::kKeysPrefix), repository::cluster_prefix(cluster_.id())};
    auto done = repository::extend_locks(*versions, prefixes, batch(plan, now, display), memory, counts_);
    display.finish();
    if (!dry_run())
      if (auto saved = memory.save(file, !done); !saved) print_warning(fmt::format("the next run will ask the store for each lock again: {}", saved.failure().describe()));
    TRY(explained(std::move(done)));
    longest_ = plan.longest();
    if (dry_run()) return ok();
    if (cluster_.repository().is_mirror()) return note_lock_look(file);  // its log is the source's
    repository::AuditEntry entry{std::string(kLockEvent), text(), {}, repository::CommandRun{"lock", login_origin(), 0, began_}};
    TRY(cluster_.log().append(cluster_.actor(), std::move(entry)));
    return ok();
  }

  const repository::LockCounts& counts() const { return counts_; }
  void print(Output& out) const {
    out.line(fmt::format("cluster {}: {}", name(), text()));
    if (counts_.governance > 0)
      out.line(fmt::format("cluster {}: {} that were locked in the mode governance stay in it: a store changes modes only for who may bypass locks", name(), counted(counts_.governance, "object")));
  }
  Json json() const {
    return {{"cluster", name()},
            {"mode", rule_.mode == storage::LockMode::Compliance ? "compliance" : "governance"},
            {"needed", counts_.needed},
            {"asked", counts_.asked},
            {"extended", counts_.extended},
            {"governance", counts_.governance},
            {"first_end", counts_.needed == 0 ? Json(nullptr) : Json(format_rfc3339(counts_.first_end))},
            {"last_end", counts_.needed == 0 ? Json(nullptr) : Json(format_rfc3339(counts_.last_end))},
            {"longest_need", format_rfc3339(longest_)}};
  }

 private:
  bool dry_run() const { return context_.arguments().has("--dry-run"); }
  const std::string& name() const { return cluster_.state().cluster_name(); }
  std::string text() const {
    auto text = fmt::format("{} of {} that are needed {}", counted(counts_.extended, "lock"), counted(counts_.needed, "object"), dry_run() ? "would be extended" : "extended");
    if (counts_.needed > 0) text += fmt::format("; the first ends {}, the last {}", readable_time(counts_.first_end), readable_time(counts_.last_end));
    return text;
  }

  repository::LockBatch batch(const policy::LockPlan& plan, TimePoint now, ProgressDisplay& display) {
    repository::LockBatch batch;
    batch.mode = rule_.mode;
    batch.wanted = [&](const std::string& object) -> std::optional<TimePoint> {
      // A key slot that was removed, and of which a lock has kept an old version, is not kept any longer.
      if (object.starts_with(repository::kKeysPrefix) && cluster_.state().says_removed(std::string_view(object).substr(repository::kKeysPrefix.size()))) return std::nullopt;
      return plan.until(object);
    };
    batch.enough = [this, now](TimePoint wanted) { return policy::lock_at_least(wanted, now, rule_.period); };
    batch.dry_run = dry_run();
    batch.ask_all = context_.arguments().has("--recheck");
    batch.at_once = kRequestsAtOnce;
    batch.cancel = &context_.cancel();
    batch.progress = [&](const repository::LockCounts& counts) {
      detail_ = fmt::format("{}, {} extended", counted(counts.needed, "object"), counts.extended);
      display.update({"lock", 0, 0, std::nullopt, detail_});
    };
    return batch;
  }

  static Status explained(Status done) {
    if (done || done.failure().code() != Errc::Key) return done;
    return std::move(done).failure().with_hint(Hint{"the role that runs it needs s3:ListBucketVersions, s3:GetObjectRetention and s3:PutObjectRetention: pgmint policy aws --role janitor, or in a mirror's bucket --mirror NAME --role janitor"});
  }

  Context& context_;
  repository::Cluster& cluster_;
  const RetentionSettings& retention_;
  const storage::S3LockRule rule_;
  const TimePoint began_;
  repository::LockCounts counts_;
  TimePoint longest_{};
  std::string detail_;
};

Result<int> run(Context& context) {
  auto& place = *TRY(context.place());
  const auto rule = lock_rule(place.s3);
  if (!rule || place.bucket == nullptr) {
    const auto why = fmt::format("the repository {} is used without object lock", place.store->describe());
    // Of several one may have locks and another none.
    if (TRY(context.configuration())->repositories.size() < 2) return Error(Errc::Precondition, why, Hint{"object_lock = \"governance\" in [s3], in a bucket that was made with object lock"});
    context.output().line(why);
    context.output().document({{"dry_run", context.arguments().has("--dry-run")}, {"clusters", Json::array()}});
    return 0;
  }
  TRY(context.repository());
  const auto all = TRY(configured_clusters(context, context.arguments().position("CLUSTER")));
  Json clusters = Json::array();
  for (const auto* settings : all) {
    TRY(context.cancel().check());
    auto cluster = existing_cluster(context, settings->name);
    if (!cluster && all.size() > 1 && cluster.failure().code() == Errc::Precondition) {
      context.output().line(fmt::format("cluster {}: nothing in the repository yet", settings->name));
      continue;
    }
    const auto opened = TRY(std::move(cluster));
    Look look(context, *opened, settings->retention, *rule);
    TRY(look.run().context(fmt::format("cluster {}", settings->name)));
    look.print(context.output());
    clusters.push_back(look.json());
  }
  context.output().document({{"dry_run", context.arguments().has("--dry-run")}, {"clusters", std::move(clusters)}});
  return 0;
}

}  // namespace

const CommandSpec& lock_command() {
  static const CommandSpec command = {
      .verb = "lock",
      .summary = "extend the object locks of what backups need",
      .description =
          {"Where object_lock is set in [s3], objects are created with a lock of object_lock_days. This command looks at all of them, once a month, and extends the locks that would run out before it runs again: of packs and manifests for as long as the rules of "
           "[cluster.NAME.retention] are sure to keep a backup that needs them; of WAL until it has left the recovery window; of format, keys and log as long as any backup is kept. What is kept without a known end (the newest backup, a hold without one) is "
           "locked for object_lock_days more each time. What nothing needs is left to run out, and collect removes it then.",
           "No lock is ever shortened. In the mode compliance nobody can take back what this command has locked: try it with --dry-run. The store's clock counts, and one that is more than an hour from this host's stops the command. "
           "What was learnt of locks is kept in the state directory, so that only new objects are asked about.",
           "On a mirror, named as the repository, it does the same for the copies, by the rules of that host's configuration; when it last ran there, that host alone remembers."},
      .positionals = {{.name = "CLUSTER", .text = "Default: every configured one.", .required = false, .completes = Completes::Cluster}},
      .options = {{.name = "--dry-run", .value = "", .text = "Count what would be extended; change nothing."},
                  {.name = "--recheck", .value = "", .text = "Ask the store for the lock of every object, also of those that this host remembers: somebody may have taken locks off."}},
      .exits = {{4, "No object lock is configured, clocks disagree, or the repository holds nothing of the cluster yet; nothing was changed."}},
      .examples = {{"pgmint lock --dry-run", "How many locks a run would extend, and until when."}, {"pgmint lock", "What the schedule runs on the first of each month."}},
      .see_also = {"expire", "collect", "hold", "doctor", "policy aws"},
      .changes_repository = true,
      .serves_mirrors = true,
      .leaves_note = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
