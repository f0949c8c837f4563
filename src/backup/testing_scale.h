// For tests and bench/scale_bench.cc: clusters of any size. Data directory, maps, manifests, log and WAL objects are real; the
// contents of pages and of the packs that hold them are not there: files are sparse on both sides.
#pragma once

#include <sys/stat.h>

#include "backup/describe.h"
#include "backup/pack_ledger.h"
#include "backup/run.h"
#include "backup/testing_cluster.h"
#include "crypto/hash.h"
#include "postgres/wal_summary.h"
#include "repository/layout.h"
#include "repository/repository.h"
#include "repository/testing_history.h"
#include "repository/wal_coverage.h"
#include "storage/forwarding_store.h"
#include "storage/posix_store.h"

namespace pgmint::backup::testing {

struct ScaleShape {
  std::uint64_t files = 10'240;          ///< of relations
  std::uint64_t file_size = 1ULL << 30;
  std::uint64_t files_per_relation = 10;
  double ratio = 0.3;                    ///< stored bytes of an extent to its own

  std::uint64_t pages() const { return files * (file_size / kBlock); }
};

/// Which pages change between two backups.
enum class Spread {
  Uniform,   ///< any
  Clustered  ///< a tenth of the pages of some files, in one run
};

/// Makes a file of `size` bytes without content, with its directories.
inline void make_sparse(const fs::path& path, std::uint64_t size) {
  fs::create_directories(path.parent_path());
  const auto fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC).value();
  PGMINT_ASSERT(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
}

/// A directory in which packs of pages keep their size only.
class HollowStore final : public storage::ForwardingStore {
 public:
  explicit HollowStore(const fs::path& root, bool durable)
      : ForwardingStore(storage::open_posix_store(root, {.create_root = true, .sync = durable ? std::function<int(int)>() : [](int) { return 0; }}).value()),
        root_(root) {}
  Result<storage::Created> create(const std::string& name, ByteView data) override {
    constexpr std::size_t kKindAt = 68;
    if (!repository::parse_pack_name(name) || data[kKindAt] != static_cast<std::byte>(repository::PackKind::Base))
      return ForwardingStore::create(name, data);
    make_hollow(name, data.size());
    return storage::Created::Yes;
  }
  void make_hollow(const std::string& name, std::uint64_t size) const { make_sparse(root_ / name, size); }

 private:
  const fs::path root_;
};

/// Relation files whose pages are all alike and old; of others what is on the disk.
class HollowSource final : public Source {
 public:
  explicit HollowSource(const fs::path& directory) : directory_(directory), others_(open_source(directory)), page_(kBlock) {
    put_u32(page_, 4, 0x1000028);
    put_u16(page_, 12, 64);
    put_u16(page_, 14, kBlock);
    put_u16(page_, 16, kBlock);
    put_u16(page_, 18, kBlock | 4);
  }
  Result<std::unique_ptr<SourceFile>> open(const std::string& path) override {
    if (!postgres::relation_of_path(path)) return others_->open(path);
    return std::unique_ptr<SourceFile>(std::make_unique<File>(fs::file_size(directory_ / path), page_));
  }
  Result<bool> exists(const std::string& path) override { return others_->exists(path); }

 private:
  struct Range final : SourceRange {
    Range(std::uint64_t size, const Bytes& page) : size_(size), page_(page) {}
    Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override {
      const auto got = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - std::min(size_, offset)));
      for (std::size_t at = 0; at < got; at += kBlock) std::memcpy(out.data() + at, page_.data(), std::min<std::size_t>(kBlock, got - at));
      return got;
    }
    const std::uint64_t size_;
    const Bytes& page_;
  };
  struct File final : SourceFile {
    File(std::uint64_t size, const Bytes& page) : size_(size), page_(page) {}
    std::uint64_t size() const override { return size_; }
    std::unique_ptr<SourceRange> range(std::uint64_t, std::uint64_t) override { return std::make_unique<Range>(size_, page_); }
    const std::uint64_t size_;
    const Bytes& page_;
  };
  const fs::path directory_;
  std::unique_ptr<Source> others_;
  Bytes page_;
};

/// Locations of records that nobody wrote, one pack after the other.
class MadeRecords {
 public:
  MadeRecords(const HollowStore& store, const repository::RecordContext& context, std::function<repository::PackId()> next,
              std::vector<repository::PackSummary>& packs, SeededRandom& random)
      : store_(store), context_(context), next_(std::move(next)), packs_(packs), random_(random) {}
  repository::RecordLocation make(repository::RecordType type, std::uint32_t raw, double ratio) {
    if (at_ == 0 || at_ > repository::kPackTarget) {
      close();
      pack_ = next_();
      at_ = repository::kPackHeaderSize;
    }
    const auto mean = static_cast<std::uint64_t>(raw * ratio);
    repository::RecordLocation l{pack_, at_, static_cast<std::uint32_t>(mean * 9 / 10 + random_.below(mean / 5 + 1) + crypto::kSealOverhead), raw, type,
                                 codec::CodecId::PageZstd, repository::Epoch(1), {}};
    random_.fill(l.nonce);
    at_ += l.stored_length;
    return l;
  }
  void close() {
    if (at_ == 0) return;
    repository::PackSummary pack{pack_, at_ + 4096, {}};
    random_.fill(pack.sha256);
    store_.make_hollow(repository::pack_name(context_.cluster, pack_), pack.size);
    packs_.push_back(pack);
    at_ = 0;
  }

 private:
  const HollowStore& store_;
  const repository::RecordContext context_;
  std::function<repository::PackId()> next_;
  std::vector<repository::PackSummary>& packs_;
  SeededRandom& random_;
  repository::PackId pack_;
  std::uint64_t at_ = 0;
};

/// A cluster and its repository, both on a disk, so that every process that opens them starts from nothing.
class ScaledCluster {
 public:
  ScaledCluster(const ScaleShape& shape, std::uint64_t seed, TimePoint start) : shape_(shape), made_(Checksums::Off), server_(made_), random_(seed), clock_(start) {
    key_ = crypto::Key256::generate(random_);
    for (std::uint64_t i = 0; i < shape_.files; ++i) make_sparse(made_.path() / path_of(i), shape_.file_size);
    auto store = open_store(false);
    std::vector<repository::Repository::Slot> slots(1);
    slots[0].unlock.key = key_.clone();
    auto repository = repository::Repository::create(environment(*store), std::move(slots)).value();
    PGMINT_ASSERT(repository->create_cluster("main", made_.system_identifier().value()).has_value());
  }

  struct Opened {
    std::unique_ptr<HollowStore> store;
    std::unique_ptr<repository::Repository> repository;
    std::unique_ptr<repository::Cluster> cluster;
  };
  /// @param durable  with fsync, as in production
  Opened open(bool durable = true) {
    Opened opened{open_store(durable), nullptr, nullptr};
    std::vector<repository::Unlock> unlocks(1);
    unlocks[0].key = key_.clone();
    opened.repository = repository::Repository::open(environment(*opened.store), std::move(unlocks)).value();
    opened.cluster = opened.repository->find_cluster("main", std::nullopt).value();
    return opened;
  }

  const ScaleShape& shape() const { return shape_; }
  const fs::path& repository_path() const { return repository_path_; }
  const crypto::Key256& key() const { return key_; }
  SeededRandom& random() { return random_; }
  /// In a process that was split off: no two draw the same.
  void reseed(std::uint64_t seed) { random_ = SeededRandom(seed); }
  TestClock& clock() { return clock_; }

  /// The full backup that the incrementals stand on; also in a process of its own.
  Status make_full(Opened& opened) {
    auto& cluster = *opened.cluster;
    const auto session = random_.id<repository::SessionId>();
    TRY(cluster.log().append(cluster.actor(), repository::BeginEntry{session, repository::SessionPurpose::Write, {}, clock_.now() + std::chrono::hours(24)}));
    std::vector<repository::PackSummary> added;
    repository::PackBuffers buffers;
    std::uint32_t number = 0;
    const auto next_pack = [&] { return repository::PackId{session, number++}; };
    const repository::PackSettings settings{cluster.context(), cluster.keys(), {codec::CodecId::Zstd, 1}, system_random(), next_pack, buffers};
    const repository::PackSink put = [&](repository::FinishedPack pack) -> Status {
      added.push_back({pack.id, pack.data.size(), crypto::sha256(pack.data)});
      TRY(opened.store->create(repository::pack_name(cluster.id(), pack.id), pack.data));
      buffers.give(std::move(pack.data));
      return ok();
    };
    repository::PackStream maps(settings, repository::PackKind::Map, put), rest(settings, repository::PackKind::Base, put);
    MadeRecords records(*opened.store, cluster.context(), next_pack, added, random_);
    PackLedger ledger;
    const auto scan = TRY(postgres::scan_data_directory(made_.path()));
    const auto files = TRY(make_contents(scan, maps, rest, records, ledger));
    records.close();
    auto described = TRY(describe(maps, scan, files, TRY(store_control(rest)), {}, nullptr, nullptr));
    auto root = root_of(session, described);
    const auto use = TRY(ledger.settle(nullptr, described.bundles, described.maps, described.nodes, nullptr));
    root.account = TRY(write_account(maps, use, nullptr, nullptr));
    TRY(rest.close());
    TRY(maps.close());
    TRY(repository::testing::publish(cluster, root, std::move(added), {}, random_));
    return archive(opened, 0, {});
  }

  /// The next backup starts `segments` of WAL after the last one. In the process that all others come from.
  void let_time_pass(std::uint64_t segments) {
    changed_from_ = start_segment_ + 1;
    start_segment_ += segments + 1;
    server_.started.start_lsn = in_segment(start_segment_, 0x28);
    server_.stopped = {in_segment(start_segment_, 0x138), ScriptedServer::label_of(server_.started.start_lsn), ""};
    clock_.sleep(std::chrono::minutes(10));
  }
  /// Archives the WAL of the time that passed, in which `fraction` of the pages changed. @return how many
  Result<std::uint64_t> archive_changes(Opened& opened, double fraction, Spread spread) {
    const auto segments = start_segment_ - changed_from_;
    std::vector<std::map<std::uint64_t, std::vector<postgres::BlockNumber>>> changed(segments);
    std::uint64_t count = 0;
    const auto pages = static_cast<postgres::BlockNumber>(shape_.file_size / kBlock);
    const auto touch = [&](std::uint64_t file, postgres::BlockNumber block) {
      changed[random_.below(segments)][file / shape_.files_per_relation].push_back(
          static_cast<postgres::BlockNumber>(file % shape_.files_per_relation * pages + block));
      ++count;
    };
    if (spread == Spread::Uniform) {
      const auto wanted = static_cast<std::uint64_t>(static_cast<double>(shape_.pages()) * fraction);
      // One of each stretch of pages, so that none is drawn twice.
      for (std::uint64_t i = 0; i < wanted; ++i) {
        const auto page = i * shape_.pages() / wanted + random_.below(std::max<std::uint64_t>(1, shape_.pages() / wanted));
        touch(page / pages, static_cast<postgres::BlockNumber>(page % pages));
      }
    } else {
      const auto run = std::max(pages / 10, 1U);
      const auto every = std::max(std::uint64_t{1}, static_cast<std::uint64_t>(0.1 / fraction));
      for (std::uint64_t file = 0; file < shape_.files; file += every) {
        const auto first = static_cast<postgres::BlockNumber>(random_.below(pages - run + 1));
        for (auto block = first; block < first + run; ++block) touch(file, block);
      }
    }
    for (std::uint64_t i = 0; i < segments; ++i) TRY(archive(opened, changed_from_ + i - kFirstSegment, changed[i]));
    return count;
  }
  /// @param memory_max  of packs and lists, as in the configuration
  Result<BackupReport> take(Opened& opened, ByteCount memory_max, bool incremental = true) {
    HollowSource source(made_.path());
    server_.on_stop = [&] { return archive(opened, start_segment_ - kFirstSegment, {}); };
    BackupRequest request{.cluster = *opened.cluster, .data_directory = made_.path()};
    request.incremental = incremental;
    request.codec = {codec::CodecId::None, 1};
    request.workers = 2;
    request.memory_max = memory_max;
    return run_against(request, server_, source);
  }

 private:
  static constexpr std::uint64_t kFirstSegment = 5;
  static constexpr std::uint32_t kWalSize = 16U << 20;
  static constexpr std::uint32_t kExtent = 256U << 10;

  std::string path_of(std::uint64_t file) const {
    const auto part = file % shape_.files_per_relation;
    // As long as paths are: longer than what a string holds without memory of its own.
    return fmt::format("base/16384/{}{}", 1'000'000 + file / shape_.files_per_relation, part == 0 ? "" : fmt::format(".{}", part));
  }
  static postgres::Lsn in_segment(std::uint64_t segment, std::uint64_t offset) { return postgres::Lsn(segment * kWalSize + offset); }

  std::unique_ptr<HollowStore> open_store(bool durable) { return std::make_unique<HollowStore>(repository_path_, durable); }
  repository::Environment environment(storage::BlobStore& store) { return {store, clock_, system_random(), *seen_, "test@host", "test"}; }

  Result<std::vector<CopiedFile>> make_contents(const postgres::DirectoryScan& scan, repository::PackStream& maps, repository::PackStream& rest, MadeRecords& records,
                                                PackLedger& ledger) {
    std::vector<CopiedFile> files(scan.entries.size());
    std::optional<repository::BundleMember> bundle;
    SharedRecords shared;
    std::uint64_t bundled = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
      const auto& entry = scan.entries[i];
      if (!has_content(entry)) continue;
      files[i].length = entry.size;
      if (!entry.relation) {
        files[i].state = CopiedFile::State::Bundled;
        files[i].content = StoredContent(TRY(store_small(rest, entry)));
        continue;
      }
      if (entry.size < kExtent) {
        if (!bundle || bundled + entry.size > 2 * kExtent) {
          bundle.emplace(repository::BundleMember{records.make(repository::RecordType::Bundle, 2 * kExtent, shape_.ratio), 0, {}});
          bundled = 0;
        }
        files[i].state = CopiedFile::State::Bundled;
        bundle->offset = static_cast<std::uint32_t>(bundled);
        random_.fill(bundle->fingerprint);
        files[i].content = StoredContent(shared.share(bundle->bundle), bundle->offset, bundle->fingerprint);
        bundled += entry.size;
        continue;
      }
      repository::SegmentMap map{kBlock, kExtent, entry.size, {}, {}};
      for (std::uint64_t e = 0; e < map.extent_count(); ++e) {
        repository::MapExtent extent{records.make(repository::RecordType::Extent, map.extent_length(e), shape_.ratio), {}};
        random_.fill(extent.fingerprint);
        map.extents.push_back(std::move(extent));
      }
      const auto where = TRY(maps.append(repository::RecordType::SegmentMap, repository::encode_segment_map(map)));
      ledger.stored(where, map);
      files[i].state = CopiedFile::State::Mapped;
      files[i].content = StoredContent(where);
    }
    return files;
  }

  Result<repository::BundleMember> store_small(repository::PackStream& rest, const postgres::DirectoryEntry& entry) {
    const auto bytes = TRY(read_file(made_.path() / entry.path, kExtent));
    const auto where = TRY(rest.append(repository::RecordType::Bundle, bytes));
    return repository::BundleMember{where, 0, rest.fingerprint(repository::bundle_member_nonce(where.nonce, 0), bytes)};
  }

  Result<repository::FileEntry> store_control(repository::PackStream& rest) {
    std::vector<ExtraFile> control(1);
    control[0].bytes = TRY(read_file(made_.path() / "global/pg_control", 1 << 20));
    return TRY(store_extra_files(rest, std::move(control))).front();
  }

  repository::ManifestRoot root_of(const repository::SessionId& session, const Described& described) {
    const auto control = postgres::read_control_file(made_.path(), clock_).value().control;
    repository::ManifestRoot root;
    root.session = session;
    root.name = fmt::format("{}-full", format_compact(clock_.now()));
    root.started = root.finished = clock_.now();
    root.system_id = made_.system_identifier().value();
    root.incarnation = repository::Incarnation(1);
    root.timeline = 1;
    root.start_lsn = server_.started.start_lsn.value();
    root.stop_lsn = server_.stopped.stop_lsn.value();
    root.pg_major = static_cast<std::uint32_t>(control.version->major);
    root.control_version = control.version->control_version;
    root.catalog_version = control.catalog_version;
    root.block_size = control.block_size;
    root.blocks_per_segment = control.relation_segment_blocks;
    root.wal_segment_size = kWalSize;
    root.checksum_version = control.data_checksum_version;
    root.backup_label = to_bytes(as_bytes(server_.stopped.label_file));
    root.tree_depth = described.tree.depth;
    root.tree = described.tree.root;
    root.extent_size = kExtent;
    root.file_count = described.files;
    root.total_bytes = described.total_bytes;
    return root;
  }

  /// @param number  of the segment, from that of the full's start on
  Status archive(Opened& opened, std::uint64_t number, const std::map<std::uint64_t, std::vector<postgres::BlockNumber>>& changed) {
    const auto segment = kFirstSegment + number;
    postgres::WalSummary summary;
    summary.major = 15;
    summary.system_identifier = made_.system_identifier();
    summary.timeline = postgres::TimelineId(1);
    summary.segment = postgres::SegmentNumber(segment);
    summary.first_record = in_segment(segment, 0x28);
    summary.first_previous = in_segment(segment - 1, 0x1000);
    summary.last_record = summary.last_complete = in_segment(segment, 0x1000);
    summary.end = in_segment(segment + 1, 0);
    for (const auto& [relation, blocks] : changed) {
      summary.blocks.push_back({{postgres::relation_of_path(path_of(relation * shape_.files_per_relation))->locator, postgres::Fork::Main}, blocks});
      std::ranges::sort(summary.blocks.back().blocks);
    }
    repository::WalArchive wal(*opened.cluster, repository::current_identity(opened.cluster->state()), {codec::CodecId::Zstd, 1});
    const auto name = postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(segment), postgres::WalSegmentSize::default_size());
    TRY(wal.put(name, repository::WalContent::Segment, kWalSize, Bytes(kWalSize), postgres::encode_summary(summary)));
    return ok();
  }

  const ScaleShape shape_;
  MadeCluster made_;
  ScriptedServer server_;
  SeededRandom random_;
  crypto::Key256 key_;
  storage::TemporaryDirectory directory_;
  const fs::path repository_path_ = directory_.path() / "repository";
  TestClock clock_;
  std::unique_ptr<repository::SeenMemory> seen_ = repository::make_no_memory();
  std::uint64_t start_segment_ = kFirstSegment, changed_from_ = kFirstSegment + 1;
};

}  // namespace pgmint::backup::testing
