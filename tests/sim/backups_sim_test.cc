// Incremental backups that move records on, expiry, collection and a restore at once, in any order, with the power cut at each
// operation: what is listed afterwards restores to the bytes that were backed up, and the restore that ran got these or failed.
// Everything that touches the store is production code; files are made up and read by one thread, so that a seed repeats itself.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "backup/describe.h"
#include "backup/forward.h"
#include "backup/pack_ledger.h"
#include "repository/begin.h"
#include "repository/expire.h"
#include "repository/pack.h"
#include "repository/pack_account.h"
#include "repository/verify.h"
#include "sim/sim_repository.h"

namespace pgmint::sim {
namespace {

using backup::CopiedFile;
using backup::StoredContent;

// ---------------------------------------------------------------- the cluster that is backed up

constexpr std::uint32_t kBundled = 8;                     ///< small files, each a record
constexpr std::uint32_t kExtents = 4, kExtent = 4096;     ///< of the one large file
const std::string kMapped = "base/5/30000";

/// What is in a data directory: a version for each small file and each extent. The bytes follow from it.
using Content = std::map<std::string, std::uint32_t>;

std::string small_file(std::uint32_t i) { return fmt::format("base/5/2000{}", i); }
std::string extent_of(std::uint32_t i) { return fmt::format("{}#{}", kMapped, i); }

Bytes bytes_of(const std::string& what, std::uint32_t version) {
  SeededRandom random(std::hash<std::string>{}(what) + version);
  Bytes bytes(what.starts_with(kMapped) ? kExtent : 1000 + random.below(1000));
  random.fill(bytes);
  return bytes;
}

Content first_content() {
  Content content;
  for (std::uint32_t i = 0; i < kBundled; ++i) content[small_file(i)] = 1;
  for (std::uint32_t i = 0; i < kExtents; ++i) content[extent_of(i)] = 1;
  return content;
}

/// What was backed up under a name, beside the repository and past all faults.
Content content_of(SimWorld& world, const std::string& name) {
  Content content;
  const auto text = world.objects().read("truth/" + name, 1 << 20).value();
  PGMINT_ASSERT(text.has_value());
  std::istringstream in{std::string(as_text(*text))};
  std::string what;
  for (std::uint32_t version = 0; in >> what >> version;) content[what] = version;
  return content;
}
void remember(SimWorld& world, const std::string& name, const Content& content) {
  std::string text;
  for (const auto& [what, version] : content) text += fmt::format("{} {}\n", what, version);
  PGMINT_ASSERT(world.objects().create("truth/" + name, as_bytes(text)).has_value());
}

/// Something that must not be, for check().
Error broken(SimWorld& world, Error error) {
  (void)world.objects().create(fmt::format("confirmed/broken-{}", to_hex(world.random().id<SessionId>().bytes)), as_bytes(error.describe()));
  return error;
}

// ---------------------------------------------------------------- a backup

/// As backup::Run does it, without threads: one session, from BEGIN to SNAP.
class Backup {
 public:
  Backup(SimWorld& world, Cluster& cluster) : world_(world), cluster_(cluster), environment_(cluster.repository().environment()) {}

  Result<std::string> run() {
    choose();
    auto beginning = begin();
    // The parent was let go meanwhile, since others have published a newer one: refused, and begun again.
    while (!beginning && parent_ && !cluster_.state().snapshots().contains(*parent_)) {
      choose();
      beginning = begin();
    }
    auto begun = TRY(std::move(beginning));
    session_ = std::move(begun.session);
    auto written = write(begun.name);
    if (written) return begun.name;
    (void)session_->abort();
    return std::move(written).failure();
  }
  const SessionId& session() const { return session_->id(); }
  std::uint64_t moved_bytes() const { return forward_ ? forward_->moved_bytes() : 0; }

  static const LiveSnapshot* newest_of(const LogState& state) {
    const LiveSnapshot* newest = nullptr;
    for (const auto& [id, snapshot] : state.snapshots())
      if (newest == nullptr || newest->seq < snapshot.seq) newest = &snapshot;
    return newest;
  }

 private:
  void choose() {
    const auto* newest = newest_of(cluster_.state());
    if (newest != nullptr) parent_ = newest->snap.session;
  }
  Result<Begun> begin() { return begin_session(cluster_, parent_, parent_ ? BackupType::Incremental : BackupType::Full, nullptr); }

  Status write(const std::string& name) {
    const PackSettings settings{cluster_.context(), cluster_.keys(), {codec::CodecId::Zstd, 1}, environment_.random, [this] { return session_->next_pack(); }, buffers_};
    const PackSink put = [this](FinishedPack pack) { return session_->upload(pack); };
    PackStream data(settings, PackKind::Base, put), moved(settings, PackKind::Base, put), maps(settings, PackKind::Map, put);
    auto content = first_content();
    if (parent_) {
      content = TRY(read_parent());
      change_some(content);
      auto packs = backup::packs_to_empty(pins(), all_use(), 1U << 30);
      if (!packs.empty()) forward_.emplace(cluster_.store(), cluster_.context(), cluster_.keys(), moved, std::move(packs));
    }
    remember(world_, name, content);
    TRY(copy(content, data, maps));
    TRY(data.close());

    const auto* files = parent_ ? &files_ : nullptr;
    const auto* forward = forward_ ? &*forward_ : nullptr;
    auto described = TRY(backup::describe(maps, scan_, copied_, {}, {}, files, forward));
    const auto use = TRY(ledger_->settle(files, described.bundles, described.maps, described.nodes, [this](const RecordLocation& map) { return read_map(map); }));
    if (!use.is_sound()) return broken(world_, Error(Errc::Internal, "the account does not add up"));
    const auto account = TRY(backup::write_account(maps, use, files, forward));
    TRY(moved.close());
    TRY(maps.close());
    return session_->commit(root_of(name, described, account), not_needed(use, account));
  }

  Result<Content> read_parent() {
    RecordOpener opener(cluster_.context(), cluster_.keys());
    root_ = TRY(read_root(cluster_.store(), cluster_.context(), *parent_, cluster_.keys()));
    files_ = TRY(backup::read_parent_files(cluster_, root_));
    auto stated = TRY(read_pack_account(cluster_.store(), cluster_.context(), opener, root_,
                                        [&](const RecordLocation& piece, ByteView raw) { files_.account.emplace(crypto::sha256(raw), piece); }));
    PGMINT_ASSERT(stated.has_value());
    use_ = std::move(*stated);
    return content_of(world_, root_.name);
  }

  /// One half of the small files and one extent, in turn: after two more backups most of what one has stored is out of use.
  static void change_some(Content& content) {
    std::uint32_t turn = 0;
    for (std::uint32_t i = 0; i < kExtents; ++i) turn += content.at(extent_of(i)) - 1;
    for (std::uint32_t i = 0; i < kBundled / 2; ++i) ++content.at(small_file(turn % 2 * kBundled / 2 + i));
    ++content.at(extent_of(turn % kExtents));
  }

  PackSet pins() const { return cluster_.state().pins_of(cluster_.state().open_sessions().at(session_->id())); }
  PackUse all_use() const {
    auto use = use_;
    for (const auto& [digest, piece] : files_.account) use.add(piece);
    return use;
  }
  Result<SegmentMap> read_map(const RecordLocation& location) {
    RecordOpener opener(cluster_.context(), cluster_.keys());
    return parse_segment_map(TRY(read_record(cluster_.store(), cluster_.context(), opener, location)));
  }

  Status copy(const Content& content, PackStream& data, PackStream& maps) {
    ledger_.emplace(use_);
    const auto before = parent_ ? content_of(world_, root_.name) : Content();
    const auto same = [&](const std::string& what) { return before.contains(what) && before.at(what) == content.at(what); };
    for (std::uint32_t i = 0; i < kBundled; ++i) {
      const auto path = small_file(i);
      const auto bytes = bytes_of(path, content.at(path));
      auto& copied = add(path, bytes.size(), CopiedFile::State::Bundled);
      const auto* parents = files_.find(FileArea::Data, path);
      if (parents == nullptr || !same(path)) {
        const auto where = TRY(data.append(RecordType::Bundle, bytes));
        copied.content = StoredContent(BundleMember{where, 0, data.fingerprint(bundle_member_nonce(where.nonce, 0), bytes)});
        continue;
      }
      copied.content = parents->content;
      if (forward_ && forward_->leaves(*parents->content.bundle()))
        copied.content.move_bundle(std::make_shared<const RecordLocation>(TRY(forward_->move(*parents->content.bundle()))));
    }
    return copy_mapped(content, same, data, maps);
  }

  Status copy_mapped(const Content& content, const std::function<bool(const std::string&)>& same, PackStream& data, PackStream& maps) {
    auto& copied = add(kMapped, std::uint64_t{kExtents} * kExtent, CopiedFile::State::Mapped);
    SegmentMap map{0, kExtent, std::uint64_t{kExtents} * kExtent, std::vector<MapExtent>(kExtents), {}};
    const auto* parents = files_.find(FileArea::Data, kMapped);
    if (parents != nullptr) {
      map = TRY(read_map(*parents->content.map()));
      ledger_->dropped(*parents->content.map(), map);
    }
    for (std::uint32_t i = 0; i < kExtents; ++i) {
      if (parents != nullptr && same(extent_of(i))) continue;
      const auto bytes = bytes_of(extent_of(i), content.at(extent_of(i)));
      map.extents[i].location = TRY(data.append(RecordType::Extent, bytes));
      map.extents[i].fingerprint = data.fingerprint(map.extents[i].location->nonce, bytes);
    }
    if (forward_) TRY(forward_->move(map));
    const auto where = TRY(maps.append(RecordType::SegmentMap, encode_segment_map(map)));
    ledger_->stored(where, map);
    copied.content = StoredContent(where);
    return ok();
  }

  CopiedFile& add(const std::string& path, std::uint64_t size, CopiedFile::State state) {
    scan_.entries.push_back({.path = path, .kind = postgres::EntryKind::Other, .mode = 0600, .size = size});
    copied_.push_back({.state = state, .length = size, .content = {}});
    return copied_.back();
  }

  ManifestRoot root_of(const std::string& name, const backup::Described& described, const std::vector<RecordLocation>& account) const {
    ManifestRoot root;
    root.session = session_->id();
    root.name = name;
    root.type = parent_ ? BackupType::Incremental : BackupType::Full;
    root.parent = parent_;
    root.system_id = cluster_.state().system_id();
    root.incarnation = Incarnation(1);
    root.timeline = 1;
    root.pg_major = 15;
    root.block_size = 8192;
    root.blocks_per_segment = 131072;
    root.wal_segment_size = 1 << 20;
    root.extent_size = kExtent;
    root.tree = described.tree.root;
    root.tree_depth = described.tree.depth;
    root.account = account;
    return root;
  }

  std::vector<PackId> not_needed(const PackUse& use, const std::vector<RecordLocation>& account) const {
    std::set<PackId> accounts;
    for (const auto& piece : account) accounts.insert(piece.pack);
    std::vector<PackId> packs;
    if (!parent_) return packs;
    // Somebody may have aborted this session; SNAP will say so.
    const auto open = cluster_.state().open_sessions().find(session_->id());
    if (open == cluster_.state().open_sessions().end()) return packs;
    for (const auto& pack : cluster_.state().pins_of(open->second))
      if (use.of(pack.id) == 0 && !accounts.contains(pack.id)) packs.push_back(pack.id);
    return packs;
  }

  SimWorld& world_;
  Cluster& cluster_;
  Environment& environment_;
  std::optional<SessionId> parent_;
  std::unique_ptr<WriteSession> session_;
  PackBuffers buffers_;
  ManifestRoot root_;
  backup::ParentFiles files_;
  PackUse use_;
  std::optional<backup::PackLedger> ledger_;
  std::optional<backup::Forward> forward_;
  postgres::DirectoryScan scan_;
  std::vector<CopiedFile> copied_;
};

// ---------------------------------------------------------------- a restore

/// Every byte of a backup, held against what it was. @errors Internal: they are others
Status read_whole(SimWorld& world, Cluster& cluster, const ManifestRoot& root) {
  auto& store = cluster.store();
  RecordOpener opener(cluster.context(), cluster.keys());
  Content found;
  const auto content = content_of(world, root.name);
  const auto compare = [&](const std::string& what, ByteView bytes) -> Status {
    if (!content.contains(what)) return Error(Errc::Internal, fmt::format("{} was never there", what));
    const auto version = found[what] = content.at(what);
    const auto wanted = bytes_of(what, version);
    if (!std::ranges::equal(bytes, wanted)) return Error(Errc::Internal, fmt::format("{} of {} has other bytes", what, root.name));
    return ok();
  };
  TRY(walk_manifest(store, cluster.context(), opener, root, [&](const FileEntry& entry) -> Status {
    if (const auto* member = std::get_if<BundleMember>(&entry.content)) {
      const auto bundle = TRY(read_record(store, cluster.context(), opener, member->bundle));
      return compare(entry.path, ByteView(bundle).subspan(member->offset, entry.size));
    }
    const auto map = TRY(parse_segment_map(TRY(read_record(store, cluster.context(), opener, std::get<RecordLocation>(entry.content)))));
    for (std::uint32_t i = 0; i < kExtents; ++i)
      TRY(compare(extent_of(i), TRY(read_record(store, cluster.context(), opener, map.extents[i].location.value()))));
    return ok();
  }));
  if (found.size() != content.size()) return Error(Errc::Internal, "a file is missing");
  return ok();
}

/// A restore takes far longer than what goes on beside it.
constexpr int kReadings = 6;

/// As restore::run: the root first, then the pin, then everything else, over and over. Of the oldest backup, which is the first to go.
Status restore_oldest(SimWorld& world, Cluster& cluster) {
  const LiveSnapshot* oldest = nullptr;
  for (const auto& [id, snapshot] : cluster.state().snapshots())
    if (oldest == nullptr || snapshot.seq < oldest->seq) oldest = &snapshot;
  PGMINT_ASSERT(oldest != nullptr);
  const auto id = oldest->snap.session;
  const auto root = read_root(cluster.store(), cluster.context(), id, cluster.keys());
  // Gone before it could be pinned: said, and nothing was restored.
  if (!root) return root.failure().code() == Errc::NotFound ? ok() : Status(root.failure());
  std::string warning;
  auto pin = ReadPin::take(cluster, id, std::chrono::hours(24), &warning);
  auto read = read_whole(world, cluster, *root);
  for (int i = 1; i < kReadings && read; ++i) read = read_whole(world, cluster, *root);
  if (!read) {
    if (read.failure().code() == Errc::Internal) return broken(world, read.failure());
    if (pin.session() && is_damage(read.failure())) return broken(world, Error(read.failure().code(), "what a session had pinned is gone: " + read.failure().describe()));
    return is_damage(read.failure()) ? ok() : std::move(read);
  }
  return pin.release(cluster);
}

// ---------------------------------------------------------------- processes

Scenario::Process in_cluster(const std::function<Status(SimWorld&, Cluster&)>& work) {
  return [work](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(repository->find_cluster("main", kSystemId));
    return work(world, *cluster);
  };
}

Scenario::Process incremental() {
  return in_cluster([](SimWorld& world, Cluster& cluster) -> Status {
    Backup backup(world, cluster);
    TRY(backup.run());
    (void)world.objects().create("confirmed/backup-" + backup.session().hex(), {});
    return ok();
  });
}
Scenario::Process expiry(std::uint32_t stay) {
  return in_cluster([stay](SimWorld&, Cluster& cluster) -> Status {
    const auto now = TRY(expire_time(cluster));
    const auto goes = [&](const LogState& state) { return but_the_newest(stay, state, now); };
    const auto going = goes(cluster.state());
    TRY(forget(cluster, {going.begin(), going.end()}, goes));
    return ok();
  });
}
/// As a host does it every night: what is forgotten goes at once.
Scenario::Process expired_and_collected(std::uint32_t stay) {
  return [stay](SimWorld& world, BlobStore& raw) -> Status {
    TRY(expiry(stay)(world, raw));
    return collection()(world, raw);
  };
}
Scenario::Process restore() { return in_cluster(restore_oldest); }

/// A full and three incrementals, so that the next one finds packs that are less than half in use.
Status prepare(SimWorld& world, BlobStore& raw) {
  Process process(world, raw);
  auto repository = TRY(Repository::create(process.environment, slots_for({Secret::File})));
  auto cluster = TRY(repository->create_cluster("main", kSystemId));
  for (int i = 0; i < 4; ++i) {
    TRY(Backup(world, *cluster).run());
    world.clock().sleep(std::chrono::hours(24));
  }
  return ok();
}

/// Every listed backup restores to what it was, and its account is what it refers to.
Status all_restore(SimWorld& world, BlobStore& raw) {
  return in_cluster([](SimWorld& in, Cluster& cluster) -> Status {
    for (const auto& [id, snapshot] : cluster.state().snapshots()) {
      const auto root = TRY(read_root(cluster.store(), cluster.context(), id, cluster.keys()).context(snapshot.snap.name));
      TRY(read_whole(in, cluster, root).context(snapshot.snap.name));
      RecordOpener opener(cluster.context(), cluster.keys());
      const auto stated = TRY(read_pack_account(cluster.store(), cluster.context(), opener, root));
      if (!stated || *stated != TRY(measure_pack_use(cluster.store(), cluster.context(), opener, root)))
        return Error(Errc::Corruption, fmt::format("the account of {} is wrong", root.name));
    }
    VerifyOptions options;
    options.depth = VerifyDepth::Decompress;
    options.workers = 1;
    const auto report = TRY(verify(cluster, options));
    if (report.damaged()) return Error(Errc::Corruption, report.findings.front().object + ": " + report.findings.front().problem);
    return ok();
  })(world, raw);
}

Status nothing_is_broken(SimWorld& world) {
  return world.objects().list("confirmed/broken-", "", [&](const storage::BlobInfo& info) -> Status {
    return Error(Errc::Corruption, std::string(as_text(*TRY(world.objects().read(info.name, 1 << 16)))));
  });
}

/// What succeeded was published, and as many are listed as are to stay.
Status confirmed_were_listed(SimWorld& world, BlobStore& raw, std::uint32_t stay) {
  return in_cluster([stay](SimWorld& in, Cluster& cluster) -> Status {
    constexpr std::string_view kPrefix = "confirmed/backup-";
    TRY(in.objects().list(std::string(kPrefix), "", [&](const storage::BlobInfo& info) -> Status {
      const auto session = SessionId::parse(std::string_view(info.name).substr(kPrefix.size())).value();
      const auto closed = cluster.state().closed_sessions().find(session);
      if (closed != cluster.state().closed_sessions().end() && closed->second == Closed::BySnap) return ok();
      return Error(Errc::NotFound, fmt::format("session {} succeeded and published nothing", session.hex()));
    }));
    if (cluster.state().snapshots().size() < stay) return Error(Errc::NotFound, "the newest are not there");
    return ok();
  })(world, raw);
}

Status check(SimWorld& world, BlobStore& raw, const Aftermath& after, std::uint32_t stay) {
  TRY(nothing_is_broken(world));
  TRY(all_restore(world, raw));
  TRY(confirmed_were_listed(world, raw, stay));
  if (!after.settled) return ok();
  // The leases of what was cut off end; then everything goes on.
  world.clock().sleep(std::chrono::hours(24 * 9));
  TRY(collection()(world, raw).context("collecting"));
  TRY(incremental()(world, raw).context("the next backup"));
  TRY(expiry(stay)(world, raw).context("expiring"));
  TRY(collection()(world, raw).context("collecting again"));
  TRY(all_restore(world, raw).context("after it"));
  TRY(restore()(world, raw).context("a restore"));
  TRY(nothing_is_broken(world).context("after it"));
  return in_cluster([stay](SimWorld&, Cluster& cluster) -> Status {
    if (cluster.state().snapshots().size() != stay) return Error(Errc::Internal, "others than the newest have stayed");
    const auto report = TRY(collect(cluster));
    if (!report.remove.empty()) return Error(Errc::Internal, "another collection finds " + report.remove.front().name);
    return ok();
  })(world, raw);
}

/// @param stay  so many backups do when the others expire
Scenario scenario(std::string name, std::uint32_t stay, std::vector<Scenario::Process> actors) {
  return {std::move(name), prepare, std::move(actors), [stay](SimWorld& world, BlobStore& raw, const Aftermath& after) { return check(world, raw, after, stay); }};
}

Scenario everything_beside_a_restore() {
  return scenario("an incremental, expire, collect and a restore at once", 2, {incremental(), expiry(2), collection(), restore()});
}
/// Only the newest stays: the parent of the one goes when the other is published.
Scenario two_incrementals() {
  return scenario("two incrementals, expire and collect, and a restore", 1, {incremental(), incremental(), expired_and_collected(1), restore()});
}
Scenario collection_after_expiry() {
  return scenario("expire, then collect, beside a restore and an incremental", 2, {expired_and_collected(2), restore(), incremental()});
}

struct Named {
  std::string name;
  Scenario (*make)();
  std::uint64_t stride;
  std::size_t seeds;
};
void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }
struct BackupsSim : ::testing::TestWithParam<Named> {};

TEST_P(BackupsSim, SurvivesThePowerCutEverywhere) { expect_survives_cuts(GetParam().make(), GetParam().stride); }
TEST_P(BackupsSim, SurvivesBadDays) { expect_survives_days(GetParam().make(), GetParam().seeds); }

INSTANTIATE_TEST_SUITE_P(Backups, BackupsSim,
                         ::testing::Values(Named{"Everything", everything_beside_a_restore, 31, 6}, Named{"TwoIncrementals", two_incrementals, 53, 6},
                                           Named{"CollectionAfterExpiry", collection_after_expiry, 31, 6}),
                         [](const auto& named) { return named.param.name; });

/// Else the scenarios show nothing about it.
TEST(BackupsSimWorld, TheBackupUnderTestMovesRecords) {
  SimWorld world(test_seeds(1)[0]);
  auto store = world.connect();
  const auto prepared = prepare(world, *store);
  ASSERT_TRUE(prepared) << prepared.failure().describe();
  Process process(world, *store);
  auto repository = open_with(process, Secret::File).value();
  auto cluster = repository->find_cluster("main", kSystemId).value();
  Backup backup(world, *cluster);
  const auto name = backup.run();
  ASSERT_TRUE(name) << name.failure().describe();
  EXPECT_GT(backup.moved_bytes(), 0U);
}

}  // namespace
}  // namespace pgmint::sim
