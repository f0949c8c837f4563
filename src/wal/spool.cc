#include "wal/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/log.h"
#include "base/units.h"
#include "crypto/hash.h"
#include "repository/key_copies.h"
#include "repository/layout.h"
#include "repository/wal_archive.h"
#include "storage/posix_store.h"

namespace pgmint::wal {
namespace {

using repository::WalIdentity;

constexpr std::size_t kPiece = 1 << 20;

/// WAL is here; nothing else is.
class AwayStore final : public storage::BlobStore {
 public:
  AwayStore(std::unique_ptr<storage::BlobStore> wal, std::string place) : wal_(std::move(wal)), place_(std::move(place)) {}

  Result<storage::Created> create(const std::string& name, ByteView data) override {
    if (!repository::is_wal(name)) return away(name);
    return wal_->create(name, data);
  }
  Result<storage::Created> create_from(const std::string& name, const storage::BlobStream& stream) override {
    if (!repository::is_wal(name)) return away(name);
    return wal_->create_from(name, stream);
  }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    if (!repository::is_wal(name)) return away(name);
    return wal_->read(name, limit);
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    if (!repository::is_wal(name)) return away(name);
    return wal_->read_range(name, offset, out);
  }
  Result<std::optional<storage::BlobInfo>> stat(const std::string& name) override {
    if (!repository::is_wal(name)) return away(name);
    return wal_->stat(name);
  }
  Status list(const std::string& prefix, const std::string&, const std::function<Status(const storage::BlobInfo&)>&) override { return away(prefix); }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override { return away(prefix); }
  Status remove(const std::string& name) override {
    if (!repository::is_wal(name)) return away(name);
    return wal_->remove(name);
  }
  std::string describe() const override { return place_; }

 private:
  Error away(const std::string& name) const { return Error(Errc::Storage, fmt::format("{} is away, and this host has no copy of {}", place_, name)); }

  const std::unique_ptr<storage::BlobStore> wal_;
  const std::string place_;
};

/// Whose an object is, from its name.
struct Owner {
  repository::ClusterId cluster;
  WalIdentity identity;
  std::string file_name;
};

std::optional<Owner> owner_of(const std::string& name) {
  // "c/<32 digits>/wal/<16 digits>-<8 digits>/<8 digits>/<file>"
  constexpr std::size_t kCluster = 2, kIdentity = kCluster + 32 + 5, kTimeline = kIdentity + 16 + 1 + 8 + 1, kFile = kTimeline + 8 + 1;
  if (!repository::is_wal(name) || name.size() <= kFile) return std::nullopt;
  const auto cluster = repository::ClusterId::parse(name.substr(kCluster, 32));
  std::uint64_t system_id = 0;
  std::uint32_t incarnation = 0;
  const auto number = [&](std::size_t at, std::size_t digits, auto& value) {
    const auto* first = name.data() + at;
    return std::from_chars(first, first + digits, value, 16).ptr == first + digits;
  };
  if (!cluster || !number(kIdentity, 16, system_id) || !number(kIdentity + 17, 8, incarnation)) return std::nullopt;
  Owner owner{*cluster, {system_id, repository::Incarnation(incarnation)}, name.substr(kFile)};
  if (!repository::wal_content_of(owner.file_name) || repository::wal_name(owner.cluster, system_id, owner.identity.incarnation, owner.file_name) != name) return std::nullopt;
  return owner;
}

/// One object on its way. Keeps what it opened for the next one of the same cluster.
class Carrier {
 public:
  Carrier(repository::Repository& here, repository::Repository& there) : here_(here), there_(there) {}

  Result<storage::Created> carry(const SpoolContents::File& file) {
    const auto owner = owner_of(file.name);
    if (!owner) return Error(Errc::Corruption, fmt::format("{} is no name of a WAL file", file.name), Hint{"remove what does not belong into the spool"});
    const auto* ours = TRY(open(owner->cluster));
    repository::WalArchive waiting(*ours->here, owner->identity);
    if (auto whole = waiting.check(owner->file_name, repository::VerifyDepth::Open); !whole) {
      if (whole.failure().code() != Errc::Corruption) return std::move(whole).failure();
      return std::move(whole).failure().with_context(fmt::format("{} was damaged on this host while it waited", owner->file_name)).with_hint(
          Hint{"if the server has it still in pg_wal: remove it from the spool and push it again; else remove it and take a backup, with which a new recovery window begins"});
    }
    const auto info = TRY(waiting.info(owner->file_name));
    if (!info) return Error(Errc::Io, fmt::format("{} has gone from the spool", owner->file_name));
    const auto created = TRY(send(file));
    if (created == storage::Created::Yes) return created;
    repository::WalArchive archive(*ours->there, owner->identity);
    const bool same = TRY(archive.holds(owner->file_name, info->content, info->wal_segment_size, info->raw_length, info->mac));
    if (same) return created;
    return Error(Errc::Corruption, fmt::format("{} is in the repository already, with other content than what waits here", owner->file_name),
                 Hint{"two servers archive into one cluster, or a server was restored over itself: find out which with pgmint wal status. Nothing was overwritten"});
  }

 private:
  struct Both {
    std::unique_ptr<repository::Cluster> here, there;
  };
  Result<Both*> open(const repository::ClusterId& cluster) {
    auto& both = opened_[cluster];
    if (!both.here) both.here = TRY(here_.open_cluster(cluster));
    if (!both.there) both.there = TRY(there_.open_cluster(cluster));
    return &both;
  }

  Result<storage::Created> send(const SpoolContents::File& file) {
    auto& from = here_.environment().store;
    Bytes piece;
    return there_.environment().store.create_from(file.name, {file.bytes, [&](std::uint64_t offset) -> Result<ByteView> {
                                                                piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, file.bytes - offset)));
                                                                TRY(from.read_range(file.name, offset, piece));
                                                                return ByteView(piece);
                                                              }});
  }

  repository::Repository& here_;
  repository::Repository& there_;
  std::map<repository::ClusterId, Both> opened_;
};

}  // namespace

Spool::Spool(const fs::path& state_directory, const std::string& place)
    : place_(place), directory_(state_directory / "spool" / to_hex(crypto::sha256(as_bytes(place))).substr(0, 32)) {}

Result<bool> Spool::empty() const {
  // Of each name all but the file itself are directories, which stay.
  return TRY(contents()).files.empty();
}

Result<SpoolContents> Spool::contents() const {
  SpoolContents all;
  if (!TRY(stat_if_exists(directory_))) return all;
  const auto store = TRY(storage::open_posix_store(directory_, {}));
  TRY(store->list(std::string(repository::kClustersPrefix), "", [&](const storage::BlobInfo& info) -> Status {
    all.files.push_back({info.name, info.size});
    all.bytes += info.size;
    const auto status = TRY(stat_if_exists(directory_ / info.name));
    if (!status) return ok();
    const TimePoint since(std::chrono::seconds(status->st_mtime));
    if (!all.oldest || since < *all.oldest) all.oldest = since;
    return ok();
  }));
  return all;
}

Result<std::unique_ptr<repository::KeyCopies>> Spool::open_store(const fs::path& copies) const {
  storage::PosixOptions options;
  options.create_root = true;
  options.file_mode = 0600;
  options.directory_mode = 0700;
  auto wal = TRY(storage::open_posix_store(directory_, options));
  return std::make_unique<repository::KeyCopies>(std::make_unique<AwayStore>(std::move(wal), place_), copies);
}

Result<std::optional<Fd>> Spool::try_lock(Right right) const {
  TRY(create_directories(directory_, 0700));
  auto fd = TRY(open_file(directory_ / (right == Right::Send ? ".send" : ".stay"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return std::optional(std::move(fd));
  if (errno == EWOULDBLOCK) return std::optional<Fd>();
  return errno_error(errno, fmt::format("lock {}", directory_.string()));
}

Result<Spool::Drained> Spool::drain(repository::Repository& here, repository::Repository& there, const CancelToken* cancel) const {
  if (here.format().repository != there.format().repository)
    return Error(Errc::Precondition, fmt::format("{} holds another repository than the one for which WAL waits in {}", place_, directory_.string()),
                 Hint{"find out what became of the one that was there; to give up what waits, remove that directory"});
  Drained drained;
  Carrier carrier(here, there);
  for (const auto& file : TRY(contents()).files) {
    if (cancel != nullptr) TRY(cancel->check());
    const auto created = TRY(carrier.carry(file).context(fmt::format("WAL that waits in {}", directory_.string())));
    TRY(here.environment().store.remove(file.name));
    (created == storage::Created::Yes ? drained.stored : drained.present)++;
    drained.bytes += file.bytes;
    log_debug("{}: from the spool into the repository", file.file_name());
  }
  return drained;
}

}  // namespace pgmint::wal
