// What a backup is: the root, file entries, tree nodes. Format: docs/format/manifest.md.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "crypto/hash.h"
#include "repository/pack_use.h"
#include "repository/record.h"
#include "storage/blob_store.h"

namespace pgmint::repository {

enum class BackupType : std::uint8_t { Full = 1, Incremental = 2, Logical = 3, Config = 4 };
std::string_view backup_type_name(BackupType type);    ///< "full", "incremental", "logical", "config"
std::string_view backup_type_suffix(BackupType type);  ///< "full", "incr", "logical", "config"

/// Made: what a backup makes itself, such as dumps; relative paths.
enum class FileArea : std::uint8_t { Data = 0, Configuration = 1, Wal = 2, Made = 3 };
enum class FileKind : std::uint8_t { Directory = 1, Empty = 2, Bundled = 3, Mapped = 4, Symlink = 5, TablespaceLink = 6, Stream = 7 };

struct BundleMember {
  RecordLocation bundle;
  std::uint32_t offset = 0;
  ByteArray<16> fingerprint{};
};

struct FileEntry {
  FileArea area = FileArea::Data;
  std::string path;
  FileKind kind = FileKind::Empty;
  std::uint32_t mode = 0;
  std::string owner, group;
  std::uint32_t uid = 0, gid = 0;
  std::int64_t mtime_us = 0;
  std::uint64_t size = 0;
  std::variant<std::monostate, BundleMember, RecordLocation, std::string> content;  ///< bundle, map or stream index, link target
};
/// The order of the tree.
bool entry_before(const FileEntry& a, const FileEntry& b);

struct Tablespace {
  std::uint32_t oid = 0;
  std::string location;
};
struct BadPage {
  std::string path;
  std::uint64_t block = 0;
  std::uint8_t reason = 0;
};

/// A setting of a backup that is of no data directory: the server's identifier in decimal, where one was asked.
inline constexpr std::string_view kSystemIdentifierSetting = "system_identifier";
/// A setting of a standby's backup: start of the last WAL record that it needs, as "0/5000060".
inline constexpr std::string_view kConsistentAfterSetting = "consistent_after";

struct ManifestRoot {
  SessionId session;
  std::string name;
  BackupType type = BackupType::Full;
  TimePoint started{}, finished{};
  std::uint64_t system_id = 0;
  Incarnation incarnation{};
  std::uint32_t timeline = 0;
  std::uint64_t start_lsn = 0, stop_lsn = 0;
  std::uint32_t pg_major = 0, control_version = 0, catalog_version = 0;
  std::uint32_t block_size = 0, blocks_per_segment = 0, wal_segment_size = 0, checksum_version = 0;
  Bytes backup_label, tablespace_map;
  std::uint8_t tree_depth = 0;
  RecordLocation tree;
  std::optional<SessionId> parent;
  std::uint32_t extent_size = 0;
  std::uint64_t file_count = 0, total_bytes = 0, stored_bytes = 0;
  bool from_standby = false;
  std::string note;
  std::vector<Tablespace> tablespaces;
  std::vector<BadPage> bad_pages;
  std::vector<std::string> warnings;
  std::vector<std::pair<std::string, std::string>> settings;
  std::string pgmint_version, host;
  /// The pieces of its account of packs (pack_account.h). Nullopt: an older pgmint wrote it, which kept none, or `pack_use`.
  std::optional<std::vector<RecordLocation>> account{};
  std::optional<PackUse> pack_use{};
};

Bytes encode_root(const ManifestRoot& root);                    ///< the field list, before compression and sealing
Result<ManifestRoot> parse_root(ByteView fields);               ///< @errors Corruption, Precondition

/// header | sealed(map key, ...): the object `snap/<session>`.
Bytes seal_root(const ManifestRoot& root, const RecordContext& context, const crypto::Key256& map_key, RandomSource& random);
/// Opens an object read from `snap/<session>`. @errors Corruption, Key
Result<ManifestRoot> open_root(ByteView object, const RecordContext& context, const SessionId& session, const ClusterKeys& keys);
/// What the tree, the maps and the bundles below `root` refer to, by reading all of them. @errors as walk_manifest
Result<PackUse> measure_pack_use(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const ManifestRoot& root);
/// Reads and opens it. @errors NotFound, Corruption, Storage, Key
Result<ManifestRoot> read_root(storage::BlobStore& store, const RecordContext& context, const SessionId& session,
                               const ClusterKeys& keys);

struct ManifestNode {
  struct Child {
    FileArea area = FileArea::Data;
    std::string first_path;
    RecordLocation location;
  };
  std::vector<FileEntry> entries;  ///< leaf
  std::vector<Child> children;     ///< interior
  bool leaf = true;
};
Bytes encode_node(const ManifestNode& node);
/// Checks order and limits. @errors Corruption
Result<ManifestNode> parse_node(ByteView data);

/// Turns sorted entries into nodes. `store_node` appends a record of type ManifestNode and says where.
class ManifestTreeWriter {
 public:
  using StoreNode = std::function<Result<RecordLocation>(ByteView node)>;
  explicit ManifestTreeWriter(StoreNode store_node) : store_node_(std::move(store_node)) {}
  /// Entries must come in the order of entry_before, without duplicates (asserted).
  Status add(FileEntry entry);
  struct Tree {
    RecordLocation root;
    std::uint8_t depth = 0;
  };
  Result<Tree> finish() &&;

 private:
  Status flush_leaf();
  StoreNode store_node_;
  std::vector<FileEntry> pending_;
  std::size_t pending_bytes_ = 0;
  std::vector<ManifestNode::Child> leaves_;
};

/// Walks every entry in order. `visit` may stop by failing. `visit_node` gets each node before, `visit_raw_node` after it was read. Depth is limited to 8 levels. @errors as read_record
Status walk_manifest(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener,
                     const ManifestRoot& root, const std::function<Status(const FileEntry&)>& visit,
                     const std::function<Status(const RecordLocation&)>& visit_node = nullptr,
                     const std::function<Status(const RecordLocation&, ByteView raw)>& visit_raw_node = nullptr);

}  // namespace pgmint::repository
