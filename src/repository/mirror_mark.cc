#include "repository/mirror_mark.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "repository/field_list.h"
#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kMarkMax = 16 << 20;
constexpr std::size_t kSealSize = 32;
constexpr std::size_t kGenerationsMax = 1 << 16;
constexpr int kReadsMax = 4;

std::uint64_t micros(TimePoint time) { return static_cast<std::uint64_t>(time.time_since_epoch().count()); }
TimePoint time_of(std::uint64_t micros) { return TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(micros))); }

Bytes encode_cluster(const ClusterId& id, const MirroredCluster& cluster) {
  codec::BinaryWriter out;
  out.raw(id.bytes);
  out.u64(micros(cluster.as_of));
  out.u32(cluster.opened);
  out.varint(cluster.logs.size());
  for (const auto& [generation, log] : cluster.logs) {
    out.u32(generation);
    out.u64(log.entries);
    out.raw(log.last);
  }
  return out.take();
}

Status read_cluster(ByteView value, MirrorMark& mark) {
  codec::BinaryReader in(value, "cluster of a mirror mark");
  const ClusterId id{TRY(in.array<16>())};
  MirroredCluster cluster;
  cluster.as_of = time_of(TRY(in.u64()));
  cluster.opened = TRY(in.u32());
  const auto count = TRY(in.count(44));
  if (count > kGenerationsMax) return in.corrupt("it has too many generations");
  for (std::size_t i = 0; i < count; ++i) {
    const auto generation = TRY(in.u32());
    MirroredLog log;
    log.entries = TRY(in.u64());
    log.last = TRY(in.array<32>());
    cluster.logs[generation] = log;
  }
  TRY(in.expect_end());
  mark.clusters[id] = std::move(cluster);
  return ok();
}

crypto::Digest seal_of(ByteView before, const crypto::Key256* key) { return key == nullptr ? crypto::sha256(before) : crypto::hmac_sha256(*key, before); }

}  // namespace

std::optional<TimePoint> MirrorMark::as_of() const {
  if (clusters.empty()) return number == 0 ? std::nullopt : std::optional(written);
  TimePoint oldest = TimePoint::max();
  for (const auto& [id, cluster] : clusters) oldest = std::min(oldest, cluster.as_of);
  return oldest;
}

std::optional<LogBounds> MirrorMark::bounds_of(const ClusterId& cluster) const {
  LogBounds bounds;
  const bool is_promoted = state == MirrorState::Promoted;
  const auto found = clusters.find(cluster);
  if (found == clusters.end()) {
    if (!is_promoted || left_out.contains(cluster)) return std::nullopt;
    bounds.goes_on_from = 0;  // after a promotion clusters are made as in any repository
    return bounds;
  }
  if (is_promoted) bounds.goes_on_from = found->second.opened;
  for (const auto& [generation, log] : found->second.logs) bounds.entries[generation] = log.entries;
  return bounds;
}

Bytes encode_mark(const MirrorMark& mark, const RepositoryId& repository, const crypto::Key256* repository_mac_key) {
  PGMINT_ASSERT((mark.state == MirrorState::Promoted) == (repository_mac_key != nullptr));
  FieldWriter fields;
  fields.u8(1, static_cast<std::uint8_t>(mark.state));
  fields.text(2, mark.source);
  fields.u64(3, micros(mark.made));
  fields.text(4, mark.made_by);
  fields.u64(5, micros(mark.written));
  fields.u8(7, mark.one_writer ? 1 : 0);
  for (const auto& [id, cluster] : mark.clusters) fields.add(9, encode_cluster(id, cluster));
  for (const auto& id : mark.left_out) fields.add(11, id.bytes);
  Bytes object = to_bytes(encode_header({ObjectKind::MirrorMark, Epoch(0), repository, {}, SessionId{mark.mirror.bytes}}));
  append(object, fields.take());
  append(object, seal_of(object, repository_mac_key));
  return object;
}

Result<MirrorMark> parse_mark(ByteView object, std::uint64_t number, const RepositoryId& repository) {
  const auto header = TRY(expect_header(object, ObjectKind::MirrorMark, repository, {}));
  if (object.size() < kHeaderSize + kSealSize) return Error(Errc::Corruption, "mirror mark is cut off");
  const auto before = object.first(object.size() - kSealSize);
  codec::BinaryReader in(before.subspan(kHeaderSize), "mirror mark");
  const auto fields = TRY(FieldReader::parse(in, "mirror mark", {1, 2, 3, 4, 5, 7, 9, 11}));
  TRY(in.expect_end());
  MirrorMark mark;
  mark.number = number;
  mark.mirror.bytes = header.object.bytes;
  const auto state = TRY(fields.u8(1));
  if (state != static_cast<std::uint8_t>(MirrorState::Mirror) && state != static_cast<std::uint8_t>(MirrorState::Promoted))
    return Error(Errc::Precondition, fmt::format("mirror mark has state {}, which this pgmint does not know", state), Hint{"use a newer pgmint"});
  mark.state = static_cast<MirrorState>(state);
  if (mark.state == MirrorState::Mirror && !std::ranges::equal(seal_of(before, nullptr), object.last(kSealSize)))
    return Error(Errc::Corruption, "mirror mark is damaged");
  mark.source = TRY(fields.optional_text(2));
  mark.made = time_of(TRY(fields.u64(3)));
  mark.made_by = TRY(fields.optional_text(4));
  mark.written = time_of(TRY(fields.u64(5)));
  mark.one_writer = TRY(fields.u8(7)) != 0;
  for (auto value : fields.all(9)) TRY(read_cluster(value, mark));
  for (auto value : fields.all(11)) {
    codec::BinaryReader id(value, "mirror mark");
    mark.left_out.insert(ClusterId{TRY(id.array<16>())});
    TRY(id.expect_end());
  }
  return mark;
}

Result<std::optional<StoredMark>> newest_mark(storage::BlobStore& store, const RepositoryId& repository) {
  // Old marks are removed behind new ones: one that was listed and is gone means that there is a newer one.
  for (int tries = 0; tries < kReadsMax; ++tries) {
    std::optional<std::uint64_t> number;
    TRY(store.list(std::string(kMarksPrefix), "", [&](const storage::BlobInfo& info) -> Status {
      if (const auto parsed = parse_mirror_mark_name(info.name)) number = parsed;
      return ok();
    }));
    if (!number) return std::optional<StoredMark>();
    const auto name = mirror_mark_name(*number);
    auto object = TRY(store.read(name, kMarkMax));
    if (!object) continue;
    auto mark = TRY(parse_mark(*object, *number, repository).context(name));
    return std::optional(StoredMark{std::move(mark), std::move(*object)});
  }
  return Error(Errc::Busy, "the mirror's marks change faster than they can be read", Hint{"run the command again"});
}

bool mark_is_authentic(const StoredMark& stored, const crypto::Key256& repository_mac_key) {
  const ByteView object(stored.object);
  return crypto::equal_constant_time(crypto::hmac_sha256(repository_mac_key, object.first(object.size() - kSealSize)), object.last(kSealSize));
}

Error mirror_refusal(const MirrorMark& mark, const std::string& place) {
  const auto as_of = mark.as_of();
  return Error(Errc::Precondition,
               fmt::format("{} is a mirror of {}, made by {} at {}{}; it is read-only", place, mark.source, mark.made_by, format_rfc3339(mark.made),
                           as_of ? fmt::format(", as of {}", format_rfc3339(*as_of)) : std::string()),
               Hint{"write to the source; or, when the source is lost, make the mirror a repository of its own: pgmint replicate promote"});
}

}  // namespace pgmint::repository
