#include "backup/stream_front.h"

#include <fmt/format.h>

#include "backup/copy_worker.h"
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
  auto path = below_ + tar.name;
  if (tar.kind == TarEntry::Kind::File)
    if (auto plain = postgres::incremental_path(path)) return begin_part(std::move(*plain), tar);
  return begin_entry(std::move(path), tar);
}

Status StreamFront::begin_part(std::string path, const TarEntry& tar) {
  if (!options_.plan_part) return malformed(fmt::format("only a part of {}, which was not asked for", path));
  if (postgres::classify_path(path) != EntryKind::RelationSegment) return malformed(fmt::format("only a part of {}, which is no file of a relation", path));
  entries_.push_back({entry_of(std::move(path), tar)});
  file_ = &entries_.back();
  file_->entry.kind = EntryKind::RelationSegment;
  file_->entry.relation = postgres::relation_of_path(file_->entry.path);
  piece_ = {};
  part_size_ = tar.size;
  part_header_ = postgres::kIncrementalFront;
  into_ = Into::PartHeader;
  return ok();
}

/// @return what does not belong to the header
Result<ByteView> StreamFront::take_part_header(ByteView bytes) {
  const postgres::IncrementalShape shape{options_.block_size, options_.blocks_per_segment};
  while (!bytes.empty() && piece_.size() < part_header_) {
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(part_header_) - piece_.size()));
    append(piece_, part);
    bytes = bytes.subspan(part.size());
    if (piece_.size() != postgres::kIncrementalFront) continue;
    auto size = postgres::incremental_header_size(piece_, part_size_, shape);
    if (!size) return malformed(fmt::format("{}: {}", file_->entry.path, size.failure().describe()));
    part_header_ = *size;
  }
  if (piece_.size() == part_header_) TRY(begin_part_pages());
  return bytes;
}

Status StreamFront::begin_part_pages() {
  auto sent = postgres::parse_incremental_header(piece_, {options_.block_size, options_.blocks_per_segment});
  if (!sent) return malformed(fmt::format("{}: {}", file_->entry.path, sent.failure().describe()));
  piece_ = {};
  auto& entry = file_->entry;
  entry.size = std::uint64_t{sent->length()} * options_.block_size;
  file_->plan = TRY(options_.plan_part(entry, std::move(*sent)));
  if (options_.passed) options_.passed(part_header_, file_->plan.reading == Reading::Kept ? 1 : 0);
  into_ = Into::Part;
  at_ = 0;
  cuts_.clear();
  if (file_->plan.reading == Reading::Kept) {
    file_->copied = kept(*file_->plan.parent);
    into_ = Into::Nowhere;
    return ok();
  }
  const auto& blocks = file_->plan.blocks();
  const auto bytes = std::uint64_t{blocks.size()} * options_.block_size;
  arrived_ = TRY(source_.announce(entry.path, bytes));
  if (entry.size < options_.extent_size) {
    into_ = Into::Bundle;
    piece_.reserve(static_cast<std::size_t>(bytes));
    return ok();
  }
  cut_part(blocks);
  mapped_ = std::make_shared<MappedFile>(entry, file_->plan, MappedFile::Shape{options_.extent_size, options_.block_size, static_cast<std::uint32_t>(cuts_.size())});
  return take_part_pages({});
}

/// Stretches of the file together, as long as what came of them is not more than one.
void StreamFront::cut_part(const std::vector<postgres::BlockNumber>& blocks) {
  std::vector<Cut> cuts;
  auto at = blocks.begin();
  for (std::uint64_t first = 0; first < file_->entry.size; first += options_.stretch) {
    const auto end = std::min(first + options_.stretch, file_->entry.size);
    const auto begin = at;
    while (at != blocks.end() && std::uint64_t{*at} * options_.block_size < end) ++at;
    const auto bytes = static_cast<std::uint64_t>(at - begin) * options_.block_size;
    if (!cuts.empty() && cuts.back().bytes + bytes <= options_.stretch) {
      cuts.back().end = end;
      cuts.back().bytes += bytes;
    } else {
      cuts.push_back({first, end, bytes});
    }
  }
  cuts_.assign(cuts.rbegin(), cuts.rend());
}

Status StreamFront::take_part_pages(ByteView bytes) {
  for (;;) {
    if (cuts_.empty()) return ok();
    const auto& cut = cuts_.back();
    if (piece_.capacity() == 0) piece_.reserve(static_cast<std::size_t>(cut.bytes));
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), static_cast<std::size_t>(cut.bytes) - piece_.size()));
    append(piece_, part);
    bytes = bytes.subspan(part.size());
    if (piece_.size() < cut.bytes) return ok();
    arrived_->put(cut.first, std::exchange(piece_, {}));
    CopyWork work{.mapped = mapped_,
                  .files = {{&file_->entry, &file_->plan, &file_->copied}},
                  .first = cut.first,
                  .end = cut.end,
                  .bytes = cut.bytes,
                  .last = cut.end == file_->entry.size};
    cuts_.pop_back();
    TRY(options_.hand_on(std::move(work)));
  }
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
    case Into::PartHeader: {
      const auto pages = TRY(take_part_header(bytes));
      return pages.empty() ? ok() : content(pages);
    }
    case Into::Part:
      return take_part_pages(bytes);
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
    case Into::PartHeader:
      return malformed(fmt::format("{}: its header is cut off", file_->entry.path));
    case Into::Part:
      arrived_.reset();
      mapped_.reset();
      return ok();
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
