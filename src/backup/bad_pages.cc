#include "backup/bad_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/log.h"

namespace pgmint::backup {

void report_bad_pages(BackupReport& report, const PageFindings& findings, const CopyOutcome& copied, const std::vector<repository::BadPage>& before) {
  const auto warn = [&](std::string text) {
    log_warning("{}", text);
    report.warnings.push_back(std::move(text));
  };
  report.bad_pages = findings.named();
  report.bad_page_count = findings.bad + copied.inherited_bad.size();
  // Nobody has read these again: they are what they were.
  for (const auto& page : copied.inherited_bad)
    if (report.bad_pages.size() < kBadPagesNamed) report.bad_pages.push_back(page);
  std::set<std::pair<std::string, std::uint64_t>> known;
  for (const auto& page : report.bad_pages) known.emplace(page.path, page.block);
  for (const auto& page : before) {
    if (report.bad_pages.size() >= kBadPagesNamed || !known.emplace(page.path, page.block).second) continue;
    report.bad_pages.push_back(page);
    ++report.bad_page_count;
  }
  std::ranges::sort(report.bad_pages, {}, [](const auto& page) { return std::pair(page.path, page.block); });
  if (report.bad_page_count == 0) return;
  warn(fmt::format("{} damaged {} in the data directory, kept as they are", report.bad_page_count, report.bad_page_count == 1 ? "page" : "pages"));
  if (report.bad_page_count > report.bad_pages.size())
    warn(fmt::format("only the first {} damaged pages are named", report.bad_pages.size()));
}

}  // namespace pgmint::backup
