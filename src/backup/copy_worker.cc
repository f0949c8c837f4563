#include "backup/copy_worker.h"

#include <algorithm>

#include "backup/parent_compare.h"

namespace pgmint::backup {
namespace {

using postgres::DirectoryEntry;
using repository::FinishedPack;
using repository::RecordType;

constexpr std::size_t kBufferSize = repository::kDataRecordMax;
/// As large as an extent: the codec then sees as many pages at once.
constexpr std::size_t kDeltaMax = 256U << 10;

class Worker {
 public:
  explicit Worker(CopyShared& shared)
      : s_(shared),
        in_(shared.input),
        packs_(in_.packs, repository::PackKind::Base,
               [this](FinishedPack pack) { return s_.hand_on(std::move(pack)); }),
        inspector_(in_.check, in_.blocks_per_segment, in_.upper_lsn, in_.clock, s_.findings),
        buffer_(kBufferSize) {
    if (in_.parent != nullptr) parent_.emplace(in_, s_.findings);
  }

  Status run() {
    auto done = work();
    // The parent, not this machine, is at fault: the run goes on without it.
    if (parent_ && parent_->refuted())
      s_.refuted.with([&](auto& reason) {
        if (!reason) reason = *parent_->refuted();
      });
    return done;
  }

 private:
  Status work() {
    while (const auto work = s_.feed.next()) {
      planned_left_ = work->bytes;
      TRY(work->mapped ? copy_stretch(*work) : copy_bundle(*work));
      count_done(planned_left_);
      count_sealed();
    }
    return packs_.close();
  }

  Status copy_stretch(const CopyWork& work) {
    auto& file = *work.mapped;
    const auto& entry = file.entry();
    auto* source = TRY(open(file).context(entry.path));
    if (source != nullptr) {
      const auto end = work.last ? file.wanted() : std::min(work.end, file.wanted());
      if (work.first < end) TRY(read_some(file, *source, work.first, end).context(entry.path));
      TRY(packs_.end_run());
    }
    if (!file.leave_stretch()) return ok();
    s_.counters.files_done.fetch_add(1, std::memory_order_relaxed);
    TRY(finish_mapped(*work.files.front().copied, file));
    file.release();
    return ok();
  }

  Result<SourceFile*> open(MappedFile& file) {
    return file.open(in_.source, [this](const repository::RecordLocation& map) { return parent_->read_map(map); });
  }

  Status finish_mapped(CopiedFile& copied, MappedFile& file) {
    auto described = file.describe();
    if (!described) return note_absent(file.entry());
    note_inherited(file);
    const auto* before = file.parent_map();
    const auto* where = before != nullptr ? file.plan().parent->content.map() : nullptr;
    auto& map = described->map;
    const bool moved = in_.forward != nullptr && TRY(forwarded(in_.forward->move(map)));
    if (described->is_parents && !moved) {
      copied = kept(*file.plan().parent);
      return ok();
    }
    if (before != nullptr) in_.ledger.dropped(*where, *before);
    return store_map(copied, map);
  }

  /// What has to move and cannot be read is the parent's fault.
  template <class T>
  Result<T> forwarded(Result<T> moved) {
    if (!moved && repository::is_damage(moved.failure())) TRY(parent_->refute_damage(moved.failure()));
    return moved;
  }

  /// Damaged pages that the parent had in this file and that were not read again.
  void note_inherited(const MappedFile& file) {
    if (in_.parent == nullptr || file.plan().reading != Reading::Listed) return;
    const auto first = std::uint64_t{file.entry().relation->segment} * in_.blocks_per_segment;
    for (const auto& page : in_.parent->bad_pages)
      if (page.path == file.entry().path && page.block >= first && !file.renewed(page.block - first))
        s_.inherited_bad.with([&](auto& pages) { pages.push_back(page); });
  }

  Status read_some(MappedFile& file, SourceFile& source, std::uint64_t first, std::uint64_t end) {
    if (file.plan().reading == Reading::Sent) return take_sent(file, source, first, end);
    if (file.plan().reading == Reading::Listed && file.parent_map() != nullptr) return read_listed(file, source, first, end);
    return read_stretch(file, source, first, end);
  }

  /// Extents of which enough changed are read whole, of others only the pages that did.
  Status read_listed(MappedFile& file, SourceFile& source, std::uint64_t first, std::uint64_t end) {
    const std::uint64_t page = in_.check.block_size;
    for (std::uint64_t at = first; at < end; at += in_.extent_size) {
      const auto i = at / in_.extent_size;
      const auto length = file.extent_length(i);
      const auto from = at / page, to = (at + length) / page;
      const auto blocks = parent_->listed(file.plan(), from, to);
      const auto deltas = file.parent_delta_pages(from, to);
      const bool rewrite = !file.parent_has(i) || (file.deltas_are_dear() && deltas > 0) || too_many(blocks.size(), to - from);
      if (rewrite) {
        TRY(read_extent_whole(file, source, at, length));
      } else if (!blocks.empty()) {
        TRY(read_pages(file, source, blocks));
      }
    }
    return flush_delta(file);
  }

  /// More than a third of an extent's pages changed: reading the others costs little more. What stands in deltas from before does not
  /// count: it is folded when all deltas of the file are too dear, and until then its pages need not be read.
  static bool too_many(std::size_t changed, std::uint64_t pages) { return changed * 3 > pages; }

  Status read_extent_whole(MappedFile& file, SourceFile& source, std::uint64_t at, std::uint32_t length) {
    TRY(before_read(length));
    const auto data = MutableByteView(buffer_).first(length);
    auto range = source.range(at, length);
    const auto got = TRY(range->read(data, at));
    // What the relation has lost since the scan is cut off by replay.
    std::ranges::fill(data.subspan(got), std::byte{0});
    TRY(inspector_.inspect(file.entry(), at, data.first(got), *range));
    TRY(parent_->check_unlisted(file, at, data.first(got)));
    file.set(at / in_.extent_size, TRY(store_extent(data)));
    s_.counters.changed_pages.fetch_add(length / in_.check.block_size, std::memory_order_relaxed);
    count_read(got);
    return ok();
  }

  /// Runs of neighbours with one read each.
  Status read_pages(MappedFile& file, SourceFile& source, const std::vector<std::uint32_t>& blocks) {
    const std::size_t page = in_.check.block_size;
    for (std::size_t i = 0; i < blocks.size();) {
      std::size_t end = i + 1;
      while (end < blocks.size() && blocks[end] == blocks[end - 1] + 1) ++end;
      const std::uint64_t at = std::uint64_t{blocks[i]} * page;
      const auto data = MutableByteView(buffer_).first((end - i) * page);
      TRY(before_read(data.size()));
      auto range = source.range(at, data.size());
      const auto got = TRY(range->read(data, at));
      const auto whole = data.first(got / page * page);
      TRY(inspector_.inspect(file.entry(), at, whole, *range));
      for (std::size_t p = 0; p < whole.size() / page; ++p, ++i) TRY(add_to_delta(file, blocks[i], whole.subspan(p * page, page)));
      count_read(got);
      i = end;
    }
    return ok();
  }

  /// Of a stretch only the listed pages came, one behind the other; of the rest the parent's stay where they are, or what nobody has is zeros.
  Status take_sent(MappedFile& file, SourceFile& source, std::uint64_t first, std::uint64_t end) {
    const std::uint64_t page = in_.check.block_size;
    const auto& plan = file.plan();
    const auto all = blocks_in(plan, first / page, (end + page - 1) / page);
    auto range = source.range(first, all.size() * page);
    std::uint64_t at_page = first;  // where the next pages stand in what came
    for (std::uint64_t at = first; at < end; at += in_.extent_size) {
      const auto i = at / in_.extent_size;
      const auto length = file.extent_length(i);
      const auto from = at / page, to = (at + length) / page;
      const auto blocks = blocks_in(plan, from, to);
      TRY(read_sent(file.entry(), blocks, at_page, *range));
      at_page += blocks.size() * page;
      const bool whole = !file.parent_has(i) || to > plan.own_from || (file.deltas_are_dear() && file.parent_delta_pages(from, to) > 0) ||
                         too_many(blocks.size(), to - from);
      if (whole) {
        const auto data = MutableByteView(buffer_).first(length);
        TRY(parent_->read_before(plan, file.parent_map(), at, data));
        lay_over(data, blocks, from);
        file.set(i, TRY(store_extent(data)));
        s_.counters.changed_pages.fetch_add(blocks.size(), std::memory_order_relaxed);
      } else {
        for (std::size_t p = 0; p < blocks.size(); ++p) TRY(add_to_delta(file, blocks[p], ByteView(sent_).subspan(p * page, page)));
      }
    }
    parent_->leave();
    return flush_delta(file);
  }

  static std::span<const postgres::BlockNumber> blocks_in(const FilePlan& plan, std::uint64_t from, std::uint64_t to) {
    const auto wide = [](postgres::BlockNumber block) { return std::uint64_t{block}; };
    const auto begin = std::ranges::lower_bound(plan.blocks(), from, {}, wide), end = std::ranges::lower_bound(plan.blocks(), to, {}, wide);
    return {begin, end};
  }

  /// Into sent_. @param at  of the range: where these pages stand
  Status read_sent(const DirectoryEntry& entry, std::span<const postgres::BlockNumber> blocks, std::uint64_t at, SourceRange& range) {
    const std::size_t page = in_.check.block_size;
    sent_.resize(blocks.size() * page);
    const auto got = TRY(range.read(sent_, at));
    if (got != sent_.size()) return Error(Errc::Internal, "pages of a stream went missing on their way");
    for (std::size_t begin = 0; begin < blocks.size();) {
      std::size_t end = begin + 1;
      while (end < blocks.size() && blocks[end] == blocks[end - 1] + 1) ++end;
      TRY(inspector_.inspect(entry, std::uint64_t{blocks[begin]} * page, MutableByteView(sent_).subspan(begin * page, (end - begin) * page), range));
      begin = end;
    }
    count_read(got);
    return ok();
  }

  void lay_over(MutableByteView data, std::span<const postgres::BlockNumber> blocks, std::uint64_t from) {
    const std::size_t page = in_.check.block_size;
    for (std::size_t p = 0; p < blocks.size(); ++p) std::ranges::copy(ByteView(sent_).subspan(p * page, page), data.subspan((blocks[p] - from) * page).begin());
  }

  /// A small file, whole, into `data`.
  Status join_sent(const CopyWork::File& member, SourceRange& range, MutableByteView data) {
    const auto& plan = *member.plan;
    TRY(read_sent(*member.entry, plan.blocks(), 0, range));
    std::optional<repository::SegmentMap> map;
    if (const auto* where = plan.parent->content.map()) map = TRY(parent_->read_map(*where));
    TRY(parent_->read_before(plan, map ? &*map : nullptr, 0, data));
    parent_->leave();
    lay_over(data, plan.blocks(), 0);
    return ok();
  }

  Status add_to_delta(MappedFile& file, std::uint32_t block, ByteView page) {
    append(delta_, page);
    delta_blocks_.push_back(block);
    s_.counters.changed_pages.fetch_add(1, std::memory_order_relaxed);
    return delta_.size() + page.size() > kDeltaMax ? flush_delta(file) : ok();
  }

  Status flush_delta(MappedFile& file) {
    if (delta_blocks_.empty()) return ok();
    repository::MapDelta delta;
    delta.location = TRY(packs_.append(RecordType::Delta, delta_));
    delta.fingerprint = packs_.fingerprint(delta.location.nonce, delta_);
    delta.blocks = std::exchange(delta_blocks_, {});
    delta_.clear();
    file.add_delta(std::move(delta));
    return ok();
  }

  Status read_stretch(MappedFile& file, SourceFile& source, std::uint64_t first, std::uint64_t end) {
    auto range = source.range(first, end - first);
    for (std::uint64_t at = first; at < end; at += in_.extent_size) {
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(in_.extent_size, end - at));
      TRY(before_read(wanted));
      auto data = MutableByteView(buffer_).first(wanted);
      const auto got = TRY(range->read(data, at));
      if (got < wanted) file.saw_end(at + got);
      if (got == 0) break;
      data = data.first(got);
      if (file.entry().relation) TRY(inspector_.inspect(file.entry(), at, data, *range));
      TRY(take_extent(file, at, data, *range));
      count_read(got);
      if (got < wanted) break;
    }
    if (parent_) parent_->leave();
    return flush_delta(file);
  }

  /// Stores of an extent what is not the parent's.
  Status take_extent(MappedFile& file, std::uint64_t at, ByteView data, SourceRange& source) {
    const auto i = at / in_.extent_size;
    const bool relation = file.entry().relation.has_value();
    if (relation && file.plan().has_list) TRY(parent_->check_unlisted(file, at, data));
    if (file.parent_map() != nullptr && file.parent_has(i) && data.size() == file.extent_length(i)) {
      const auto changed = TRY(parent_->changed_pages(file, at, data, source));
      if (changed && changed->empty()) return ok();
      const auto pages = data.size() / in_.check.block_size;
      if (changed && !(file.deltas_are_dear() && parent_->has_deltas(file, at)) &&
          !too_many(changed->size(), pages)) {
        const auto first = at / in_.check.block_size;
        for (const auto block : *changed)
          TRY(add_to_delta(file, block, data.subspan((block - first) * in_.check.block_size, in_.check.block_size)));
        return ok();
      }
    }
    file.set(i, TRY(store_extent(data)));
    if (relation) s_.counters.changed_pages.fetch_add(data.size() / in_.check.block_size, std::memory_order_relaxed);
    return ok();
  }

  Result<repository::MapExtent> store_extent(ByteView data) {
    repository::MapExtent extent;
    if (postgres::page_is_zero(data)) {
      s_.counters.zero_bytes.fetch_add(data.size(), std::memory_order_relaxed);
      return extent;
    }
    extent.location = TRY(packs_.append(RecordType::Extent, data));
    extent.fingerprint = packs_.fingerprint(extent.location->nonce, data);
    return extent;
  }

  Status store_map(CopiedFile& copied, const repository::SegmentMap& map) {
    copied.length = map.file_length;
    if (map.file_length == 0) {
      copied.state = CopiedFile::State::Empty;
      return ok();
    }
    const auto encoded = repository::encode_segment_map(map);
    const auto where = TRY([&] {
      std::lock_guard lock(s_.maps_mutex);
      return in_.maps.append(RecordType::SegmentMap, encoded);
    }());
    in_.ledger.stored(where, map);
    copied.content = StoredContent(where);
    copied.state = CopiedFile::State::Mapped;
    return ok();
  }

  /// Small files one after the other in the buffer; a record when it is full or the task ends.
  Status copy_bundle(const CopyWork& work) {
    for (const auto& file : work.files) {
      TRY(add_to_bundle(file).context(file.entry->path));
      s_.counters.files_done.fetch_add(1, std::memory_order_relaxed);
    }
    TRY(flush_bundle());
    return packs_.end_run();
  }

  Status add_to_bundle(const CopyWork::File& member) {
    const auto& entry = *member.entry;
    auto file = TRY(in_.source.open(entry.path));
    if (!file) return note_absent(entry);
    const std::uint64_t wanted = entry.relation ? entry.size : file->size();
    if (wanted > kBufferSize) return copy_grown(member);
    if (filled_ + wanted > kBufferSize) TRY(flush_bundle());
    TRY(before_read(wanted));
    auto data = MutableByteView(buffer_).subspan(filled_, static_cast<std::size_t>(wanted));
    auto range = file->range(0, wanted);
    auto got = data.size();
    if (member.plan->reading == Reading::Sent) {
      TRY(join_sent(member, *range, data));
    } else {
      got = TRY(range->read(data, 0));
      data = data.first(got);
      if (entry.relation) TRY(inspector_.inspect(entry, 0, data, *range));
      count_read(got);
    }
    auto& copied = *member.copied;
    copied.length = got;
    if (got == 0) {
      copied.state = CopiedFile::State::Empty;
      return ok();
    }
    const auto& plan = *member.plan;
    if (plan.reading != Reading::Whole && TRY(parent_->is_same(entry, plan, data, *range))) {
      copied = kept(*plan.parent);
      return ok();
    }
    if (entry.relation) s_.counters.changed_pages.fetch_add(got / in_.check.block_size, std::memory_order_relaxed);
    members_.push_back({&copied, filled_, got});
    filled_ += got;
    return ok();
  }

  /// A file that was small when scanned and no longer fits a bundle: it gets a map after all.
  Status copy_grown(const CopyWork::File& grown) {
    TRY(flush_bundle());
    MappedFile file(*grown.entry, *grown.plan, {in_.extent_size, 0, 1});
    auto* source = TRY(open(file));
    if (source == nullptr) return note_absent(*grown.entry);
    TRY(read_stretch(file, *source, 0, file.wanted()));
    return finish_mapped(*grown.copied, file);
  }

  Status flush_bundle() {
    if (members_.empty()) return ok();
    const auto data = ByteView(buffer_).first(filled_);
    const auto bundle = std::make_shared<const repository::RecordLocation>(TRY(packs_.append(RecordType::Bundle, data)));
    for (const auto& member : members_) {
      auto& copied = *member.copied;
      copied.state = CopiedFile::State::Bundled;
      copied.content = StoredContent(bundle, static_cast<std::uint32_t>(member.offset),
                                     packs_.fingerprint(repository::bundle_member_nonce(bundle->nonce, member.offset),
                                                        data.subspan(member.offset, member.length)));
    }
    members_.clear();
    filled_ = 0;
    return ok();
  }

  Status note_absent(const DirectoryEntry& entry) {
    s_.vanished.with([&](auto& lists) {
      switch (postgres::vanishing_rule(entry)) {
        case postgres::Vanishing::Tolerated:
          break;
        case postgres::Vanishing::Noted:
          lists.noted.push_back(entry.path);
          break;
        case postgres::Vanishing::Refused:
          lists.refused.push_back(entry.path);
          break;
      }
    });
    return ok();
  }

  Status before_read(std::uint64_t bytes) {
    TRY(s_.group.check());
    if (in_.rate != nullptr) return in_.rate->take(bytes);
    return ok();
  }

  void count_read(std::uint64_t bytes) {
    s_.counters.read_bytes.fetch_add(bytes, std::memory_order_relaxed);
    count_done(bytes);
    count_sealed();
  }
  /// What was planned and not read (the file is gone, or shorter) is done as well; what was not planned does not count.
  void count_done(std::uint64_t bytes) {
    const auto done = std::min(bytes, planned_left_);
    planned_left_ -= done;
    s_.counters.bytes_done.fetch_add(done, std::memory_order_relaxed);
  }
  void count_sealed() {
    const auto sealed = packs_.sealed_bytes();
    s_.counters.sealed.fetch_add(sealed - std::exchange(sealed_counted_, sealed), std::memory_order_relaxed);
  }

  struct Member {
    CopiedFile* copied;
    std::size_t offset, length;
  };

  CopyShared& s_;
  const CopyInput& in_;
  repository::PackStream packs_;
  PageInspector inspector_;
  std::optional<ParentCompare> parent_;
  Bytes buffer_;
  std::vector<Member> members_;
  std::size_t filled_ = 0;
  Bytes sent_;   ///< pages of a file of which only some came
  Bytes delta_;  ///< changed pages of the file that is being read, and their blocks
  std::vector<std::uint32_t> delta_blocks_;
  std::uint64_t planned_left_ = 0;  ///< of the current task, not yet in bytes_done
  std::uint64_t sealed_counted_ = 0;
};

}  // namespace

CopiedFile kept(const ParentFile& parent) {
  const auto bundled = parent.content.bundle() != nullptr;
  PGMINT_ASSERT(bundled || parent.content.map() != nullptr);
  return {.state = bundled ? CopiedFile::State::Bundled : CopiedFile::State::Mapped, .length = parent.size, .content = parent.content};
}

Status run_copy_worker(CopyShared& shared) {
  return Worker(shared).run();
}

}  // namespace pgmint::backup
