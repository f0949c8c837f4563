#include "backup/parent_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "postgres/page_mask.h"
#include "repository/pack.h"

namespace pgmint::backup {

using postgres::Lsn;
using repository::RecordLocation;
using repository::SegmentMap;

ParentCompare::ParentCompare(const CopyInput& input, PageFindings& findings)
    : in_(input), findings_(findings), opener_(input.packs.context, input.packs.keys), again_(input.check.block_size) {}

/// The caller's error only ends this copy; the reason is what counts.
Status ParentCompare::refute(std::string reason) {
  if (!refuted_) refuted_ = std::move(reason);
  return Error(Errc::Cancelled, "the incremental backup gives way to a full one");
}

Status ParentCompare::refute_damage(const Error& error) {
  return refute(fmt::format("the parent cannot be read: {}", error.describe()));
}

Result<Bytes> ParentCompare::read(const RecordLocation& location) {
  auto raw = repository::read_record(in_.parent->store, in_.packs.context, opener_, location);
  if (raw || !repository::is_damage(raw.failure())) return raw;
  TRY(refute_damage(raw.failure()));
  return raw;
}

Result<repository::SegmentMap> ParentCompare::read_map(const RecordLocation& location) {
  auto map = repository::parse_segment_map(TRY(read(location)));
  if (!map) TRY(refute_damage(map.failure()));
  return map;
}

std::vector<std::uint32_t> ParentCompare::listed(const FilePlan& plan, std::uint64_t from, std::uint64_t to) const {
  const auto wide = [](std::uint32_t block) { return std::uint64_t{block}; };
  std::vector<std::uint32_t> blocks;
  for (auto at = std::ranges::lower_bound(plan.blocks(), from, {}, wide); at != plan.blocks().end() && *at < to; ++at)
    blocks.push_back(*at);
  for (auto block = std::max<std::uint64_t>(from, plan.own_from); block < to; ++block)
    blocks.push_back(static_cast<std::uint32_t>(block));
  return blocks;
}

std::size_t ParentCompare::has_deltas(const MappedFile& file, std::uint64_t at) const {
  if (!file.entry().relation || file.parent_map() == nullptr || file.parent_map()->deltas.empty()) return 0;
  const auto from = at / in_.check.block_size;
  return file.parent_delta_pages(from, from + in_.extent_size / in_.check.block_size);
}

Status ParentCompare::check_unlisted(const MappedFile& file, std::uint64_t at, ByteView data) {
  return guard(file.entry(), file.plan(), at, data);
}

Status ParentCompare::guard(const postgres::DirectoryEntry& entry, const FilePlan& plan, std::uint64_t at, ByteView data) {
  const std::size_t size = in_.check.block_size;
  auto block = static_cast<postgres::BlockNumber>(at / size);
  for (std::size_t i = 0; i + size <= data.size(); i += size, ++block) {
    // pd_lsn is where a record ends: one that ends at the parent's start was before it.
    const auto lsn = postgres::page_header(data.subspan(i)).lsn;
    if (lsn <= in_.parent->start || lsn > in_.check.backup_start || plan.lists(block)) continue;
    return refute(fmt::format("{} block {} changed at {}, and the change summaries do not name it", entry.path, block,
                              postgres::format(lsn)));
  }
  return ok();
}

Status ParentCompare::read_extent(const SegmentMap& map, std::uint64_t i, MutableByteView out) {
  const auto& extent = map.extents[i];
  if (extent.location) {
    const auto raw = TRY(read(*extent.location));
    if (raw.size() != out.size()) return refute_damage(Error(Errc::Corruption, "an extent has another length than its map says"));
    std::ranges::copy(raw, out.begin());
  } else {
    std::ranges::fill(out, std::byte{0});
  }
  if (map.deltas.empty()) return ok();
  // Once for a stretch: neighbours share records.
  if (deltas_of_ != &map || !deltas_.covers(i)) {
    constexpr std::uint64_t kAhead = 64;
    auto deltas = repository::DeltaPages::load(in_.parent->store, in_.packs.context, opener_, map, i,
                                               std::min<std::uint64_t>(map.extent_count(), i + kAhead));
    if (!deltas && repository::is_damage(deltas.failure()))
      TRY(refute_damage(deltas.failure()));
    deltas_ = TRY(std::move(deltas));
    deltas_of_ = &map;
  }
  deltas_.apply(map, i, out);
  return ok();
}

Status ParentCompare::read_before(const FilePlan& plan, const SegmentMap* map, std::uint64_t at, MutableByteView out) {
  std::ranges::fill(out, std::byte{0});
  const auto own = std::uint64_t{plan.own_from} * in_.check.block_size;
  if (own <= at) return ok();
  const auto wanted = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), own - at)));
  if (const auto member = plan.parent->content.member()) {
    if (at >= plan.parent->size) return ok();
    const auto bundle = TRY(read(member->bundle));
    if (bundle.size() < member->offset + plan.parent->size) return refute_damage(Error(Errc::Corruption, "a bundle is shorter than its files"));
    const auto part = ByteView(bundle).subspan(member->offset + at, static_cast<std::size_t>(std::min<std::uint64_t>(wanted.size(), plan.parent->size - at)));
    std::ranges::copy(part, wanted.begin());
    return ok();
  }
  if (map == nullptr || map->extent_size != in_.extent_size || map->page_size != in_.check.block_size)
    return refute_damage(Error(Errc::Corruption, "a map is of another shape than its backup"));
  const auto i = at / in_.extent_size;
  if (i >= map->extent_count()) return ok();
  before_.resize(map->extent_length(i));
  TRY(read_extent(*map, i, before_));
  std::ranges::copy(ByteView(before_).first(std::min(before_.size(), wanted.size())), wanted.begin());
  return ok();
}

Result<std::optional<std::vector<std::uint32_t>>> ParentCompare::changed_pages(const MappedFile& file, std::uint64_t at,
                                                                               ByteView data, SourceRange& source) {
  using Blocks = std::optional<std::vector<std::uint32_t>>;
  const auto i = at / in_.extent_size;
  const auto& extent = file.parent_map()->extents[i];
  const std::size_t size = in_.check.block_size;
  const bool pages = file.entry().relation && data.size() % size == 0;
  if (!pages || has_deltas(file, at) == 0) {
    const bool same = extent.location ? opener_.fingerprint(extent.location->nonce, data) == extent.fingerprint
                                      : postgres::page_is_zero(data);
    if (same) return Blocks(std::in_place);
    if (!pages) return Blocks();
  }
  // Pages with a younger LSN certainly differ: where there are many of them, the parent need not be asked.
  std::size_t younger = 0;
  for (std::size_t p = 0; p < data.size(); p += size)
    if (postgres::page_header(data.subspan(p)).lsn > in_.parent->start) ++younger;
  if (younger * 3 * size > data.size()) return Blocks();

  before_.resize(data.size());
  TRY(read_extent(*file.parent_map(), i, before_));
  Blocks blocks(std::in_place);
  auto block = static_cast<std::uint32_t>(at / size);
  for (std::size_t p = 0; p < data.size(); p += size, ++block) {
    const auto page = data.subspan(p, size), before = ByteView(before_).subspan(p, size);
    if (std::memcmp(page.data(), before.data(), size) == 0) continue;
    blocks->push_back(block);
    if (file.plan().has_list && !file.plan().lists(block)) TRY(judge(file.entry(), block, before, page, source));
  }
  return blocks;
}

/// A page that differs from the parent's and that no WAL names. Hints may change without WAL, and a page that is being written may
/// have been read in two halves; anything else is not PostgreSQL's doing.
Status ParentCompare::judge(const postgres::DirectoryEntry& entry, std::uint64_t block, ByteView before, ByteView page,
                            SourceRange& source) {
  if (postgres::page_header(page).lsn > in_.parent->start) return ok();  // guarded, or younger than this backup's start
  if (postgres::same_but_for_hints(before, page)) return ok();
  // What cannot be read again, and has no checksum that would tell, may be torn.
  if (!source.looks_again() && !in_.check.checksums_enabled) return ok();
  const auto got = TRY(source.read(again_, block * again_.size()));
  if (got < again_.size() || std::memcmp(again_.data(), page.data(), page.size()) != 0) return ok();
  const auto in_fork = std::uint64_t{entry.relation->segment} * in_.blocks_per_segment + block;
  findings_.add({entry.path, in_fork, kChangedWithoutWal},
                fmt::format("block {} is not what the parent has, and no WAL changed it", in_fork));
  return ok();
}

Result<bool> ParentCompare::is_same(const postgres::DirectoryEntry& entry, const FilePlan& plan, ByteView data,
                                    SourceRange& source) {
  if (plan.has_list) TRY(guard(entry, plan, 0, data));
  const auto member = plan.parent->content.member();
  if (!member || plan.parent->size != data.size()) return false;
  const auto nonce = repository::bundle_member_nonce(member->bundle.nonce, member->offset);
  if (opener_.fingerprint(nonce, data) == member->fingerprint) return true;
  const std::size_t size = in_.check.block_size;
  if (!plan.has_list || data.size() % size != 0) return false;
  const auto bundle = TRY(read(member->bundle));
  const auto before = ByteView(bundle).subspan(member->offset, data.size());
  for (std::uint32_t block = 0; block < data.size() / size; ++block) {
    const auto was = before.subspan(block * size, size), is = data.subspan(block * size, size);
    if (!plan.lists(block) && std::memcmp(was.data(), is.data(), size) != 0) TRY(judge(entry, block, was, is, source));
  }
  return false;
}

void ParentCompare::leave() {
  deltas_ = {};
  deltas_of_ = nullptr;
}

}  // namespace pgmint::backup
