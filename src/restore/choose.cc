#include "restore/choose.h"

#include <fmt/format.h>

#include <algorithm>

#include "postgres/control_file.h"
#include "repository/layout.h"
#include "repository/pack.h"
#include "restore/recovery_settings.h"

namespace pgmint::restore {
namespace {

using postgres::Lsn;
using postgres::TimelineId;
using repository::ManifestRoot;

bool restorable(repository::BackupType type) {
  return type == repository::BackupType::Full || type == repository::BackupType::Incremental;
}

/// Backups by what the log says, newest last.
Result<std::vector<ManifestRoot>> listed_backups(const RestoreRequest& request) {
  auto& cluster = request.cluster;
  std::vector<ManifestRoot> roots;
  if (request.from_manifest) {
    const auto prefix = repository::cluster_prefix(cluster.id()) + "snap/";
    for (const auto& part : TRY(cluster.store().list_parts(prefix))) {
      auto session = repository::SessionId::parse(part);
      if (!session) continue;
      auto root = repository::read_root(cluster.store(), cluster.context(), *session, cluster.keys());
      // With the log out of play each manifest speaks for itself; a damaged one must not hide the others.
      if (root && restorable(root->type)) roots.push_back(std::move(*root));
    }
  } else {
    for (const auto& [session, live] : cluster.state().snapshots()) {
      if (request.backup && live.snap.name != *request.backup) continue;
      if (request.backup && !restorable(live.snap.type))
        return Error(Errc::Precondition, fmt::format("{} is no backup of a data directory, but a {} one", live.snap.name, repository::backup_type_name(live.snap.type)),
                     Hint{live.snap.type == repository::BackupType::Logical ? fmt::format("restore-db --db DB --backup {}", live.snap.name)
                                                                            : fmt::format("pgmint export {} --to DIR", live.snap.name)});
      if (!restorable(live.snap.type)) continue;
      auto object = TRY(cluster.store().read(repository::manifest_name(cluster.id(), session), live.snap.root_size));
      if (!object)
        return Error(Errc::Corruption, fmt::format("the manifest of {} is missing", live.snap.name),
                     Hint{"pgmint verify names what is damaged; --backup NAME chooses another backup"});
      if (crypto::sha256(*object) != live.snap.root_sha256)
        return Error(Errc::Corruption, fmt::format("the manifest of {} is not the one that was committed", live.snap.name),
                     Hint{"pgmint verify names what is damaged; --backup NAME chooses another backup"});
      roots.push_back(TRY(repository::open_root(*object, cluster.context(), session, cluster.keys())));
    }
  }
  std::sort(roots.begin(), roots.end(), [](const auto& a, const auto& b) { return a.finished < b.finished; });
  return roots;
}

/// a is older than b, as transaction ids wrap (src/backend/access/transam/transam.c, TransactionIdPrecedes).
bool xid_precedes(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

struct Wal {
  repository::WalArchive& archive;
  const repository::WalInventory& inventory;
};

/// The history that recovery from `root` would follow.
Result<postgres::TimelineHistory> history_for(const Wal& wal, const ManifestRoot& root, const Target& target) {
  const TimelineId own(root.timeline);
  const Lsn stop(root.stop_lsn);
  TimelineId goal = own;
  if (target.timeline) {
    goal = *target.timeline;
  } else if (target.kind != TargetKind::Immediate) {
    goal = wal.inventory.newest_descendant(own, stop);
  }
  if (goal == own) {
    if (auto known = wal.inventory.history_of(goal)) return *known;
    return postgres::TimelineHistory(goal);  // its own past is not needed: recovery starts on it
  }
  auto history = wal.inventory.history_of(goal);
  if (!history)
    return Error(Errc::Precondition, fmt::format("timeline {} is not known: its history file is not in the repository", goal.value()),
                 Hint{"pgmint wal status lists the timelines; --timeline T chooses one"});
  if (!history->contains(own, stop))
    return Error(Errc::Precondition,
                 fmt::format("timeline {} left timeline {} before backup {} ended at {}", goal.value(), own.value(), root.name, postgres::format(stop)),
                 Hint{"choose an older backup with --backup, or another --timeline"});
  return *history;
}

/// Where the target stands relative to what can be replayed.
enum class Reach { Yes, BeforeBackup, NotFound, AfterEnd };

struct Verdict {
  Reach reach = Reach::Yes;
  std::string why;
  std::string hint = {};  ///< where there is a better one than for others of its kind
};

/// Looks for a target that only WAL can answer: a restore point, a transaction.
Result<bool> in_summaries(const Wal& wal, const repository::RecoveryWindow& window, const std::function<bool(const postgres::WalSummary&)>& match,
                          bool* unknown_segment) {
  bool found = false;
  TRY(repository::for_each_summary(wal.archive, window.segments, wal.inventory.segment_size(),
                                   [&](const repository::WalRange&, const postgres::WalSummary* summary) -> Status {
                                     if (summary == nullptr) {
                                       *unknown_segment = true;
                                     } else if (!found && match(*summary)) {
                                       found = true;
                                     }
                                     return ok();
                                   }));
  return found;
}

std::string window_text(const ManifestRoot& root, const repository::RecoveryWindow& window) {
  return fmt::format("from {} (end of {}) to {}", format_rfc3339(root.finished), root.name,
                     window.last_commit ? format_postgres(window.last_commit->time) + ", the last archived commit" : postgres::format(window.end));
}

Result<Verdict> judge(const Wal& wal, const ManifestRoot& root, const repository::RecoveryWindow& window, const Target& target) {
  switch (target.kind) {
    case TargetKind::Latest:
    case TargetKind::Immediate: return Verdict{};
    case TargetKind::Time:
      if (target.time < root.finished)
        return Verdict{Reach::BeforeBackup, fmt::format("{} is before backup {} ended ({})", format_rfc3339(target.time), root.name, format_rfc3339(root.finished))};
      // PostgreSQL stops at the first commit after the target (at it, when exclusive); with none it refuses to come up: "recovery
      // ended before configured recovery target was reached" (xlogrecovery.c, recoveryStopsBefore).
      if (window.last_commit && target.time == window.last_commit->time && !target.exclusive)
        return Verdict{Reach::AfterEnd,
                       fmt::format("{} is the last archived commit itself: PostgreSQL stops at a time only when a later commit tells it that it has been reached",
                                   format_postgres(target.time)),
                       "--latest restores just that, as long as nothing more is archived; behind a later commit this time can be reached"};
      if (!window.last_commit || target.time > window.last_commit->time)
        return Verdict{Reach::AfterEnd, fmt::format("{} is after the last commit that can be replayed: recovery is possible {}",
                                                    format_rfc3339(target.time), window_text(root, window))};
      return Verdict{};
    case TargetKind::Lsn:
      if (target.lsn < Lsn(root.stop_lsn))
        return Verdict{Reach::BeforeBackup, fmt::format("{} is before backup {} ended at {}", postgres::format(target.lsn), root.name, postgres::format(Lsn(root.stop_lsn)))};
      if (target.lsn >= window.end)
        return Verdict{Reach::AfterEnd, fmt::format("{} is beyond the archived WAL, which ends at {}", postgres::format(target.lsn), postgres::format(window.end))};
      return Verdict{};
    case TargetKind::Name: {
      bool unknown = false;
      const bool found = TRY(in_summaries(wal, window, [&](const postgres::WalSummary& s) {
        return std::any_of(s.restore_points.begin(), s.restore_points.end(),
                           [&](const auto& p) { return p.name == target.name && p.end >= Lsn(root.stop_lsn); });
      }, &unknown));
      if (found || unknown) return Verdict{};
      return Verdict{Reach::NotFound, fmt::format("restore point '{}' is not in the WAL after backup {}", target.name, root.name)};
    }
    case TargetKind::Xid: {
      bool unknown = false;
      const bool found = TRY(in_summaries(wal, window, [&](const postgres::WalSummary& s) {
        return s.last_xid && !xid_precedes(s.last_xid->value(), target.xid);
      }, &unknown));
      if (found || unknown) return Verdict{};
      return Verdict{Reach::NotFound, fmt::format("transaction {} is not in the WAL after backup {}", target.xid, root.name)};
    }
  }
  return Verdict{};
}

/// The newest listed backup that had ended before the target; "" when none had. By the log alone: a damaged manifest of
/// another backup is no reason to fail.
std::string earlier_backup(const repository::LogState& state, const Target& target) {
  const repository::LiveSnapshot* best = nullptr;
  for (const auto& [session, live] : state.snapshots()) {
    if (!restorable(live.snap.type)) continue;
    const bool before = target.kind == TargetKind::Time ? live.committed <= target.time : Lsn(live.snap.stop_lsn) <= target.lsn;
    if (before && (best == nullptr || best->committed < live.committed)) best = &live;
  }
  return best == nullptr ? "" : best->snap.name;
}

/// The next transaction id at the checkpoint that the backup starts from, as its pg_control tells.
Result<std::uint32_t> next_xid_of(const RestoreRequest& request, const ManifestRoot& root) {
  auto& cluster = request.cluster;
  repository::RecordOpener opener(cluster.context(), cluster.keys());
  std::optional<std::uint32_t> next;
  TRY(repository::walk_manifest(cluster.store(), cluster.context(), opener, root, [&](const repository::FileEntry& e) -> Status {
    if (e.path != "global/pg_control" || e.kind != repository::FileKind::Bundled) return ok();
    const auto& member = std::get<repository::BundleMember>(e.content);
    const auto bundle = TRY(repository::read_record(cluster.store(), cluster.context(), opener, member.bundle));
    const auto control = TRY(postgres::parse_control_file(ByteView(bundle).subspan(member.offset, e.size)));
    next = static_cast<std::uint32_t>(control.next_full_xid);
    return ok();
  }));
  if (!next) return Error(Errc::Corruption, fmt::format("backup {} lacks pg_control", root.name));
  return *next;
}

/// The first missing segment lies below where expire let WAL go.
bool let_go(const repository::LogState& state, const ManifestRoot& root, const repository::WalRange& gap, postgres::WalSegmentSize size) {
  const auto floors = repository::floors_of(state, {root.system_id, root.incarnation});
  const auto floor = floors.find(gap.timeline);
  return floor != floors.end() && gap.first < postgres::segment_of(floor->second, size);
}

struct Judged {
  Choice choice;
  Verdict verdict;
};

Result<Judged> consider(const Wal& wal, const ManifestRoot& root, const RestoreRequest& request, bool carries_wal) {
  Judged judged;
  judged.choice.root = root;
  judged.choice.history = TRY(history_for(wal, root, request.target));
  const Lsn start(root.start_lsn), stop(root.stop_lsn);
  const auto window = TRY(repository::recovery_window(wal.archive, wal.inventory, judged.choice.history, start, stop));
  if (!window.complete_to_from && !carries_wal) {
    const auto missing = wal.inventory.missing(judged.choice.history, start, stop);
    return Error(Errc::Precondition,
                 fmt::format("backup {} cannot become consistent: WAL is missing: {}", root.name,
                             missing.empty() ? "unknown" : repository::describe(missing.front(), wal.inventory.segment_size())),
                 Hint{"if the server still has that segment in pg_wal, push it: pgmint wal push PATH; else choose another backup with --backup"});
  }
  // PostgreSQL notices that it is consistent when it reads a record behind that. A standby's backup has none where its primary
  // has written nothing since its own start: no record to name (recovery_target), none carried, none archived.
  if (request.target.kind == TargetKind::Immediate && root.from_standby &&
      recovery_target(request.target, root).kind == TargetKind::Immediate &&
      !wal.inventory.has(TimelineId(root.timeline), postgres::segment_of(stop, wal.inventory.segment_size())))
    return Error(Errc::Precondition,
                 fmt::format("PostgreSQL would not stop as soon as backup {} is consistent: no WAL behind it has been archived", root.name),
                 Hint{fmt::format("as long as that is so, --latest brings the same state: pgmint restore --backup {} --latest", root.name)});
  // A transaction that began before the backup may have ended before it too; an older backup is certain to see its commit.
  if (request.target.kind == TargetKind::Xid && !request.backup && xid_precedes(request.target.xid, TRY(next_xid_of(request, root)))) {
    judged.verdict = {Reach::BeforeBackup, fmt::format("transaction {} began before backup {}", request.target.xid, root.name)};
    return judged;
  }
  judged.verdict = TRY(judge(wal, root, window, request.target));
  judged.choice.window = window;
  if (window.first_gap && window.complete_to_from) {
    const auto size = wal.inventory.segment_size();
    const auto gap = repository::describe(*window.first_gap, size);
    const bool needs_all = request.target.kind == TargetKind::Latest;
    const bool beyond = needs_all || judged.verdict.reach == Reach::AfterEnd || judged.verdict.reach == Reach::NotFound;
    if (beyond && let_go(request.cluster.state(), root, *window.first_gap, size))
      return Error(Errc::Precondition,
                   fmt::format("WAL between backup {} and the target was let go by expire: {}", root.name, gap),
                   Hint{fmt::format("--immediate brings the state of {}; for later moments leave --backup out, or choose a later one", root.name)});
    if (beyond)
      return Error(Errc::Precondition, fmt::format("WAL is missing between backup {} and the target: {}", root.name, gap),
                   Hint{window.last_commit
                            ? fmt::format("recovery is possible up to the last commit before the hole: --lsn {}", postgres::format(window.last_commit->end))
                            : fmt::format("push the missing segment if a server still has it, or restore with --immediate")});
    // PostgreSQL would ask for what is missing although it stops before (wal::GetRequest::until).
    if (!window.segments.empty())
      judged.choice.last_segment = postgres::segment_file_name(window.segments.back().timeline, window.segments.back().last, size);
  }
  return judged;
}

}  // namespace

std::string describe(const Target& target) {
  std::string text;
  switch (target.kind) {
    case TargetKind::Latest: text = "latest"; break;
    case TargetKind::Immediate: text = "immediate (as soon as consistent)"; break;
    case TargetKind::Time: text = "time " + format_postgres(target.time); break;
    case TargetKind::Lsn: text = "lsn " + postgres::format(target.lsn); break;
    case TargetKind::Xid: text = fmt::format("transaction {}", target.xid); break;
    case TargetKind::Name: text = fmt::format("restore point '{}'", target.name); break;
  }
  return target.exclusive ? text + ", exclusive" : text;
}

Result<Choice> choose(const RestoreRequest& request) {
  auto roots = TRY(listed_backups(request));
  if (request.backup) {
    std::erase_if(roots, [&](const auto& root) { return root.name != *request.backup; });
    if (roots.empty())
      return Error(Errc::NotFound, fmt::format("there is no backup {}", *request.backup), Hint{"pgmint list shows the backups"});
  }
  if (roots.empty()) return Error(Errc::NotFound, "there is no backup to restore", Hint{"pgmint backup takes one"});

  // The identity of WAL is the backup's own: after `cluster adopt` old backups still recover along their own WAL.
  std::optional<Error> newest_refusal;
  for (auto it = roots.rbegin(); it != roots.rend(); ++it) {
    const auto& root = *it;
    repository::WalArchive archive(request.cluster, {root.system_id, root.incarnation});
    const auto size = TRY(postgres::WalSegmentSize::of(root.wal_segment_size));
    const auto inventory = TRY(repository::load_wal_inventory(archive, size));
    const bool carries_wal = std::any_of(root.settings.begin(), root.settings.end(), [](const auto& s) { return s.first == "carried_wal"; });
    auto judged = consider({archive, inventory}, root, request, carries_wal);
    if (!judged) {
      if (judged.failure().code() != Errc::Precondition || request.backup) return std::move(judged).failure();
      if (!newest_refusal) newest_refusal = std::move(judged).failure();
      continue;
    }
    if (judged->verdict.reach == Reach::Yes) {
      if (newest_refusal && request.target.kind == TargetKind::Latest) return *std::move(newest_refusal);
      if (it != roots.rbegin() && request.target.kind == TargetKind::Immediate && newest_refusal)
        judged->choice.warnings.push_back(fmt::format("a newer backup was passed over: {}", newest_refusal->describe()));
      return std::move(judged->choice);
    }
    Hint hint{judged->verdict.reach == Reach::BeforeBackup ? "pgmint list shows the backups and the recovery window; choose a later moment, or an older backup"
              : judged->verdict.reach == Reach::AfterEnd   ? "--latest restores everything that was archived; for a recent moment archive the current segment first: SELECT pg_switch_wal()"
                                                           : "pgmint list shows the recovery window; check the spelling, or the --timeline"};
    if (!judged->verdict.hint.empty()) hint.text = judged->verdict.hint;
    if (judged->verdict.reach == Reach::BeforeBackup && request.backup && !request.from_manifest)
      if (const auto earlier = earlier_backup(request.cluster.state(), request.target); !earlier.empty())
        hint.text = fmt::format("an older backup reaches it: --backup {}", earlier);
    Error refusal(Errc::Precondition, judged->verdict.why, std::move(hint));
    // An older backup can reach an earlier moment, never a later one than the newest could.
    if (request.backup || judged->verdict.reach == Reach::AfterEnd) return refusal;
    newest_refusal = std::move(refusal);
  }
  return *std::move(newest_refusal);
}

}  // namespace pgmint::restore
