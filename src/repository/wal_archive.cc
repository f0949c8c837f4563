#include "repository/wal_archive.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/scratch.h"
#include "crypto/hash.h"
#include "repository/layout.h"
#include "repository/object_header.h"
#include "repository/wal_object.h"

namespace pgmint::repository {

namespace {

/// Enough for prefix and index of a 16 MiB segment; larger indexes take a second read.
constexpr std::size_t kFirstRead = 2048;
/// Records are read from the store in stretches of at most this; a segment of the usual size is one stretch.
constexpr std::uint64_t kWindow = std::uint64_t{32} << 20;
/// Summaries of 16 MiB segments have some tens of kilobytes.
constexpr std::size_t kSummaryRoom = 1 << 20;
/// Files above this are not sealed in memory but pass through a spool file, a stretch at a time.
constexpr std::uint64_t kSpoolAbove = std::uint64_t{32} << 20;
constexpr std::size_t kSpoolStretch = std::size_t{4} << 20;

/// Bytes in memory as a file.
class MemoryPlain final : public WalPlain {
 public:
  MemoryPlain(ByteView bytes, ByteView encoded_summary) : bytes_(bytes), summary_(encoded_summary) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Status begin(bool) override {
    at_ = 0;
    return ok();
  }
  Result<ByteView> next(std::size_t length) override {
    at_ += length;
    return bytes_.subspan(at_ - length, length);
  }
  void summarize(ByteView, const codec::WalChain&) override {}
  Bytes summary() override { return to_bytes(summary_); }

 private:
  ByteView bytes_, summary_;
  std::size_t at_ = 0;
};

std::string short_hex(const crypto::Digest& mac) { return to_hex(ByteView(mac).first(8)); }

/// A nameless file below `directory` that goes with the process. What is written to it is sealed already.
Result<Fd> open_spool(const fs::path& directory) {
  std::error_code ignored;
  const fs::path where = directory.empty() ? fs::temp_directory_path(ignored) : directory;
  TRY(create_directories(where, 0700).context("spool for a long WAL file"));
  if (auto fd = open_file(where, O_TMPFILE | O_RDWR)) return fd;
  // Some file systems, NFS among them, make no file without a name.
  ByteArray<8> nonce;
  system_random().fill(nonce);
  const fs::path path = where / ("wal-spool-" + to_hex(nonce));
  auto fd = TRY(open_file(path, O_RDWR | O_CREAT | O_EXCL).context("spool for a long WAL file"));
  fs::remove(path, ignored);
  return fd;
}

/// A whole object: in memory, or its front there and its records in a spool file.
struct SealedObject {
  ByteView in_memory;
  std::optional<Fd> spool;
  std::uint64_t spooled = 0;
};

/// An object whose prefix, index and size were found authentic and consistent.
struct Look {
  WalPrefix prefix;
  WalIndex index;
  Bytes prefix_bytes;
  Bytes front;                   ///< as the object begins
  std::uint64_t records_at = 0;  ///< offset of the first record
};

/// The MAC of a file (docs/format/wal.md): the plaintext, fed in pieces, runs through GHASH, five times as fast as SHA-256;
/// HMAC then covers that sum with everything else. The sum's nonce is fixed, which is safe because it never leaves here.
class PlainMac {
 public:
  explicit PlainMac(const crypto::Key256& mac_key)
      : key_(crypto::derive_key(mac_key, "pgmint wal mac v1")), sum_(crypto::derive_key(mac_key, "pgmint wal sum v1")) {}

  void start() { sum_.start(crypto::Nonce{}); }
  void update(ByteView plain) { sum_.update(plain); }
  crypto::Digest finish(ByteView prefix, std::string_view file_name) {
    crypto::HmacSha256 whole(key_);
    whole.update(prefix.subspan(kHeaderSize, kWalMacOffset - kHeaderSize));
    const std::byte length{static_cast<unsigned char>(file_name.size())};
    whole.update(ByteView(&length, 1));
    whole.update(as_bytes(file_name));
    whole.update(sum_.finish());
    return whole.finish();
  }

 private:
  crypto::Key256 key_;
  crypto::Gmac sum_;
};

}  // namespace

struct WalArchive::State {
  State(Cluster& c, WalIdentity i, codec::CodecChoice codec, fs::path spool)
      : cluster(c),
        identity(i),
        spool_directory(std::move(spool)),
        compressor(codec::wal_codec(codec)) {
    if (!c.keys().map_key.is_zero()) map.emplace(c.keys().map_key);
    if (!c.keys().mac_key.is_zero()) mac.emplace(c.keys().mac_key);
  }

  Cluster& cluster;
  WalIdentity identity;
  fs::path spool_directory;
  std::optional<PlainMac> mac;
  std::optional<crypto::Aead> map;
  std::map<Epoch, crypto::Aead> data;
  codec::Compressor compressor;
  codec::Decompressor decompressor;
  Scratch sealed_scratch, plain_scratch, long_scratch;

  storage::BlobStore& store() const { return cluster.store(); }
  RandomSource& random() const { return cluster.repository().environment().random; }

  Status check_keys() const {
    if (map && mac && cluster.keys().can_read_data()) return ok();
    return Error(Errc::Key, "the key that opened this repository may not read or write WAL",
                 Hint{"use a key of role root or host; pgmint key list"});
  }

  Result<std::string> object_name(const std::string& file_name) const {
    if (!wal_content_of(file_name)) {
      return Error(Errc::Usage, fmt::format("\"{}\" is not the name of a file that PostgreSQL archives", file_name));
    }
    return wal_name(cluster.id(), identity.system_id, identity.incarnation, file_name);
  }

  Result<crypto::Aead*> data_aead(Epoch epoch) {
    auto at = data.find(epoch);
    if (at == data.end()) {
      const auto* key = TRY(cluster.keys().data_key(epoch));
      at = data.try_emplace(epoch, *key).first;
    }
    return &at->second;
  }

  Result<std::optional<Look>> look(const std::string& file_name, const std::string& name) {
    TRY(check_keys());
    return look_at(file_name, name, TRY(store().read_front(name, kFirstRead)));
  }
  /// @param read  of its beginning, or nullopt: there is none
  Result<std::optional<Look>> look_at(const std::string& file_name, const std::string& name, std::optional<storage::BlobFront> read);
  Result<crypto::Digest> mac_of(const std::string& file_name, const WalObjectInfo& info, WalPlain& plain);
  /// As WalArchive's; sets the MAC in `info` when there is something to compare with.
  Result<bool> holds(const std::string& file_name, const std::string& name, WalObjectInfo& info, WalPlain& plain);
  /// @param wanted  with its MAC
  Result<bool> compare(const Look& look, const std::string& file_name, const WalObjectInfo& wanted) const;
  /// What is in memory is good until the next call; sets the MAC in `info`.
  Result<SealedObject> seal(const std::string& file_name, const std::string& name, WalObjectInfo& info, WalPlain& plain);
  Result<storage::Created> create(const std::string& name, const SealedObject& object);
  void seal_part(char part, ByteView prefix, const std::string& name, ByteView plain, MutableByteView out);
  /// @param sink  gets the plaintext; nullptr: the records are opened and not decompressed
  Status open_records(const Look& look, const std::string& name, const std::function<Status(ByteView)>& sink);
  Result<Bytes> open_summary(const Look& look, const std::string& name);
};

Result<std::optional<Look>> WalArchive::State::look_at(const std::string& file_name, const std::string& name, std::optional<storage::BlobFront> read) {
  if (!read) return std::nullopt;
  const auto object_size = read->size;
  if (object_size > kWalObjectMax || object_size < kWalPrefixSize) {
    return Error(Errc::Corruption, fmt::format("WAL object has the impossible size {}", object_size));
  }
  Bytes first = std::move(read->bytes);
  Look found;
  found.prefix = TRY(parse_wal_prefix(first, cluster.context(), identity, file_name));
  const std::size_t index_end = kWalPrefixSize + found.prefix.index_length;
  if (index_end > object_size) return Error(Errc::Corruption, "WAL object is truncated");
  if (index_end > first.size()) {
    const std::size_t have = first.size();
    first.resize(index_end);
    TRY(store().read_range(name, have, MutableByteView(first).subspan(have)));
  }
  const ByteView index = ByteView(first).subspan(kWalPrefixSize, found.prefix.index_length);
  const Bytes plain = TRY(map->open_with_nonce(wal_part_aad(first, 'I', name), index).context("index"));
  found.index = TRY(parse_wal_index(plain, found.prefix.info.raw_length));
  found.records_at = index_end + found.prefix.summary_length;
  if (found.records_at + found.index.stored_bytes() != object_size) {
    return Error(Errc::Corruption, fmt::format("WAL object has {} bytes where its index says {}", object_size,
                                               found.records_at + found.index.stored_bytes()));
  }
  found.prefix_bytes.assign(first.begin(), first.begin() + kWalPrefixSize);
  found.front = std::move(first);
  return found;
}

Result<crypto::Digest> WalArchive::State::mac_of(const std::string& file_name, const WalObjectInfo& info, WalPlain& plain) {
  TRY(plain.begin(false));
  mac->start();
  for (std::uint64_t left = info.raw_length; left != 0;) {
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(kWalRecordSize, left));
    mac->update(TRY(plain.next(length)));
    left -= length;
  }
  return mac->finish(encode_wal_prefix(cluster.context(), {info, 0, 0}), file_name);
}

Result<bool> WalArchive::State::compare(const Look& look, const std::string& file_name, const WalObjectInfo& wanted) const {
  if (crypto::equal_constant_time(wanted.mac, look.prefix.info.mac)) return true;
  return Error(Errc::Corruption,
               fmt::format("{} is archived already with other content: the stored file has {} bytes and MAC {}, this "
                           "one {} bytes and MAC {}",
                           file_name, look.prefix.info.raw_length, short_hex(look.prefix.info.mac), wanted.raw_length,
                           short_hex(wanted.mac)),
               Hint{"two servers archive into one cluster, or a server was reset or restored over itself: find out which "
                    "with pgmint wal status, and give the other one a cluster of its own. Nothing was overwritten"});
}

Result<bool> WalArchive::State::holds(const std::string& file_name, const std::string& name, WalObjectInfo& info,
                                      WalPlain& plain) {
  const auto found = TRY(look(file_name, name).context(file_name));
  if (!found) return false;
  info.mac = TRY(mac_of(file_name, info, plain));
  return compare(*found, file_name, info);
}

Result<SealedObject> WalArchive::State::seal(const std::string& file_name, const std::string& name, WalObjectInfo& info,
                                         WalPlain& plain) {
  info.epoch = cluster.keys().newest_epoch();
  crypto::Aead& data_key = *TRY(data_aead(info.epoch));
  const auto count = static_cast<std::size_t>((info.raw_length + kWalRecordSize - 1) / kWalRecordSize);
  // Index and summary stand in front of the records but are known after them: room is left for all but a very long summary,
  // and the object then starts somewhere inside it, so that the records hardly ever move. Pages that nothing is written to
  // cost nothing.
  SealedObject sealed;
  if (info.raw_length > kSpoolAbove) sealed.spool = TRY(open_spool(spool_directory));
  const std::size_t room = kWalPrefixSize + wal_index_bound(count) + kSummaryRoom;
  const std::size_t slack = crypto::kSealOverhead + codec::Compressor::bound(kWalRecordSize);
  const auto body_max =
      sealed.spool ? kSpoolStretch : static_cast<std::size_t>(info.raw_length) + count * crypto::kSealOverhead;
  const MutableByteView buffer = sealed_scratch.of(room + body_max + slack);
  std::size_t at = room;
  const auto spool = [&]() -> Status {
    TRY(write_all(*sealed.spool, buffer.subspan(room, at - room), "spool"));
    sealed.spooled += at - room;
    at = room;
    return ok();
  };

  // Records bind what stands before the MAC, which is known after them.
  auto prefix_bytes = encode_wal_prefix(cluster.context(), {info, 0, 0});
  WalRecordAad aad(prefix_bytes, name);
  WalIndex index;
  index.records.reserve(count);
  TRY(plain.begin(true));
  mac->start();
  for (std::size_t i = 0; i < count; ++i) {
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(kWalRecordSize, info.raw_length - i * kWalRecordSize));
    const ByteView piece = TRY(plain.next(length));
    mac->update(piece);
    const MutableByteView body = buffer.subspan(at + crypto::kNonceSize);
    const auto packed = compressor.compress(piece, body);
    plain.summarize(piece, packed.proven);
    const bool as_it_is = packed.codec == codec::CodecId::None;
    const std::size_t size = as_it_is ? length : packed.size;
    crypto::Nonce nonce;
    random().fill(nonce);
    std::ranges::copy(nonce, buffer.begin() + static_cast<std::ptrdiff_t>(at));
    data_key.seal(nonce, aad.of(packed.codec, i + 1 == count, static_cast<std::uint32_t>(length), static_cast<std::uint32_t>(i)),
                  as_it_is ? piece : ByteView(body.first(size)), body);
    index.records.push_back({packed.codec, static_cast<std::uint32_t>(size + crypto::kSealOverhead)});
    at += size + crypto::kSealOverhead;
    if (sealed.spool && at - room >= kSpoolStretch) TRY(spool());
  }
  if (sealed.spool) TRY(spool());
  info.mac = mac->finish(prefix_bytes, file_name);

  Bytes encoded_summary = plain.summary();
  if (encoded_summary.size() + crypto::kSealOverhead > kWalSummaryMax) {
    log_warning("{}: its change summary of {} bytes is beyond the limit and is left out", file_name, encoded_summary.size());
    encoded_summary.clear();
  }
  const std::size_t summary_size = encoded_summary.empty() ? 0 : encoded_summary.size() + crypto::kSealOverhead;
  const Bytes index_plain = encode_wal_index(index);
  const std::size_t index_size = index_plain.size() + crypto::kSealOverhead;
  const std::size_t front = kWalPrefixSize + index_size + summary_size;
  prefix_bytes = encode_wal_prefix(
      cluster.context(), {info, static_cast<std::uint32_t>(index_size), static_cast<std::uint32_t>(summary_size)});
  const MutableByteView records = buffer.subspan(room, at - room);
  MutableByteView object;
  if (front <= room) {
    object = buffer.subspan(room - front, front + records.size());
  } else {
    object = long_scratch.of(front + records.size());
    std::ranges::copy(records, object.begin() + static_cast<std::ptrdiff_t>(front));
  }
  std::ranges::copy(prefix_bytes, object.begin());
  seal_part('I', prefix_bytes, name, index_plain, object.subspan(kWalPrefixSize, index_size));
  if (summary_size != 0) {
    seal_part('S', prefix_bytes, name, encoded_summary, object.subspan(kWalPrefixSize + index_size, summary_size));
  }
  sealed.in_memory = object;
  return sealed;
}

Result<storage::Created> WalArchive::State::create(const std::string& name, const SealedObject& object) {
  if (!object.spool) return store().create(name, object.in_memory);
  const ByteView front = object.in_memory;
  const std::uint64_t size = front.size() + object.spooled;
  return store().create_from(name, {size, [&](std::uint64_t offset) -> Result<ByteView> {
                                      if (offset < front.size()) return front.subspan(offset);
                                      const auto piece = plain_scratch.of(std::min<std::uint64_t>(kSpoolStretch, size - offset));
                                      const auto got = TRY(read_at(*object.spool, piece, offset - front.size(), "spool"));
                                      if (got != piece.size()) return Error(Errc::Io, "the spool became shorter");
                                      return ByteView(piece);
                                    }});
}

void WalArchive::State::seal_part(char part, ByteView prefix, const std::string& name, ByteView plain, MutableByteView out) {
  crypto::Nonce nonce;
  random().fill(nonce);
  std::ranges::copy(nonce, out.begin());
  map->seal(nonce, wal_part_aad(prefix, part, name), plain, out.subspan(crypto::kNonceSize));
}

Status WalArchive::State::open_records(const Look& look, const std::string& name,
                                       const std::function<Status(ByteView)>& sink) {
  crypto::Aead& data_key = *TRY(data_aead(look.prefix.info.epoch));
  WalRecordAad aad(look.prefix_bytes, name);
  const auto& records = look.index.records;
  std::uint64_t offset = look.records_at;
  std::uint64_t left = look.prefix.info.raw_length;
  for (std::size_t i = 0; i < records.size();) {
    std::size_t end = i;
    std::uint64_t bytes = 0;
    while (end < records.size() && (end == i || bytes + records[end].stored_length <= kWindow)) {
      bytes += records[end++].stored_length;
    }
    MutableByteView window = sealed_scratch.of(bytes);
    TRY(store().read_range(name, offset, window));
    offset += bytes;
    for (; i < end; ++i) {
      const auto& line = records[i];
      const MutableByteView record = window.first(line.stored_length);
      window = window.subspan(line.stored_length);
      const auto raw = static_cast<std::uint32_t>(std::min<std::uint64_t>(look.index.record_size, left));
      left -= raw;
      crypto::Nonce nonce;
      std::ranges::copy(record.first<crypto::kNonceSize>(), nonce.begin());
      const MutableByteView body = record.subspan(crypto::kNonceSize);
      const ByteView binding = aad.of(line.codec, i + 1 == records.size(), raw, static_cast<std::uint32_t>(i));
      if (auto opened = data_key.open(nonce, binding, body, body); !opened) {
        return std::move(opened).failure().with_context(fmt::format("record {}", i));
      }
      if (!sink) continue;
      const ByteView packed = body.first(body.size() - crypto::kTagSize);
      if (line.codec == codec::CodecId::None) {
        TRY(sink(packed));
        continue;
      }
      const MutableByteView out = plain_scratch.of(raw);
      TRY(decompressor.decompress(line.codec, packed, out));
      TRY(sink(out));
    }
  }
  return ok();
}

Result<Bytes> WalArchive::State::open_summary(const Look& look, const std::string& name) {
  Bytes stored(look.prefix.summary_length);
  const std::uint64_t at = kWalPrefixSize + look.prefix.index_length;
  if (at + stored.size() <= look.front.size())
    std::ranges::copy(ByteView(look.front).subspan(at, stored.size()), stored.begin());
  else
    TRY(store().read_range(name, at, stored));
  return map->open_with_nonce(wal_part_aad(look.prefix_bytes, 'S', name), stored).context("summary");
}

WalArchive::WalArchive(Cluster& cluster, WalIdentity identity, codec::CodecChoice codec, fs::path spool_directory)
    : state_(std::make_unique<State>(cluster, identity, codec, std::move(spool_directory))) {}
WalArchive::WalArchive(WalArchive&&) noexcept = default;
WalArchive::~WalArchive() = default;
const WalIdentity& WalArchive::identity() const { return state_->identity; }

namespace {

constexpr std::size_t kTimelinePart = 9;  ///< "00000001/"

std::optional<std::uint32_t> parse_timeline(std::string_view part) {
  std::uint32_t timeline = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), timeline, 16);
  if (part.size() != kTimelinePart - 1 || error != std::errc{} || end != part.data() + part.size() || timeline == 0) return std::nullopt;
  return timeline;
}

Result<WalObjectInfo> describe_file(const WalIdentity& identity, const std::string& file_name, WalContent content,
                                    std::uint32_t wal_segment_size, std::uint64_t size) {
  const auto said = wal_content_of(file_name);
  const bool of_segment = content == WalContent::Segment || content == WalContent::Partial;
  PGMINT_ASSERT(said == content && of_segment == (wal_segment_size != 0));
  if (size > kWalPlainMax) return Error(Errc::ResourceLimit, "a WAL file of more than 1 GiB");
  if (content == WalContent::Segment && size != wal_segment_size) {
    return Error(Errc::Precondition, fmt::format("a WAL segment must have {} bytes and has {}", wal_segment_size, size));
  }
  WalObjectInfo info;
  info.identity = identity;
  info.timeline = static_cast<std::uint32_t>(std::stoul(file_name.substr(0, 8), nullptr, 16));
  info.wal_segment_size = wal_segment_size;
  info.content = content;
  info.raw_length = size;
  return info;
}

}  // namespace

Result<WalPut> WalArchive::put(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size,
                               ByteView plain, ByteView encoded_summary) {
  MemoryPlain file(plain, encoded_summary);
  return put(file_name, content, wal_segment_size, file);
}

Result<WalPut> WalArchive::put(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size,
                               WalPlain& plain, crypto::Digest* mac) {
  State& s = *state_;
  const auto name = TRY(s.object_name(file_name));
  auto info = TRY(describe_file(s.identity, file_name, content, wal_segment_size, plain.size()));
  // Looked for first: most of a put's work is compression, and what was pushed ahead needs none.
  if (TRY(s.holds(file_name, name, info, plain))) {
    if (mac != nullptr) *mac = info.mac;
    return WalPut::Duplicate;
  }
  return put_new(file_name, content, wal_segment_size, plain, mac);
}

Result<WalPut> WalArchive::put_new(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size, WalPlain& plain, crypto::Digest* mac) {
  State& s = *state_;
  TRY(s.check_keys());
  const auto name = TRY(s.object_name(file_name));
  auto info = TRY(describe_file(s.identity, file_name, content, wal_segment_size, plain.size()));
  crypto::Digest unwanted;
  crypto::Digest& told = mac != nullptr ? *mac : unwanted;
  const SealedObject object = TRY(s.seal(file_name, name, info, plain));
  const auto existing = [&]() -> Result<bool> {
    auto look = TRY(s.look(file_name, name).context(file_name));
    if (!look) return false;
    return s.compare(*look, file_name, info);
  };
  told = info.mac;
  auto created = s.create(name, object);
  if (created && *created == storage::Created::Yes) return WalPut::Stored;
  if (created) {
    if (TRY(existing())) return WalPut::Duplicate;
    return Error(Errc::Unknown, fmt::format("{}: the store says that it exists, then that it does not", file_name));
  }
  if (created.failure().code() == Errc::Unknown) {
    auto found = existing();
    if (found && *found) return WalPut::Stored;
    if (!found && found.failure().code() == Errc::Corruption) return std::move(found).failure();
  }
  return std::move(created).failure().with_context(file_name);
}

Result<bool> WalArchive::holds(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size,
                               ByteView plain) {
  MemoryPlain file(plain, {});
  return holds(file_name, content, wal_segment_size, file);
}

Result<bool> WalArchive::holds(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size,
                               WalPlain& plain) {
  State& s = *state_;
  const auto name = TRY(s.object_name(file_name));
  auto info = TRY(describe_file(s.identity, file_name, content, wal_segment_size, plain.size()));
  return s.holds(file_name, name, info, plain);
}

Result<bool> WalArchive::holds(const std::string& file_name, WalContent content, std::uint32_t wal_segment_size,
                               std::uint64_t size, const crypto::Digest& mac) {
  State& s = *state_;
  const auto name = TRY(s.object_name(file_name));
  TRY(describe_file(s.identity, file_name, content, wal_segment_size, size));
  const auto look = TRY(s.look(file_name, name).context(file_name));
  return look && look->prefix.info.raw_length == size && crypto::equal_constant_time(mac, look->prefix.info.mac);
}

Result<std::optional<Bytes>> WalArchive::get(const std::string& file_name) {
  Bytes whole;
  const bool found = TRY(read_to(file_name, [&](ByteView piece) {
    append(whole, piece);
    return ok();
  }));
  if (!found) return std::nullopt;
  return whole;
}

Result<bool> WalArchive::read_to(const std::string& file_name, const std::function<Status(ByteView)>& sink) {
  State& s = *state_;
  const auto name = TRY(s.object_name(file_name));
  const auto look = TRY(s.look(file_name, name).context(file_name));
  if (!look) return false;
  if (auto done = s.open_records(*look, name, sink); !done) return std::move(done).failure().with_context(file_name);
  return true;
}

Result<std::optional<Bytes>> WalArchive::summary(const std::string& file_name) {
  State& s = *state_;
  const auto name = TRY(s.object_name(file_name));
  TRY(s.check_keys());
  auto front = TRY(s.store().read_front_or_copy(name, storage::BlobStore::kFrontMax).context(file_name));
  const auto look = TRY(s.look_at(file_name, name, std::move(front)).context(file_name));
  if (!look || look->prefix.summary_length == 0) return std::nullopt;
  return TRY(s.open_summary(*look, name).context(file_name));
}

Result<std::optional<WalObjectInfo>> WalArchive::info(const std::string& file_name) {
  State& s = *state_;
  const auto name = TRY(s.object_name(file_name));
  const auto look = TRY(s.look(file_name, name).context(file_name));
  if (!look) return std::nullopt;
  return look->prefix.info;
}

Result<std::vector<WalArchive::Listed>> WalArchive::list(std::uint32_t timeline, const std::string& after) {
  State& s = *state_;
  const auto directory = wal_directory(s.cluster.id(), s.identity.system_id, s.identity.incarnation, timeline);
  std::vector<Listed> files;
  TRY(s.store().list(directory, after.empty() ? "" : directory + after, [&](const storage::BlobInfo& blob) {
    auto file_name = blob.name.substr(directory.size());
    // "<file name>.p/<offset>" are pieces of a segment that is still being written, which is not archived yet.
    if (file_name.find('/') == std::string::npos) files.push_back({std::move(file_name), blob.size, blob.written});
    return ok();
  }));
  return files;
}

Result<std::vector<WalArchive::Listed>> WalArchive::list_all() {
  State& s = *state_;
  auto directory = wal_directory(s.cluster.id(), s.identity.system_id, s.identity.incarnation, 0);
  directory.resize(directory.size() - kTimelinePart);
  std::vector<Listed> files;
  TRY(s.store().list(directory, "", [&](const storage::BlobInfo& blob) {
    const auto part = std::string_view(blob.name).substr(directory.size());
    const auto slash = part.find('/');
    // Beside pieces of a segment that is still being written, as in list(): what others put there.
    if (slash == kTimelinePart - 1 && part.find('/', slash + 1) == std::string_view::npos && parse_timeline(part.substr(0, slash)))
      files.push_back({std::string(part.substr(slash + 1)), blob.size, blob.written});
    return ok();
  }));
  return files;
}

Result<std::vector<std::uint32_t>> WalArchive::timelines() {
  State& s = *state_;
  auto directory = wal_directory(s.cluster.id(), s.identity.system_id, s.identity.incarnation, 0);
  directory.resize(directory.size() - kTimelinePart);
  std::vector<std::uint32_t> timelines;
  for (const auto& part : TRY(s.store().list_parts(directory)))
    if (const auto timeline = parse_timeline(part)) timelines.push_back(*timeline);
  std::ranges::sort(timelines);
  return timelines;
}

Status WalArchive::check(const std::string& file_name, VerifyDepth depth) {
  State& s = *state_;
  const auto name = TRY(s.object_name(file_name));
  const auto look = TRY(s.look(file_name, name).context(file_name));
  if (!look) return Error(Errc::NotFound, fmt::format("{} is not archived", file_name));
  if (look->prefix.summary_length != 0) TRY(s.open_summary(*look, name).context(file_name));
  if (depth == VerifyDepth::Presence) return ok();
  if (depth == VerifyDepth::Open) {
    if (auto opened = s.open_records(*look, name, nullptr); !opened) return std::move(opened).failure().with_context(file_name);
    return ok();
  }
  s.mac->start();
  auto done = s.open_records(*look, name, [&](ByteView piece) {
    s.mac->update(piece);
    return ok();
  });
  if (!done) return std::move(done).failure().with_context(file_name);
  if (!crypto::equal_constant_time(s.mac->finish(look->prefix_bytes, file_name), look->prefix.info.mac)) {
    return Error(Errc::Corruption, fmt::format("{}: its content does not fit its MAC", file_name));
  }
  return ok();
}

}  // namespace pgmint::repository
