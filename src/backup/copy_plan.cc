#include "backup/copy_plan.h"

#include <algorithm>

#include "base/error.h"

namespace pgmint::backup {

namespace {

/// Bytes of [first, end) that will be read of a file.
std::uint64_t bytes_of(const FilePlan& plan, std::uint64_t first, std::uint64_t end, std::uint32_t block_size) {
  if (plan.reading != Reading::Listed) return end - first;
  const auto begin = std::ranges::lower_bound(plan.blocks(), first / block_size);
  const auto stop = std::ranges::lower_bound(plan.blocks(), end / block_size);
  const auto own = std::uint64_t{plan.own_from} * block_size;
  return static_cast<std::uint64_t>(stop - begin) * block_size + (own < end ? end - std::max(own, first) : 0);
}

}  // namespace

CopyPlan plan_copy(const postgres::DirectoryScan& scan, const CopyPlanOptions& options,
                   const std::vector<FilePlan>& files) {
  PGMINT_ASSERT(options.extent_size > 0 && options.stretch % options.extent_size == 0 && options.bundle_size > 0);
  PGMINT_ASSERT(files.empty() || files.size() == scan.entries.size());
  static const FilePlan kWhole;
  const auto plan_of = [&](std::uint32_t index) -> const FilePlan& { return files.empty() ? kWhole : files[index]; };
  CopyPlan plan;
  std::vector<std::uint32_t> small;
  for (std::uint32_t i = 0; i < scan.entries.size(); ++i) {
    const auto& entry = scan.entries[i];
    if (!has_content(entry) || plan_of(i).reading == Reading::Kept) continue;
    (entry.size < options.extent_size ? small : plan.mapped).push_back(i);
    plan.total_bytes += bytes_of(plan_of(i), 0, entry.size, options.block_size);
    ++plan.files;
  }

  // Largest first, so that no worker is left with a large file when the others are done; the bundles come last, since
  // each is little work.
  std::stable_sort(plan.mapped.begin(), plan.mapped.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return scan.entries[a].size > scan.entries[b].size; });
  std::size_t tasks = 0;
  for (const auto index : plan.mapped) {
    plan.stretches.push_back(static_cast<std::uint32_t>((scan.entries[index].size + options.stretch - 1) / options.stretch));
    tasks += plan.stretches.back();
  }
  plan.tasks.reserve(tasks);
  for (const auto index : plan.mapped) {
    const auto size = scan.entries[index].size;
    for (std::uint64_t at = 0; at < size; at += options.stretch) {
      const auto end = std::min(size, at + options.stretch);
      plan.tasks.push_back({.at = index, .first = at, .end = end, .bytes = bytes_of(plan_of(index), at, end, options.block_size), .last = end == size});
    }
  }

  // Neighbours in the tree share a bundle: a database's catalogs are restored together. Relations by themselves, so that the page codec
  // finds their pages where it looks for them, at multiples of their size.
  const auto others = std::ranges::stable_partition(small, [&](std::uint32_t i) { return scan.entries[i].relation.has_value(); });
  const auto bundle = [&](std::span<const std::uint32_t> members) {
    bool open = false;
    std::uint64_t filled = 0;
    for (const auto index : members) {
      const auto size = scan.entries[index].size;
      if (!open || filled + size > options.bundle_size) {
        plan.tasks.push_back({.at = static_cast<std::uint32_t>(plan.bundled.size())});
        open = true;
        filled = 0;
      }
      plan.bundled.push_back(index);
      ++plan.tasks.back().count;
      plan.tasks.back().bytes += size;
      filled += size;
    }
  };
  bundle({small.begin(), others.begin()});
  bundle({others.begin(), others.end()});
  return plan;
}

}  // namespace pgmint::backup
