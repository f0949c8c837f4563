#include "wal/push.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "base/guarded.h"
#include "base/log.h"
#include "base/scratch.h"
#include "base/task_group.h"
#include "postgres/control_file.h"
#include "postgres/wal_record.h"
#include "postgres/wal_summary.h"

namespace pgmint::wal {

using postgres::SystemIdentifier;
using postgres::WalFileKind;
using postgres::WalFileName;
using postgres::WalSegmentSize;
using repository::WalContent;
using repository::WalPut;

namespace {

/// History files grow by a line per promotion, backup files hold one label.
constexpr std::uint64_t kSmallFileMax = 4 << 20;
constexpr std::uint64_t kSegmentMax = 1 << 30;
constexpr int kCancelledExit = 75;  // EX_TEMPFAIL: the archiver tries again

bool is_segment(WalContent content) { return content == WalContent::Segment || content == WalContent::Partial; }

/// An open WAL file and its length.
struct OpenWal {
  Fd fd;
  std::uint64_t size = 0;
};

Result<OpenWal> open_wal(const fs::path& path) {
  auto fd = open_file(path, O_RDONLY | O_NOCTTY);
  if (!fd && fd.failure().code() == Errc::NotFound) {
    return std::move(fd).failure().with_hint(
        Hint{"archive_command = 'pgmint wal push %p' runs in the data directory; by hand, give an absolute path"});
  }
  OpenWal wal{TRY(std::move(fd)), 0};
  struct stat info {};
  if (::fstat(wal.fd.get(), &info) != 0) return errno_error(errno, fmt::format("stat {}", path.string()));
  if (!S_ISREG(info.st_mode)) return Error(Errc::Precondition, fmt::format("{} is not a regular file", path.string()));
  wal.size = static_cast<std::uint64_t>(info.st_size);
  return wal;
}

/// What the first page of a segment says, held against name, length and (when known) the system identifier.
Result<postgres::WalSegmentHeader> check_first_page(ByteView first, std::uint64_t file_size, const std::string& file_name,
                                                    std::optional<SystemIdentifier> expected) {
  auto header = TRY(postgres::wal_segment_header(first));
  if (file_size != header.segment_size.bytes()) {
    return Error(Errc::Precondition, fmt::format("it has {} bytes where its header says segments of {}", file_size,
                                                 header.segment_size.bytes()));
  }
  const auto name = postgres::parse_wal_file_name(file_name, header.segment_size);
  if (!name) {
    return Error(Errc::Precondition,
                 fmt::format("no segment of {} bytes has this name", header.segment_size.bytes()));
  }
  TRY(postgres::check_segment_identity(header, *name, header.segment_size, expected));
  return header;
}

/// pg_control of the server whose pg_wal this is; nullopt when it is not to be found.
Result<std::optional<postgres::ControlFile>> control_beside(const fs::path& wal_directory, const fs::path& directory,
                                                            bool relative) {
  std::vector<fs::path> candidates{wal_directory.parent_path(), directory};
  if (relative) std::swap(candidates[0], candidates[1]);
  for (const auto& candidate : candidates) {
    auto image = postgres::read_control_file(candidate);
    if (image) return image->control;
    if (image.failure().code() != Errc::NotFound) {
      return std::move(image).failure().with_context(fmt::format("pg_control in {}", candidate.string()));
    }
  }
  return std::nullopt;
}

/// One file of pg_wal while it is compared or stored: read in pieces that stay in the core's cache for everybody who looks at
/// them, checked as what is going to be stored (it may have been replaced since it was looked at), and summarised.
class WalFile final : public repository::WalPlain {
 public:
  static Result<WalFile> open(const fs::path& path, const std::string& file_name, SystemIdentifier expected, Scratch& room) {
    WalFile file(TRY(open_wal(path)), path.string(), file_name, room);
    if (file.size() > (is_segment(file.content_) ? kSegmentMax : kSmallFileMax)) {
      return Error(Errc::Precondition, fmt::format("{} has the impossible size of {} bytes", file.path_, file.size()));
    }
    if (!is_segment(file.content_)) return file;
    const auto header = TRY(file.check_start(TRY(file.read(postgres::kWalLongHeaderSize)), expected).context(file_name));
    file.segment_size_ = header.segment_size.bytes();
    file.expected_ = expected;
    return file;
  }

  const std::string& file_name() const { return file_name_; }
  const Fd& fd() const { return wal_.fd; }
  WalContent content() const { return content_; }
  std::uint32_t segment_size() const { return segment_size_; }
  std::uint64_t size() const override { return wal_.size; }

  Status begin(bool to_store) override {
    at_ = 0;
    to_store_ = to_store;
    summarizer_.reset();
    if (!to_store || content_ != WalContent::Segment) return ok();
    const auto size = TRY(WalSegmentSize::of(segment_size_));
    const auto name = postgres::parse_wal_file_name(file_name_, size);
    PGMINT_ASSERT(name.has_value());
    summarizer_.emplace(name->timeline, name->segment, size);
    return ok();
  }

  Result<ByteView> next(std::size_t length) override {
    const ByteView piece = TRY(read(length));
    if (to_store_ && at_ == 0 && is_segment(content_)) {
      const auto header = TRY(check_start(piece, expected_).context(file_name_));
      if (header.segment_size.bytes() != segment_size_) {
        return Error(Errc::Precondition, fmt::format("{} was replaced while it was read", path_));
      }
    }
    at_ += length;
    return piece;
  }

  void summarize(ByteView piece, const codec::WalChain& proven) override {
    if (summarizer_) summarizer_->feed(piece, proven);
  }

  Bytes summary() override {
    if (!summarizer_) return {};
    return postgres::encode_summary(std::move(*summarizer_).finish());
  }

 private:
  WalFile(OpenWal wal, std::string path, std::string file_name, Scratch& room)
      : wal_(std::move(wal)),
        path_(std::move(path)),
        file_name_(std::move(file_name)),
        content_(*repository::wal_content_of(file_name_)),
        room_(&room) {}

  Result<ByteView> read(std::size_t length) {
    const MutableByteView piece = room_->of(length);
    const std::size_t got = TRY(read_at(wal_.fd, piece, at_, path_));
    if (got == length) return ByteView(piece);
    if (at_ == 0 && is_segment(content_) && wal_.size < length) {
      return Error(Errc::Precondition, fmt::format("{} has only {} bytes", path_, wal_.size));
    }
    return Error(Errc::Io, fmt::format("{} became shorter while it was read", path_));
  }

  Result<postgres::WalSegmentHeader> check_start(ByteView first, std::optional<SystemIdentifier> expected) const {
    return check_first_page(first, wal_.size, file_name_, expected);
  }

  OpenWal wal_;
  std::string path_, file_name_;
  WalContent content_;
  Scratch* room_;
  std::uint32_t segment_size_ = 0;
  std::optional<SystemIdentifier> expected_;
  std::uint64_t at_ = 0;
  bool to_store_ = false;
  std::optional<postgres::SegmentSummarizer> summarizer_;
};

/// Pushes files of one cluster one after the other, reusing its buffers. One per thread.
class Pusher {
 public:
  Pusher(repository::Cluster& cluster, const repository::WalIdentity& identity, const PushRequest& request)
      : archive_(cluster, identity, request.codec, request.spool_directory),
        notes_(request.notes_directory, cluster, identity, request.surroundings) {}

  /// What it opens is good until the next call.
  Result<WalFile> open(const fs::path& path, const std::string& file_name, SystemIdentifier expected) {
    return WalFile::open(path, file_name, expected, room_);
  }
  Result<bool> is_stored(const std::string& file_name) { return TRY(archive_.info(file_name)).has_value(); }
  Result<bool> holds(WalFile& file) {
    return archive_.holds(file.file_name(), file.content(), file.segment_size(), file);
  }
  /// Each of what has been looked for and is not there.
  Result<WalPut> put_new(WalFile& file) { return archive_.put_new(file.file_name(), file.content(), file.segment_size(), file); }

  struct ToBeNoted {
    std::string file_name;
    AheadNotes::Watch watch;
    crypto::Digest mac{};
  };
  /// Stores a file ahead of its turn, and notes what was read for its own run, or leaves that to note_listed().
  Result<WalPut> put_ahead(WalFile& file, Guarded<std::vector<ToBeNoted>>* later) {
    const auto watch = notes_.watch(file.fd());
    crypto::Digest mac{};
    const auto put = TRY(archive_.put_new(file.file_name(), file.content(), file.segment_size(), file, &mac));
    if (!watch) return put;
    if (later == nullptr)
      notes_.note(file.file_name(), *watch, file.fd(), mac);
    else
      later->with([&](auto& all) { all.push_back({file.file_name(), *watch, mac}); });
    return put;
  }
  /// As holds(), for a file of which is noted what it holds. False: nothing is known; read it.
  bool holds_as_noted(WalFile& file) {
    const auto mac = notes_.recall(file.file_name(), file.fd());
    if (!mac) return false;
    const auto held = archive_.holds(file.file_name(), file.content(), file.segment_size(), file.size(), *mac);
    return held && *held;  // whatever is wrong, holds() says it
  }
  /// Far away the segment's own run believes its note, so none is written before one listing has shown the object.
  void note_listed(const PushSource& source, std::vector<ToBeNoted> stored) {
    if (stored.empty()) return;
    std::ranges::sort(stored, {}, &ToBeNoted::file_name);
    // From right before the first of them on.
    auto before = stored.front().file_name;
    --before.back();
    const auto files = archive_.list(source.name.timeline.value(), before);
    if (!files) return log_warning("what was pushed ahead is looked for again in its turn: {}", files.failure().describe());
    std::set<std::string> listed;
    for (const auto& file : *files) listed.insert(file.file_name);
    for (const auto& one : stored) {
      if (!listed.contains(one.file_name)) continue;
      // That it is the file that was read, the note's own look tells.
      if (const auto file = open_wal(source.wal_directory / one.file_name)) notes_.note(one.file_name, one.watch, file->fd, one.mac);
    }
  }
  const AheadNotes& notes() const { return notes_; }
  /// Of the segment's timeline, behind it.
  Result<std::set<std::string>> list_behind(const PushSource& source) {
    std::set<std::string> names;
    for (const auto& file : TRY(archive_.list(source.name.timeline.value(), source.file_name))) names.insert(file.file_name);
    return names;
  }

 private:
  repository::WalArchive archive_;
  AheadNotes notes_;
  Scratch room_;
};

/// Segments that wait in archive_status, oldest first, without `but`. What cannot be listed is not pushed ahead.
std::vector<std::string> ready_segments(const fs::path& wal_directory, const std::string& but, std::size_t max) {
  constexpr std::string_view kReady = ".ready";
  std::vector<std::string> names;
  auto listed = list_directory(wal_directory / "archive_status", [&](const std::string& entry, unsigned char) {
    if (!entry.ends_with(kReady)) return ok();
    auto name = entry.substr(0, entry.size() - kReady.size());
    if (name != but && repository::wal_content_of(name) == WalContent::Segment) names.push_back(std::move(name));
    return ok();
  });
  if (!listed) return {};
  const std::size_t count = std::min(max, names.size());
  std::partial_sort(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(count), names.end());
  names.resize(count);
  return names;
}

/// Hands ready segments to workers until there are no more, the time is over, or somebody says stop.
class AheadList {
 public:
  AheadList(std::vector<std::string> names, TimePoint until, Clock& clock, const CancelToken* cancel)
      : names_(std::move(names)), until_(until), clock_(clock), cancel_(cancel) {}

  std::optional<std::string> next() {
    if (stopped_.load() || (cancel_ != nullptr && cancel_->cancelled()) || clock_.now() >= until_) return std::nullopt;
    const std::size_t i = next_.fetch_add(1);
    return i < names_.size() ? std::optional(names_[i]) : std::nullopt;
  }
  void stop() { stopped_.store(true); }

 private:
  const std::vector<std::string> names_;
  const TimePoint until_;
  Clock& clock_;
  const CancelToken* cancel_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stopped_{false};
};

/// Which of the segments that wait behind one are stored already. Far away one listing tells it of a whole timeline; what it does not
/// show and is there after all, the store refuses to create. Others, and near, are asked for one by one.
class StoredBehind {
 public:
  StoredBehind(Pusher& pusher, const PushSource& source, bool ask_at_once)
      : timeline_(source.file_name.substr(0, kTimelineDigits)) {
    if (!ask_at_once) return;
    if (auto listed = pusher.list_behind(source)) listed_ = std::move(*listed);
  }
  Result<bool> holds(Pusher& pusher, const std::string& name) const {
    if (listed_ && name.starts_with(timeline_)) return listed_->contains(name);
    return pusher.is_stored(name);
  }

 private:
  static constexpr std::size_t kTimelineDigits = 8;
  const std::string timeline_;
  std::optional<std::set<std::string>> listed_;
};

/// Counts what became of segments pushed ahead.
struct AheadCounts {
  std::atomic<unsigned> stored{0}, present{0}, failed{0};

  void note(const std::string& name, const Result<WalPut>& result) {
    if (result) {
      (*result == WalPut::Stored ? stored : present).fetch_add(1);
    } else if (result.failure().code() != Errc::NotFound && failed.fetch_add(1) == 0) {
      // It will fail loudly in its own turn, when the archiver asks for it.
      log_warning("{} could not be pushed ahead of its turn: {}", name, result.failure().describe());
    }
  }
};

/// @param later  where a listing is to show first what was stored; null: near
void push_ahead(Pusher& pusher, const PushSource& source, AheadList& list, const StoredBehind& behind, AheadCounts& counts,
                Guarded<std::vector<Pusher::ToBeNoted>>* later) {
  while (auto name = list.next()) {
    const auto result = [&]() -> Result<WalPut> {
      // Its own run will compare it.
      if (TRY(behind.holds(pusher, *name))) return WalPut::Duplicate;
      auto file = TRY(pusher.open(source.wal_directory / *name, *name, source.system_identifier));
      return pusher.put_ahead(file, later);
    }();
    counts.note(*name, result);
    // What fails for one will fail for the next; the rest waits for its turn.
    if (!result && result.failure().code() != Errc::NotFound) list.stop();
  }
}

/// PostgreSQL archives a history file once. An archive that came into being later, or lost it, would lack it for ever, and a
/// recovery could not find its way along the timeline: so a segment brings it along.
void heal_history(Pusher& pusher, const PushSource& source) {
  const auto file_name = postgres::history_file_name(source.name.timeline);
  const auto path = source.wal_directory / file_name;
  const auto healed = [&]() -> Result<bool> {
    if (TRY(pusher.is_stored(file_name)) || !TRY(stat_if_exists(path))) return false;
    auto file = TRY(pusher.open(path, file_name, source.system_identifier));
    return TRY(pusher.put_new(file)) == WalPut::Stored;
  }();
  if (!healed) {
    log_warning("{} could not be stored: {}", file_name, healed.failure().describe());
  } else if (*healed) {
    log_info("{} was missing in the archive and is stored now", file_name);
  }
}

}  // namespace

Result<PushSource> inspect(const std::string& path, const fs::path& directory) {
  PushSource source;
  const fs::path given(path);
  source.path = given.is_absolute() ? given : directory / given;
  source.file_name = given.filename().string();
  source.wal_directory = source.path.parent_path();
  if (!repository::wal_content_of(source.file_name)) {
    return Error(Errc::Usage, fmt::format("\"{}\" is not the name of a file that PostgreSQL archives", source.file_name),
                 Hint{"archive_command = 'pgmint wal push %p'"});
  }
  const auto wal = TRY(open_wal(source.path));
  const auto control = TRY(control_beside(source.wal_directory, directory, given.is_relative()));
  const auto kind = *repository::wal_content_of(source.file_name);
  if (is_segment(kind)) {
    ByteArray<postgres::kWalLongHeaderSize> first{};
    if (TRY(read_at(wal.fd, first, 0, source.path.string())) != first.size()) {
      return Error(Errc::Precondition, fmt::format("{} has only {} bytes", source.path.string(), wal.size));
    }
    std::optional<SystemIdentifier> expected;
    if (control) expected = control->system_identifier;
    const auto header = TRY(check_first_page(first, wal.size, source.file_name, expected).context(source.path.string()));
    source.system_identifier = header.system_identifier;
    source.segment_size = header.segment_size;
  } else {
    if (!control) {
      return Error(Errc::Precondition,
                   fmt::format("{} does not say whose it is, and there is no global/pg_control in {} or {}",
                               source.file_name, directory.string(), source.wal_directory.parent_path().string()),
                   Hint{"run it in the data directory, as archive_command does"});
    }
    source.system_identifier = control->system_identifier;
    source.segment_size = control->wal_segment_size;
  }
  const auto name = postgres::parse_wal_file_name(source.file_name, source.segment_size);
  if (!name) {
    return Error(Errc::Precondition, fmt::format("no WAL file of a cluster with segments of {} bytes has the name {}",
                                                 source.segment_size.bytes(), source.file_name));
  }
  source.name = *name;
  return source;
}

namespace {

Status check_identity(const PushSource& source, const repository::WalIdentity& identity) {
  if (source.system_identifier.value() == identity.system_id) return ok();
  return Error(Errc::Precondition,
               fmt::format("{} is of the cluster with system identifier {}, and this archive belongs to {}",
                           source.file_name, source.system_identifier.value(), identity.system_id),
               Hint{"name the right cluster with --cluster; after pg_upgrade or initdb: pgmint cluster adopt"});
}

}  // namespace

Result<bool> was_stored_ahead(repository::Cluster& cluster, const repository::WalIdentity& identity, const PushRequest& request) {
  TRY(check_identity(request.source, identity));
  const AheadNotes notes(request.notes_directory, cluster, identity, request.surroundings);
  const auto file = TRY(open_wal(request.source.path));
  if (!notes.recall(request.source.file_name, file.fd)) return false;
  notes.forget(request.source.file_name);
  return true;
}

Result<PushReport> push(repository::Cluster& cluster, const repository::WalIdentity& identity, const PushRequest& request) {
  const PushSource& source = request.source;
  TRY(check_identity(source, identity));
  if (request.cancel != nullptr) TRY(request.cancel->check());
  Clock& clock = *request.clock;
  const TimePoint until = clock.now() + request.ahead_time;
  Pusher pusher(cluster, identity, request);

  PushReport report;
  auto file = TRY(pusher.open(source.path, source.file_name, source.system_identifier));
  report.raw_bytes = file.size();
  // What an earlier run pushed ahead needs nothing but the comparison: no listing, no threads.
  report.recalled = pusher.holds_as_noted(file);
  if (report.recalled || TRY(pusher.holds(file))) {
    pusher.notes().forget(source.file_name);
    report.outcome = WalPut::Duplicate;
    return report;
  }

  auto waiting = request.ahead_max == 0 || source.name.kind != WalFileKind::Segment
                     ? std::vector<std::string>{}
                     : ready_segments(source.wal_directory, source.file_name, request.ahead_max);
  const bool is_far = cluster.reads_at_once() > 1;
  const StoredBehind behind(pusher, source, is_far && !waiting.empty());
  const auto workers = std::min<std::size_t>(is_far ? request.far_workers : request.workers, 1 + waiting.size());
  AheadList list(std::move(waiting), until, clock, request.cancel);
  AheadCounts counts;
  Guarded<std::vector<Pusher::ToBeNoted>> to_be_noted;
  auto* const later = is_far ? &to_be_noted : nullptr;
  TaskGroup others;
  for (std::size_t i = 1; i < workers; ++i) {
    others.spawn([&] {
      Pusher own(cluster, identity, request);
      push_ahead(own, source, list, behind, counts, later);
      return ok();
    });
  }
  auto outcome = pusher.put_new(file);
  if (!outcome) list.stop();
  push_ahead(pusher, source, list, behind, counts, later);
  if (outcome && source.name.kind == WalFileKind::Segment && source.name.timeline > postgres::TimelineId(1)) {
    heal_history(pusher, source);
  }
  if (auto joined = others.join(); !joined) log_warning("pushing ahead: {}", joined.failure().describe());
  if (later != nullptr) pusher.note_listed(source, later->with([](auto& all) { return std::move(all); }));
  pusher.notes().sweep();
  report.outcome = TRY(std::move(outcome));
  report.ahead_stored = counts.stored.load();
  report.ahead_present = counts.present.load();
  report.ahead_failed = counts.failed.load();
  return report;
}

int push_exit_code(const Error& error) {
  const int code = exit_code(error.code());
  return code >= 1 && code <= 125 ? code : kCancelledExit;
}

}  // namespace pgmint::wal
