#include "wal/prefetch_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "codec/binary.h"
#include "codec/crc32c.h"

namespace pgmint::wal {

namespace {

constexpr std::string_view kIncoming = ".tmp";
constexpr std::string_view kTag = ".tag";
constexpr std::string_view kWanted = "wanted";
constexpr std::string_view kLock = "lock";
constexpr std::size_t kReadStep = 256 << 10;

std::string scope_of(const repository::Cluster& cluster, const repository::WalIdentity& identity) {
  return fmt::format("{}-{}-{:016x}-{:08x}", cluster.context().repository.hex(), cluster.id().hex(), identity.system_id,
                     identity.incarnation.value());
}

/// CRC of a whole file; nullopt when it cannot be read, or is not a plain file of this user.
std::optional<std::pair<std::uint64_t, std::uint32_t>> measure(const fs::path& path) {
  auto fd = open_file(path, O_RDONLY | O_NOFOLLOW);
  if (!fd) return std::nullopt;
  struct stat info {};
  if (::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != ::geteuid()) return std::nullopt;
  Bytes buffer(kReadStep);
  std::uint64_t size = 0;
  std::uint32_t crc = 0;
  for (;;) {
    const auto n = read_at(*fd, buffer, size, path.string());
    if (!n) return std::nullopt;
    crc = codec::crc32c(ByteView(buffer).first(*n), crc);
    size += *n;
    if (*n < buffer.size()) return std::pair(size, crc);
  }
}

void discard(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    log_debug("{} could not be removed: {}", path.string(), errno_error(errno, "unlink").message());
  }
}

}  // namespace

PrefetchCache::PrefetchCache(fs::path directory, const repository::Cluster& cluster, const repository::WalIdentity& identity)
    : directory_(std::move(directory)),
      scope_(scope_of(cluster, identity)),
      key_(crypto::derive_key(cluster.keys().mac_key, "pgmint prefetch cache v1")) {}

fs::path PrefetchCache::directory_for(const fs::path& wal_directory, const repository::Cluster& cluster,
                                      const repository::WalIdentity& identity) {
  return wal_directory / "pgmint-prefetch" /
         fmt::format("{}-{:016x}-{:08x}", cluster.context().repository.hex().substr(0, 16), identity.system_id,
                     identity.incarnation.value());
}

Status PrefetchCache::create() {
  // Not create_directories(): when pg_wal itself has gone, so has the reason for a cache.
  for (const auto& path : {directory_.parent_path(), directory_}) TRY(make_directory(path, 0700));
  return ok();
}

crypto::Digest PrefetchCache::tag(const std::string& file_name, std::uint64_t size, std::uint32_t crc) const {
  codec::BinaryWriter what;
  what.text(scope_);
  what.text(file_name);
  what.u64(size);
  what.u32(crc);
  return crypto::hmac_sha256(key_, what.view());
}

std::optional<std::uint64_t> PrefetchCache::deliver(const std::string& file_name, const fs::path& destination) {
  const auto path = directory_ / file_name;
  const auto tag_path = directory_ / (file_name + std::string(kTag));
  const auto stored = read_file(tag_path, sizeof(crypto::Digest));
  if (!stored) return std::nullopt;
  const auto measured = measure(path);
  if (!measured || !crypto::equal_constant_time(*stored, tag(file_name, measured->first, measured->second))) {
    log_warning("prefetched {} is not what was fetched, and is fetched again", file_name);
    discard(tag_path);
    discard(path);
    return std::nullopt;
  }
  if (::rename(path.c_str(), destination.c_str()) != 0) return std::nullopt;
  discard(tag_path);
  return measured->first;
}

bool PrefetchCache::has(const std::string& file_name) const {
  return ::access((directory_ / (file_name + std::string(kTag))).c_str(), F_OK) == 0 &&
         ::access((directory_ / file_name).c_str(), F_OK) == 0;
}

bool PrefetchCache::is_being_fetched(const std::string& file_name) const {
  return ::access(incoming(file_name).c_str(), F_OK) == 0;
}

Status PrefetchCache::note_wanted(const std::string& file_name) {
  const auto fresh = directory_ / "wanted.tmp";
  const auto fd = TRY(open_file(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  TRY(write_all(fd, as_bytes(file_name), fresh.string()));
  if (::rename(fresh.c_str(), (directory_ / kWanted).c_str()) != 0) return errno_error(errno, "rename wanted");
  return ok();
}

std::optional<std::string> PrefetchCache::wanted() const {
  auto text = read_text_file(directory_ / kWanted, 64);
  if (!text || repository::wal_content_of(*text) != repository::WalContent::Segment) return std::nullopt;
  return std::move(*text);
}

fs::path PrefetchCache::incoming(const std::string& file_name) const {
  return directory_ / (file_name + std::string(kIncoming));
}

Status PrefetchCache::publish(const std::string& file_name, std::uint64_t size, std::uint32_t crc) {
  const auto mac = tag(file_name, size, crc);
  const auto tag_path = directory_ / (file_name + std::string(kTag));
  if (::rename(incoming(file_name).c_str(), (directory_ / file_name).c_str()) != 0) {
    return errno_error(errno, fmt::format("rename {}", incoming(file_name).string()));
  }
  // Not fsynced: a tag that is lost or torn costs a fetch.
  const auto fd = TRY(open_file(tag_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  return write_all(fd, mac, tag_path.string());
}

void PrefetchCache::sweep(const std::function<bool(const std::string& file_name)>& keep) {
  std::vector<std::string> gone;
  auto listed = list_directory(directory_, [&](const std::string& entry, unsigned char) {
    if (entry.size() < 24) return ok();
    const auto name = entry.substr(0, 24);
    if (repository::wal_content_of(name) == repository::WalContent::Segment && !keep(name)) gone.push_back(entry);
    return ok();
  });
  if (!listed) return;
  for (const auto& entry : gone) discard(directory_ / entry);
}

Result<std::optional<Fd>> PrefetchCache::try_lock() {
  auto fd = TRY(open_file(directory_ / kLock, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return std::optional<Fd>(std::move(fd));
  if (errno == EWOULDBLOCK) return std::optional<Fd>();
  return errno_error(errno, "lock the prefetch cache");
}

void PrefetchCache::remove() {
  sweep([](const std::string&) { return false; });
  for (const auto name : {std::string_view("wanted.tmp"), kWanted, kLock}) discard(directory_ / name);
  ::rmdir(directory_.c_str());
  ::rmdir(directory_.parent_path().c_str());
}

Result<std::optional<Fetched>> fetch_to_file(repository::WalArchive& archive, const std::string& file_name,
                                             const fs::path& path) {
  std::optional<Fd> fd;
  Fetched fetched;
  auto done = [&]() -> Result<bool> {
    const bool found = TRY(archive.read_to(file_name, [&](ByteView piece) -> Status {
      if (!fd) fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
      TRY(write_all(*fd, piece, path.string()));
      fetched.size += piece.size();
      fetched.crc = codec::crc32c(piece, fetched.crc);
      return ok();
    }));
    if (!found) return false;
    if (!fd) fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));  // an empty file
    TRY(sync_file(*fd, path.string()));
    TRY(fd->close(path.string()));
    return true;
  }();
  if (!done) {
    if (fd) discard(path);
    return std::move(done).failure();
  }
  if (!*done) return std::nullopt;
  return fetched;
}

}  // namespace pgmint::wal
