// For tests: a whole repository with one cluster in memory, and backups that are small and real.
#pragma once

#include <gtest/gtest.h>

#include "repository/layout.h"
#include "repository/pack_account.h"
#include "repository/repository.h"
#include "repository/session.h"
#include "storage/fault_store.h"
#include "storage/memory_store.h"

namespace pgmint::repository {

class RepositoryFixture {
 public:
  static constexpr std::uint64_t kSystemId = 7;

  explicit RepositoryFixture(std::uint64_t seed = 1) : random(seed), clock(TimePoint(std::chrono::seconds(1'000'000))) {
    auto inner = storage::make_memory_store();
    memory = inner.get();
    store = std::make_unique<storage::FaultStore>(std::move(inner), clock);
    unlock.provider = KeyProvider::KeyFile;
    unlock.key = crypto::Key256::generate(random);
    std::vector<Repository::Slot> slots;
    slots.push_back({copy_of(unlock), "test"});
    repository = std::move(*Repository::create(environment(), std::move(slots)));
    cluster = std::move(*repository->create_cluster("main", kSystemId));
  }

  static Unlock copy_of(const Unlock& unlock) {
    Unlock copy;
    copy.provider = unlock.provider;
    copy.key = unlock.key.clone();
    copy.passphrase = unlock.passphrase;
    return copy;
  }
  Environment environment() { return {*store, clock, random, *seen, "test@host", "test"}; }
  /// As another process would: nothing is known but the store and the key.
  std::unique_ptr<Repository> reopened() {
    std::vector<Unlock> unlocks;
    unlocks.push_back(copy_of(unlock));
    auto opened = Repository::open(environment(), std::move(unlocks));
    EXPECT_TRUE(opened) << opened.failure().describe();
    return std::move(*opened);
  }

  /// A pack with `records` small records of recognizable contents.
  FinishedPack make_pack(Cluster& of, const PackId& id, int records = 1) {
    RecordSealer sealer(of.context(), of.keys(), {codec::CodecId::Zstd, 1}, random);
    PackWriter writer(of.context(), id, PackKind::Base, of.keys().newest_epoch(), sealer, of.keys().maintenance_key, random);
    for (int i = 0; i < records; ++i) EXPECT_TRUE(writer.append(RecordType::Extent, Bytes(512, static_cast<std::byte>(i))));
    return std::move(writer).finish();
  }
  ManifestRoot root_of(const WriteSession& session, const std::string& name) {
    ManifestRoot root;
    root.session = session.id();
    root.name = name;
    root.started = root.finished = clock.now();
    root.system_id = kSystemId;
    root.incarnation = Incarnation(1);
    root.timeline = 1;
    root.start_lsn = 1000;
    root.stop_lsn = 2000;
    root.pg_major = 17;
    root.block_size = 8192;
    root.blocks_per_segment = 131072;
    root.wal_segment_size = 16 << 20;
    root.extent_size = 131072;
    return root;
  }
  /// One pack that holds a bundle, and the file in it.
  struct BundlePack {
    FinishedPack pack;
    FileEntry file;
  };
  BundlePack make_bundle(Cluster& of, const PackId& id, const std::string& path) {
    RecordSealer sealer(of.context(), of.keys(), {codec::CodecId::Zstd, 1}, random);
    PackWriter writer(of.context(), id, PackKind::Base, of.keys().newest_epoch(), sealer, of.keys().maintenance_key, random);
    const auto text = "contents of " + path;
    const auto location = writer.append(RecordType::Bundle, as_bytes(text));
    EXPECT_TRUE(location);
    FileEntry file;
    file.path = path;
    file.kind = FileKind::Bundled;
    file.size = text.size();
    file.content = BundleMember{*location, 0, sealer.fingerprint(location->nonce, as_bytes(text))};
    return {std::move(writer).finish(), std::move(file)};
  }
  /// A backup of `files` one-file packs and one for the tree. With a parent also of those files of its that are not in packs
  /// of `removed`. @errors of the session's
  Result<SessionId> backup(Cluster& of, const std::string& name, int files = 1, std::optional<SessionId> parent = {},
                           std::vector<PackId> removed = {}) {
    auto session = TRY(WriteSession::begin(of, parent));
    std::vector<FileEntry> entries;
    if (parent) entries = TRY(files_of(of, *parent));
    std::erase_if(entries, [&](const FileEntry& entry) {
      return std::find(removed.begin(), removed.end(), std::get<BundleMember>(entry.content).bundle.pack) != removed.end();
    });
    for (int i = 0; i < files; ++i) {
      auto bundle = make_bundle(of, session->next_pack(), name + "-" + std::to_string(1000 + i));
      entries.push_back(bundle.file);
      TRY(session->upload(std::move(bundle.pack)));
    }
    std::sort(entries.begin(), entries.end(), entry_before);
    auto root = root_of(*session, name);
    RecordSealer sealer(of.context(), of.keys(), {codec::CodecId::Zstd, 1}, random);
    PackWriter maps(of.context(), session->next_pack(), PackKind::Map, of.keys().newest_epoch(), sealer, of.keys().maintenance_key, random);
    PackUse use;
    ManifestTreeWriter tree([&](ByteView node) -> Result<RecordLocation> {
      const auto location = TRY(maps.append(RecordType::ManifestNode, node));
      use.add(location);
      return location;
    });
    for (auto& entry : entries) {
      use.add(std::get<BundleMember>(entry.content).bundle);
      TRY(tree.add(std::move(entry)));
    }
    const auto written = TRY(std::move(tree).finish());
    if (account) {
      root.account.emplace();
      for (const auto& piece : encode_pack_account(account(std::move(use))))
        root.account->push_back(TRY(maps.append(RecordType::ManifestNode, piece)));
    }
    root.tree = written.root;
    root.tree_depth = written.depth;
    root.file_count = entries.size();
    root.parent = parent;
    TRY(session->upload(std::move(maps).finish()));
    TRY(session->commit(root, std::move(removed)));
    return session->id();
  }
  Result<std::vector<FileEntry>> files_of(Cluster& of, const SessionId& id) {
    RecordOpener opener(of.context(), of.keys());
    std::vector<FileEntry> files;
    const auto root = TRY(read_root(of.store(), of.context(), id, of.keys()));
    TRY(walk_manifest(of.store(), of.context(), opener, root, [&](const FileEntry& file) -> Status {
      files.push_back(file);
      return ok();
    }));
    return files;
  }
  Result<SessionId> backup(const std::string& name, int files = 1) { return backup(*cluster, name, files); }

  bool has(const PackId& pack) { return memory->stat(pack_name(cluster->id(), pack))->has_value(); }
  bool has_root(const SessionId& session) { return memory->stat(manifest_name(cluster->id(), session))->has_value(); }
  Status write(EntryContent content) {
    TRY(cluster->log().append(cluster->actor(), std::move(content)));
    return ok();
  }

  /// What backup() writes as its account of packs, from the true one; empty: none.
  std::function<PackUse(PackUse)> account;
  SeededRandom random;
  ManualClock clock;
  Unlock unlock;
  storage::MemoryStore* memory;
  std::unique_ptr<storage::FaultStore> store;
  std::unique_ptr<SeenMemory> seen = make_no_memory();
  std::unique_ptr<Repository> repository;
  std::unique_ptr<Cluster> cluster;
};

}  // namespace pgmint::repository
