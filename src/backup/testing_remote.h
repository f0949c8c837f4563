// For tests: a stand-in for a server that sends a made cluster's files as BASE_BACKUP does, in whole or, of what stands in the manifest
// that it was given, only what changed; and whole runs of remote backups against it.
#pragma once

#include <set>

#include "backup/sent_files.h"
#include "backup/testing_incremental.h"
#include "postgres/testing_tar.h"

namespace pgmint::backup::testing {

/// What changed in one segment file, as a server's WAL summaries have it.
struct FileChanges {
  std::set<BlockNumber> blocks;      ///< of the file
  std::optional<BlockNumber> limit;  ///< of the file
};
using Changed = std::map<std::string, FileChanges>;

inline void put_le32(Bytes& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<std::byte>(value >> shift & 0xffU));
}

/// INCREMENTAL.<name>, as PostgreSQL builds it.
inline Bytes part_member(const std::vector<BlockNumber>& blocks, BlockNumber truncation, ByteView content) {
  Bytes member;
  put_le32(member, 0xd3ae1f0d);
  put_le32(member, static_cast<std::uint32_t>(blocks.size()));
  put_le32(member, truncation);
  for (const auto block : blocks) put_le32(member, block);
  if (!blocks.empty()) member.resize((member.size() + kBlock - 1) / kBlock * kBlock);
  for (const auto block : blocks) append(member, content.subspan(std::size_t{block} * kBlock, kBlock));
  return member;
}

class StreamingServer final : public RemoteServer {
 public:
  StreamingServer(ScriptedServer& plain, const MadeCluster& made, SeededRandom& random) : plain_(plain), made_(made), random_(random) {}

  Changed changed;                                 ///< since the parent
  std::set<std::string> omitted;                   ///< "path block": in the summaries of nobody
  std::set<std::string> not_sent;                  ///< "path block": in the summaries, and yet not sent
  std::optional<std::string> all_comes;            ///< why
  std::optional<Error> refuses;                    ///< what start() says to a manifest
  std::optional<Error> forgets;                    ///< what changes() says
  std::function<void(Changed&)> after_start;       ///< what happens while the stream runs
  std::function<Bytes(const std::string& path, Bytes member)> meddle;  ///< with parts
  std::set<std::string> asked_for;                 ///< paths in the manifest of the last start
  std::vector<std::string> parts, wholes;          ///< that the last stream had
  postgres::SummarizerState summarised{postgres::Lsn(1), postgres::Lsn(1)};
  std::function<void()> on_summarizer = [] {};
  int starts = 0;

  Result<postgres::ServerFacts> inspect() override { return plain_.inspect(); }
  Result<ArchiverStatus> archiver() override { return plain_.archiver(); }
  Status nudge_archiver() override { return ok(); }
  Result<postgres::Lsn> page_check_lsn() override { return started_.start_lsn + 0x100; }
  Status check_alive() override { return ok(); }
  Result<std::optional<postgres::Lsn>> switch_wal_on_primary(postgres::SystemIdentifier) override { return std::optional<postgres::Lsn>(); }
  Result<postgres::ControlFile> control() override { return postgres::parse_control_file(made_.contents().at("global/pg_control")); }
  void bring_wal(bool) override {}
  Result<std::optional<std::string>> why_all_comes(postgres::TimelineId, postgres::Lsn) override { return all_comes; }
  Result<postgres::SummarizerState> summarizer() override {
    on_summarizer();
    return summarised;
  }
  void send_changes_since(std::function<Status(const postgres::Connection::Put&)> manifest) override { manifest_ = std::move(manifest); }

  Result<ServerStart> start(postgres::SystemIdentifier) override {
    ++starts;
    asked_for.clear();
    parts.clear();
    wholes.clear();
    if (manifest_) {
      TRY(take_manifest());
      if (refuses) return *refuses;
    }
    started_ = plain_.started;
    begun_ = {started_.start_lsn, started_.timeline, {}, 0};
    // As 17 estimates it: of what will come.
    for (const auto& [path, bytes] : made_.contents()) begun_.bytes += member_of(path, bytes).size();
    parts.clear();
    wholes.clear();
    return started_;
  }
  const postgres::BaseBackupStart& begun() const override { return begun_; }
  Result<postgres::ChangeSet> changes(const postgres::TimelineHistory&, postgres::Lsn from, postgres::Lsn to) override {
    if (forgets) return *forgets;
    postgres::ChangeSet set;
    set.from = from;
    set.to = to;
    for (const auto& [path, file] : changed) {
      const auto relation = *postgres::relation_of_path(path);
      const auto first = relation.segment * kBlocks;
      postgres::ForkBlocks blocks{{relation.locator, relation.fork}, {}};
      for (const auto block : file.blocks)
        if (!omitted.contains(fmt::format("{} {}", path, block))) blocks.blocks.push_back(first + block);
      if (!blocks.blocks.empty()) set.blocks.push_back(std::move(blocks));
      if (file.limit) set.limits.push_back({{relation.locator, relation.fork}, first + *file.limit});
    }
    std::ranges::sort(set.blocks, {}, &postgres::ForkBlocks::where);
    std::ranges::sort(set.limits);
    return set;
  }
  Result<postgres::BaseBackupEnd> receive(postgres::BaseBackupSink& sink) override {
    if (after_start) after_start(changed);
    TRY(sink.archive_begins(std::nullopt));
    auto label = ScriptedServer::label_of(started_.start_lsn);
    if (manifest_) label += fmt::format("INCREMENTAL FROM LSN: {}\nINCREMENTAL FROM TLI: 1\n", postgres::format(since_));
    TRY(send(sink, postgres::testing::tar_file("backup_label", label)));
    for (const auto& [path, bytes] : made_.contents())
      if (path != "global/pg_control") TRY(send(sink, member_of(path, bytes)));
    TRY(send(sink, postgres::testing::tar_file("global/pg_control", as_text(made_.contents().at("global/pg_control")))));
    TRY(sink.archive_ends());
    return postgres::BaseBackupEnd{plain_.stopped.stop_lsn, started_.timeline, false};
  }
  void interrupt() override {}
  Result<postgres::BackupStop> stop() override {
    TRY(plain_.on_stop());
    return plain_.stopped;
  }
  void abandon() override {}

 private:
  static constexpr std::uint32_t kBlocks = 131072;

  Status take_manifest() {
    std::string text;
    TRY(manifest_([&](ByteView piece) -> Status {
      text += as_text(piece);
      return ok();
    }));
    constexpr std::string_view kPath = "\"Path\": \"", kStart = "\"Start-LSN\": \"";
    for (auto at = text.find(kPath); at != std::string::npos; at = text.find(kPath, at + 1))
      asked_for.insert(text.substr(at + kPath.size(), text.find('"', at + kPath.size()) - at - kPath.size()));
    const auto start = text.find(kStart) + kStart.size();
    since_ = postgres::parse_lsn(text.substr(start, text.find('"', start) - start)).value();
    return ok();
  }

  /// GetFileBackupMethod() in few words.
  Bytes member_of(const std::string& path, const Bytes& bytes) {
    const auto length = static_cast<BlockNumber>(bytes.size() / kBlock);
    const auto found = changed.find(path);
    constexpr BlockNumber kNone = std::numeric_limits<BlockNumber>::max();
    const auto limit = found != changed.end() ? found->second.limit.value_or(kNone) : kNone;
    bool whole = !asked_for.contains(path) || bytes.empty() || bytes.size() % kBlock != 0 || limit == 0;
    std::vector<BlockNumber> blocks;
    if (!whole && found != changed.end())
      for (const auto block : found->second.blocks) {
        const auto key = fmt::format("{} {}", path, block);
        if (block < length && !omitted.contains(key) && !not_sent.contains(key)) blocks.push_back(block);
      }
    whole = whole || blocks.size() * 10 > std::size_t{length} * 9;
    (whole ? wholes : parts).push_back(path);
    if (whole) return postgres::testing::tar_file(path, as_text(bytes));
    auto member = part_member(blocks, limit != kNone ? std::max(length, limit) : length, bytes);
    if (meddle) member = meddle(path, std::move(member));
    const auto slash = path.rfind('/') + 1;
    return postgres::testing::tar_file(path.substr(0, slash) + "INCREMENTAL." + path.substr(slash), as_text(member));
  }

  Status send(postgres::BaseBackupSink& sink, ByteView bytes) {
    while (!bytes.empty()) {
      const auto step = std::min<std::size_t>(bytes.size(), 1 + random_.u64() % 200'000);
      TRY(sink.archive_bytes(bytes.first(step)));
      bytes = bytes.subspan(step);
    }
    return ok();
  }

  ScriptedServer& plain_;
  const MadeCluster& made_;
  SeededRandom& random_;
  std::function<Status(const postgres::Connection::Put&)> manifest_;
  postgres::Lsn since_;
  ServerStart started_;
  postgres::BaseBackupStart begun_;
};

/// Remote backups, each of the made cluster as it then is.
struct RemoteTest : IncrementalTest {
  StreamingServer remote{server, made, random};

  RemoteTest() {
    server.archiver_status.last_archived_wal = segment_name(start_segment - 1);
    archive_summary(start_segment - 1, {});
    // An hour before midnight, so that a day can be let pass on purpose only.
    clock.set(TimePoint(std::chrono::days(20'000) + std::chrono::hours(1)));
  }

  Result<BackupReport> back_up() {
    BackupRequest request{.cluster = *cluster, .data_directory = {}};
    request.incremental = true;
    request.workers = workers;
    request.cancel = &cancel;
    request.progress = [this](const Progress& progress) { told.push_back(progress); };
    return run_streamed(request, remote);
  }
  BackupReport backed_up() {
    auto report = back_up();
    EXPECT_TRUE(report) << report.failure().describe();
    return report ? std::move(*report) : BackupReport{};
  }
  BackupReport first() {
    server.on_stop = [this] {
      archive_summary(start_segment, {});
      return ok();
    };
    return backed_up();
  }
  /// Nothing has changed since the last one.
  void go_on() {
    advance({});
    remote.changed.clear();
  }
  Bytes new_page(BlockNumber block) { return make_page(random, block, in_segment(start_segment - 1, 0x800)); }
  /// With WAL.
  void write(const std::string& path, BlockNumber block) {
    const auto first = postgres::relation_of_path(path)->segment * 131072;
    auto bytes = made.contents().at(path);
    const auto page = make_page(random, first + block, in_segment(start_segment - 1, 0x800));
    if (bytes.size() < (std::size_t{block} + 1) * kBlock) bytes.resize((std::size_t{block} + 1) * kBlock);
    std::ranges::copy(page, bytes.begin() + static_cast<std::ptrdiff_t>(std::size_t{block} * kBlock));
    made.file(path, bytes);
    remote.changed[path].blocks.insert(block);
  }
  void cut(const std::string& path, BlockNumber blocks) {
    auto bytes = made.contents().at(path);
    bytes.resize(std::size_t{blocks} * kBlock);
    made.file(path, bytes);
    auto& changed = remote.changed[path];
    changed.limit = std::min(changed.limit.value_or(blocks), blocks);
    std::erase_if(changed.blocks, [&](auto block) { return block >= blocks; });
  }
  /// Without WAL, as an extension leaves it.
  void extend(const std::string& path, BlockNumber by) {
    auto bytes = made.contents().at(path);
    bytes.resize(bytes.size() + std::size_t{by} * kBlock);
    made.file(path, bytes);
  }
};

}  // namespace pgmint::backup::testing
