// The copy: every file of the scan read, checked, compressed, sealed and put, by several workers at once.
//
//   tasks -> workers (read, check, compress, seal, pack) -> bounded queue -> uploaders -> store
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "backup/copy_plan.h"
#include "backup/forward.h"
#include "backup/pack_ledger.h"
#include "backup/page_inspector.h"
#include "backup/source.h"
#include "backup/stored_content.h"
#include "base/cancel.h"
#include "repository/manifest.h"
#include "repository/pack_stream.h"
#include "storage/throttle_store.h"

namespace pgmint::backup {

/// What became of one entry of the scan.
struct CopiedFile {
  enum class State : std::uint8_t { Absent, Empty, Bundled, Mapped } state = State::Absent;
  std::uint64_t length = 0;
  StoredContent content;  ///< bundle, or map
};

/// Watched by the owner while workers count.
struct CopyCounters {
  std::atomic<std::uint64_t> bytes_done{0};  ///< of CopyPlan::total_bytes
  std::atomic<std::uint64_t> files_done{0};
  std::atomic<std::uint64_t> sealed{0};
  std::atomic<std::uint64_t> zero_bytes{0};
  std::atomic<std::uint64_t> read_bytes{0};     ///< of the data directory, pages that were read again not counted
  /// For another try.
  void reset() {
    for (auto* counter : {&bytes_done, &files_done, &zero_bytes, &read_bytes, &changed_pages}) *counter = 0;
  }
  std::atomic<std::uint64_t> received{0};  ///< of a remote server's archives, whatever became of them
  std::atomic<std::uint64_t> changed_pages{0};  ///< of relations: stored, because they were not the parent's, or not known to be
};

/// What an incremental's copy compares with. Nothing of it changes while the copy runs.
struct CopyParent {
  storage::BlobStore& store;
  const std::vector<FilePlan>& files;  ///< one per entry of the scan
  postgres::Lsn start;                 ///< of the parent
  const std::vector<repository::BadPage>& bad_pages;
};

struct CopyInput {
  const postgres::DirectoryScan& scan;
  const CopyPlan& plan;
  Source& source;
  const repository::PackSettings& packs;
  repository::PackStream& maps;  ///< takes the maps; used under a lock while the copy runs, left open
  std::function<Status(repository::FinishedPack)> upload;  ///< thread-safe

  postgres::PageCheck check;
  std::uint32_t blocks_per_segment = 0;
  const CopyParent* parent = nullptr;  ///< null: a full backup
  PackLedger& ledger;
  Forward* forward = nullptr;  ///< null: nothing has to leave its pack
  std::function<Result<postgres::Lsn>()> upper_lsn;  ///< thread-safe

  std::uint32_t extent_size = 0;
  unsigned workers = 1;
  unsigned uploaders = 2;
  std::size_t queued_packs = 1;
  storage::RateLimiter* rate = nullptr;  ///< of bytes read; may be null
  Clock& clock;
  const CancelToken* cancel = nullptr;
};

struct CopyOutcome {
  std::vector<CopiedFile> files;              ///< one per entry of the scan
  std::vector<std::string> vanished_noted;    ///< gone, and worth telling
  std::vector<std::string> vanished_refused;  ///< gone, and the backup is worthless unless their directory went too
  /// Damaged pages of the parent that were not read again.
  std::vector<repository::BadPage> inherited_bad{};
  /// Set: what the incremental stood on does not hold (the WAL does not name a page that changed; the parent cannot be read).
  /// Nothing else in here counts then: everything has to be read whole.
  std::optional<std::string> refuted{};
};

/// Returns when everything but the maps' last pack is durable. `tick` is called from this thread about five times a
/// second; its failure ends the copy. @errors Io, Key, Storage, Unknown, Postgres, Cancelled
Result<CopyOutcome> copy_files(const CopyInput& input, CopyCounters& counters, PageFindings& findings,
                               const std::function<Status()>& tick);

}  // namespace pgmint::backup
