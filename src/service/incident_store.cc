#include "service/incident_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "crypto/hash.h"

namespace pgmint::service {
namespace {

constexpr std::uint64_t kJournalMax = 16U << 20;
constexpr std::size_t kPlanMark = 8;  ///< hex digits of the plan's name in an incident's id
constexpr const char* kJournal = "journal";

std::string mark_of(std::string_view plan_name) { return to_hex(crypto::sha256(as_bytes(plan_name))).substr(0, kPlanMark); }

Result<std::vector<std::string>> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  auto listed = list_directory(directory, [&](const std::string& name, unsigned char) -> Status {
    if (name.size() > 16 && name[8] == 'T' && name[15] == 'Z') names.push_back(name);
    return ok();
  });
  if (!listed && listed.error().code() != Errc::NotFound) return std::move(listed).failure();
  std::ranges::sort(names);
  return names;
}

}  // namespace

Result<Fd> IncidentStore::lock() {
  TRY(create_directories(directory_, 0700));
  auto fd = TRY(open_file(directory_ / "lock", O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) return Error(Errc::Busy, "another recovery is running on this host", Hint{"wait for it, or look who runs it: ps ax | grep recover"});
  return errno_error(errno, (directory_ / "lock").string());
}

Result<std::optional<IncidentRecord>> IncidentStore::open_incident(std::string_view plan_name) const {
  const auto names = TRY(names_in(directory_));
  const auto mark = "-" + mark_of(plan_name);
  const auto newest = std::ranges::find_if(names.rbegin(), names.rend(), [&](const std::string& name) { return name.find(mark) != std::string::npos; });
  if (newest == names.rend()) return std::optional<IncidentRecord>();
  const auto path = directory_ / *newest / kJournal;
  auto text = read_text_file(path, kJournalMax);
  // A directory that was made, and nothing run yet.
  if (!text && text.error().code() == Errc::NotFound) return std::optional<IncidentRecord>();
  if (!text) return std::move(text).failure();
  auto record = parse_journal(*text);
  if (!record) return std::move(record).failure().with_context(path.string()).with_hint(Hint{"what it says is not believed; --restart begins anew"});
  if (record->id != *newest || record->plan_name != plan_name)
    return Error(Errc::Corruption, fmt::format("{}: is the journal of another incident, {} of {}", path.string(), record->id, record->plan_name),
                 Hint{"--restart begins anew"});
  if (record->state != IncidentState::Open) return std::optional<IncidentRecord>();
  return std::optional<IncidentRecord>(std::move(*record));
}

Result<std::vector<IncidentRecord>> IncidentStore::all() const {
  std::vector<IncidentRecord> records;
  for (const auto& name : TRY(names_in(directory_))) {
    const auto text = read_text_file(directory_ / name / kJournal, kJournalMax);
    if (!text) continue;
    if (auto record = parse_journal(*text); record && record->id == name) records.push_back(std::move(*record));
  }
  return records;
}

Status IncidentStore::create(IncidentRecord& record, TimePoint now) {
  const auto first = fmt::format("{}-{}", format_compact(now), mark_of(record.plan_name));
  for (unsigned number = 1;; ++number) {
    record.id = number == 1 ? first : fmt::format("{}-{}", first, number);
    if (TRY(make_directory(directory_ / record.id, 0700))) return sync_directory(directory_);
  }
}

Status IncidentStore::save(const IncidentRecord& record) const {
  return write_file_durably(directory_of(record) / kJournal, as_bytes(journal_text(record)), 0600);
}

Status IncidentStore::write_report(const IncidentRecord& record, const fs::path& to) const {
  TRY(create_directories(to, 0750));
  TRY(write_file_durably(to / "report.json", as_bytes(report_json(record)), 0640));
  return write_file_durably(to / "report.md", as_bytes(report_markdown(record)), 0640);
}

fs::path IncidentStore::output_of(const IncidentRecord& record, std::size_t step) const {
  const auto attempts = step <= record.steps.size() ? record.steps[step - 1].attempts.size() : 0;
  return directory_of(record) / fmt::format("step-{:02}.{}.log", step, attempts);
}

}  // namespace pgmint::service
