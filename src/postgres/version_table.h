// Everything that differs between PostgreSQL's majors, one entry per major. Nothing else in pgmint asks for a version
// number. Authority: PostgreSQL's sources; the files are named at the fields, the values were compared
// with 13.16, 15.20, 17.12, 18.6.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace pgmint::postgres {

/// Byte offsets in pg_control (src/include/catalog/pg_control.h, x86-64 and arm64 alignment). 13 to 18 agree up to the
/// random nonce; anchors stand here, so that a major that moves a group of fields is one line in the table.
struct ControlLayout {
  std::uint16_t checkpoint_copy;     ///< struct CheckPoint
  std::uint16_t min_recovery_point;  ///< minRecoveryPoint to backupEndRequired
  std::uint16_t wal_level;           ///< the settings, to track_commit_timestamp
  std::uint16_t max_align;           ///< maxAlign to loblksize
  std::uint16_t data_checksum_version;
  std::uint16_t crc;  ///< the CRC-32C covers all bytes before it
};

/// Record codes that a change summary understands (src/include/access/rmgrlist.h, commands/dbcommands_xlog.h,
/// xlogrecord.h).
struct WalCodes {
  std::uint8_t last_builtin_rmgr;
  std::uint8_t dbase_create_file_copy;
  std::uint8_t dbase_create_wal_log;  ///< kNoCode where it does not exist
  std::uint8_t dbase_drop;
  std::uint8_t image_has_hole;
  std::uint8_t image_compressed;    ///< any of these bits: the image is compressed
  std::uint8_t image_known;         ///< bits outside are an error
  std::uint8_t dropped_stats_item;  ///< bytes of one xl_xact_stats_item in a commit record; 0: there are none
  bool has_toplevel_xid;            ///< XLR_BLOCK_ID_TOPLEVEL_XID
  bool has_checkpoint_redo;         ///< XLOG_CHECKPOINT_REDO, which carries wal_level
  bool checkpoint_has_wal_level;
};
inline constexpr std::uint8_t kNoCode = 0xFF;

/// SQL of a base backup. $1 label, $2 fast.
struct BackupSql {
  std::string_view start;  ///< one row: start LSN
  std::string_view stop;   ///< one row: stop LSN, label file, tablespace map
};

struct VersionEntry {
  int major;
  std::uint32_t catalog_version;  ///< identifies the major: released majors never change it
  std::uint32_t control_version;  ///< shared by 13 to 16
  std::uint16_t wal_page_magic;   ///< src/include/access/xlog_internal.h
  ControlLayout control;
  WalCodes wal;
  BackupSql backup;
  /// Oldest minor that pgmint vouches for; older ones are warned about by doctor with `minimum_reason`.
  int minimum_minor;
  std::string_view minimum_reason;
  /// First minor whose VM clearing registers its block (POSTGRES rule 10); 0: never.
  int vm_logged_since_minor;
  /// tablespace_map escapes backslashes too, not only line ends (xlog.c, do_pg_backup_start).
  bool map_escapes_backslash;
  /// BASE_BACKUP takes a list of options in parentheses and sends one copy of typed messages (repl_gram.y, basebackup_copy.c).
  bool base_backup_option_list;
  /// summarize_wal, UPLOAD_MANIFEST and BASE_BACKUP's INCREMENTAL (walsummarizer.c, basebackup_incremental.c).
  bool has_wal_summaries;
};

/// 13 to 18, rising.
std::span<const VersionEntry> all_versions();
/// nullptr for majors outside the table.
const VersionEntry* find_version(int major);
/// From the two numbers in pg_control; nullptr when unknown, e.g. a beta.
const VersionEntry* find_version_by_catalog(std::uint32_t control_version, std::uint32_t catalog_version);
const VersionEntry* find_version_by_wal_magic(std::uint16_t magic);

/// What PG_VERSION holds, "15". @errors Precondition: a version outside the table, or not a version
Result<const VersionEntry*> version_from_pg_version(std::string_view text);

}  // namespace pgmint::postgres
