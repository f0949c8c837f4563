#include "postgres/version_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

// pg_control: 13 to 17 put the CRC at 288; 18 adds default_char_signedness before the nonce.
constexpr ControlLayout kControl13{.checkpoint_copy = 40,
                                   .min_recovery_point = 136,
                                   .wal_level = 172,
                                   .max_align = 204,
                                   .data_checksum_version = 252,
                                   .crc = 288};
constexpr ControlLayout kControl18{.checkpoint_copy = 40,
                                   .min_recovery_point = 136,
                                   .wal_level = 172,
                                   .max_align = 204,
                                   .data_checksum_version = 252,
                                   .crc = 292};

// xlogrecord.h and dbcommands_xlog.h. 15 turned 0x02 from "compressed" into "apply" and moved DROP from 0x10 to 0x20.
constexpr WalCodes kWal13{.last_builtin_rmgr = 21,
                          .dbase_create_file_copy = 0x00,
                          .dbase_create_wal_log = kNoCode,
                          .dbase_drop = 0x10,
                          .image_has_hole = 0x01,
                          .image_compressed = 0x02,
                          .image_known = 0x07,
                          .dropped_stats_item = 0,
                          .has_toplevel_xid = false,
                          .has_checkpoint_redo = false,
                          .checkpoint_has_wal_level = false};
constexpr WalCodes kWal15{.last_builtin_rmgr = 21,
                          .dbase_create_file_copy = 0x00,
                          .dbase_create_wal_log = 0x10,
                          .dbase_drop = 0x20,
                          .image_has_hole = 0x01,
                          .image_compressed = 0x04 | 0x08 | 0x10,
                          .image_known = 0x1F,
                          .dropped_stats_item = 12,
                          .has_toplevel_xid = true,
                          .has_checkpoint_redo = false,
                          .checkpoint_has_wal_level = false};
constexpr WalCodes wal14() {
  WalCodes codes = kWal13;
  codes.has_toplevel_xid = true;
  return codes;
}
constexpr WalCodes wal17() {
  WalCodes codes = kWal15;
  codes.has_checkpoint_redo = true;
  codes.checkpoint_has_wal_level = true;
  return codes;
}
constexpr WalCodes wal18() {
  WalCodes codes = wal17();
  codes.dropped_stats_item = 16;  // object ids of 64 bits
  return codes;
}

// Non-exclusive backups: the only kind that 15 and later have.
constexpr BackupSql kBackup13{.start = "SELECT pg_start_backup($1, $2::boolean, false)",
                              .stop = "SELECT lsn, labelfile, spcmapfile FROM pg_stop_backup(false, false)"};
constexpr BackupSql kBackup15{.start = "SELECT pg_backup_start($1, $2::boolean)",
                              .stop = "SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(false)"};

constexpr std::string_view kContrecord =
    "older minors can archive WAL whose last record is never completed, which stops recovery after a crash";
constexpr std::string_view kConcurrently =
    "CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY corrupt indexes before 14.4";

constexpr std::array<VersionEntry, 6> kVersions{{
    {.major = 13,
     .catalog_version = 202007201,
     .control_version = 1300,
     .wal_page_magic = 0xD106,
     .control = kControl13,
     .wal = kWal13,
     .backup = kBackup13,
     .minimum_minor = 5,
     .minimum_reason = kContrecord,
     .vm_logged_since_minor = 0,
     .map_escapes_backslash = false,
     .base_backup_option_list = false,
     .has_wal_summaries = false},
    {.major = 14,
     .catalog_version = 202107181,
     .control_version = 1300,
     .wal_page_magic = 0xD10D,
     .control = kControl13,
     .wal = wal14(),
     .backup = kBackup13,
     .minimum_minor = 4,
     .minimum_reason = kConcurrently,
     .vm_logged_since_minor = 0,
     .map_escapes_backslash = true,
     .base_backup_option_list = false,
     .has_wal_summaries = false},
    {.major = 15,
     .catalog_version = 202209061,
     .control_version = 1300,
     .wal_page_magic = 0xD110,
     .control = kControl13,
     .wal = kWal15,
     .backup = kBackup15,
     .minimum_minor = 0,
     .minimum_reason = "",
     .vm_logged_since_minor = 0,
     .map_escapes_backslash = true,
     .base_backup_option_list = true,
     .has_wal_summaries = false},
    {.major = 16,
     .catalog_version = 202307071,
     .control_version = 1300,
     .wal_page_magic = 0xD113,
     .control = kControl13,
     .wal = kWal15,
     .backup = kBackup15,
     .minimum_minor = 0,
     .minimum_reason = "",
     .vm_logged_since_minor = 0,
     .map_escapes_backslash = true,
     .base_backup_option_list = true,
     .has_wal_summaries = false},
    {.major = 17,
     .catalog_version = 202406281,
     .control_version = 1700,
     .wal_page_magic = 0xD116,
     .control = kControl13,
     .wal = wal17(),
     .backup = kBackup15,
     .minimum_minor = 0,
     .minimum_reason = "",
     .vm_logged_since_minor = 11,
     .map_escapes_backslash = true,
     .base_backup_option_list = true,
     .has_wal_summaries = true},
    {.major = 18,
     .catalog_version = 202506291,
     .control_version = 1800,
     .wal_page_magic = 0xD118,
     .control = kControl18,
     .wal = wal18(),
     .backup = kBackup15,
     .minimum_minor = 0,
     .minimum_reason = "",
     .vm_logged_since_minor = 6,
     .map_escapes_backslash = true,
     .base_backup_option_list = true,
     .has_wal_summaries = true},
}};

template <class Predicate>
const VersionEntry* find_entry(Predicate predicate) {
  auto found = std::find_if(kVersions.begin(), kVersions.end(), predicate);
  return found == kVersions.end() ? nullptr : &*found;
}

}  // namespace

std::span<const VersionEntry> all_versions() {
  return kVersions;
}

const VersionEntry* find_version(int major) {
  return find_entry([&](const VersionEntry& v) { return v.major == major; });
}

const VersionEntry* find_version_by_catalog(std::uint32_t control_version, std::uint32_t catalog_version) {
  return find_entry([&](const VersionEntry& v) {
    return v.control_version == control_version && v.catalog_version == catalog_version;
  });
}

const VersionEntry* find_version_by_wal_magic(std::uint16_t magic) {
  return find_entry([&](const VersionEntry& v) { return v.wal_page_magic == magic; });
}

Result<const VersionEntry*> version_from_pg_version(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  auto major = parse_number<std::uint32_t>(text, 10);
  const VersionEntry* entry = major && *major < 1000 ? find_version(static_cast<int>(*major)) : nullptr;
  if (entry == nullptr)
    return Error(Errc::Precondition, fmt::format("PG_VERSION says \"{}\": pgmint knows PostgreSQL {} to {}",
                                                 text.substr(0, 32), kVersions.front().major, kVersions.back().major));
  return entry;
}

}  // namespace pgmint::postgres
