// What status and doctor look at: is each cluster recoverable, up to which moment, and what needs a hand.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/cluster_choice.h"
#include "cli/proofs.h"
#include "cli/recovery_facts.h"
#include "policy/estimate.h"
#include "restore/measured.h"
#include "wal/status.h"

namespace pgmint::cli {

struct Problem {
  std::string code;  ///< "wal-gap", "no-backup", "rpo-breached", ...
  std::string message, hint;
  bool breach = true;  ///< else a warning
  std::string subject{};  ///< which one of several of the same code: the first segment of a gap, a backup, a key slot
  bool urgent = false;    ///< breaches no objective yet, and needs a hand now: a disk that is about to be full
};

struct ClusterHealth {
  std::string name;
  const ClusterSettings* settings = nullptr;  ///< null: only the repository knows it
  std::vector<BackupFacts> backups;
  RecoveryFacts recovery;
  repository::EarlierProofs proofs;  ///< of what its backups refer to
  std::optional<repository::EarlierWal> wal_proofs;  ///< of all its WAL; nullopt: not known
  policy::Objectives objectives;
  /// How much would be lost if the host went now: at most the changes of this time. nullopt: nothing can be recovered, or a clock
  /// is wrong, and nobody knows.
  std::optional<std::chrono::seconds> exposure;
  std::optional<bool> archiver_failing;  ///< nullopt: the server could not be asked
  std::optional<Space> data_space;       ///< the fuller one of the data directory's and its WAL's file system
  /// What the newest backup that can be restored, and all WAL behind it, would take.
  policy::Estimate restore;
  std::optional<restore::DatedProof> proof;  ///< the last validation of a restored server that passed
  std::vector<Problem> problems;
  std::vector<std::string> unjudged;  ///< codes of problems that may be there, and could not be looked for; an empty one: all
  std::optional<Error> unreadable;    ///< why nothing is known of it but this; its name may be its id

  /// Of those that `is_it`, by when they began; one that lies ahead of the clock is none. nullptr: there is none.
  const BackupFacts* newest_backup(const std::function<bool(const BackupFacts&)>& is_it) const;

  std::string_view state() const;  ///< "ok", "warning", "breached"
};

/// The server's word on its archiving; nullopt when it cannot be asked, with the reason.
struct AskedServer {
  std::optional<wal::ServerWal> wal;
  std::optional<std::uint32_t> next_xid;  ///< no transaction from this one on has been committed
  std::string problem;
};
AskedServer ask_server(Context& context, const ClusterSettings& settings);

/// @param cluster  null: configured, but not in the repository
/// @errors Storage, Key
Result<ClusterHealth> health_of(Context& context, const std::string& name, repository::Cluster* cluster);
/// Every cluster of the repository, and those that are configured but not there. One that cannot be read is among them, with that
/// problem; asked for by name it is an error.
Result<std::vector<ClusterHealth>> health_of_all(Context& context, const std::optional<std::string>& name);
/// "recovery-key-untested", "repository-space" and the like.
/// @param unjudged  codes that could not be looked for
Result<std::vector<Problem>> repository_warnings(Context& context, std::vector<std::string>* unjudged = nullptr);

}  // namespace pgmint::cli
