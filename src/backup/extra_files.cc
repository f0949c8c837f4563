#include "backup/extra_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "postgres/page.h"
#include "postgres/wal_record.h"

namespace pgmint::backup {
namespace {

/// A configuration file above this is none.
constexpr std::uint64_t kConfigurationMax = repository::kDataRecordMax;

std::int64_t mtime_us(const struct stat& status) {
  return status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000;
}

fs::path resolved(const fs::path& path) {
  std::error_code error;
  auto real = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : real;
}

bool lies_in(const fs::path& path, const fs::path& directory) {
  const auto inner = path.lexically_relative(directory);
  return !inner.empty() && *inner.begin() != "..";
}

Result<ExtraFile> read_configuration(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno_error(errno, path);
  if (!S_ISREG(status.st_mode)) return Error(Errc::Precondition, fmt::format("{} is not an ordinary file", path));
  ExtraFile file;
  file.bytes = TRY(read_file(path, kConfigurationMax));
  file.entry.area = repository::FileArea::Configuration;
  file.entry.path = path;
  file.entry.mode = status.st_mode & 07777;
  file.entry.uid = status.st_uid;
  file.entry.gid = status.st_gid;
  file.entry.mtime_us = mtime_us(status);
  return file;
}

/// A segment file in a standby's pg_wal.
class PgWalSegment final : public OwnSegment {
 public:
  PgWalSegment(Fd fd, fs::path path, postgres::WalFileName name, postgres::Lsn stop, const postgres::ControlFile& control,
               const struct stat& status)
      : fd_(std::move(fd)), path_(std::move(path)), name_(name), control_(control), status_(status) {
    const auto size = control.wal_segment_size.bytes();
    used_ = stop <= start() ? 0 : std::min<std::uint64_t>(stop - start(), size);
  }

  Status read(MutableByteView out, std::uint64_t offset) override {
    const std::uint64_t wanted = offset >= used_ ? 0 : std::min<std::uint64_t>(out.size(), used_ - offset);
    if (TRY(read_at(fd_, out.first(wanted), offset, path_.string())) != wanted)
      return Error(Errc::Io, fmt::format("{} became shorter while it was read", path_.string()));
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(wanted), out.end(), std::byte{0});
    return ok();
  }

  /// A file of that name may be a recycled segment that waits for its turn: its pages carry other addresses.
  Result<bool> is_what_its_name_says(std::size_t step) {
    Bytes buffer(step);
    for (std::uint64_t at = 0; at < used_; at += step) {
      TRY(read(buffer, at));
      if (at == 0) {
        const auto header = postgres::wal_segment_header(buffer);
        if (!header ||
            !postgres::check_segment_identity(*header, name_, control_.wal_segment_size, control_.system_identifier))
          return false;
      }
      for (std::size_t page = 0; page < step && at + page < used_; page += control_.wal_block_size) {
        const auto header = postgres::parse_wal_page_header(ByteView(buffer).subspan(page, control_.wal_block_size));
        if (!header || header->address != start() + (at + page)) return false;
      }
    }
    return true;
  }

  repository::FileEntry entry() const override {
    repository::FileEntry entry;
    entry.area = repository::FileArea::Wal;
    entry.path = path_.filename().string();
    entry.mode = status_.st_mode & 07777;
    entry.uid = status_.st_uid;
    entry.gid = status_.st_gid;
    entry.mtime_us = mtime_us(status_);
    return entry;
  }

 private:
  postgres::Lsn start() const { return postgres::start_of(name_.segment, control_.wal_segment_size); }

  Fd fd_;
  fs::path path_;
  postgres::WalFileName name_;
  const postgres::ControlFile control_;
  struct stat status_;
  std::uint64_t used_ = 0;
};

}  // namespace

std::vector<ExtraFile> read_outside_configuration(const postgres::ServerFacts& facts, const fs::path& data_directory,
                                                  std::vector<std::string>& warnings) {
  const auto inside = resolved(data_directory);
  std::vector<std::string> paths{facts.config_file, facts.hba_file, facts.ident_file};
  paths.insert(paths.end(), facts.included_files.begin(), facts.included_files.end());
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());

  std::vector<ExtraFile> files;
  for (const auto& path : paths) {
    if (path.empty() || path.front() != '/' || lies_in(resolved(path), inside)) continue;
    // The manifest takes only paths without "." and ".." parts.
    const auto clean = fs::path(path).lexically_normal().string();
    if (auto file = read_configuration(clean))
      files.push_back(std::move(*file));
    else
      warnings.push_back(
          fmt::format("configuration file {} is not in this backup: {}", clean, file.failure().describe()));
  }
  return files;
}

Status check_outside_configuration(const postgres::ServerFacts& facts, std::vector<std::string>& warnings) {
  if (facts.data_directory.empty()) {
    warnings.push_back("where the server keeps its configuration this role may not see (pg_read_all_settings): files outside the data directory are not in this backup");
    return ok();
  }
  std::vector<std::string> paths{facts.config_file, facts.hba_file, facts.ident_file};
  paths.insert(paths.end(), facts.included_files.begin(), facts.included_files.end());
  std::string outside;
  for (const auto& path : paths)
    if (!path.empty() && path.front() == '/' && !lies_in(fs::path(path).lexically_normal(), fs::path(facts.data_directory).lexically_normal()))
      outside += (outside.empty() ? "" : ", ") + path;
  if (!outside.empty()) warnings.push_back(fmt::format("configuration outside the data directory is not in this backup, since a server sends only that: {}", outside));
  return ok();
}

namespace {

/// What the parent has of a file, if that is the same.
std::optional<repository::BundleMember> same_in(const ParentFiles& parent, repository::PackStream& packs, const ExtraFile& file) {
  const auto* before = parent.find(file.entry.area, file.entry.path);
  if (before == nullptr || before->size != file.bytes.size()) return std::nullopt;
  auto member = before->content.member();
  if (!member) return std::nullopt;
  const auto nonce = repository::bundle_member_nonce(member->bundle.nonce, member->offset);
  if (packs.fingerprint(nonce, file.bytes) != member->fingerprint) return std::nullopt;
  return member;
}

/// Seals the files from `first` on that fit one bundle. @return the first that did not
Result<std::size_t> store_bundle(repository::PackStream& packs, std::vector<ExtraFile>& files, std::size_t first) {
  Bytes bundle;
  std::size_t last = first;
  while (last < files.size() && (last == first || bundle.size() + files[last].bytes.size() <= repository::kDataRecordMax))
    append(bundle, files[last++].bytes);
  std::optional<repository::RecordLocation> location;
  if (!bundle.empty()) location = TRY(packs.append(repository::RecordType::Bundle, bundle));
  std::size_t offset = 0;
  for (; first < last; ++first) {
    auto& entry = files[first].entry;
    const auto& bytes = files[first].bytes;
    entry.kind = repository::FileKind::Empty;
    if (!bytes.empty()) {
      entry.kind = repository::FileKind::Bundled;
      entry.content =
          repository::BundleMember{*location, static_cast<std::uint32_t>(offset),
                                   packs.fingerprint(repository::bundle_member_nonce(location->nonce, offset), bytes)};
    }
    offset += bytes.size();
  }
  return last;
}

}  // namespace

Result<std::vector<repository::FileEntry>> store_extra_files(repository::PackStream& packs, std::vector<ExtraFile> files,
                                                             const ParentFiles* parent, const Forward* forward) {
  std::vector<repository::FileEntry> entries;
  for (auto& file : files) {
    file.entry.size = file.bytes.size();
    const auto same = parent != nullptr ? same_in(*parent, packs, file) : std::nullopt;
    if (!same || (forward != nullptr && forward->leaves(same->bundle))) continue;
    file.entry.kind = repository::FileKind::Bundled;
    file.entry.content = *same;
    entries.push_back(file.entry);
  }
  std::erase_if(files, [](const ExtraFile& file) { return file.entry.kind == repository::FileKind::Bundled; });
  std::ranges::sort(files, repository::entry_before, &ExtraFile::entry);
  for (std::size_t first = 0; first < files.size();) first = TRY(store_bundle(packs, files, first));
  for (auto& file : files) entries.push_back(std::move(file.entry));
  std::ranges::sort(entries, repository::entry_before);
  return entries;
}

Result<std::unique_ptr<OwnSegment>> open_own_segment(const fs::path& data_directory, const std::string& name, postgres::Lsn stop,
                                                     const postgres::ControlFile& control, std::uint32_t step) {
  const auto parsed = postgres::parse_wal_file_name(name, control.wal_segment_size);
  PGMINT_ASSERT(parsed && parsed->kind == postgres::WalFileKind::Segment);
  auto path = data_directory / "pg_wal" / name;
  auto fd = TRY(open_if_exists(path, O_RDONLY));
  if (!fd) return std::unique_ptr<OwnSegment>();
  struct stat status {};
  if (::fstat(fd->get(), &status) != 0) return errno_error(errno, path.string());
  if (static_cast<std::uint64_t>(status.st_size) != control.wal_segment_size.bytes()) return std::unique_ptr<OwnSegment>();
  auto segment = std::make_unique<PgWalSegment>(std::move(*fd), std::move(path), *parsed, stop, control, status);
  if (!TRY(segment->is_what_its_name_says(step))) return std::unique_ptr<OwnSegment>();
  return std::unique_ptr<OwnSegment>(std::move(segment));
}

Result<repository::FileEntry> carry_segment(repository::PackStream& packs, repository::PackStream& maps, OwnSegment& segment, const postgres::ControlFile& control,
                                            std::uint32_t extent_size, PackLedger& ledger) {
  repository::SegmentMap map;
  map.extent_size = extent_size;
  map.file_length = control.wal_segment_size.bytes();
  Bytes buffer(extent_size);
  for (std::uint64_t at = 0; at < map.file_length; at += extent_size) {
    auto& extent = map.extents.emplace_back();
    const auto part = MutableByteView(buffer).first(std::min<std::uint64_t>(extent_size, map.file_length - at));
    TRY(segment.read(part, at));
    if (postgres::page_is_zero(part)) continue;
    extent.location = TRY(packs.append(repository::RecordType::Extent, part));
    extent.fingerprint = packs.fingerprint(extent.location->nonce, part);
  }
  auto entry = segment.entry();
  entry.kind = repository::FileKind::Mapped;
  entry.size = map.file_length;
  const auto where = TRY(maps.append(repository::RecordType::SegmentMap, repository::encode_segment_map(map)));
  ledger.stored(where, map);
  entry.content = where;
  return entry;
}

}  // namespace pgmint::backup
