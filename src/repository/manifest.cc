#include "repository/manifest.h"

#include <fmt/format.h>

#include <cstring>

#include "codec/compression.h"
#include "repository/field_list.h"
#include "repository/layout.h"
#include "repository/object_header.h"
#include "repository/pack.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kRootSealedMax = 16 << 20;
constexpr std::size_t kRootRawMax = 64 << 20;

void put_time(FieldWriter& out, std::uint64_t tag, TimePoint time) {
  out.u64(tag, static_cast<std::uint64_t>(time.time_since_epoch().count()));
}
Result<TimePoint> get_time(const FieldReader& in, std::uint64_t tag) {
  return TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(TRY(in.u64(tag)))));
}

Bytes root_aad(const ByteArray<kHeaderSize>& header, const std::string& name) {
  Bytes aad = to_bytes(header);
  append(aad, as_bytes(name));
  return aad;
}

Result<PackUse> parse_pack_use(ByteView field) {
  codec::BinaryReader in(field, "manifest's account of packs");
  PackUse use;
  const auto count = TRY(in.count(18));
  for (std::size_t i = 0; i < count; ++i) {
    PackId pack;
    pack.session.bytes = TRY(in.array<16>());
    const auto number = TRY(in.varint());
    const auto bytes = TRY(in.varint());
    if (number > UINT32_MAX || bytes == 0 || bytes > kPackMax) return in.corrupt("out of range");
    pack.number = static_cast<std::uint32_t>(number);
    use.set(pack, bytes);
  }
  TRY(in.expect_end());
  return use;
}

Result<std::vector<RecordLocation>> parse_account_places(ByteView field) {
  codec::BinaryReader in(field, "manifest's account of packs");
  std::vector<RecordLocation> pieces(TRY(in.count(40)));
  for (auto& piece : pieces) {
    piece = TRY(parse_location(in));
    if (piece.type != RecordType::ManifestNode) return in.corrupt("a piece is no node");
  }
  TRY(in.expect_end());
  return pieces;
}

}  // namespace

std::string_view backup_type_name(BackupType type) {
  switch (type) {
    case BackupType::Full: return "full";
    case BackupType::Incremental: return "incremental";
    case BackupType::Logical: return "logical";
    case BackupType::Config: return "config";
  }
  return "unknown";
}
std::string_view backup_type_suffix(BackupType type) { return type == BackupType::Incremental ? "incr" : backup_type_name(type); }

Bytes encode_root(const ManifestRoot& root) {
  FieldWriter out;
  out.text(1, root.name);
  codec::BinaryWriter v;
  v.u64(root.file_count);
  v.u64(root.total_bytes);
  v.u64(root.stored_bytes);
  out.add(2, v.take());
  out.u8(3, static_cast<std::uint8_t>(root.type));
  out.u8(4, root.from_standby ? 1 : 0);
  put_time(out, 5, root.started);
  if (!root.note.empty()) out.text(6, root.note);
  put_time(out, 7, root.finished);
  for (const auto& t : root.tablespaces) {
    v.u32(t.oid);
    v.text(t.location);
    out.add(8, v.take());
  }
  v.u64(root.system_id);
  v.u32(root.incarnation.value());
  v.u32(root.timeline);
  v.u64(root.start_lsn);
  v.u64(root.stop_lsn);
  for (auto n : {root.pg_major, root.control_version, root.catalog_version, root.block_size, root.blocks_per_segment,
                 root.wal_segment_size, root.checksum_version})
    v.u32(n);
  out.add(9, v.take());
  for (const auto& page : root.bad_pages) {
    v.text(page.path);
    v.varint(page.block);
    v.u8(page.reason);
    out.add(10, v.take());
  }
  out.add(11, root.backup_label);
  for (const auto& warning : root.warnings) out.text(12, warning);
  if (!root.tablespace_map.empty()) out.add(13, root.tablespace_map);
  for (const auto& [name, value] : root.settings) {
    v.text(name);
    v.text(value);
    out.add(14, v.take());
  }
  v.u8(root.tree_depth);
  encode_location(v, root.tree);
  out.add(15, v.take());
  out.text(16, root.pgmint_version);
  if (root.parent) out.add(17, root.parent->bytes);
  out.text(18, root.host);
  out.u32(19, root.extent_size);
  if (root.pack_use) {
    const auto packs = root.pack_use->packs();
    v.varint(packs.size());
    for (const auto& [pack, bytes] : packs) {
      v.raw(pack.session.bytes);
      v.varint(pack.number);
      v.varint(bytes);
    }
    out.add(20, v.take());
  }
  if (root.account) {
    v.varint(root.account->size());
    for (const auto& piece : *root.account) encode_location(v, piece);
    out.add(22, v.take());
  }
  return out.take();
}

Result<ManifestRoot> parse_root(ByteView fields) {
  codec::BinaryReader in(fields, "manifest");
  auto f = TRY(FieldReader::parse(in, "manifest", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22}));
  TRY(in.expect_end());
  ManifestRoot root;
  root.name = TRY(f.text(1, 128));
  if (f.has(2)) {
    codec::BinaryReader v(TRY(f.value(2)), "manifest totals");
    root.file_count = TRY(v.u64());
    root.total_bytes = TRY(v.u64());
    root.stored_bytes = TRY(v.u64());
  }
  const auto type = TRY(f.u8(3));
  if (type < 1 || type > 4) return in.corrupt("unknown backup type");
  root.type = static_cast<BackupType>(type);
  if (f.has(4)) root.from_standby = TRY(f.u8(4)) != 0;
  root.started = TRY(get_time(f, 5));
  root.note = TRY(f.optional_text(6, 65536));
  root.finished = TRY(get_time(f, 7));
  for (auto value : f.all(8)) {
    codec::BinaryReader v(value, "tablespace");
    Tablespace t;
    t.oid = TRY(v.u32());
    t.location = TRY(v.text(4096));
    root.tablespaces.push_back(std::move(t));
  }
  codec::BinaryReader pg(TRY(f.value(9)), "manifest's PostgreSQL facts");
  root.system_id = TRY(pg.u64());
  root.incarnation = Incarnation(TRY(pg.u32()));
  root.timeline = TRY(pg.u32());
  root.start_lsn = TRY(pg.u64());
  root.stop_lsn = TRY(pg.u64());
  for (auto* n : {&root.pg_major, &root.control_version, &root.catalog_version, &root.block_size, &root.blocks_per_segment,
                  &root.wal_segment_size, &root.checksum_version})
    *n = TRY(pg.u32());
  for (auto value : f.all(10)) {
    codec::BinaryReader v(value, "known-bad page");
    BadPage page;
    page.path = TRY(v.text(4096));
    page.block = TRY(v.varint());
    page.reason = TRY(v.u8());
    root.bad_pages.push_back(std::move(page));
  }
  root.backup_label = to_bytes(TRY(f.value(11)));
  for (auto value : f.all(12)) root.warnings.emplace_back(as_text(value));
  if (f.has(13)) root.tablespace_map = to_bytes(TRY(f.value(13)));
  for (auto value : f.all(14)) {
    codec::BinaryReader v(value, "setting");
    auto name = TRY(v.text(4096));
    auto setting = TRY(v.text(65536));
    root.settings.emplace_back(std::move(name), std::move(setting));
  }
  codec::BinaryReader tree(TRY(f.value(15)), "manifest tree");
  root.tree_depth = TRY(tree.u8());
  root.tree = TRY(parse_location(tree));
  root.pgmint_version = TRY(f.optional_text(16));
  if (f.has(17)) root.parent = SessionId{TRY(f.array<16>(17))};
  root.host = TRY(f.optional_text(18));
  root.extent_size = TRY(f.u32(19));
  if (f.has(20)) root.pack_use = TRY(parse_pack_use(TRY(f.value(20))));
  if (f.has(22)) root.account = TRY(parse_account_places(TRY(f.value(22))));
  return root;
}

Bytes seal_root(const ManifestRoot& root, const RecordContext& context, const crypto::Key256& map_key, RandomSource& random) {
  const Bytes fields = encode_root(root);
  const Bytes frame = codec::compress_sized(fields, 3);
  const auto header = encode_header({ObjectKind::ManifestRoot, Epoch(0), context.repository, context.cluster, root.session});
  crypto::Aead aead(map_key);
  Bytes object = to_bytes(header);
  append(object, aead.seal_with_random_nonce(random, root_aad(header, manifest_name(context.cluster, root.session)),
                                             frame));
  return object;
}

Result<ManifestRoot> open_root(ByteView object, const RecordContext& context, const SessionId& session, const ClusterKeys& keys) {
  const auto name = manifest_name(context.cluster, session);
  auto opened = [&]() -> Result<ManifestRoot> {
    auto header = TRY(expect_header(object, ObjectKind::ManifestRoot, context.repository, context.cluster));
    if (header.object != session) return Error(Errc::Corruption, "another backup's manifest stands under this name");
    if (keys.map_key.is_zero()) return Error(Errc::Key, "this key slot may not read manifests", Hint{"use a slot with the role root or host"});
    crypto::Aead aead(keys.map_key);
    ByteArray<kHeaderSize> raw_header;
    std::memcpy(raw_header.data(), object.data(), kHeaderSize);
    auto frame = TRY(aead.open_with_nonce(root_aad(raw_header, name), object.subspan(kHeaderSize)));
    const Bytes fields = TRY(codec::decompress_sized(frame, kRootRawMax));
    auto root = TRY(parse_root(fields));
    root.session = session;
    return root;
  }();
  return std::move(opened).context(name);
}

Result<ManifestRoot> read_root(storage::BlobStore& store, const RecordContext& context, const SessionId& session,
                               const ClusterKeys& keys) {
  const auto name = manifest_name(context.cluster, session);
  auto object = TRY(store.read(name, kRootSealedMax));
  if (!object)
    return Error(Errc::NotFound, fmt::format("{}: the backup's manifest is missing", name),
                 Hint{"pgmint verify names what else is missing"});
  return open_root(*object, context, session, keys);
}

}  // namespace pgmint::repository
