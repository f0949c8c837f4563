#include "backup/sent_files.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgmint::backup {
namespace {

using repository::FileKind;

/// The first block that changed and was not sent, as far as that can be told; nullopt: there is none.
std::optional<postgres::BlockNumber> first_missing(const postgres::SegmentChanges& changes, const postgres::IncrementalFile& sent) {
  // A server gives the file's length, or the limit where that is more: the file was shorter then, and what lies between is cut off by replay.
  const bool cut = (changes.limit != postgres::SegmentChanges::kNoLimit && sent.truncation <= changes.limit) || changes.cut_behind;
  const auto end = cut ? (sent.blocks.empty() ? 0 : sent.blocks.back() + 1) : sent.truncation;
  for (const auto block : changes.blocks)
    if (block < end && !std::ranges::binary_search(sent.blocks, block)) return block;
  return std::nullopt;
}

}  // namespace

bool may_come_in_part(const ParentFile& file, const IncrementalOptions& options, const std::vector<std::string>& damaged) {
  if (file.area != repository::FileArea::Data || (file.kind != FileKind::Bundled && file.kind != FileKind::Mapped)) return false;
  if (file.size == 0 || file.size % options.block_size != 0) return false;
  const auto relation = postgres::relation_of_path(file.path());
  if (!relation || relation->fork != postgres::Fork::Main) return false;
  return !refresh_is_due(file.path(), options.parent_day, options.day) && !std::ranges::binary_search(damaged, file.path(), std::less<>());
}

std::variant<FilePlan, std::string> plan_sent(const postgres::DirectoryEntry& entry, postgres::IncrementalFile sent, const ParentFiles& parent,
                                              const IncrementalOptions& options) {
  const auto* before = parent.find(repository::FileArea::Data, entry.path);
  if (before == nullptr || (before->kind != FileKind::Bundled && before->kind != FileKind::Mapped))
    return fmt::format("the server sends only what changed of {}, which the parent does not have", entry.path);
  const auto changes = options.changes->of(*entry.relation);
  if (changes.limit == 0) return fmt::format("the server sends only what changed of {}, which by its WAL summaries is new", entry.path);
  if (const auto missing = first_missing(changes, sent))
    return fmt::format("the server's WAL summaries name block {} of {}, and it does not send it", *missing, entry.path);
  FilePlan plan;
  plan.parent = before;
  plan.own_from = std::min(changes.limit, static_cast<postgres::BlockNumber>(before->size / options.block_size));
  const auto length = sent.length();
  if (sent.blocks.empty() && plan.own_from >= length && before->size == entry.size) {
    plan.reading = Reading::Kept;
    return plan;
  }
  plan.reading = Reading::Sent;
  if (!sent.blocks.empty()) plan.listed = std::make_shared<const std::vector<postgres::BlockNumber>>(std::move(sent.blocks));
  return plan;
}

}  // namespace pgmint::backup
