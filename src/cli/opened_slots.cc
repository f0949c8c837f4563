#include "cli/opened_slots.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/log.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kEvent = "slot-opened";

fs::path mark_of(const repository::Repository& repository, const fs::path& state_directory, const std::string& slot) {
  return state_directory / "opened" / repository.format().repository.hex() / slot;
}

Status record(repository::Repository& repository, const fs::path& mark) {
  const auto clusters = TRY(repository.clusters());
  for (const auto& cluster : clusters)
    TRY(cluster->log().append(cluster->actor(), repository::AuditEntry{std::string(kEvent), repository.opened_slot()}));
  TRY(create_directories(mark.parent_path(), 0700));
  return write_file_durably(mark, as_bytes(format_rfc3339(system_clock().now()) + "\n"), 0600);
}

}  // namespace

void note_opened_slot(repository::Repository& repository, const fs::path& state_directory) {
  if (repository.opened_slot().starts_with(repository::provider_name(repository::KeyProvider::KeyFile))) return;
  if (repository.is_mirror()) return;  // nothing can be written there
  const fs::path mark = mark_of(repository, state_directory, repository.opened_slot());
  if (const auto marked = stat_if_exists(mark); marked && *marked) return;
  if (auto recorded = record(repository, mark); !recorded)
    log_warning("key slot {} opened, but that cannot be recorded: {}", repository.opened_slot(),
                recorded.error().describe());
}

Result<std::map<std::string, TimePoint>> opened_slots(repository::Repository& repository,
                                                      const std::vector<std::unique_ptr<repository::Cluster>>& clusters,
                                                      const fs::path& state_directory) {
  std::map<std::string, TimePoint> opened;
  const auto note = [&](const std::string& slot, TimePoint time) {
    const auto [at, added] = opened.emplace(slot, time);
    if (!added && time < at->second) at->second = time;
  };
  for (const auto& cluster : clusters)
    TRY(cluster->log().for_each([&](std::uint64_t, const Result<repository::LogEntry>& entry) -> Status {
      if (!entry) return ok();
      if (const auto* audit = std::get_if<repository::AuditEntry>(&entry->content);
          audit != nullptr && audit->event == kEvent)
        note(audit->detail, entry->time);
      return ok();
    }));
  // A repository without clusters has no log yet.
  const fs::path marks = state_directory / "opened" / repository.format().repository.hex();
  const auto listed = list_directory(marks, [&](const std::string& slot, unsigned char) -> Status {
    const auto text = TRY(read_text_file(marks / slot, 4096));
    if (const auto time = parse_time(std::string_view(text).substr(0, text.find('\n')))) note(slot, *time);
    return ok();
  });
  if (!listed && listed.error().code() != Errc::NotFound) return listed.error();
  return opened;
}

}  // namespace pgmint::cli
