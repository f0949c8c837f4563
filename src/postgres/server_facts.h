// What a backup needs to know about a running server.
#pragma once

#include <map>

#include "postgres/connection.h"
#include "postgres/control_file.h"
#include "postgres/relation.h"
#include "postgres/wal_name.h"

namespace pgmint::postgres {

struct DatabaseFacts {
  Oid oid;
  std::string name;
  std::string encoding;
  std::string collate;
  std::string collation_version;  ///< recorded at creation (15+); empty when not
  bool allows_connections = true;
};

struct ServerFacts {
  int version_num = 0;
  std::string version_text;  ///< SELECT version()
  SystemIdentifier system_identifier;
  bool in_recovery = false;
  TimelineId timeline;  ///< of the latest checkpoint
  std::string data_directory;
  std::string config_file;
  std::string hba_file;
  std::string ident_file;
  /// Further configuration files that were read (include, include_dir), from pg_file_settings; sorted.
  std::vector<std::string> included_files;
  std::string archive_mode;
  std::string archive_command;  ///< empty when archive_library is used, or archiving is off
  std::string archive_library;  ///< 15+
  std::string wal_level;
  bool full_page_writes = true;
  bool data_checksums = false;
  std::string server_encoding;
  WalSegmentSize wal_segment_size = WalSegmentSize::default_size();
  std::uint32_t block_size = 0;
  /// max_connections and the other settings that must not shrink, shared_preload_libraries, unix_socket_directories,
  /// port, lc_collate, ...: name to current value.
  std::map<std::string, std::string> settings;
  std::vector<DatabaseFacts> databases;
  std::string libc_version;  ///< collation version of libc's "C.UTF-8" kind as the server reports it; may be empty
  std::string icu_version;
};

/// Where the server's files are to be read.
enum class Asked {
  OnItsHost,  ///< by us: where they are must be told
  FromAfar    ///< by nobody: what a role without pg_read_all_settings does not see stays empty
};
/// @errors Postgres: a hint names pg_read_all_settings where a setting is hidden; Cancelled
Result<ServerFacts> server_facts(Connection& connection, Asked asked = Asked::OnItsHost);

/// What pg_control says that never changes, as SQL tells it: identity, version, sizes, whether there are checksums. The rest is none.
/// @errors Postgres, Precondition: a version that pgmint does not know
Result<ControlFile> control_by_sql(Connection& connection);

/// Where the log is being written (primary), or has been replayed to (standby). @errors Postgres
Result<Lsn> current_lsn(Connection& connection);
/// Ends the current segment so that it is archived; on a primary only. @return end of the WAL that this made complete
Result<Lsn> switch_wal(Connection& connection);
/// A named restore point; its position. @errors Postgres
Result<Lsn> create_restore_point(Connection& connection, const std::string& name);

}  // namespace pgmint::postgres
