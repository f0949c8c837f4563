// A writer's run: BEGIN, packs through a bounded set of uploaders, SNAP. Rules I2 to I4 of docs/format/log.md live here.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/task_group.h"
#include "repository/repository.h"

namespace pgmint::repository {

/// Not thread-safe but for next_pack() and upload(), which workers share.
class WriteSession {
 public:
  /// Looks at the log as it is right before BEGIN; an error keeps BEGIN from being written. Called again when others write first.
  using Admit = std::function<Status(const LogState&)>;
  /// Writes BEGIN; nothing else is put before it is durable. @errors as Log::append; what `admit` says
  static Result<std::unique_ptr<WriteSession>> begin(Cluster& cluster, std::optional<SessionId> parent, const Admit& admit = {});
  ~WriteSession();  ///< neither committed nor aborted: leaves the session open; collect aborts it after its lease

  const SessionId& id() const { return id_; }
  /// A fresh, never used pack id.
  PackId next_pack() { return {id_, next_number_.fetch_add(1)}; }
  /// Puts one pack (blocking) and remembers its summary. Unknown outcomes are read back and compared. Thread-safe.
  /// @errors Storage, Unknown, Key, Precondition (the name exists with other bytes), Cancelled
  Status upload(const FinishedPack& pack);
  /// Renews the lease when a third of it has passed. Cheap otherwise. Call from the operation's own thread. A store that cannot
  /// be reached is an error only when the lease is about to end. @errors Precondition (aborted meanwhile), as Log::append
  Status keep_alive();
  /// Puts the manifest root, then SNAP: the commit point. Every pack in `removed` was the parent's.
  /// @errors Precondition (aborted meanwhile, or the name is taken), Storage, Unknown, Key
  Status commit(const ManifestRoot& root, std::vector<PackId> removed, TimePoint retain_until = {});
  /// Writes ABORT and deletes what this session put; best effort beyond the entry.
  Status abort();
  std::uint64_t stored_bytes() const { return stored_.load(); }
  std::size_t pack_count() const;

 private:
  explicit WriteSession(Cluster& cluster) : cluster_(cluster) {}
  Cluster& cluster_;
  SessionId id_{};
  std::atomic<std::uint32_t> next_number_{0};
  std::atomic<std::uint64_t> stored_{0};
  Guarded<std::vector<PackSummary>> added_;
  TimePoint lease_until_{}, renew_at_{};
  bool closed_ = false;
};

/// A reader's pin on one snapshot: best effort, since a damaged or read-only store must still restore.
class ReadPin {
 public:
  /// Never fails: when BEGIN cannot be written the pin is empty and `warning` says why.
  static ReadPin take(Cluster& cluster, const SessionId& snapshot, std::chrono::hours lease, std::string* warning);
  const std::optional<SessionId>& session() const { return session_; }
  /// Writes END. @errors as Log::append
  Status release(Cluster& cluster);

 private:
  std::optional<SessionId> session_;
};

}  // namespace pgmint::repository
