#include "wal/ahead_notes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "codec/binary.h"

namespace pgmint::wal {

namespace {

using std::chrono::nanoseconds;

constexpr std::string_view kMagic = "PGMINT-AHEAD-1";
constexpr std::size_t kBootMax = 64;
constexpr std::size_t kNoteMax = 512;

/// linux/magic.h. Each of them stamps ctime with this machine's clock on every write, truncation and rename. Network and FUSE file
/// systems take another machine's clock, or keep attributes in caches.
constexpr std::uint32_t kExt = 0xEF53, kXfs = 0x58465342, kBtrfs = 0x9123683E;

std::optional<AheadNotes::FileState> state_of(const Fd& file) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return AheadNotes::FileState{info.st_dev, info.st_ino, static_cast<std::uint64_t>(info.st_size), info.st_mtim.tv_sec,
                               info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
}

/// The same boot, later by less than `life`, and nobody set the clock: it runs with the time since the boot, but for slewing.
bool same_course(const MachineTime& before, const MachineTime& now, nanoseconds life) {
  const auto shift = (now.since_epoch - now.since_boot) - (before.since_epoch - before.since_boot);
  return !now.boot.empty() && now.boot == before.boot && now.since_boot >= before.since_boot &&
         now.since_boot - before.since_boot <= life && shift <= AheadNotes::kClockTolerance &&
         shift >= -AheadNotes::kClockTolerance;
}

struct Note {
  AheadNotes::Watch watch;
  crypto::Digest mac{};
};

Result<Note> parse_note(ByteView data) {
  codec::BinaryReader in(data, "note of a segment pushed ahead");
  if (as_text(TRY(in.raw(kMagic.size()))) != kMagic) return in.corrupt("another format");
  Note note;
  auto& file = note.watch.file;
  for (auto* field : {&file.device, &file.inode, &file.size}) *field = TRY(in.u64());
  for (auto* field : {&file.mtime_s, &file.mtime_ns, &file.ctime_s, &file.ctime_ns})
    *field = static_cast<std::int64_t>(TRY(in.u64()));
  note.watch.since.boot = TRY(in.text(kBootMax));
  note.watch.since.since_boot = nanoseconds(static_cast<std::int64_t>(TRY(in.u64())));
  note.watch.since.since_epoch = nanoseconds(static_cast<std::int64_t>(TRY(in.u64())));
  note.mac = TRY(in.array<32>());
  TRY(in.raw(sizeof(crypto::Digest)));  // its own MAC, held against encode()
  TRY(in.expect_end());
  return note;
}

}  // namespace

bool stamps_changes(const Fd& file) {
  struct statfs info {};
  if (::fstatfs(file.get(), &info) != 0) return false;
  const auto type = static_cast<std::uint32_t>(info.f_type);
  return type == kExt || type == kXfs || type == kBtrfs;
}

AheadNotes::AheadNotes(fs::path directory, const repository::Cluster& cluster, const repository::WalIdentity& identity,
                       Surroundings surroundings)
    : directory_(std::move(directory)),
      scope_(fmt::format("{}-{}-{:016x}-{:08x}", cluster.context().repository.hex(), cluster.id().hex(), identity.system_id,
                         identity.incarnation.value())),
      surroundings_(std::move(surroundings)) {
  if (cluster.keys().mac_key.is_zero()) directory_.clear();
  if (directory_.empty()) return;
  directory_ /= fmt::format("{}-{:016x}-{:08x}", cluster.id().hex(), identity.system_id, identity.incarnation.value());
  key_ = crypto::derive_key(cluster.keys().mac_key, "pgmint pushed ahead v1");
}

std::optional<AheadNotes::Watch> AheadNotes::watch(const Fd& file) const {
  if (directory_.empty() || !surroundings_.stamps(file)) return std::nullopt;
  // The time first: what changes the file after this is stamped later than the ctime that is about to be read.
  auto now = surroundings_.time();
  const auto state = state_of(file);
  if (!now || !state) return std::nullopt;
  const auto changed = std::chrono::seconds(state->ctime_s) + nanoseconds(state->ctime_ns);
  if (changed > now->since_epoch - kSettled) return std::nullopt;
  return Watch{*state, std::move(*now)};
}

Bytes AheadNotes::encode(const std::string& file_name, const Watch& watch, const crypto::Digest& mac) const {
  codec::BinaryWriter out;
  out.raw(as_bytes(kMagic));
  const auto& file = watch.file;
  for (auto field : {file.device, file.inode, file.size}) out.u64(field);
  for (auto field : {file.mtime_s, file.mtime_ns, file.ctime_s, file.ctime_ns}) out.u64(static_cast<std::uint64_t>(field));
  out.text(watch.since.boot);
  out.u64(static_cast<std::uint64_t>(watch.since.since_boot.count()));
  out.u64(static_cast<std::uint64_t>(watch.since.since_epoch.count()));
  out.raw(mac);
  codec::BinaryWriter bound;
  bound.text(scope_);
  bound.text(file_name);
  bound.raw(out.view());
  out.raw(crypto::hmac_sha256(key_, bound.view()));
  return out.take();
}

void AheadNotes::note(const std::string& file_name, const Watch& watch, const Fd& file, const crypto::Digest& mac) const {
  const auto now = surroundings_.time();
  if (state_of(file) != watch.file || !now || !same_course(watch.since, *now, kLife)) return;
  for (const auto& path : {directory_.parent_path(), directory_})
    if (const auto made = make_directory(path, 0700); !made) return log_debug("{}", made.error().describe());
  const auto path = directory_ / file_name;
  auto fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  const auto written = fd ? write_all(*fd, encode(file_name, watch, mac), path.string()) : Status(std::move(fd).failure());
  if (!written) log_debug("{}", written.failure().describe());
}

std::optional<crypto::Digest> AheadNotes::recall(const std::string& file_name, const Fd& file) const {
  if (directory_.empty()) return std::nullopt;
  const auto stored = read_file(directory_ / file_name, kNoteMax);
  if (!stored) return std::nullopt;
  const auto note = parse_note(*stored);
  if (!note || !crypto::equal_constant_time(*stored, encode(file_name, note->watch, note->mac))) return std::nullopt;
  const auto now = surroundings_.time();
  if (!now || !same_course(note->watch.since, *now, kLife)) return std::nullopt;
  if (!surroundings_.stamps(file) || state_of(file) != note->watch.file) return std::nullopt;
  return note->mac;
}

void AheadNotes::forget(const std::string& file_name) const {
  if (!directory_.empty()) ::unlink((directory_ / file_name).c_str());
}

void AheadNotes::sweep() const {
  const auto now = directory_.empty() ? std::nullopt : surroundings_.time();
  if (!now) return;
  std::vector<fs::path> old;
  auto listed = list_directory(directory_, [&](const std::string& entry, unsigned char) {
    struct stat info {};
    const auto path = directory_ / entry;
    if (::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && std::chrono::seconds(info.st_mtim.tv_sec) + kLife < now->since_epoch)
      old.push_back(path);
    return ok();
  });
  if (!listed) return;
  for (const auto& path : old) ::unlink(path.c_str());
}

}  // namespace pgmint::wal
