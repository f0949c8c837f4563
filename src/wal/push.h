// `wal push`: one file from pg_wal into the repository, as archive_command calls it, and ready ones behind it.
// Rules: POSTGRES facts 16. Decision: docs/adr/0006-batch-ahead-and-prefetch.md
#pragma once

#include <chrono>
#include <string>

#include "base/cancel.h"
#include "base/file.h"
#include "postgres/wal_name.h"
#include "repository/wal_archive.h"
#include "wal/ahead_notes.h"

namespace pgmint::wal {

/// A file that archive_command named, looked at without a repository: whose it is, so that the cluster can be found.
struct PushSource {
  fs::path path;                    ///< as opened
  std::string file_name;
  postgres::WalFileName name;
  postgres::SystemIdentifier system_identifier;
  postgres::WalSegmentSize segment_size = postgres::WalSegmentSize::default_size();
  fs::path wal_directory;           ///< its directory
};

/// Segments and partial ones tell system identifier, size, timeline and address in their first page, which must agree with
/// the file's name and length; history and backup files take identifier and size from global/pg_control in `directory`, or
/// beside the file's own directory.
/// @param path  archive_command's %p: absolute, or relative to `directory`
/// @param directory  the server's working directory, its data directory
/// @errors Usage (not the name of a WAL file), NotFound (hint), Precondition (size or header disagree with the name; another
///         cluster's pg_control), Corruption, Key, Io
Result<PushSource> inspect(const std::string& path, const fs::path& directory = ".");

struct PushRequest {
  PushSource source;
  codec::CodecChoice codec{};
  unsigned ahead_max = 32;                      ///< further ready segments that one run may push; 0: none
  unsigned workers = 3;                         ///< two that compute, and one that waits for its disk meanwhile
  unsigned far_workers = 8;                     ///< as many connections, where an answer takes longer than a segment's compression
  std::chrono::milliseconds ahead_time{2000};   ///< no further segment is begun after this, so that the archiver is not kept
  fs::path spool_directory;                     ///< as WalArchive's
  fs::path notes_directory;                     ///< for what was read ahead (ahead_notes.h); empty: it is read again
  AheadNotes::Surroundings surroundings{};
  const CancelToken* cancel = nullptr;
  Clock* clock = &system_clock();
};

struct PushReport {
  repository::WalPut outcome = repository::WalPut::Stored;  ///< of the file that was asked for
  std::uint64_t raw_bytes = 0;
  unsigned ahead_stored = 0;
  unsigned ahead_present = 0;   ///< were there already
  bool recalled = false;        ///< found there, and known from a note to be unchanged since it was read: not read again
  unsigned ahead_failed = 0;    ///< are left to their own turn; the first reason is logged as a warning
};

/// Returns success only when the asked-for file is in the repository: stored now, or found there with the same plaintext. A
/// segment carries its change summary. The batch ahead never fails the request, and never touches .ready or .done: each
/// segment's own run finds it stored and verifies it by MAC against this repository; the MAC is computed from the file, or
/// recalled where AheadNotes can tell that the file has not changed since it was read.
/// @errors Precondition (another cluster's WAL), Corruption (the name is taken by other content: both MACs told; damage),
///         Storage, Unknown, Key, Io, Cancelled
Result<PushReport> push(repository::Cluster& cluster, const repository::WalIdentity& identity, const PushRequest& request);

/// This host stored the file ahead of its turn, in this repository, within the last minutes, where a listing has shown it since, and it has not changed. Asks the repository nothing: for one that
/// is far away, where a question for each segment takes longer than storing it did. @errors Precondition (another cluster's WAL), Io
Result<bool> was_stored_ahead(repository::Cluster& cluster, const repository::WalIdentity& identity, const PushRequest& request);

/// archive_command may end with 0 or 1 to 125 only: above, or by a signal, the archiver itself ends (pgarch.c).
int push_exit_code(const Error& error);

}  // namespace pgmint::wal
