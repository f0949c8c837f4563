#include "logical/stream_backup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <tuple>

#include "base/log.h"
#include "logical/dump.h"
#include "repository/begin.h"

namespace pgmint::logical {
namespace {

using namespace std::chrono_literals;
using repository::FileEntry;

constexpr std::size_t kReadSize = 1 << 20;
constexpr std::size_t kPackTarget = 16 << 20;
constexpr auto kAliveEvery = 1s;
constexpr mode_t kMode = 0600;

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace

StreamBackup::StreamBackup(Settings settings)
    : settings_(std::move(settings)), cluster_(settings_.cluster), clock_(cluster_.repository().environment().clock) {}

StreamBackup::~StreamBackup() = default;

Result<std::unique_ptr<StreamBackup>> StreamBackup::begin(Settings settings) {
  std::unique_ptr<StreamBackup> made(new StreamBackup(std::move(settings)));
  auto& self = *made;
  TRY(self.choose_parent());
  const auto parent = self.parent_ ? std::optional(self.parent_->session) : std::nullopt;
  auto begun = TRY(repository::begin_session(self.cluster_, parent, self.settings_.type, self.settings_.cancel));
  self.session_ = std::move(begun.session);
  self.begun_ = begun.started;
  self.name_ = std::move(begun.name);

  const repository::PackSink upload = [session = self.session_.get(), buffers = &self.buffers_](repository::FinishedPack pack) -> Status {
    TRY(session->upload(pack));
    buffers->give(std::move(pack.data));
    return ok();
  };
  const auto workers = self.settings_.workers != 0 ? self.settings_.workers : std::max(1U, std::thread::hardware_concurrency());
  self.packs_.reset(new repository::PackSettings{self.cluster_.context(), self.cluster_.keys(), codec::plain_codec(self.settings_.codec),
                                                 self.cluster_.repository().environment().random,
                                                 [session = self.session_.get()] { return session->next_pack(); }, self.buffers_, kPackTarget});
  self.maps_ = std::make_unique<Guarded<repository::PackStream>>(*self.packs_, repository::PackKind::Map, upload);
  self.shared_.reset(new StreamShared{self.cluster_.store(), *self.packs_, upload, self.cluster_.keys(), workers, self.settings_.cancel, *self.maps_, self.records_});
  if (auto read = self.read_parent(); !read) {
    self.give_up();
    return std::move(read).failure();
  }
  return made;
}

bool StreamBackup::builds_on(const repository::ManifestRoot& root) const {
  if (settings_.type != repository::BackupType::Logical) return true;
  return std::ranges::any_of(root.settings, [&](const auto& setting) {
    return setting.first == kDumpedDatabaseSetting && std::ranges::find(settings_.databases, setting.second) != settings_.databases.end();
  });
}

Status StreamBackup::choose_parent() {
  TRY(cluster_.log().refresh());
  std::vector<const repository::LiveSnapshot*> candidates;
  for (const auto& [session, live] : cluster_.state().snapshots())
    if (live.snap.type == settings_.type) candidates.push_back(&live);
  // A rebuilt log knows of all of them at once: then their names tell the order.
  std::ranges::sort(candidates, std::greater(), [](const auto* live) { return std::tuple(live->seq, live->snap.name); });
  for (const auto* live : candidates) {
    auto root = repository::read_root(cluster_.store(), cluster_.context(), live->snap.session, cluster_.keys());
    if (!root) {
      if (!repository::is_damage(root.failure())) return std::move(root).failure();
      warn(fmt::format("{} cannot be read, and nothing of it is used again: {}", live->snap.name, root.failure().describe()));
    } else if (builds_on(*root)) {
      parent_ = std::move(*root);
      return ok();
    }
  }
  return ok();
}

/// The parent's streams, and its packs that are less than half in use: what is alive of those is stored anew.
Status StreamBackup::read_parent() {
  if (!parent_) return ok();
  repository::RecordOpener opener(cluster_.context(), cluster_.keys());
  auto walked = repository::walk_manifest(cluster_.store(), cluster_.context(), opener, *parent_, [&](const FileEntry& entry) -> Status {
    if (entry.kind == repository::FileKind::Stream) streams_.emplace(FileKey(entry.area, entry.path), std::get<repository::RecordLocation>(entry.content));
    return ok();
  });
  if (!walked && !repository::is_damage(walked.failure())) return walked;
  if (!walked) {
    warn(fmt::format("{} cannot be read, and nothing of it is used again: {}", parent_->name, walked.failure().describe()));
    streams_.clear();
  }
  const auto open = cluster_.state().open_sessions().find(session_->id());
  if (open == cluster_.state().open_sessions().end() || !parent_->pack_use) return ok();
  for (const auto& pack : cluster_.state().pins_of(open->second))
    if (parent_->pack_use->of(pack.id) * 2 < pack.size) leaving_.insert(pack.id);
  return ok();
}

Result<std::optional<Predecessor>> StreamBackup::predecessor_of(const FileKey& file) {
  const auto found = streams_.find(file);
  if (found == streams_.end()) return std::optional<Predecessor>();
  repository::RecordOpener opener(cluster_.context(), cluster_.keys());
  auto loaded = Predecessor::load(cluster_.store(), cluster_.context(), opener, found->second, leaving_);
  if (loaded) return std::optional<Predecessor>(std::move(*loaded));
  if (!repository::is_damage(loaded.failure())) return std::move(loaded).failure();
  warn(fmt::format("{} of {} cannot be read, and nothing of it is used again: {}", file.second, parent_->name, loaded.failure().describe()));
  return std::optional<Predecessor>();
}

Result<StreamCounts> StreamBackup::store(const std::string& path, const Source& source, const Look& look) {
  FileEntry file;
  file.area = repository::FileArea::Made;
  file.path = path;
  file.mode = kMode;
  file.mtime_us = clock_.now().time_since_epoch().count();
  return store(std::move(file), source, look);
}

Result<StreamCounts> StreamBackup::store(FileEntry file, const Source& source, const Look& look) {
  const auto predecessor = TRY(predecessor_of({file.area, file.path}));
  StreamWriter writer(*shared_, predecessor ? &*predecessor : nullptr);
  Bytes buffer(kReadSize);
  for (;;) {
    const auto got = TRY(source(buffer));
    if (got == 0) break;
    const auto piece = ByteView(buffer).first(got);
    if (look) TRY(look(piece));
    TRY(writer.write(piece));
    bytes_ += got;
    TRY(tick());
  }
  const auto index = TRY(writer.finish());
  file.size = writer.counts().length;
  file.kind = file.size == 0 ? repository::FileKind::Empty : repository::FileKind::Stream;
  if (file.size != 0) file.content = index;
  entries_.push_back(std::move(file));
  return writer.counts();
}

Result<StreamCounts> StreamBackup::store(const std::string& path, std::string_view text) {
  auto rest = as_bytes(text);
  return store(path, [&](MutableByteView out) -> Result<std::size_t> {
    const auto n = std::min(out.size(), rest.size());
    std::memcpy(out.data(), rest.data(), n);
    rest = rest.subspan(n);
    return n;
  });
}

Result<repository::ManifestRoot> StreamBackup::write_tree() {
  std::ranges::sort(entries_, repository::entry_before);
  repository::PackUse nodes;
  repository::ManifestTreeWriter tree([&](ByteView node) -> Result<repository::RecordLocation> {
    const auto location = TRY(maps_->with([&](repository::PackStream& stream) { return stream.append(repository::RecordType::ManifestNode, node); }));
    nodes.add(location);
    return location;
  });
  repository::ManifestRoot root;
  for (auto& entry : entries_) {
    ++root.file_count;
    root.total_bytes += entry.size;
    TRY(tree.add(std::move(entry)));
  }
  const auto written = TRY(std::move(tree).finish());
  root.tree_depth = written.depth;
  root.tree = written.root;
  root.pack_use = records_.with([](auto& all) { return std::move(all).settle(); });
  root.pack_use->add(nodes);
  TRY(maps_->with([](repository::PackStream& stream) { return stream.close(); }));
  return root;
}

std::vector<repository::PackId> StreamBackup::not_needed(const repository::PackUse& use) const {
  std::vector<repository::PackId> packs;
  const auto open = cluster_.state().open_sessions().find(session_->id());
  if (open == cluster_.state().open_sessions().end()) return packs;
  for (const auto& pack : cluster_.state().pins_of(open->second))
    if (use.of(pack.id) == 0) packs.push_back(pack.id);
  return packs;
}

Status StreamBackup::commit(StreamBackupFacts facts, TimePoint started) {
  TRY(tick());
  auto root = TRY(write_tree());
  total_bytes_ = root.total_bytes;
  root.session = session_->id();
  root.name = name_;
  root.type = settings_.type;
  root.started = started;
  root.finished = finished_ = clock_.now();
  root.pg_major = facts.pg_major;
  root.extent_size = static_cast<std::uint32_t>(repository::kChunkMax);
  root.stored_bytes = session_->stored_bytes();
  root.note = std::move(facts.note);
  root.warnings = warnings_;
  root.pgmint_version = PGMINT_VERSION;
  root.host = host_name();
  root.settings = std::move(facts.settings);
  for (const auto& database : settings_.databases) root.settings.emplace_back(std::string(kDumpedDatabaseSetting), database);
  if (parent_) {
    root.parent = parent_->session;
    root.settings.emplace_back("parent", parent_->name);
  }
  return session_->commit(root, not_needed(*root.pack_use));
}

void StreamBackup::give_up() {
  if (auto aborted = session_->abort(); !aborted)
    log_warning("the session of this backup stays open until its lease has passed ({}); `pgmint collect` removes it then", aborted.failure().describe());
}

Status StreamBackup::tick() {
  if (settings_.cancel != nullptr) TRY(settings_.cancel->check());
  if (tell_) tell_();
  const auto now = clock_.now();
  if (now - looked_ < kAliveEvery) return ok();
  looked_ = now;
  return session_->keep_alive();
}

void StreamBackup::warn(std::string text) {
  log_warning("{}", text);
  warnings_.push_back(std::move(text));
}

}  // namespace pgmint::logical
