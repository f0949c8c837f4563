#include "backup/backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "backup/bad_pages.h"
#include "backup/copy.h"
#include "backup/copy_plan.h"
#include "backup/describe.h"
#include "backup/describe_root.h"
#include "backup/extra_files.h"
#include "backup/incremental.h"
#include "backup/preflight.h"
#include "backup/progress_reporter.h"
#include "backup/resources.h"
#include "backup/run.h"
#include "backup/stream_changes.h"
#include "backup/stream_origin.h"
#include "backup/wal_wait.h"
#include "base/log.h"
#include "base/units.h"
#include "postgres/backup_label.h"
#include "repository/begin.h"
#include "repository/session.h"

namespace pgmint::backup {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kStretch = 16U << 20;
constexpr std::uint64_t kFilesOfAStream = 200'000;  ///< that memory is kept for; how many come cannot be known before
constexpr std::uint64_t kBundle = 512U << 10;
/// Moved by one backup at most, so that none takes for ever; the next one goes on.
constexpr std::uint64_t kForwardMax = 1ULL << 30;
constexpr auto kAliveEvery = 1s;
constexpr auto kDroppedDatabasePatience = 10s;

/// The steps of one backup, and what they hand to each other.
class Run {
 public:
  /// @param stream  `origin` again, where the server sends its files; null: they are read
  Run(const BackupRequest& request, Server& server, Source& source, Origin& origin, StreamOrigin* stream = nullptr)
      : request_(request),
        server_(server),
        source_(source),
        origin_(origin),
        stream_(stream),
        environment_(request.cluster.repository().environment()),
        clock_(environment_.clock),
        progress_(request.progress, counters_, clock_),
        workers_(worker_count(request)),
        incremental_(request.cluster) {
    if (stream != nullptr) sent_.emplace(stream->server, incremental_, clock_);
  }

  /// Nothing is changed yet.
  Status preflight() {
    progress_.enter(Phase::Preflight);
    TRY(origin_.check());
    control_ = TRY(origin_.control_file()).control;
    TRY(check_options(request_, control_));
    TRY(check_identity(control_, request_.cluster.state()));
    facts_ = TRY(server_.inspect());
    if (origin_.times()) carry_ = origin_.carries_wal();
    else TRY(stream_ != nullptr ? choose_wal() : check_wal());
    extent_size_ = static_cast<std::uint32_t>(request_.extent_size.value());
    if (!request_.incremental) return ok();
    TRY(incremental_.choose(control_));
    note_damage();
    // Extents of one size can be compared, and referred to where they stand.
    if (incremental_.active()) extent_size_ = incremental_.parent().extent_size;
    return ok();
  }

  Status check_wal() {
    TRY(check_archiving(facts_));
    return facts_.in_recovery ? ok() : check_archiver(server_, clock_, request_.cancel);
  }

  /// Where nothing shows that the server's WAL reaches this repository, the backup carries its own.
  Status choose_wal() {
    TRY(check_wal_level(facts_));
    const auto why = TRY(why_wal_does_not_come(server_, facts_, request_.cluster));
    carry_ = why.has_value();
    stream_->server.bring_wal(carry_);
    report_.remote = true;
    if (carry_ && !facts_.in_recovery)
      warn(fmt::format("{}: this backup carries the WAL that it needs itself, and restores to its own end; later moments need the server's WAL "
                       "(archive_command on the server: pgmint wal push)", *why));
    return ok();
  }

  Status begin() {
    progress_.enter(Phase::Start);
    auto begun = TRY(repository::begin_session(request_.cluster, parent_session(), type(), request_.cancel));
    session_ = std::move(begun.session);
    begun_ = begun.started;
    report_.started = origin_.times() ? origin_.times()->started : begun_;
    report_.name = std::move(begun.name);
    report_.copied_from = origin_.description();
    packs_.emplace(repository::PackSettings{request_.cluster.context(), request_.cluster.keys(), request_.codec,
                                environment_.random, [this] { return session_->next_pack(); },
                                buffers_});
    size_packs(0);
    const repository::PackSink put = [this](repository::FinishedPack pack) { return upload(std::move(pack)); };
    maps_.emplace(*packs_, repository::PackKind::Map, put);
    rest_.emplace(*packs_, repository::PackKind::Base, put);
    return ok();
  }

  void size_packs(std::uint64_t lists) {
    const auto sizes = pack_sizes(request_.memory_max.value(), workers_, uploader_count(request_.cluster), lists);
    packs_->target = sizes.target;
    packs_->limit = sizes.limit;
  }

  /// Everything between BEGIN and SNAP. Any failure voids the session.
  Status take() {
    TRY(start());
    if (stream_ == nullptr) TRY(scan());
    TRY(copy());
    TRY(stop());
    TRY(wait());
    TRY(describe_all());
    return commit();
  }

  /// Leaves nothing that claims success: the server ends its backup mode, the log gets its ABORT.
  void give_up() {
    server_.abandon();
    auto aborted = session_->abort();
    if (aborted) return;
    if (request_.cluster.state().snapshots().contains(session_->id()))
      log_warning("backup {} was published all the same: the store did not say so in time", report_.name);
    else
      log_warning(
          "the session of this backup stays open until its lease has passed ({}); `pgmint collect` removes it then",
          aborted.failure().describe());
  }

  BackupReport report() { return std::move(report_); }

 private:
  std::optional<repository::SessionId> parent_session() const {
    if (!incremental_.active()) return std::nullopt;
    return incremental_.parent().session;
  }
  repository::BackupType type() const {
    return incremental_.active() ? repository::BackupType::Incremental : repository::BackupType::Full;
  }
  Status start() {
    // Before: whoever reads a catalog may prune its pages and set hints in them, and what is copied then has that already.
    TRY(note_contents());
    if (sent_) TRY(lasting([&] { return sent_->choose(control_, report_.started, [this](const std::string& detail) { return tick(detail); }); }));
    TRY(start_server());
    report_.from_standby = started_.on_standby;
    log_debug("backup {} started at {} on timeline {}", report_.name, postgres::format(started_.start_lsn), started_.timeline.value());
    TRY(look());
    if (sent_ && sent_->come() && (!incremental_.active() || incremental_.scan_reason())) {
      sent_->give_up(incremental_.active() ? *incremental_.scan_reason() : incremental_.reason());
      TRY(start_server());
      TRY(look());
    }
    note_damage();
    return ok();
  }

  Status look() {
    Incremental::Changes sent;
    if (sent_) sent = [this](const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to) { return sent_->changes(history, from, to); };
    return lasting([&] { return incremental_.look(request_.data_directory, control_, started_, request_.cancel, sent); });
  }

  /// A step at which an incremental may turn out to be none.
  Status lasting(const std::function<Status()>& step) {
    const bool was = incremental_.active();
    TRY(step());
    if (was && !incremental_.active()) become_full();
    return ok();
  }

  Status start_server() {
    auto started = server_.start(control_.system_identifier);
    if (!started && sent_ && sent_->come() && postgres::sqlstate_of(started.failure())) {
      sent_->give_up(fmt::format("the server takes no incremental base backup: {}", started.failure().describe()));
      started = server_.start(control_.system_identifier);
    }
    started_ = TRY(std::move(started));
    if (stream_ == nullptr) return ok();
    progress_.expect(stream_->server.begun().bytes, 0);
    const auto parents = incremental_.active() ? incremental_.files().bytes() : 0;
    size_packs(kInFlightMax + kFilesOfAStream * sizeof(StreamedEntry) + parents);
    return ok();
  }

  /// For a later restore to be held against. No backup fails for it.
  Status note_contents() {
    auto contents = server_.contents(request_.count_tables);
    if (!contents) {
      if (contents.failure().code() == Errc::Cancelled) return std::move(contents).failure();
      log_info("what stands in the databases is not recorded: {}", contents.failure().describe());
      return ok();
    }
    contents_ = std::move(*contents);
    if (!contents_) return ok();
    for (const auto& problem : contents_->problems) log_info("what stands in the databases is not recorded whole: {}", problem);
    for (const auto& pattern : request_.count_tables)
      if (std::ranges::none_of(contents_->tables, [&](const auto& table) { return table.rows && postgres::names_table(pattern, table.database, table.schema, table.name); }))
        warn(fmt::format("the rows of {} are not recorded with this backup: no such table could be counted", pattern));
    return ok();
  }

  Status scan() {
    progress_.enter(Phase::Scan);
    scan_ = TRY(origin_.scan(request_.cancel));
    for (const auto& note : scan_.notes) log_debug("scan: {}", note);
    make_plan();
    return ok();
  }

  void make_plan() {
    const std::uint64_t extent = extent_size_;
    std::vector<FilePlan>().swap(files_);
    if (incremental_.active()) files_ = incremental_.plan(scan_, control_, report_.started);
    plan_ = plan_copy(scan_,
                      {.extent_size = extent,
                       .stretch = std::max(extent, std::min<std::uint64_t>(kStretch, packs_->target) / extent * extent),
                       .bundle_size = std::max(extent, kBundle),
                       .block_size = control_.block_size},
                      files_);
    progress_.expect(plan_.total_bytes, plan_.files);
    size_packs(bytes_of_lists());
  }

  /// What grows with the number of files, and stays until the manifest is written.
  std::uint64_t bytes_of_lists() const {
    constexpr std::uint64_t kPathOnTheHeap = 32;
    return scan_.entries.size() * (sizeof(postgres::DirectoryEntry) + kPathOnTheHeap + sizeof(CopiedFile)) + files_.size() * sizeof(FilePlan) +
           plan_.tasks.size() * sizeof(CopyTask) + (incremental_.active() ? incremental_.files().bytes() : 0);
  }

  /// This backup does not suffer from it; the one that it should have been built on does.
  void note_damage() {
    const bool told = report_.refuted;
    for (const auto& damage : incremental_.wal_damage()) warn(damage);
    if (incremental_.damage() && !told) warn(incremental_.reason());
    report_.refuted = told || incremental_.damage() || !incremental_.wal_damage().empty();
  }

  /// What was meant to be an incremental goes on as a full.
  void become_full() {
    report_.name = repository::backup_name(begun_, type());
    log_info("this backup is a full one, {}: {}", report_.name, incremental_.reason());
  }

  /// Thread-safe.
  Status upload(repository::FinishedPack pack) {
    TRY(session_->upload(pack));
    buffers_.give(std::move(pack.data));
    return ok();
  }

  Status copy() {
    progress_.enter(Phase::Copy);
    TRY(copy_all());
    TRY(forward_kept());
    if (copied_.refuted) {
      report_.refuted = true;
      warn(fmt::format("{}: everything is read again, as a full backup", *copied_.refuted));
      incremental_.give_up(*copied_.refuted);
      become_full();
      copied_ = {};
      findings_.clear();
      counters_.reset();
      TRY(begin_again());
      TRY(copy_all());
    }
    std::vector<FilePlan>().swap(files_);
    plan_ = {};
    TRY(judge_vanished());
    report_bad_pages(report_, findings_, copied_, origin_.bad_pages());
    return ok();
  }

  Status copy_all() { return stream_ != nullptr ? copy_streamed() : copy_planned(); }

  /// What was read counts for nothing. A stream cannot be read again: the server starts another one.
  Status begin_again() {
    if (stream_ == nullptr) return make_plan(), ok();
    sent_->give_up(incremental_.reason());
    stream_->source.clear();
    return start_server();
  }

  Status copy_planned() {
    return copy_with([this](const CopyInput& input) -> Status {
      copied_ = TRY(copy_files(input, counters_, findings_, [this] { return tick(); }));
      return ok();
    });
  }

  Status copy_streamed() {
    incremental_.begin_stream(control_, report_.started);
    return copy_with([this](const CopyInput& input) -> Status {
      auto& sent = stream_->cluster;
      StreamInput what{.server = stream_->server,
                       .source = stream_->source,
                       .copy = input,
                       .bundle_size = std::max<std::uint64_t>(extent_size_, kBundle),
                       .plan = [this](const postgres::DirectoryEntry& entry) { return incremental_.plan_streamed(entry); }};
      if (sent_->come())
        what.plan_part = [this](const postgres::DirectoryEntry& entry, postgres::IncrementalFile part) { return incremental_.plan_part(entry, std::move(part)); };
      sent = TRY(copy_stream(what, counters_, findings_, [this] { return tick(); }));
      scan_ = std::move(sent.scan);
      copied_ = std::move(sent.copied);
      return ok();
    });
  }

  Status copy_with(const std::function<Status(const CopyInput&)>& copy_of) {
    open_books();
    std::optional<storage::RateLimiter> rate;
    if (request_.max_rate) rate.emplace(*request_.max_rate, clock_, request_.cancel);
    std::optional<CopyParent> parent;
    if (incremental_.active())
      parent.emplace(CopyParent{request_.cluster.store(), files_, postgres::Lsn(incremental_.parent().start_lsn),
                                incremental_.parent().bad_pages});
    const CopyInput input{.scan = scan_,
                          .plan = plan_,
                          .source = source_,
                          .packs = *packs_,
                          .maps = *maps_,
                          .upload = [this](repository::FinishedPack pack) { return upload(std::move(pack)); },
                          .check = {.checksums_enabled = control_.checksums_enabled(),
                                    .block_size = control_.block_size,
                                    .backup_start = started_.start_lsn},
                          .blocks_per_segment = control_.relation_segment_blocks,
                          .parent = parent ? &*parent : nullptr,
                          .ledger = *ledger_,
                          .forward = forward_ ? &*forward_ : nullptr,
                          .upper_lsn = [this] { return server_.page_check_lsn(); },
                          .extent_size = extent_size_,
                          .workers = workers_,
                          .uploaders = uploader_count(request_.cluster),
                          .queued_packs = kQueuedPacks,
                          .rate = rate ? &*rate : nullptr,
                          .clock = clock_,
                          .cancel = request_.cancel};
    return copy_of(input);
  }

  /// What this backup refers to, and which packs it empties.
  void open_books() {
    forward_.reset();
    if (!incremental_.active()) {
      ledger_.emplace();
      return;
    }
    ledger_.emplace(incremental_.pack_use());
    const auto& open = request_.cluster.state().open_sessions();
    const auto session = open.find(session_->id());
    if (session == open.end()) return;
    auto packs = packs_to_empty(request_.cluster.state().pins_of(session->second), incremental_.all_use(), kForwardMax);
    if (packs.empty()) return;
    log_debug("{} packs are less than half in use: what is alive of them moves", packs.size());
    forward_.emplace(request_.cluster.store(), request_.cluster.context(), request_.cluster.keys(), *rest_, std::move(packs));
  }

  /// Files that were kept as they are may stand in packs that are to be emptied.
  Status forward_kept() {
    if (!forward_ || copied_.refuted) return ok();
    auto moved = [&]() -> Status {
      for (std::size_t i = 0; i < copied_.files.size(); ++i) {
        if (request_.cancel != nullptr) TRY(request_.cancel->check());
        TRY(move_file(copied_.files[i]).context(scan_.entries[i].path));
      }
      return ok();
    }();
    if (moved || !repository::is_damage(moved.failure())) return moved;
    copied_.refuted = fmt::format("the parent cannot be read: {}", moved.failure().describe());
    return ok();
  }

  Status move_file(CopiedFile& file) {
    if (const auto* bundle = file.content.bundle()) {
      if (forward_->leaves(*bundle)) file.content.move_bundle(moved_bundles_.share(TRY(forward_->move(*bundle))));
      return ok();
    }
    const auto* where = file.content.map();
    if (where == nullptr || where->pack.session == session_->id()) return ok();
    auto map = TRY(incremental_.read_map(*where));
    const auto before = map;
    if (!TRY(forward_->move(map)) && !forward_->leaves(*where)) return ok();
    ledger_->dropped(*where, before);
    file.content = StoredContent(TRY(maps_->append(repository::RecordType::SegmentMap, repository::encode_segment_map(map))));
    ledger_->stored(*file.content.map(), map);
    return ok();
  }

  /// A file that must exist may have gone with its whole database: DROP DATABASE removes the files one by one, then
  /// their directory. Replay of the drop removes what the backup has of it.
  Status judge_vanished() {
    const auto until = clock_.now() + kDroppedDatabasePatience;
    for (const auto& path : copied_.vanished_refused) {
      const auto directory = fs::path(path).parent_path().string();
      while (TRY(source_.exists(directory))) {
        if (clock_.now() >= until)
          return Error(Errc::Precondition, fmt::format("{} disappeared while it was backed up", path),
                       Hint{"nothing but PostgreSQL may change the data directory; start the backup again"});
        TRY(tick());
        clock_.sleep(50ms);
      }
      log_debug("{} is gone with its directory: the database was dropped meanwhile", path);
    }
    for (const auto& path : copied_.vanished_noted) warn(fmt::format("{} disappeared before it could be read", path));
    return ok();
  }

  /// Configuration, then pg_control as the last file that is read, then the end of the backup.
  Status stop() {
    progress_.enter(Phase::Stop);
    extras_ = TRY(store_extra_files(*rest_, TRY(origin_.outside_configuration(facts_, report_.warnings)), parent_files(), forward()));
    if (stream_ != nullptr) take_wal();
    auto image = TRY(origin_.control_file());
    control_ = image.control;
    std::vector<ExtraFile> last(1);
    last[0].bytes = std::move(image.bytes);
    control_entry_ = TRY(store_extra_files(*rest_, std::move(last))).front();

    stopped_ = TRY(server_.stop());
    if (stream_ != nullptr) {
      stopped_.label_file = std::move(stream_->cluster.label);
      stopped_.tablespace_map = std::move(stream_->cluster.tablespace_map);
    }
    const auto label = TRY(postgres::parse_backup_label(stopped_.label_file).context("the label that the server returned"));
    TRY(check_label(label, started_, sent_ ? sent_->since() : std::nullopt));
    stopped_.label_file = postgres::label_of_whole(stopped_.label_file);
    if (started_.on_standby) TRY(settle_standby());
    return ok();
  }

  /// What came of the stream beside the files.
  void take_wal() {
    auto& sent = stream_->cluster;
    for (const auto& file : sent.wal)
      if (!file.path.ends_with(".history")) report_.carried_wal.push_back(file.path);
    std::ranges::move(sent.wal, std::back_inserter(extras_));
    if (sent.end.checksums_failed && report_.bad_page_count == 0)
      warn("the server says that checksums of pages failed, and every page that it sent is sound: see its log");
  }

  /// Recovery of a standby's backup ends where its pg_control says, at the earliest.
  Status settle_standby() {
    if (control_.min_recovery_timeline != started_.timeline)
      return Error(Errc::Postgres,
                   fmt::format("the standby went from timeline {} to {} during the backup", started_.timeline.value(),
                               control_.min_recovery_timeline.value()),
                   Hint{"start the backup again"});
    stopped_.stop_lsn = std::max(stopped_.stop_lsn, control_.min_recovery_point);
    auto last = origin_.last_needed_record(control_, started_.timeline, started_.start_lsn, stopped_.stop_lsn);
    if (last)
      consistent_after_ = *last;
    else
      warn(fmt::format("where this backup is consistent was not found ({}): restoring it with --immediate may need more WAL", last.failure().describe()));
    if (stream_ != nullptr) return ok();
    auto switched = server_.switch_wal_on_primary(control_.system_identifier);
    if (switched && *switched) return ok();
    if (!switched)
      warn(fmt::format("the primary could not be asked to switch WAL ({}); the backup carries the WAL that is missing",
                       switched.failure().describe()));
    carry_ = true;
    return ok();
  }

  Status wait() {
    progress_.enter(Phase::WaitForWal);
    WalWait wait{.timeline = started_.timeline,
                 .start = started_.start_lsn,
                 .stop = stopped_.stop_lsn,
                 .size = control_.wal_segment_size,
                 .far = request_.cluster.reads_at_once() > 1,
                 .patience = request_.archive_timeout,
                 .send_on = request_.send_on,
                 .carry = {},
                 .tick = [this](const std::string& detail) { return tick(detail); }};
    if (carry_ && stream_ == nullptr) wait.carry = [this](const std::string& segment) { return carry(segment); };
    report_.first_wal = first_segment(wait);
    report_.last_wal = last_segment(wait);
    if (stream_ != nullptr && carry_) return check_carried(wait, report_.carried_wal);
    repository::WalArchive archive(request_.cluster, repository::current_identity(request_.cluster.state()));
    return wait_for_wal(archive, server_, wait, clock_);
  }

  Result<bool> carry(const std::string& segment) {
    const auto own = TRY(origin_.own_segment(control_, segment, stopped_.stop_lsn, extent_size_));
    if (!own) return false;
    extras_.push_back(TRY(carry_segment(*rest_, *maps_, *own, control_, extent_size_, *ledger_)));
    report_.carried_wal.push_back(segment);
    return true;
  }

  Status describe_all() {
    progress_.enter(Phase::Describe);
    std::ranges::sort(extras_, repository::entry_before);
    described_ = TRY(describe(*maps_, scan_, copied_.files, std::move(control_entry_), std::move(extras_), parent_files(), forward(), stream_ != nullptr ? stream_->cluster.owner : ""));
    pack_use_ = TRY(ledger_->settle(parent_files(), described_.bundles, described_.maps, described_.nodes,
                                    [this](const repository::RecordLocation& map) { return incremental_.read_map(map); }));
    if (!pack_use_.is_sound())
      return Error(Errc::Internal, "the account of what this backup refers to does not add up");
    account_ = TRY(write_account(*maps_, pack_use_, parent_files(), forward()));
    TRY(rest_->close());
    return maps_->close();
  }

  const Forward* forward() const { return forward_ && incremental_.active() ? &*forward_ : nullptr; }
  const ParentFiles* parent_files() const { return incremental_.active() ? &incremental_.files() : nullptr; }

  /// Packs of the parent that this backup does not need.
  std::vector<repository::PackId> not_needed() const {
    std::vector<repository::PackId> packs;
    const auto& open = request_.cluster.state().open_sessions();
    const auto session = open.find(session_->id());
    if (session == open.end()) return packs;
    std::set<repository::PackId> accounts;
    for (const auto& piece : account_) accounts.insert(piece.pack);
    for (const auto& pack : request_.cluster.state().pins_of(session->second))
      if (pack_use_.of(pack.id) == 0 && !accounts.contains(pack.id)) packs.push_back(pack.id);
    return packs;
  }

  RootFacts root_facts() const {
    return {.cluster = request_.cluster,
            .session = *session_,
            .report = report_,
            .note = request_.note,
            .type = type(),
            .parent = parent_session(),
            .incremental = incremental_,
            .origin = origin_,
            .control = control_,
            .server = facts_,
            .start = started_,
            .stop = stopped_,
            .consistent_after = consistent_after_,
            .scan = scan_,
            .tree = described_,
            .account = account_,
            .contents = contents_,
            .counters = counters_,
            .extent_size = extent_size_};
  }

  Status commit() {
    progress_.enter(Phase::Commit);
    if (request_.cancel != nullptr) TRY(request_.cancel->check());
    report_.finished = origin_.times() ? origin_.times()->finished : clock_.now();
    TRY(session_->commit(describe_root(root_facts()), not_needed(), request_.retain_until));

    report_.session = session_->id();
    report_.type = type();
    report_.parent = incremental_.active() ? incremental_.parent().name : "";
    report_.method = incremental_.active() ? incremental_.method() : incremental_.reason();
    report_.read_bytes = counters_.read_bytes;
    report_.received_bytes = counters_.received;
    report_.changed_pages = counters_.changed_pages;
    report_.files = described_.files;
    report_.total_bytes = described_.total_bytes;
    report_.zero_bytes = counters_.zero_bytes;
    report_.stored_bytes = session_->stored_bytes();
    report_.packs = session_->pack_count();
    report_.pages_checked = findings_.checked;
    report_.pages_reread = findings_.reread;
    report_.checksums_enabled = control_.checksums_enabled();
    report_.timeline = started_.timeline.value();
    report_.start_lsn = started_.start_lsn.value();
    report_.stop_lsn = stopped_.stop_lsn.value();
    report_.times = progress_.finish();
    return ok();
  }

  Status tick(const std::string& detail = "") {
    if (request_.cancel != nullptr) TRY(request_.cancel->check());
    progress_.tick(detail);
    const auto now = clock_.now();
    if (now - looked_ >= kAliveEvery) {
      looked_ = now;
      TRY(server_.check_alive());
      TRY(session_->keep_alive());
    }
    return ok();
  }

  void warn(std::string text) {
    log_warning("{}", text);
    report_.warnings.push_back(std::move(text));
  }

  const BackupRequest& request_;
  Server& server_;
  Source& source_;
  Origin& origin_;
  StreamOrigin* stream_;  ///< null: the files are read
  repository::Environment& environment_;
  Clock& clock_;
  CopyCounters counters_;
  PageFindings findings_;
  ProgressReporter progress_;
  unsigned workers_;
  Incremental incremental_;
  std::optional<StreamChanges> sent_;  ///< of a stream
  std::uint32_t extent_size_ = 0;
  BackupReport report_;

  postgres::ControlFile control_;
  postgres::ServerFacts facts_;
  std::unique_ptr<repository::WriteSession> session_;
  TimePoint begun_{};
  repository::PackBuffers buffers_;
  std::optional<repository::PackSettings> packs_;
  std::optional<repository::PackStream> maps_, rest_;
  ServerStart started_;
  std::optional<postgres::Contents> contents_;
  postgres::DirectoryScan scan_;
  std::vector<FilePlan> files_;
  CopyPlan plan_;
  CopyOutcome copied_;
  std::optional<PackLedger> ledger_;
  std::optional<Forward> forward_;
  SharedRecords moved_bundles_;
  repository::PackUse pack_use_;
  std::vector<repository::RecordLocation> account_;
  std::vector<repository::FileEntry> extras_;
  repository::FileEntry control_entry_;
  postgres::BackupStop stopped_;
  bool carry_ = false;
  std::optional<postgres::Lsn> consistent_after_;  ///< of a standby's backup
  Described described_;
  TimePoint looked_{};
};

}  // namespace

double BackupReport::ratio() const {
  return stored_bytes == 0 ? 0 : static_cast<double>(total_bytes) / static_cast<double>(stored_bytes);
}

namespace {

Result<BackupReport> complete(Run&& run) {
  TRY(run.preflight());
  TRY(run.begin());
  if (auto taken = run.take(); !taken) {
    run.give_up();
    return std::move(taken).failure();
  }
  return run.report();
}

}  // namespace

Result<BackupReport> run_against(const BackupRequest& request, Server& server, Source& source, Origin& origin) {
  return complete(Run(request, server, source, origin));
}

Result<BackupReport> run_against(const BackupRequest& request, Server& server, Source& source) {
  const auto origin = data_directory_origin(request.data_directory, request.cluster.repository().environment().clock);
  return run_against(request, server, source, *origin);
}

Result<BackupReport> run_streamed(const BackupRequest& request, RemoteServer& server) {
  StreamOrigin origin(server);
  return complete(Run(request, server, origin.source, origin, &origin));
}

Result<BackupReport> run(const BackupRequest& request) {
  if (request.data_directory.empty())
    return run_streamed(request, *connect_remote_server({request.connect, request.label, request.fast_checkpoint, request.max_rate}, request.cancel));
  const auto server =
      connect_server({request.connect, request.primary, request.label, request.fast_checkpoint, request.data_directory},
                     request.cancel);
  const auto source = open_source(request.data_directory);
  return run_against(request, *server, *source);
}

}  // namespace pgmint::backup
