#include "backup/copy_plan.h"

#include <algorithm>
#include <span>

#include "base/error.h"

namespace pgmint::backup {

using postgres::EntryKind;

bool has_content(const postgres::DirectoryEntry& entry) {
  switch (entry.kind) {
    case EntryKind::RelationSegment:
      return entry.size > 0;
    case EntryKind::Slru:
    case EntryKind::Required:
    case EntryKind::Other:
      return true;  // even when empty: it may have been replaced by a longer one since
    case EntryKind::Directory:
    case EntryKind::Symlink:
    case EntryKind::TablespaceLink:
    case EntryKind::ControlFile:
      return false;
  }
  return false;
}

CopyPlan plan_copy(const postgres::DirectoryScan& scan, const CopyPlanOptions& options) {
  PGMINT_ASSERT(options.extent_size > 0 && options.stretch % options.extent_size == 0 && options.bundle_size > 0);
  CopyPlan plan;
  std::vector<std::uint32_t> small;
  for (std::uint32_t i = 0; i < scan.entries.size(); ++i) {
    const auto& entry = scan.entries[i];
    if (!has_content(entry)) continue;
    (entry.size < options.extent_size ? small : plan.mapped).push_back(i);
    plan.total_bytes += entry.size;
    ++plan.files;
  }

  // Largest first, so that no worker is left with a large file when the others are done; the bundles come last, since
  // each is little work.
  std::stable_sort(plan.mapped.begin(), plan.mapped.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return scan.entries[a].size > scan.entries[b].size; });
  for (const auto index : plan.mapped) {
    const auto size = scan.entries[index].size;
    std::uint32_t stretches = 0;
    for (std::uint64_t at = 0; at < size; at += options.stretch, ++stretches) {
      const auto end = std::min(size, at + options.stretch);
      plan.tasks.push_back({{index}, false, at, end, end == size});
    }
    plan.stretches.push_back(stretches);
  }

  // Neighbours in the tree share a bundle: a database's catalogs are restored together. Relations by themselves, so that the page codec
  // finds their pages where it looks for them, at multiples of their size.
  const auto others = std::ranges::stable_partition(small, [&](std::uint32_t i) { return scan.entries[i].relation.has_value(); });
  const auto bundle = [&](std::span<const std::uint32_t> files) {
    bool open = false;
    std::uint64_t filled = 0;
    for (const auto index : files) {
      const auto size = scan.entries[index].size;
      if (!open || filled + size > options.bundle_size) {
        plan.tasks.push_back({{}, true, 0, 0, false});
        open = true;
        filled = 0;
      }
      plan.tasks.back().files.push_back(index);
      filled += size;
    }
  };
  bundle({small.begin(), others.begin()});
  bundle({others.begin(), others.end()});
  return plan;
}

}  // namespace pgmint::backup
