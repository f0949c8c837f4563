#include "restore/copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <map>

#include "base/clock.h"
#include "base/direct_io.h"
#include "base/log.h"
#include "base/queue.h"
#include "base/scratch.h"
#include "base/task_group.h"
#include "repository/delta_pages.h"
#include "repository/layout.h"
#include "repository/pack.h"
#include "repository/segment_map.h"
#include "restore/equal_blocks.h"
#include "restore/existing_directory.h"
#include "restore/slice_writer.h"

namespace pgmint::restore {
namespace {

using repository::FileArea;
using repository::FileEntry;
using repository::FileKind;

constexpr std::size_t kRunMax = 4 << 20;              ///< bytes read from a pack at once
constexpr std::size_t kWriteMax = 2 << 20;            ///< bytes written to a file at once
static_assert(kWriteMax >= repository::kDataRecordMax);
/// Writes past the page cache wait for the disk: meanwhile another thread has the core.
constexpr unsigned kThreadsPerWorker = 2;
constexpr std::uint64_t kSliceBytes = 32ull << 20;    ///< of one file, per task: parallel inside files too
constexpr std::size_t kQueued = 64;                   ///< tasks that wait
constexpr std::size_t kBundledMax = 50'000;           ///< small files that are grouped by bundle at a time
constexpr std::string_view kControlPath = "global/pg_control";

/// One file that is being written, shared by the tasks of its slices. The last one hands it to a syncer.
struct OpenFile {
  fs::path path;
  Fd fd;
  bool direct = false;  ///< writes go past the page cache
  bool existing = false;  ///< it has content to compare with; never written directly, since it is read as well
  std::atomic<std::uint64_t> pending{0};
};

/// Consecutive extents of one file.
struct SliceTask {
  std::shared_ptr<OpenFile> file;
  std::shared_ptr<const repository::SegmentMap> map;
  std::uint64_t first = 0, last = 0;  ///< extents [first, last)
};

/// Files that lie in one bundle.
struct BundleTask {
  repository::RecordLocation bundle;
  std::vector<FileEntry> files;
};

/// One or the other: a slice when `bundle` is null. (Not a variant: gcc 12 warns of its moves inside std::optional.)
struct Task {
  SliceTask slice;
  std::unique_ptr<BundleTask> bundle;
};

class Copy {
 public:
  Copy(const CopyJob& job, CopyCounters& counters)
      : job_(job), counters_(counters), group_(job.cancel), tasks_(kQueued), to_sync_(256) {}

  Result<HeldBack> run() {
    group_.on_failure([this] {
      tasks_.cancel();
      to_sync_.cancel();
    });
    const unsigned workers = job_.workers != 0 ? job_.workers : std::max(1u, std::thread::hardware_concurrency());
    // Of a store that is far away more are waited for at once than there is work for.
    const unsigned threads = std::max(kThreadsPerWorker * workers, job_.cluster.reads_at_once());
    running_workers_ = threads;
    for (unsigned i = 0; i < threads; ++i) group_.spawn([this] { return work(); });
    // fsync waits for the disk, not for a core: it gets threads of its own.
    for (int i = 0; i < 2; ++i) group_.spawn([this] { return sync_files(); });
    group_.spawn([this] { return produce(); });
    report_until_done();
    TRY(group_.join());
    TRY(sync_directories());
    counters_ = snapshot();
    return std::move(held_);
  }

 private:
  // --- the producer: walks the manifest in order, creates directories and links, makes tasks -----------------------------

  Status produce() {
    auto produced = produce_tasks();
    tasks_.close();
    return produced;
  }

  Status produce_tasks() {
    if (job_.target.leftovers) {
      held_.warnings.push_back("the target held what an interrupted restore had left; it was removed first");
      if (auto stayed = undo_copy(job_.target); !stayed.empty()) return Error(Errc::Io, fmt::format("{} cannot be removed", stayed.front()));
    }
    repository::RecordOpener opener(job_.cluster.context(), job_.cluster.keys());
    if (job_.target.delta) TRY(take_over(opener));
    for (const auto& directory : job_.target.new_roots) {
      TRY(make_directory(directory, 0700));
      if (!job_.target.delta) TRY(write_file_durably(directory / kRestoringMarker, {}, 0600));
    }
    TRY(repository::walk_manifest(job_.cluster.store(), job_.cluster.context(), opener, job_.root,
                                  [&](const FileEntry& entry) -> Status {
                                    TRY(group_.check());
                                    return take(entry, opener).context(entry.path);
                                  }));
    return flush_bundled();
  }

  /// Of a delta restore: no server starts any more, and what the backup does not have is gone.
  Status take_over(repository::RecordOpener& opener) {
    repository::WalArchive archive(job_.cluster, {job_.root.system_id, job_.root.incarnation});
    const auto size = TRY(postgres::WalSegmentSize::of(job_.root.wal_segment_size));
    held_.warnings = TRY(close_directory(job_.target, archive, size));
    NamedPlaces named;
    TRY(repository::walk_manifest(job_.cluster.store(), job_.cluster.context(), opener, job_.root, [&](const FileEntry& entry) -> Status {
      TRY(group_.check());
      if (entry.area == FileArea::Configuration || (entry.area == FileArea::Data && is_held_back(entry.path))) return ok();
      const auto path = path_of(entry);
      if (!path) return ok();
      NamedPlace place{entry.kind, {}};
      if (entry.kind == FileKind::Symlink && entry.path == "pg_wal") {
        place.kind = FileKind::Directory;
      } else if (entry.kind == FileKind::Symlink) {
        place.link = std::get<std::string>(entry.content);
      } else if (entry.kind == FileKind::TablespaceLink) {
        if (const auto* location = location_of(entry)) place.link = *location;
      }
      named.emplace(path->string(), std::move(place));
      return ok();
    }));
    const auto removed = TRY(sweep_directory(job_.target, named));
    log_info("delta restore: {} entries that the backup does not have were removed", removed);
    return ok();
  }

  /// Not written by the copy: pg_control comes last, signal files are the restore's own.
  static bool is_held_back(std::string_view path) { return path == "standby.signal" || path == "recovery.signal" || path == kControlPath; }

  Status take(const FileEntry& entry, repository::RecordOpener& opener) {
    if (entry.area == FileArea::Configuration) return take_configuration(entry, opener);
    if (entry.area == FileArea::Data && (entry.path == "standby.signal" || entry.path == "recovery.signal")) return ok();
    if (entry.area == FileArea::Data && entry.path == kControlPath) {
      held_.control_file = TRY(whole_file(entry, opener));
      held_.control_mode = entry.mode & 07777;
      return ok();
    }
    const auto path = path_of(entry);
    if (!path) return ok();  // below pg_wal when that was a link: made as a directory
    switch (entry.kind) {
      case FileKind::Directory:
        if (entry.path == "base" && (entry.mode & 0050) != 0) {
          // initdb -g: the data directory itself is group-readable, like what stands in it.
          if (::chmod(job_.target.to.c_str(), 0750) != 0) return errno_error(errno, "chmod");
        }
        return make_directory(*path, entry.mode & 07777);
      case FileKind::TablespaceLink: return make_tablespace_link(entry, *path);
      case FileKind::Symlink: return make_symlink(entry, *path);
      case FileKind::Empty: {
        auto file = TRY(create_file(entry, *path));
        if (file->existing && ::ftruncate(file->fd.get(), 0) != 0) return errno_error(errno, fmt::format("truncate {}", path->string()));
        return finish_file(std::move(file));
      }
      case FileKind::Bundled:
        bundled_.push_back(entry);
        return bundled_.size() >= kBundledMax ? flush_bundled() : ok();
      case FileKind::Mapped: return take_mapped(entry, *path, opener);
      case FileKind::Stream: return Error(Errc::Corruption, fmt::format("{} is a stream, which no data directory has", entry.path));
    }
    return ok();
  }

  Status take_mapped(const FileEntry& entry, const fs::path& path, repository::RecordOpener& opener) {
    const auto raw = TRY(repository::read_record(job_.cluster.store(), job_.cluster.context(), opener, std::get<repository::RecordLocation>(entry.content)));
    auto map = std::make_shared<repository::SegmentMap>(TRY(repository::parse_segment_map(raw)));
    if (map->file_length != entry.size) return Error(Errc::Corruption, "its map has another length than its entry");
    auto file = TRY(create_file(entry, path));
    if (::ftruncate(file->fd.get(), static_cast<off_t>(entry.size)) != 0) return errno_error(errno, fmt::format("extend {}", path.string()));
    file->direct = !file->existing && entry.size % kDirectAlignment == 0 && map->extent_size % kDirectAlignment == 0 && ask_for_direct_writes(file->fd);
    const std::uint64_t extents = map->extent_count();
    const std::uint64_t per_slice = std::max<std::uint64_t>(1, kSliceBytes / map->extent_size);
    if (extents == 0) return finish_file(std::move(file));
    file->pending = (extents + per_slice - 1) / per_slice;
    for (std::uint64_t first = 0; first < extents; first += per_slice)
      if (!tasks_.push(Task{{file, map, first, std::min(extents, first + per_slice)}, nullptr})) return group_.check();
    return ok();
  }

  Status flush_bundled() {
    std::stable_sort(bundled_.begin(), bundled_.end(), [](const FileEntry& a, const FileEntry& b) {
      const auto& x = std::get<repository::BundleMember>(a.content).bundle;
      const auto& y = std::get<repository::BundleMember>(b.content).bundle;
      return std::tie(x.pack, x.offset) < std::tie(y.pack, y.offset);
    });
    for (std::size_t i = 0; i < bundled_.size();) {
      auto task = std::make_unique<BundleTask>();
      task->bundle = std::get<repository::BundleMember>(bundled_[i].content).bundle;
      while (i < bundled_.size() && std::get<repository::BundleMember>(bundled_[i].content).bundle == task->bundle)
        task->files.push_back(std::move(bundled_[i++]));
      if (!tasks_.push(Task{{}, std::move(task)})) return group_.check();
    }
    bundled_.clear();
    return ok();
  }

  /// Small files that are wanted in memory: pg_control, configuration.
  Result<Bytes> whole_file(const FileEntry& entry, repository::RecordOpener& opener) {
    constexpr std::uint64_t kMax = 16 << 20;
    if (entry.size > kMax) return Error(Errc::ResourceLimit, "it is too large for its kind");
    auto& store = job_.cluster.store();
    const auto& context = job_.cluster.context();
    if (entry.kind == FileKind::Bundled) {
      const auto& member = std::get<repository::BundleMember>(entry.content);
      auto bundle = TRY(repository::read_record(store, context, opener, member.bundle));
      return Bytes(bundle.begin() + member.offset, bundle.begin() + member.offset + static_cast<std::ptrdiff_t>(entry.size));
    }
    Bytes data;
    if (entry.kind == FileKind::Mapped) {
      const auto raw = TRY(repository::read_record(store, context, opener, std::get<repository::RecordLocation>(entry.content)));
      const auto map = TRY(repository::parse_segment_map(raw));
      const auto deltas = TRY(repository::DeltaPages::load(store, context, opener, map, 0, map.extent_count()));
      for (std::uint64_t i = 0; i < map.extent_count(); ++i) {
        const auto at = data.size();
        if (map.extents[i].location) {
          append(data, TRY(repository::read_record(store, context, opener, *map.extents[i].location)));
        } else {
          data.resize(data.size() + map.extent_length(i));
        }
        deltas.apply(map, i, MutableByteView(data).subspan(at));
      }
    }
    return data;
  }

  Status take_configuration(const FileEntry& entry, repository::RecordOpener& opener) {
    if (entry.kind == FileKind::Directory || entry.kind == FileKind::Symlink) return ok();
    held_.configuration.push_back(entry.path);
    held_.configuration_text.emplace_back(as_text(TRY(whole_file(entry, opener))));
    return ok();
  }

  // --- names and file system objects ------------------------------------------------------------------------------------

  const std::string* location_of(const FileEntry& link) const { return tablespace_location(std::string_view(link.path).substr(link.path.rfind('/') + 1)); }
  /// Where the tablespace with this OID goes; nullptr for in-place ones and for anything that is no OID.
  const std::string* tablespace_location(std::string_view digits) const {
    std::uint32_t oid = 0;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), oid);
    if (ec != std::errc{} || end != digits.data() + digits.size()) return nullptr;
    auto it = job_.target.tablespaces.find(oid);
    return it == job_.target.tablespaces.end() ? nullptr : &it->second;
  }

  std::optional<fs::path> path_of(const FileEntry& entry) {
    if (entry.area == FileArea::Wal) return job_.target.to / "pg_wal" / entry.path;
    constexpr std::string_view kTablespaces = "pg_tblspc/";
    if (entry.path.starts_with(kTablespaces) && entry.kind != FileKind::TablespaceLink) {
      const auto rest = std::string_view(entry.path).substr(kTablespaces.size());
      const auto slash = rest.find('/');
      if (const auto* location = tablespace_location(rest.substr(0, slash))) {
        if (slash == std::string_view::npos) return std::nullopt;  // the link itself
        return fs::path(*location) / rest.substr(slash + 1);
      }
    }
    return job_.target.to / entry.path;
  }

  Status give_to_owner(const fs::path& path) {
    if (job_.target.owner && ::lchown(path.c_str(), job_.target.owner->uid, job_.target.owner->gid) != 0)
      return errno_error(errno, fmt::format("chown {}", path.string()));
    return ok();
  }

  Status make_directory(const fs::path& path, mode_t mode) {
    if (path.has_parent_path() && ::access(path.parent_path().c_str(), F_OK) != 0) TRY(create_directories(path.parent_path(), 0755));
    TRY(pgmint::make_directory(path, mode));
    if (::chmod(path.c_str(), mode) != 0) return errno_error(errno, fmt::format("chmod {}", path.string()));
    directories_.push_back(path);
    return give_to_owner(path);
  }

  Status make_tablespace_link(const FileEntry& entry, const fs::path& path) {
    const auto* location = location_of(entry);
    if (location == nullptr) return Error(Errc::Corruption, "a tablespace link of which the manifest's list knows nothing");
    if (::symlink(location->c_str(), path.c_str()) != 0 && !(job_.target.delta && errno == EEXIST)) return errno_error(errno, fmt::format("link {}", path.string()));
    return give_to_owner(path);
  }

  Status make_symlink(const FileEntry& entry, const fs::path& path) {
    const auto& target = std::get<std::string>(entry.content);
    if (entry.path == "pg_wal") {
      // A link to the origin's WAL directory would put two servers on one log.
      held_.warnings.push_back(fmt::format("pg_wal was a symbolic link to {}; it is a plain directory here: move it and link it before starting, if you want it elsewhere", target));
      return make_directory(path, 0700);
    }
    if (::symlink(target.c_str(), path.c_str()) != 0 && !(job_.target.delta && errno == EEXIST)) return errno_error(errno, fmt::format("link {}", path.string()));
    if (!target.empty() && target.front() == '/')
      held_.warnings.push_back(fmt::format("{} is a symbolic link to {}, as in the origin", entry.path, target));
    return give_to_owner(path);
  }

  Result<std::shared_ptr<OpenFile>> create_file(const FileEntry& entry, const fs::path& path) {
    auto file = std::make_shared<OpenFile>();
    file->path = path;
    if (job_.target.delta) {  // the sweep left only plain files with one name
      auto found = open_if_exists(path, O_RDWR | O_NOFOLLOW);
      if (!found) {
        if (found.failure().code() != Errc::Key) return std::move(found).failure();
        if (::unlink(path.c_str()) != 0) return errno_error(errno, fmt::format("remove {}", path.string()));  // read-only, as keys of TLS are
      } else if (*found) {
        file->fd = std::move(**found);
        file->existing = true;
      }
    }
    if (!file->existing) file->fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (::fchmod(file->fd.get(), entry.mode & 07777) != 0) return errno_error(errno, fmt::format("chmod {}", path.string()));
    if (job_.target.owner && ::fchown(file->fd.get(), job_.target.owner->uid, job_.target.owner->gid) != 0)
      return errno_error(errno, fmt::format("chown {}", path.string()));
    return file;
  }

  Status finish_file(std::shared_ptr<OpenFile> file) {
    files_.fetch_add(1, std::memory_order_relaxed);
    if (!to_sync_.push(std::move(file))) return group_.check();
    return ok();
  }

  // --- workers -------------------------------------------------------------------------------------------------------------

  Status work() {
    repository::RecordOpener opener(job_.cluster.context(), job_.cluster.keys());
    Bytes run;
    Scratch plain;
    auto status = [&]() -> Status {
      while (auto task = tasks_.pop()) {
        TRY(group_.check());
        if (task->bundle) {
          TRY(copy_bundle(*task->bundle, opener));
        } else {
          const auto path = task->slice.file->path;
          TRY(copy_slice(task->slice, opener, run, plain).context(path.string()));
        }
      }
      return group_.check();
    }();
    if (--running_workers_ == 0) to_sync_.close();
    return status;
  }

  /// Reads records that lie side by side in one pack with one request.
  Status copy_slice(SliceTask& task, repository::RecordOpener& opener, Bytes& run, Scratch& plain) {
    const auto& map = *task.map;
    SliceWriter writer(task.file->fd, task.file->direct, task.file->path.string(), plain.of(kWriteMax), task.first * map.extent_size);
    const auto keep = task.file->existing ? TRY(equal_extents(task, opener)) : std::vector<bool>(task.last - task.first);
    const auto kept = [&](std::uint64_t extent) -> bool { return keep[extent - task.first]; };
    if (!task.file->existing) TRY(writer.reserve(map, task.first, task.last));
    const auto deltas = TRY(repository::DeltaPages::load(job_.cluster.store(), job_.cluster.context(), opener, map, task.first, task.last));
    read_bytes_.fetch_add(deltas.read_bytes(), std::memory_order_relaxed);
    for (std::uint64_t i = task.first; i < task.last;) {
      if (kept(i)) {
        TRY(writer.skip(map.extent_length(i)));
        count_kept(map.extent_length(i++));
        continue;
      }
      if (!map.extents[i].location) {
        const auto length = map.extent_length(i);
        if (deltas.touches(map, i) || task.file->existing) {
          const auto out = TRY(writer.next(length));
          std::ranges::fill(out, std::byte{0});
          deltas.apply(map, i, out);
        } else {  // zeros: the file was extended, nothing to write
          TRY(writer.skip(length));
        }
        count_written(length);
        ++i;
        continue;
      }
      const auto& first = *map.extents[i].location;
      std::uint64_t end = i + 1;
      std::size_t bytes = first.stored_length;
      while (end < task.last && !kept(end) && map.extents[end].location && map.extents[end].location->pack == first.pack &&
             map.extents[end].location->offset == first.offset + bytes && bytes + map.extents[end].location->stored_length <= kRunMax)
        bytes += map.extents[end++].location->stored_length;
      if (run.size() < bytes) run.resize(bytes);
      const auto window = MutableByteView(run).first(bytes);
      TRY(job_.cluster.store().read_range(repository::pack_name(job_.cluster.id(), first.pack), first.offset, window));
      read_bytes_.fetch_add(bytes, std::memory_order_relaxed);
      std::size_t at = 0;
      for (; i < end; ++i) {
        const auto& location = *map.extents[i].location;
        const auto out = TRY(writer.next(location.raw_length));
        TRY(opener.open(location, window.subspan(at, location.stored_length), out)
                .context(fmt::format("extent {} (pack {}-{:08x} at {})", i, location.pack.session.hex(), location.pack.number, location.offset)));
        deltas.apply(map, i, out);
        at += location.stored_length;
        count_written(out.size());
      }
      TRY(group_.check());
      TRY(throttle());
    }
    TRY(writer.flush());
    if (task.file->pending.fetch_sub(1) == 1) return finish_file(std::move(task.file));
    return ok();
  }

  /// Of the slice's extents, those that the file has already.
  Result<std::vector<bool>> equal_extents(const SliceTask& task, repository::RecordOpener& opener) {
    std::vector<bool> equal(task.last - task.first);
    Bytes have;
    for (auto i = task.first; i < task.last; ++i) {
      if (has_live_delta(*task.map, i)) continue;
      have.resize(task.map->extent_length(i));
      if (TRY(read_at(task.file->fd, have, i * task.map->extent_size, task.file->path.string())) != have.size()) continue;
      equal[i - task.first] = is_certainly_equal(opener, *task.map, i, have);
      TRY(group_.check());
    }
    return equal;
  }

  /// Keeps a bundle's files that the target has already; the others stay in the task.
  Status keep_bundled(BundleTask& task, repository::RecordOpener& opener) {
    std::vector<FileEntry> others;
    for (auto& entry : task.files) {
      const auto path = *path_of(entry);
      const auto found = TRY(stat_if_exists(path));
      if (found && S_ISREG(found->st_mode) && static_cast<std::uint64_t>(found->st_size) == entry.size) {
        const auto& member = std::get<repository::BundleMember>(entry.content);
        auto file = TRY(create_file(entry, path));
        Bytes have(entry.size);
        if (file->existing && TRY(read_at(file->fd, have, 0, path.string())) == have.size() &&
            opener.fingerprint(repository::bundle_member_nonce(task.bundle.nonce, member.offset), have) == member.fingerprint) {
          count_kept(entry.size);
          TRY(finish_file(std::move(file)));
          continue;
        }
      }
      others.push_back(std::move(entry));
    }
    task.files = std::move(others);
    return ok();
  }

  Status copy_bundle(BundleTask& task, repository::RecordOpener& opener) {
    if (job_.target.delta) TRY(keep_bundled(task, opener));
    if (task.files.empty()) return ok();
    auto bundle = TRY(repository::read_record(job_.cluster.store(), job_.cluster.context(), opener, task.bundle));
    read_bytes_.fetch_add(task.bundle.stored_length, std::memory_order_relaxed);
    for (const auto& entry : task.files) {
      const auto& member = std::get<repository::BundleMember>(entry.content);
      const auto content = ByteView(bundle).subspan(member.offset, entry.size);
      if (opener.fingerprint(repository::bundle_member_nonce(task.bundle.nonce, member.offset), content) != member.fingerprint)
        return Error(Errc::Corruption, fmt::format("{}: its content in the bundle is not what the manifest names", entry.path));
      const auto path = *path_of(entry);
      auto file = TRY(create_file(entry, path));
      if (file->existing && ::ftruncate(file->fd.get(), 0) != 0) return errno_error(errno, fmt::format("truncate {}", path.string()));
      TRY(write_all(file->fd, content, path.string()));
      count_written(entry.size);
      TRY(finish_file(std::move(file)));
    }
    return throttle();
  }

  void count_kept(std::uint64_t bytes) {
    kept_.fetch_add(bytes, std::memory_order_relaxed);
    count_written(bytes);
  }
  void count_written(std::uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }

  /// Keeps the whole job under its rate by sleeping as long as it is ahead.
  Status throttle() {
    if (!job_.max_rate || job_.max_rate->value() == 0) return ok();
    while (true) {
      const auto allowed = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count() * static_cast<double>(job_.max_rate->value());
      if (static_cast<double>(bytes_.load(std::memory_order_relaxed) - kept_.load(std::memory_order_relaxed)) <= allowed) return ok();
      TRY(group_.check());
      system_clock().sleep(std::chrono::milliseconds(20));
    }
  }

  // --- durability ----------------------------------------------------------------------------------------------------------

  Status sync_files() {
    while (auto file = to_sync_.pop()) {
      TRY(sync_file((*file)->fd, (*file)->path.string()));
      TRY((*file)->fd.close((*file)->path.string()));
    }
    return group_.check();
  }

  Status sync_directories() {
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) TRY(sync_directory(*it));
    return sync_directory(job_.target.to.parent_path());
  }

  // --- progress ------------------------------------------------------------------------------------------------------------

  CopyCounters snapshot() const { return {files_.load(), bytes_.load(), read_bytes_.load(), kept_.load()}; }

  void report_until_done() {
    while (!group_.cancelled() && running_workers_.load() > 0) {
      system_clock().sleep(std::chrono::milliseconds(20));
      if (++ticks_ % 10 == 0 && job_.progress) job_.progress(snapshot());
    }
    if (job_.progress) job_.progress(snapshot());
  }

  const CopyJob& job_;
  CopyCounters& counters_;
  TaskGroup group_;
  BoundedQueue<Task> tasks_;
  BoundedQueue<std::shared_ptr<OpenFile>> to_sync_;
  std::atomic<unsigned> running_workers_{0};
  std::atomic<std::uint64_t> files_{0}, bytes_{0}, read_bytes_{0}, kept_{0};
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::vector<FileEntry> bundled_;      // producer's only
  std::vector<fs::path> directories_;   // producer's, read after join
  HeldBack held_;                       // producer's, read after join
  int ticks_ = 0;
};

}  // namespace

Result<HeldBack> copy_files(const CopyJob& job, CopyCounters& counters) {
  Copy copy(job, counters);
  return copy.run();
}

std::vector<std::string> undo_copy(const TargetPlan& target) {
  std::vector<std::string> stayed;
  auto remove = [&](const fs::path& path) {
    std::error_code ec;
    fs::remove_all(path, ec);
    if (ec) stayed.push_back(path.string());
  };
  for (const auto& root : target.new_roots) {
    std::error_code ec;
    for (fs::directory_iterator it(root, ec), end; !ec && it != end; it.increment(ec))
      // The marker goes last: whoever is cut off in here leaves what can still be told for what it is.
      if (it->path().filename() != "lost+found" && it->path().filename() != kRestoringMarker) remove(it->path());
    remove(root / kRestoringMarker);
  }
  return stayed;
}

}  // namespace pgmint::restore
