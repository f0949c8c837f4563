// What a worker of an incremental asks about the parent: which pages differ from it, and whether the WAL told of all that changed.
// Rules: POSTGRES 13, 14.
#pragma once

#include <optional>
#include <string>

#include "backup/copy.h"
#include "backup/mapped_file.h"
#include "repository/delta_pages.h"

namespace pgmint::backup {

/// Not thread-safe: one per worker. Borrows what it is given.
///
/// When the parent cannot be read, or a page changed of which the WAL said nothing, the call fails, and refuted() says why.
class ParentCompare {
 public:
  ParentCompare(const CopyInput& input, PageFindings& findings);

  const std::optional<std::string>& refuted() const { return refuted_; }

  /// For damage that the caller met. Always fails.
  Status refute_damage(const Error& error);
  Result<repository::SegmentMap> read_map(const repository::RecordLocation& location);

  /// Listed blocks of [from, to) of the file.
  std::vector<std::uint32_t> listed(const FilePlan& plan, std::uint64_t from, std::uint64_t to) const;
  /// Pages of the parent's deltas in the extent at `at`.
  std::size_t has_deltas(const MappedFile& file, std::uint64_t at) const;

  /// The guard: none of the pages that are not listed may have changed between the starts of the parent and of this backup.
  Status check_unlisted(const MappedFile& file, std::uint64_t at, ByteView data);
  /// Which pages of an extent differ from the parent's, in blocks of the file; nullopt: too many, or they cannot be told apart. A
  /// page that differs although the WAL does not say so is damage, and named. @param data  a whole extent that the parent has
  Result<std::optional<std::vector<std::uint32_t>>> changed_pages(const MappedFile& file, std::uint64_t at, ByteView data,
                                                                  SourceRange& source);
  /// What of a file of which only some blocks came is the parent's: [at, at + out.size()), zeros where it has nothing and from own_from on.
  /// @param map  the parent's, where it has one @param at  a multiple of the extent size
  Status read_before(const FilePlan& plan, const repository::SegmentMap* map, std::uint64_t at, MutableByteView out);
  /// Whether a small file is as in the parent. Checks as check_unlisted() and changed_pages() do.
  Result<bool> is_same(const postgres::DirectoryEntry& entry, const FilePlan& plan, ByteView data, SourceRange& source);
  /// The stretch is done: frees what was read for it.
  void leave();

 private:
  Status refute(std::string reason);
  Status guard(const postgres::DirectoryEntry& entry, const FilePlan& plan, std::uint64_t at, ByteView data);
  Status read_extent(const repository::SegmentMap& map, std::uint64_t i, MutableByteView out);
  Status judge(const postgres::DirectoryEntry& entry, std::uint64_t block, ByteView before, ByteView page, SourceRange& source);
  Result<Bytes> read(const repository::RecordLocation& location);

  const CopyInput& in_;
  PageFindings& findings_;
  repository::RecordOpener opener_;
  std::optional<std::string> refuted_;
  Bytes before_, again_;
  const repository::SegmentMap* deltas_of_ = nullptr;
  repository::DeltaPages deltas_;
};

}  // namespace pgmint::backup
