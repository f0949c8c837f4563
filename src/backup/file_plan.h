// How each file of a scan is to be read: whole, only where it changed, or not at all. Pure.
#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "backup/parent.h"
#include "base/clock.h"
#include "postgres/change_index.h"
#include "postgres/data_directory.h"

namespace pgmint::backup {

/// Whether an entry holds bytes that the copy reads.
bool has_content(const postgres::DirectoryEntry& entry);

enum class Reading : std::uint8_t {
  Whole,     ///< read and stored: a full backup, or a file that the parent does not have
  Compared,  ///< read; what is as in the parent is not stored again
  Listed,    ///< only the blocks that are listed are read
  Sent,      ///< of a stream: only the blocks that are listed come, the others are the parent's
  Kept       ///< not opened: it is the parent's
};

struct FilePlan {
  const ParentFile* parent = nullptr;  ///< unless Whole
  Reading reading = Reading::Whole;
  /// Whether the WAL was asked what changed: then a page that it does not name must not have changed since the parent.
  bool has_list = false;
  /// Of this file, ascending; null: none. Few files of very many have some.
  std::shared_ptr<const std::vector<postgres::BlockNumber>> listed;
  /// Blocks from here on are not the parent's: limits, or behind its end. Of a Sent file those that are not listed hold zeros: nothing was
  /// written to them since (POSTGRES 11), or what was comes with replay.
  postgres::BlockNumber own_from = std::numeric_limits<postgres::BlockNumber>::max();

  const std::vector<postgres::BlockNumber>& blocks() const;
  /// Whether `block` of the file may differ from the parent's. Only with has_list.
  bool lists(postgres::BlockNumber block) const;
};

struct IncrementalOptions {
  std::uint32_t block_size = 8192;
  std::uint32_t extent_size = 0;  ///< smaller files stand in bundles
  std::uint32_t blocks_per_segment = 0;
  /// Null: nothing is known of what changed; every file is compared.
  const postgres::ChangeIndex* changes = nullptr;
  /// Days since the epoch (UTC) of the parent and of this backup: the files whose turn it is in between are read again
  /// although they are not listed (POSTGRES 14).
  std::int64_t parent_day = 0, day = 0;
};

/// One plan per entry of the scan. Forks other than main and init, and files that are no relation's, are always compared:
/// their changes are not all in the WAL (POSTGRES 10, 12).
std::vector<FilePlan> plan_incremental(const postgres::DirectoryScan& scan, const ParentFiles& parent,
                                       const IncrementalOptions& options);

/// How a file is taken that comes whole with a stream: compared, and by the rules of a list where there is one.
FilePlan plan_arrived(const postgres::DirectoryEntry& entry, const ParentFiles& parent, const IncrementalOptions& options);

/// Every file has its turn once in so many days.
inline constexpr std::int64_t kRefreshDays = 28;
/// Whether the turn of `path` lies behind `parent_day` and not behind `day`.
bool refresh_is_due(std::string_view path, std::int64_t parent_day, std::int64_t day);

}  // namespace pgmint::backup
