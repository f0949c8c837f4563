#include "backup/page_inspector.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "backup/backup.h"
#include "base/log.h"

namespace pgmint::backup {

using postgres::PageVerdict;
using namespace std::chrono_literals;

namespace {

/// A torn read ends as soon as the writer's pwrite has ended, even when its process is preempted in the middle: bytes
/// that stay the same over these pauses are what is in the file.
constexpr std::array<std::chrono::microseconds, 4> kPauses{1ms, 5ms, 20ms, 100ms};
/// Bytes that change with every look are given up on after this many.
constexpr int kRereadsMax = 40;
/// A file full of damage must not cost a pause per page.
constexpr std::uint64_t kPatientUntil = 100;
constexpr std::uint64_t kLoggedUntil = 20;

}  // namespace

void PageFindings::clear() {
  checked = reread = bad = 0;
  pages_.with([](auto& pages) { pages.clear(); });
}

void PageFindings::add(repository::BadPage page, std::string description) {
  const auto count = bad.fetch_add(1) + 1;
  if (count <= kLoggedUntil) log_warning("damaged page: {}: {}", page.path, description);
  if (count == kLoggedUntil) log_warning("damaged pages found from here on stand in the manifest, not in this log");
  pages_.with([&](auto& pages) {
    if (pages.size() < kBadPagesNamed) pages.push_back(std::move(page));
  });
}

std::vector<repository::BadPage> PageFindings::named() const {
  auto pages = pages_.with([](const auto& found) { return found; });
  std::sort(pages.begin(), pages.end(),
            [](const auto& a, const auto& b) { return std::tie(a.path, a.block) < std::tie(b.path, b.block); });
  return pages;
}

PageInspector::PageInspector(postgres::PageCheck check, std::uint32_t blocks_per_segment,
                             std::function<Result<postgres::Lsn>()> upper_lsn, Clock& clock, PageFindings& findings)
    : check_(check),
      blocks_per_segment_(blocks_per_segment),
      upper_lsn_(std::move(upper_lsn)),
      clock_(clock),
      findings_(findings),
      before_(check.block_size) {}

Status PageInspector::inspect(const postgres::DirectoryEntry& file, std::uint64_t offset, MutableByteView data,
                              SourceRange& source) {
  PGMINT_ASSERT(file.relation && offset % check_.block_size == 0);
  const std::size_t size = check_.block_size;
  const std::size_t pages = data.size() / size;
  auto block = file.relation->segment * blocks_per_segment_ + static_cast<postgres::BlockNumber>(offset / size);
  for (std::size_t i = 0; i < pages; ++i, ++block) {
    auto page = data.subspan(i * size, size);
    // last_upper_ was asked before this read: it is lower than the true bound, so it can only be too strict.
    if (postgres::check_page(page, block, check_, std::nullopt) == PageVerdict::Sound) continue;
    if (last_upper_ && postgres::check_page(page, block, check_, last_upper_) == PageVerdict::Sound) continue;
    TRY(settle(file, offset + i * size, block, page, source));
  }
  findings_.checked.fetch_add(pages, std::memory_order_relaxed);
  return ok();
}

Status PageInspector::settle(const postgres::DirectoryEntry& file, std::uint64_t offset, postgres::BlockNumber block,
                             MutableByteView page, SourceRange& source) {
  last_upper_ = TRY(upper_lsn_());
  if (postgres::check_page(page, block, check_, last_upper_) == PageVerdict::Sound) return ok();

  const bool patient = findings_.bad.load(std::memory_order_relaxed) < kPatientUntil;
  std::size_t same = 0;
  for (int attempt = 0; source.looks_again() && attempt < kRereadsMax && same < (patient ? kPauses.size() : 1); ++attempt) {
    clock_.sleep(kPauses[same]);
    std::memcpy(before_.data(), page.data(), page.size());
    const auto got = TRY(source.read(page, offset));
    if (got < page.size()) {
      // The relation was truncated below this page: what was read before is as good as anything, replay cuts it off.
      std::memcpy(page.data(), before_.data(), page.size());
      return ok();
    }
    last_upper_ = TRY(upper_lsn_());
    if (postgres::check_page(page, block, check_, last_upper_) == PageVerdict::Sound) {
      findings_.reread.fetch_add(1, std::memory_order_relaxed);
      return ok();
    }
    same = std::memcmp(before_.data(), page.data(), page.size()) == 0 ? same + 1 : 0;
  }
  findings_.add({file.path, block, check_.checksums_enabled ? kBadChecksum : kBadHeader},
                postgres::describe_bad_page(page, block, check_));
  return ok();
}

}  // namespace pgmint::backup
