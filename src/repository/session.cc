#include "repository/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "repository/layout.h"

namespace pgmint::repository {
namespace {

using namespace std::chrono_literals;

/// The shortest lease that the design allows: a collector elsewhere waits so long for a session that died.
constexpr auto kWriterLease = 24h;
constexpr auto kRenewRetry = 10min;
constexpr int kPutsMax = 4;
constexpr auto kFirstWait = 200ms;

/// Puts an object whose name only this session uses. After anything but plain success the store is asked what stands there:
/// the same bytes are success whichever request brought them, so that repeating is safe. Thread-safe.
Status put_own(storage::BlobStore& store, Clock& clock, const std::string& name, ByteView data) {
  const Error other_bytes(Errc::Precondition, fmt::format("{} exists with other bytes", name));
  for (int tries = 0;; ++tries) {
    auto created = store.create(name, data);
    if (created && *created == storage::Created::Yes) return ok();
    if (!created && !is_transient(created.failure().code())) return std::move(created).failure();
    auto there = store.read(name, data.size());
    if (!there && there.failure().code() == Errc::ResourceLimit) return other_bytes;
    if (!there && !is_transient(there.failure().code())) return std::move(there).failure();
    if (there && *there) {
      if (!std::equal((*there)->begin(), (*there)->end(), data.begin(), data.end())) return other_bytes;
      return ok();
    }
    if (tries == kPutsMax) {
      if (!created) return std::move(created).failure();
      return Error(Errc::Unknown, fmt::format("{} exists for the store and cannot be read", name),
                   Hint{"pgmint doctor checks whether the store can be used"});
    }
    clock.sleep(kFirstWait * (1 << tries));
  }
}

}  // namespace

Result<std::unique_ptr<WriteSession>> WriteSession::begin(Cluster& cluster, std::optional<SessionId> parent, const Admit& admit) {
  TRY(check_features(cluster.repository().format(), Operation::Write));
  auto& environment = cluster.repository().environment();
  std::unique_ptr<WriteSession> session(new WriteSession(cluster));
  session->id_ = environment.random.id<SessionId>();
  TRY(cluster.log().append(cluster.actor(), [&](const LogState& state) -> Result<EntryContent> {
    if (admit) TRY(admit(state));
    BeginEntry begin;
    begin.session = session->id_;
    begin.purpose = SessionPurpose::Write;
    begin.parent = parent;
    const auto now = environment.clock.now();
    session->lease_until_ = now + kWriterLease;
    session->renew_at_ = now + kWriterLease / 3;
    begin.lease_until = session->lease_until_;
    return begin;
  }));
  return session;
}

WriteSession::~WriteSession() {
  // Writing to the log could fail or wait, and a destructor could tell nobody.
  if (!closed_) log_debug("session {} is left open; collect aborts it after its lease", id_.hex());
}

Status WriteSession::upload(const FinishedPack& pack) {
  PGMINT_ASSERT(pack.id.session == id_);
  auto& environment = cluster_.repository().environment();
  const PackSummary summary{pack.id, pack.data.size(), crypto::sha256(pack.data)};
  TRY(put_own(environment.store, environment.clock, pack_name(cluster_.id(), pack.id), pack.data));
  stored_.fetch_add(summary.size);
  added_.with([&](auto& added) { added.push_back(summary); });
  return ok();
}

std::size_t WriteSession::pack_count() const {
  return added_.with([](const auto& added) { return added.size(); });
}

Status WriteSession::keep_alive() {
  auto& environment = cluster_.repository().environment();
  const auto now = environment.clock.now();
  if (now < renew_at_) return ok();
  const auto until = std::max(lease_until_, now + kWriterLease);
  auto renewed = cluster_.log().append(cluster_.actor(), RenewEntry{id_, until});
  if (!renewed && is_transient(renewed.failure().code()) && now + kRenewRetry < lease_until_) {
    log_warning("the session's lease could not be renewed and is good until {}: {}", format_rfc3339(lease_until_),
                renewed.failure().describe());
    renew_at_ = now + kRenewRetry;
    return ok();
  }
  TRY(std::move(renewed));
  renew_at_ = now + (until - now) / 3;
  lease_until_ = until;
  return ok();
}

Status WriteSession::commit(const ManifestRoot& root, std::vector<PackId> removed, TimePoint retain_until) {
  PGMINT_ASSERT(!closed_);
  PGMINT_ASSERT(root.session == id_);
  auto& environment = cluster_.repository().environment();
  const auto object = seal_root(root, cluster_.context(), cluster_.keys().map_key, environment.random);
  TRY(put_own(environment.store, environment.clock, manifest_name(cluster_.id(), id_), object));
  stored_.fetch_add(object.size());

  SnapEntry snap;
  snap.session = id_;
  snap.root_sha256 = crypto::sha256(object);
  snap.root_size = object.size();
  snap.name = root.name;
  snap.type = root.type;
  snap.added = added_.with([](const auto& added) { return added; });
  std::sort(snap.added.begin(), snap.added.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  snap.removed = std::move(removed);
  snap.timeline = root.timeline;
  snap.start_lsn = root.start_lsn;
  snap.stop_lsn = root.stop_lsn;
  snap.retain_until = retain_until;
  snap.system_id = root.system_id;
  snap.incarnation = root.incarnation;
  TRY(cluster_.log().append(cluster_.actor(), std::move(snap)).context(fmt::format("publish backup {}", root.name)));
  closed_ = true;
  return ok();
}

Status WriteSession::abort() {
  PGMINT_ASSERT(!closed_);
  // Nothing is removed before the entry is durable: an uncertain SNAP may still have published what would go.
  TRY(cluster_.log().append(cluster_.actor(), AbortEntry{id_}));
  closed_ = true;
  auto& store = cluster_.store();
  auto names = added_.with([&](const auto& added) {
    std::vector<std::string> list{manifest_name(cluster_.id(), id_)};
    for (const auto& pack : added) list.push_back(pack_name(cluster_.id(), pack.id));
    return list;
  });
  for (const auto& name : names) {
    // What is locked must be found by `collect` once its lock has passed.
    if (auto removed = store.remove_unlocked({&name, 1}); !removed) {
      log_info("{} stays until `pgmint collect`: {}", name, removed.failure().describe());
      break;
    }
  }
  return ok();
}

ReadPin ReadPin::take(Cluster& cluster, const SessionId& snapshot, std::chrono::hours lease, std::string* warning) {
  auto& environment = cluster.repository().environment();
  ReadPin pin;
  // Nothing is written to a mirror; what vanishes at its source stays for weeks there.
  if (cluster.repository().is_mirror()) return pin;
  BeginEntry begin;
  begin.session = environment.random.id<SessionId>();
  begin.purpose = SessionPurpose::Read;
  begin.parent = snapshot;
  begin.lease_until = environment.clock.now() + lease;
  auto written = cluster.log().append(cluster.actor(), begin);
  if (written) {
    pin.session_ = begin.session;
  } else if (warning != nullptr) {
    *warning = fmt::format("the backup cannot be pinned while it is read, so do not expire it meanwhile: {}",
                           written.failure().describe());
  }
  return pin;
}

Status ReadPin::release(Cluster& cluster) {
  if (!session_) return ok();
  TRY(cluster.log().append(cluster.actor(), EndEntry{*session_}));
  session_.reset();
  return ok();
}

}  // namespace pgmint::repository
