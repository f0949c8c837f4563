#include "backup/stream_front.h"

#include <fmt/format.h>

#include "postgres/wal_name.h"

namespace pgmint::backup {
namespace {

using postgres::EntryKind;
using postgres::TarEntry;

constexpr std::uint64_t kControlMax = 64U << 10;
/// backup_label and tablespace_map: a line for each of at most a million tablespaces.
constexpr std::uint64_t kTextMax = 16U << 20;
/// Larger WAL segments are not kept aside.
constexpr std::uint64_t kSegmentKeptMax = 64U << 20;

Error malformed(std::string what) { return Error(Errc::Postgres, "PostgreSQL: what it sends is no base backup: " + std::move(what)); }

/// A segment or a history file of pg_wal; other things there are no part of a backup.
bool is_wal_file(std::string_view name, std::uint64_t size) {
  const auto is_hex = [](std::string_view text) { return text.find_first_not_of("0123456789ABCDEF") == std::string_view::npos; };
  if (name.size() == 24 && is_hex(name)) return size > 0;
  return name.size() == 16 && is_hex(name.substr(0, 8)) && name.substr(8) == ".history";
}

postgres::DirectoryEntry entry_of(std::string path, const TarEntry& tar) {
  postgres::DirectoryEntry entry;
  entry.path = std::move(path);
  entry.mode = tar.mode;
  entry.uid = tar.uid;
  entry.gid = tar.gid;
  entry.size = tar.size;
  entry.mtime_ns = tar.mtime_s * 1'000'000'000;
  return entry;
}

}  // namespace

StreamFront::StreamFront(StreamSource& source, StreamFrontOptions options) : source_(source), options_(std::move(options)) {
  PGMINT_ASSERT(options_.extent_size > 0 && options_.stretch >= options_.extent_size && options_.stretch % options_.extent_size == 0);
}

Status StreamFront::archive_begins(std::optional<postgres::Oid> tablespace) {
  tar_.emplace(static_cast<postgres::TarSink&>(*this));
  below_ = tablespace ? fmt::format("pg_tblspc/{}/", tablespace->value()) : "";
  return ok();
}

Status StreamFront::archive_bytes(ByteView bytes) {
  TRY(options_.before(bytes.size()));
  auto fed = tar_->feed(bytes);
  // Damaged in what the server sent, not in the repository.
  if (!fed && fed.failure().code() == Errc::Corruption) return malformed(fed.failure().describe());
  return fed;
}

Status StreamFront::archive_ends() {
  auto whole = tar_->finish();
  if (!whole) return malformed(whole.failure().describe());
  return ok();
}

Status StreamFront::finish() {
  TRY(hand_on_bundle(relations_));
  TRY(hand_on_bundle(others_));
  if (!has_control_) return malformed("pg_control is missing");
  if (label_.empty()) return malformed("backup_label is missing");
  return ok();
}

Status StreamFront::entry(TarEntry tar) {
  into_ = Into::Nowhere;
  file_ = nullptr;
  if (below_.empty() && tar.kind == TarEntry::Kind::File) {
    if (tar.name == "backup_label") return begin_kept(Into::Label, tar.size);
    if (tar.name == "tablespace_map") return begin_kept(Into::Map, tar.size);
    if (tar.name.starts_with("pg_wal/")) {
      const auto name = tar.name.substr(7);
      return is_wal_file(name, tar.size) ? begin_wal(name, tar) : ok();
    }
  }
  return begin_entry(below_ + tar.name, tar);
}

Status StreamFront::begin_kept(Into into, std::uint64_t size) {
  if (size > (into == Into::Control ? kControlMax : kTextMax)) return malformed("a file of a few lines is too large");
  piece_.clear();
  into_ = into;
  return ok();
}

Status StreamFront::begin_entry(std::string path, const TarEntry& tar) {
  const auto kind = postgres::classify_path(path);
  if (tar.kind == TarEntry::Kind::Directory) {
    if (!kind && path != "pg_wal/archive_status" && path != "pg_wal/summaries") return ok();
    entries_.push_back({entry_of(std::move(path), tar)});
    entries_.back().entry.kind = EntryKind::Directory;
    return ok();
  }
  if (tar.kind == TarEntry::Kind::Symlink) {
    // Links to tablespaces are made from the list of them.
    if (path.starts_with("pg_tblspc/") || !kind) return ok();
    entries_.push_back({entry_of(std::move(path), tar), tar.link});
    entries_.back().entry.kind = EntryKind::Symlink;
    return ok();
  }
  if (!kind) return ok();
  entries_.push_back({entry_of(std::move(path), tar)});
  auto& file = entries_.back();
  file.entry.kind = *kind;
  file.entry.relation = postgres::relation_of_path(file.entry.path);
  if (owner_.empty()) owner_ = tar.owner;
  if (*kind == EntryKind::ControlFile) {
    if (has_control_) return malformed("pg_control comes twice");
    has_control_ = true;
    return begin_kept(Into::Control, tar.size);
  }
  if (!has_content(file.entry)) return ok();
  file.plan = options_.plan(file.entry);
  return begin_file(file);
}

Status StreamFront::begin_wal(std::string name, const TarEntry& tar) {
  wal_.push_back({entry_of(name, tar)});
  const bool kept = name.size() == 24 && tar.size <= kSegmentKeptMax;
  last_segment_ = {kept ? std::move(name) : "", {}};
  return begin_file(wal_.back());
}

Status StreamFront::begin_file(StreamedEntry& file) {
  file_ = &file;
  at_ = 0;
  piece_ = {};
  arrived_ = TRY(source_.announce(file.entry.path, file.entry.size));
  if (file.entry.size < options_.extent_size) {
    into_ = Into::Bundle;
    piece_.reserve(static_cast<std::size_t>(file.entry.size));
    return ok();
  }
  into_ = Into::Stretches;
  const auto stretches = (file.entry.size + options_.stretch - 1) / options_.stretch;
  mapped_ = std::make_shared<MappedFile>(file.entry, file.plan,
                                         MappedFile::Shape{options_.extent_size, file.entry.relation ? options_.block_size : 0,
                                                           static_cast<std::uint32_t>(stretches)});
  return ok();
}

Status StreamFront::content(ByteView bytes) {
  switch (into_) {
    case Into::Nowhere:
      return ok();
    case Into::Control:
    case Into::Label:
    case Into::Map:
    case Into::Bundle:
      append(piece_, bytes);
      return ok();
    case Into::Stretches:
      break;
  }
  if (!last_segment_.name.empty() && file_->entry.path == last_segment_.name) append(last_segment_.bytes, bytes);
  while (!bytes.empty()) {
    // Once, and no more than it holds: a vector that grows by itself would take twice as much.
    if (piece_.capacity() == 0) piece_.reserve(static_cast<std::size_t>(std::min(options_.stretch, file_->entry.size - at_)));
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(options_.stretch) - piece_.size()));
    append(piece_, part);
    bytes = bytes.subspan(part.size());
    if (piece_.size() == options_.stretch) TRY(hand_on_stretch());
  }
  return ok();
}

Status StreamFront::hand_on_stretch() {
  const auto length = piece_.size();
  const auto end = at_ + length;
  arrived_->put(at_, std::exchange(piece_, {}));
  CopyWork work{.mapped = mapped_,
                .files = {{&file_->entry, &file_->plan, &file_->copied}},
                .first = std::exchange(at_, end),
                .end = end,
                .bytes = length,
                .last = end == file_->entry.size};
  return options_.hand_on(std::move(work));
}

Status StreamFront::entry_ends() {
  switch (std::exchange(into_, Into::Nowhere)) {
    case Into::Nowhere:
      return ok();
    case Into::Control:
      control_ = std::exchange(piece_, {});
      return ok();
    case Into::Label:
      label_ = std::string(as_text(piece_));
      return ok();
    case Into::Map:
      map_ = std::string(as_text(piece_));
      return ok();
    case Into::Bundle:
      return add_to_bundle();
    case Into::Stretches:
      break;
  }
  if (!piece_.empty()) TRY(hand_on_stretch());
  arrived_.reset();
  mapped_.reset();
  return ok();
}

/// Relations by themselves, as in a plan (copy_plan.cc).
Status StreamFront::add_to_bundle() {
  auto& bundle = file_->entry.relation ? relations_ : others_;
  if (bundle.bytes + piece_.size() > options_.bundle_size) TRY(hand_on_bundle(bundle));
  bundle.bytes += piece_.size();
  bundle.files.push_back({&file_->entry, &file_->plan, &file_->copied});
  arrived_->put(0, std::exchange(piece_, {}));
  arrived_.reset();
  // Empty files cost no bytes, and must not pile up without end.
  constexpr std::size_t kFilesMax = 4096;
  return bundle.files.size() >= kFilesMax ? hand_on_bundle(bundle) : ok();
}

Status StreamFront::hand_on_bundle(Bundle& bundle) {
  if (bundle.files.empty()) return ok();
  CopyWork work{.mapped = nullptr, .files = std::exchange(bundle.files, {}), .first = 0, .end = 0, .bytes = std::exchange(bundle.bytes, 0), .last = false};
  return options_.hand_on(std::move(work));
}

}  // namespace pgmint::backup
