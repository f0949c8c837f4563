// Pages of a relation as they are read: sound, torn (read again), or damaged (named, and stored as they are).
// Rule: a page is sound if its checksum fits or replay will rewrite it (postgres/page.h, check_page).
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "backup/source.h"
#include "base/clock.h"
#include "base/guarded.h"
#include "postgres/data_directory.h"
#include "postgres/page.h"
#include "repository/manifest.h"

namespace pgmint::backup {

/// What all workers found. Thread-safe.
class PageFindings {
 public:
  std::atomic<std::uint64_t> checked{0}, reread{0}, bad{0};

  /// As if nothing had been read.
  void clear();
  void add(repository::BadPage page, std::string description);
  /// Sorted by path and block; at most kBadPagesNamed. The descriptions are for the log and were written there already.
  std::vector<repository::BadPage> named() const;

 private:
  Guarded<std::vector<repository::BadPage>> pages_;
};

/// BadPage::reason.
inline constexpr std::uint8_t kBadChecksum = 1;
inline constexpr std::uint8_t kBadHeader = 2;
inline constexpr std::uint8_t kChangedWithoutWal = 3;  ///< found by reading again what should not have changed since the parent

/// Not thread-safe: one per worker. Borrows all it is given.
class PageInspector {
 public:
  /// @param upper_lsn  asks the server how far the WAL had got; called only when a page's own checksum does not settle
  /// it
  PageInspector(postgres::PageCheck check, std::uint32_t blocks_per_segment,
                std::function<Result<postgres::Lsn>()> upper_lsn, Clock& clock, PageFindings& findings);

  /// Judges every whole page of `data`, which was read at `offset` (a multiple of the block size) of `file`. A page
  /// that may be torn is read again into its place. What lies behind the last whole page is not judged: the file was
  /// being extended. @errors Postgres (the server is gone), Io, Key
  Status inspect(const postgres::DirectoryEntry& file, std::uint64_t offset, MutableByteView data, SourceRange& source);

 private:
  Status settle(const postgres::DirectoryEntry& file, std::uint64_t offset, postgres::BlockNumber block,
                MutableByteView page, SourceRange& source);

  postgres::PageCheck check_;
  std::uint32_t blocks_per_segment_;
  std::function<Result<postgres::Lsn>()> upper_lsn_;
  Clock& clock_;
  PageFindings& findings_;
  std::optional<postgres::Lsn> last_upper_;
  Bytes before_;
};

}  // namespace pgmint::backup
