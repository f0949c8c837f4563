// A backup made of streams while it is written: of dumps, or of configuration. What it shares with the one before, its manifest; whence the bytes
// come is not its business.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "codec/compression.h"
#include "logical/stream_writer.h"
#include "repository/manifest.h"
#include "repository/session.h"

namespace pgmint::logical {

/// What a manifest says beside the files.
struct StreamBackupFacts {
  std::uint32_t pg_major = 0;  ///< of the server that was dumped; 0: not known
  std::string note;
  std::vector<std::pair<std::string, std::string>> settings;
};

/// Not thread-safe. Destroying one that was neither committed nor given up leaves its session open until the lease has passed.
class StreamBackup {
 public:
  struct Settings {
    repository::Cluster& cluster;
    repository::BackupType type = repository::BackupType::Logical;
    std::vector<std::string> databases;  ///< of a logical one
    codec::CodecChoice codec;
    unsigned workers = 0;  ///< 0: the cores
    const CancelToken* cancel = nullptr;
  };
  /// BEGIN, on top of the newest backup of this type, of dumps the newest that has one of these databases. @errors Storage, Key, Cancelled
  static Result<std::unique_ptr<StreamBackup>> begin(Settings settings);
  ~StreamBackup();

  /// Fills a buffer; 0 bytes: the end.
  using Source = std::function<Result<std::size_t>(MutableByteView)>;
  using Look = std::function<Status(ByteView)>;
  /// Takes everything that comes from `source` as the content of `file`. `look` sees the bytes first.
  /// @errors of both; Key, Storage, Unknown, Cancelled
  Result<StreamCounts> store(repository::FileEntry file, const Source& source, const Look& look = nullptr);
  /// A file that the backup makes itself.
  Result<StreamCounts> store(const std::string& path, const Source& source, const Look& look = nullptr);
  Result<StreamCounts> store(const std::string& path, std::string_view text);
  /// A directory or a link.
  void add(repository::FileEntry entry) { entries_.push_back(std::move(entry)); }
  /// Manifest and SNAP. @errors Key, Storage, Unknown, Precondition
  Status commit(StreamBackupFacts facts, TimePoint started);
  /// Leaves nothing that claims success.
  void give_up();

  const std::string& name() const { return name_; }
  TimePoint begun() const { return begun_; }
  TimePoint finished() const { return finished_; }
  const repository::SessionId& id() const { return session_->id(); }
  /// Of the backup that this one stands on; empty: none.
  std::string parent() const { return parent_ ? parent_->name : ""; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t total_bytes() const { return total_bytes_; }
  std::uint64_t stored_bytes() const { return session_->stored_bytes(); }
  const std::vector<std::string>& warnings() const { return warnings_; }
  void warn(std::string text);
  /// Called about every megabyte, from the thread that stores.
  void on_progress(std::function<void()> tell) { tell_ = std::move(tell); }

 private:
  explicit StreamBackup(Settings settings);
  Status choose_parent();
  Status read_parent();
  bool builds_on(const repository::ManifestRoot& root) const;
  using FileKey = std::pair<repository::FileArea, std::string>;
  Result<std::optional<Predecessor>> predecessor_of(const FileKey& file);
  Result<repository::ManifestRoot> write_tree();
  std::vector<repository::PackId> not_needed(const repository::PackUse& use) const;
  Status tick();

  Settings settings_;
  repository::Cluster& cluster_;
  Clock& clock_;
  std::unique_ptr<repository::WriteSession> session_;
  std::string name_;
  TimePoint begun_{}, finished_{}, looked_{};
  std::optional<repository::ManifestRoot> parent_;
  std::map<FileKey, repository::RecordLocation> streams_;      ///< of the parent
  std::set<repository::PackId> leaving_;                       ///< packs of it that are to be emptied
  repository::PackBuffers buffers_;
  std::unique_ptr<repository::PackSettings> packs_;
  std::unique_ptr<Guarded<repository::PackStream>> maps_;
  Guarded<repository::DistinctRecords> records_;
  std::unique_ptr<StreamShared> shared_;
  std::vector<repository::FileEntry> entries_;
  std::uint64_t bytes_ = 0, total_bytes_ = 0;
  std::vector<std::string> warnings_;
  std::function<void()> tell_;
};

}  // namespace pgmint::logical
