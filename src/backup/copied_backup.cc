#include "backup/copied_backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "backup/describe_root.h"
#include "backup/run.h"
#include "backup/stored_source.h"
#include "backup/wal_wait.h"
#include "base/log.h"
#include "postgres/backup_label.h"
#include "repository/pack.h"
#include "repository/session.h"
#include "repository/wal_coverage.h"

namespace pgmint::backup {
namespace {

using namespace std::chrono_literals;
using postgres::EntryKind;
using repository::FileArea;
using repository::FileEntry;
using repository::FileKind;

constexpr std::string_view kControlPath = "global/pg_control";
constexpr std::uint64_t kSmallFileMax = 16U << 20;
constexpr auto kPinned = 24h;
/// `wal push` brings a segment to one repository after the other.
constexpr auto kFirstSegmentPatience = 10s;
constexpr auto kPoll = 100ms;

/// What failed of the origin, as opposed to the repository that is written.
class Blame {
 public:
  template <class T>
  Result<T> on_origin(Result<T> result) {
    if (!result && result.failure().code() != Errc::Cancelled) note(result.failure());
    return result;
  }
  void note(const Error& error) {
    problem_.with([&](auto& problem) {
      if (!problem) problem = error.describe();
    });
  }
  std::optional<std::string> problem() {
    return problem_.with([](auto& problem) { return problem; });
  }

 private:
  Guarded<std::optional<std::string>> problem_;
};

/// Tells whose fault it was when reading fails.
class BlamedSource final : public Source {
 public:
  BlamedSource(StoredSource& inner, Blame& blame) : inner_(inner), blame_(blame) {}
  Result<std::unique_ptr<SourceFile>> open(const std::string& path) override {
    auto file = TRY(blame_.on_origin(inner_.open(path)));
    if (!file) return std::unique_ptr<SourceFile>();
    return std::unique_ptr<SourceFile>(std::make_unique<File>(std::move(file), blame_));
  }
  Result<bool> exists(const std::string& path) override { return inner_.exists(path); }

 private:
  class Range final : public SourceRange {
   public:
    Range(std::unique_ptr<SourceRange> inner, Blame& blame) : inner_(std::move(inner)), blame_(blame) {}
    Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override { return blame_.on_origin(inner_->read(out, offset)); }

   private:
    std::unique_ptr<SourceRange> inner_;
    Blame& blame_;
  };
  class File final : public SourceFile {
   public:
    File(std::unique_ptr<SourceFile> inner, Blame& blame) : inner_(std::move(inner)), blame_(blame) {}
    std::uint64_t size() const override { return inner_->size(); }
    std::unique_ptr<SourceRange> range(std::uint64_t offset, std::uint64_t length) override { return std::make_unique<Range>(inner_->range(offset, length), blame_); }

   private:
    std::unique_ptr<SourceFile> inner_;
    Blame& blame_;
  };

  StoredSource& inner_;
  Blame& blame_;
};

class StoredSegment final : public OwnSegment {
 public:
  StoredSegment(std::unique_ptr<SourceFile> file, FileEntry entry) : file_(std::move(file)), range_(file_->range(0, file_->size())), entry_(std::move(entry)) {}
  Status read(MutableByteView out, std::uint64_t offset) override {
    if (TRY(range_->read(out, offset)) == out.size()) return ok();
    return Error(Errc::Corruption, fmt::format("{} is shorter than a segment", entry_.path));
  }
  FileEntry entry() const override { return entry_; }

 private:
  std::unique_ptr<SourceFile> file_;
  std::unique_ptr<SourceRange> range_;
  FileEntry entry_;
};

EntryKind kind_of(const FileEntry& entry) {
  switch (entry.kind) {
    case FileKind::Directory: return EntryKind::Directory;
    case FileKind::Symlink: return EntryKind::Symlink;
    case FileKind::TablespaceLink: return EntryKind::TablespaceLink;
    case FileKind::Empty:
    case FileKind::Bundled:
    case FileKind::Mapped:
    case FileKind::Stream: break;
  }
  return postgres::classify_path(entry.path).value_or(EntryKind::Other);
}

bool is_file(EntryKind kind) { return kind != EntryKind::Directory && kind != EntryKind::Symlink && kind != EntryKind::TablespaceLink; }

class StoredOrigin final : public Origin {
 public:
  StoredOrigin(const CopyOrigin& origin, const repository::ManifestRoot& root, StoredSource& files, Blame& blame)
      : origin_(origin), root_(root), files_(files), blame_(blame) {}

  Status check() override { return ok(); }

  Result<postgres::ControlFileImage> control_file() override { return blame_.on_origin(read_control_file()); }

  Result<postgres::DirectoryScan> scan(const CancelToken* cancel) override { return blame_.on_origin(read_scan(cancel)); }

  Result<std::vector<ExtraFile>> outside_configuration(const postgres::ServerFacts&, std::vector<std::string>& warnings) override {
    // What it could not have is not to be had here either.
    for (const auto& warning : root_.warnings)
      if (std::ranges::find(warnings, warning) == warnings.end()) warnings.push_back(warning);
    return blame_.on_origin(read_small_files());
  }

  Result<std::optional<postgres::Lsn>> last_needed_record(const postgres::ControlFile&, postgres::TimelineId, postgres::Lsn, postgres::Lsn) override {
    for (const auto& [name, value] : root_.settings)
      if (name == repository::kConsistentAfterSetting) return postgres::parse_lsn(value);
    return std::optional<postgres::Lsn>();
  }

  Result<std::unique_ptr<OwnSegment>> own_segment(const postgres::ControlFile&, const std::string& name, postgres::Lsn, std::uint32_t) override {
    const auto entry = std::ranges::find(carried_, name, &FileEntry::path);
    if (entry == carried_.end()) return std::unique_ptr<OwnSegment>();
    auto file = TRY(blame_.on_origin(files_.open(FileArea::Wal, name)));
    if (!file) return std::unique_ptr<OwnSegment>();
    return std::unique_ptr<OwnSegment>(std::make_unique<StoredSegment>(std::move(file), *entry));
  }

  std::optional<OriginTimes> times() const override { return OriginTimes{root_.started, root_.finished}; }
  bool carries_wal() const override { return std::ranges::find(root_.settings, "carried_wal", &std::pair<std::string, std::string>::first) != root_.settings.end(); }
  std::vector<repository::BadPage> bad_pages() const override { return root_.bad_pages; }
  std::string host() const override { return root_.host; }
  std::string description() const override { return origin_.description; }

 private:
  Result<postgres::ControlFileImage> read_control_file() {
    auto bytes = TRY(files_.read_all(FileArea::Data, std::string(kControlPath), kSmallFileMax));
    if (!bytes) return Error(Errc::Corruption, fmt::format("it has no {}", kControlPath));
    auto control = TRY(postgres::parse_control_file(*bytes));
    return postgres::ControlFileImage{control, std::move(*bytes)};
  }

  /// The manifest, as a walk over the directory would have found it.
  Result<postgres::DirectoryScan> read_scan(const CancelToken* cancel) {
    postgres::DirectoryScan scan;
    configuration_.clear();
    carried_.clear();
    repository::RecordOpener opener(origin_.cluster.context(), origin_.cluster.keys());
    TRY(repository::walk_manifest(origin_.cluster.store(), origin_.cluster.context(), opener, root_, [&](const FileEntry& entry) -> Status {
      if (cancel != nullptr) TRY(cancel->check());
      if (entry.area == FileArea::Configuration) configuration_.push_back(entry);
      if (entry.area == FileArea::Wal) carried_.push_back(entry);
      if (entry.area == FileArea::Data) add(scan, entry);
      return ok();
    }));
    for (const auto& tablespace : root_.tablespaces)
      scan.tablespaces.push_back({postgres::Oid(tablespace.oid), tablespace.location, tablespace.location.empty()});
    return scan;
  }

  static void add(postgres::DirectoryScan& scan, const FileEntry& entry) {
    auto& scanned = scan.entries.emplace_back();
    scanned.path = entry.path;
    scanned.kind = kind_of(entry);
    scanned.mode = entry.mode;
    scanned.uid = entry.uid;
    scanned.gid = entry.gid;
    scanned.mtime_ns = entry.mtime_us * 1000;
    if (const auto* target = std::get_if<std::string>(&entry.content)) scan.link_targets.emplace(entry.path, *target);
    if (entry.path == "pg_wal" && scanned.kind == EntryKind::Symlink) scan.wal_link = scan.link_targets.at(entry.path);
    if (!is_file(scanned.kind)) return;
    scanned.size = entry.size;
    if (scanned.kind == EntryKind::RelationSegment) scanned.relation = postgres::relation_of_path(entry.path);
    scan.total_bytes += entry.size;
  }

  Result<std::vector<ExtraFile>> read_small_files() {
    std::vector<ExtraFile> files;
    const auto add = [&](const FileEntry& entry) -> Status {
      auto bytes = TRY(files_.read_all(entry.area, entry.path, kSmallFileMax));
      if (!bytes) return Error(Errc::Corruption, fmt::format("{} is listed, and is not there", entry.path));
      auto& file = files.emplace_back();
      file.entry = entry;
      file.entry.content = {};
      file.bytes = std::move(*bytes);
      return ok();
    };
    for (const auto& entry : configuration_) TRY(add(entry));
    for (const auto& entry : carried_)
      if (entry.path.ends_with(".history")) TRY(add(entry));
    return files;
  }

  const CopyOrigin& origin_;
  const repository::ManifestRoot& root_;
  StoredSource& files_;
  Blame& blame_;
  std::vector<FileEntry> configuration_, carried_;
};

/// What the server said when the backup was made.
class StoredServer final : public Server {
 public:
  StoredServer(const repository::ManifestRoot& root, Server* archiver) : root_(root), archiver_(archiver) {}

  Result<postgres::ServerFacts> inspect() override { return server_of(root_); }
  Result<ArchiverStatus> archiver() override {
    if (archiver_ == nullptr) return ArchiverStatus{};
    return archiver_->archiver();
  }
  Status nudge_archiver() override { return ok(); }
  Result<ServerStart> start(postgres::SystemIdentifier) override {
    return ServerStart{postgres::Lsn(root_.start_lsn), postgres::TimelineId(root_.timeline), root_.from_standby};
  }
  Result<postgres::Lsn> page_check_lsn() override { return postgres::Lsn(root_.stop_lsn); }
  Status check_alive() override { return ok(); }
  Result<std::optional<postgres::Contents>> contents(const std::vector<std::string>&) override { return postgres::parse_contents_settings(root_.settings); }
  Result<postgres::BackupStop> stop() override {
    return postgres::BackupStop{postgres::Lsn(root_.stop_lsn), std::string(as_text(root_.backup_label)), std::string(as_text(root_.tablespace_map))};
  }
  void abandon() override {}
  Result<std::optional<postgres::Lsn>> switch_wal_on_primary(postgres::SystemIdentifier) override { return std::optional<postgres::Lsn>(); }

 private:
  const repository::ManifestRoot& root_;
  Server* archiver_;
};

/// A repository that was made after that backup began never gets the WAL that it starts from. What waits on this host for it may be that.
Result<bool> has_first_segment(const BackupRequest& request, const repository::ManifestRoot& root) {
  auto& clock = request.cluster.repository().environment().clock;
  const auto size = TRY(postgres::WalSegmentSize::of(root.wal_segment_size));
  const auto name = postgres::segment_file_name(postgres::TimelineId(root.timeline), postgres::segment_of(postgres::Lsn(root.start_lsn), size), size);
  if (std::ranges::find(root.settings, std::pair<std::string, std::string>("carried_wal", name)) != root.settings.end()) return true;
  repository::WalArchive archive(request.cluster, repository::current_identity(request.cluster.state()));
  HostWatch host(request.send_on, clock);
  for (const auto began = clock.now();;) {
    host.look();
    const auto start = postgres::Lsn(root.start_lsn);
    if (TRY(repository::missing_segments(archive, postgres::TimelineId(root.timeline), start, start + 1, size)).empty()) return true;
    const auto patience = host.left() ? request.archive_timeout : kFirstSegmentPatience;
    if (clock.now() >= began + patience) return false;
    if (request.cancel != nullptr) TRY(request.cancel->check());
    clock.sleep(kPoll);
  }
}

/// The pin lasts as long as this.
class Pinned {
 public:
  explicit Pinned(const CopyOrigin& origin) : origin_(origin) {
    std::string warning;
    pin_ = repository::ReadPin::take(origin.cluster, origin.snapshot, kPinned, &warning);
    if (!warning.empty()) log_warning("{}", warning);
  }
  ~Pinned() {
    if (auto released = pin_.release(origin_.cluster); !released) log_debug("its pin ends by itself: {}", released.failure().describe());
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  const CopyOrigin& origin_;
  repository::ReadPin pin_;
};

std::optional<BackupReport> useless(const CopyOrigin& origin, const std::string& why) {
  log_warning("{} is not copied: {}", origin.description, why);
  return std::nullopt;
}

}  // namespace

Result<std::optional<BackupReport>> copy_backup(const BackupRequest& request, const CopyOrigin& origin, Server* archiver) {
  const Pinned pin(origin);
  auto root = repository::read_root(origin.cluster.store(), origin.cluster.context(), origin.snapshot, origin.cluster.keys());
  if (!root) return useless(origin, root.failure().describe());
  if (!TRY(has_first_segment(request, *root))) return useless(origin, "the WAL that it starts from is not in this repository");
  auto listed = read_parent_files(origin.cluster, *root);
  if (!listed) return useless(origin, listed.failure().describe());

  // A name is a second: two backups of two repositories must not be taken for each other.
  auto& clock = request.cluster.repository().environment().clock;
  while (root->name.starts_with(format_compact(clock.now()))) clock.sleep(kPoll);

  Blame blame;
  StoredSource files(origin.cluster, std::move(*listed));
  BlamedSource source(files, blame);
  StoredOrigin stored(origin, *root, files, blame);
  StoredServer server(*root, archiver);
  auto report = run_against(request, server, source, stored);
  if (report) return std::optional(std::move(*report));
  if (report.failure().code() == Errc::Cancelled) return std::move(report).failure();
  if (const auto problem = blame.problem()) return useless(origin, *problem);
  return std::move(report).failure();
}

}  // namespace pgmint::backup
