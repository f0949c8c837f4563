// The front of a remote backup: tar archives in, pieces of work for the copy's workers out.
// Decision: docs/adr/0035-remote-clusters.md
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "backup/copy_feed.h"
#include "backup/stream_source.h"
#include "postgres/base_backup_stream.h"
#include "postgres/incremental_file.h"
#include "postgres/tar_reader.h"

namespace pgmint::backup {

/// One file, directory or link of the stream. Others point into it while the copy runs.
struct StreamedEntry {
  postgres::DirectoryEntry entry;
  std::string link{};  ///< of a link
  FilePlan plan{};
  CopiedFile copied{};
};

struct StreamFrontOptions {
  std::uint32_t extent_size = 0;  ///< files of at least this size get a map
  std::uint64_t stretch = 0;      ///< a multiple of it: the largest piece that is held at once
  std::uint64_t bundle_size = 0;
  std::uint32_t block_size = 8192;
  std::uint32_t blocks_per_segment = 0;
  /// How a file's bytes are to be taken: whole, or compared with the parent's.
  std::function<FilePlan(const postgres::DirectoryEntry&)> plan;
  /// Of a relation's file of which only what changed comes. Empty: the server was not asked for such. Its failure ends the stream.
  std::function<Result<FilePlan>(const postgres::DirectoryEntry&, postgres::IncrementalFile)> plan_part{};
  /// What no worker gets: bytes (of headers, which are as much as the pages where little changed), and files that are as in the parent.
  std::function<void(std::uint64_t bytes, std::uint64_t files)> passed{};
  /// Blocks while the workers are busy. @errors Cancelled
  std::function<Status(CopyWork)> hand_on;
  /// Before bytes are taken; for the rate and for cancellation.
  std::function<Status(std::uint64_t bytes)> before;
};

/// Not thread-safe: fed by one thread. Memory: a stretch and two bundles, and what is kept of each entry. Borrows the source.
///
/// Of what the server sends, pg_control, backup_label and tablespace_map are kept aside, and files that are not part of a backup are
/// passed over (postgres::classify_path). WAL is told apart from the data, and so are its last segments' bytes. Of a file of which only
/// the changed pages come, a stretch holds these one behind the other, and may be any number of stretches of the file.
class StreamFront final : public postgres::BaseBackupSink, private postgres::TarSink {
 public:
  StreamFront(StreamSource& source, StreamFrontOptions options);

  // The archives. @errors Postgres: what came is no base backup; those of the options
  Status archive_begins(std::optional<postgres::Oid> tablespace) override;
  Status archive_bytes(ByteView bytes) override;
  Status archive_ends() override;
  /// All has come: the last bundles are handed on. @errors Postgres: something that every backup has is missing
  Status finish();

  // What came. After the copy has ended.
  std::deque<StreamedEntry>& entries() { return entries_; }
  std::deque<StreamedEntry>& wal() { return wal_; }  ///< paths are file names
  Bytes take_control() { return std::move(control_); }
  const std::string& label() const { return label_; }
  const std::string& tablespace_map() const { return map_; }
  const std::string& owner() const { return owner_; }  ///< name that the server gives its files
  /// The last WAL segment that came, if it is not too large to be kept.
  struct Segment {
    std::string name;
    Bytes bytes;
  };
  const Segment& last_segment() const { return last_segment_; }

 private:
  enum class Into { Nowhere, Control, Label, Map, Bundle, Stretches, PartHeader, Part };
  Status entry(postgres::TarEntry entry) override;
  Status content(ByteView bytes) override;
  Status entry_ends() override;

  Status begin_entry(std::string path, const postgres::TarEntry& tar);
  Status begin_wal(std::string name, const postgres::TarEntry& tar);
  Status begin_file(StreamedEntry& file);
  Status begin_kept(Into into, std::uint64_t size);
  Status begin_part(std::string path, const postgres::TarEntry& tar);
  Result<ByteView> take_part_header(ByteView bytes);
  Status begin_part_pages();
  Status take_part_pages(ByteView bytes);
  void cut_part(const std::vector<postgres::BlockNumber>& blocks);
  Status hand_on_stretch();
  struct Bundle {
    std::vector<CopyWork::File> files;
    std::uint64_t bytes = 0;
  };
  Status add_to_bundle();
  Status hand_on_bundle(Bundle& bundle);

  StreamSource& source_;
  const StreamFrontOptions options_;
  std::optional<postgres::TarReader> tar_;
  std::string below_;  ///< where the archive's names belong: "" or "pg_tblspc/16400/"

  Into into_ = Into::Nowhere;
  StreamedEntry* file_ = nullptr;
  std::shared_ptr<ArrivedFile> arrived_;
  std::shared_ptr<MappedFile> mapped_;
  std::uint64_t at_ = 0;  ///< of the file: where piece_ begins
  Bytes piece_;
  Bundle relations_, others_;
  /// Of a file of which only pages come: the pieces of the file that are handed on, the last one first.
  struct Cut {
    std::uint64_t first, end, bytes;
  };
  std::vector<Cut> cuts_;
  std::uint64_t part_size_ = 0;    ///< of header and pages, as announced
  std::uint64_t part_header_ = 0;  ///< bytes of the header that have to come, as far as they are known

  std::deque<StreamedEntry> entries_, wal_;
  Bytes control_;
  std::string label_, map_, owner_;
  bool has_control_ = false;
  Segment last_segment_;
};

}  // namespace pgmint::backup
