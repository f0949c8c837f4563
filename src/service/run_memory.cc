#include "service/run_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

namespace pgmint::service {
namespace {

using Json = nlohmann::ordered_json;
using policy::RunEnd;

constexpr std::uint64_t kFileMax = 4 << 20;
constexpr int kVersion = 1;
constexpr std::array<std::pair<RunEnd, std::string_view>, 4> kEnds = {
    {{RunEnd::Settled, "settled"}, {RunEnd::Busy, "busy"}, {RunEnd::Failed, "failed"}, {RunEnd::Interrupted, "interrupted"}}};

Json time_json(const std::optional<TimePoint>& time) { return time ? Json(format_rfc3339(*time)) : Json(nullptr); }

Result<std::optional<TimePoint>> time_of(const Json& entry, const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || found->is_null()) return std::optional<TimePoint>();
  if (!found->is_string()) return Error(Errc::Corruption, fmt::format("\"{}\" is no time", key));
  const auto time = parse_time(found->get_ref<const std::string&>());
  if (!time) return Error(Errc::Corruption, fmt::format("\"{}\": {}", key, time.failure().message()));
  return std::optional(*time);
}

Result<TimePoint> needed_time(const Json& entry, const char* key) {
  const auto time = TRY(time_of(entry, key));
  if (!time) return Error(Errc::Corruption, fmt::format("\"{}\" is missing", key));
  return *time;
}

/// nullopt: a job of a later version.
Result<std::optional<std::pair<JobId, JobMemory>>> read_entry(const Json& entry) {
  const auto text = [&](const char* key) { return entry.is_object() && entry.contains(key) && entry[key].is_string() ? entry[key].get<std::string>() : ""; };
  const auto cluster = text("cluster"), job = text("job"), end_name = text("end");
  if (cluster.empty() || job.empty()) return Error(Errc::Corruption, "an entry without cluster or job");
  const auto kind = find_job(job);
  if (!kind) return std::optional<std::pair<JobId, JobMemory>>();
  JobMemory memory;
  const auto end = std::ranges::find(kEnds, end_name, &std::pair<RunEnd, std::string_view>::second);
  if (end == kEnds.end()) return Error(Errc::Corruption, fmt::format("\"end\" is \"{}\"", end_name));
  memory.history.end = end->first;
  memory.history.through = TRY(needed_time(entry, "through"));
  memory.history.ended = TRY(needed_time(entry, "ended"));
  memory.started = TRY(time_of(entry, "started"));
  memory.succeeded = TRY(time_of(entry, "succeeded"));
  const auto failures = entry.find("failures"), code = entry.find("exit_code"), running = entry.find("running");
  if (failures == entry.end() || !failures->is_number_unsigned() || failures->get<std::uint64_t>() > 1'000'000'000)
    return Error(Errc::Corruption, "\"failures\" is no number");
  memory.history.failures = failures->get<unsigned>();
  if (code != entry.end() && code->is_number_integer()) memory.exit_code = code->get<int>();
  memory.is_running = running != entry.end() && running->is_boolean() && running->get<bool>();
  return std::optional(std::pair(JobId{cluster, *kind}, memory));
}

/// Open file description locks: a child that inherits the descriptor has the lock too, and asking for one takes none.
struct flock whole_file(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

Result<RunMemory> load_memory(const fs::path& file) {
  const auto text = read_text_file(file, kFileMax);
  if (!text && text.failure().code() == Errc::NotFound) return RunMemory();
  if (!text) return text.failure();
  const auto damaged = [&](const std::string& why) { return Error(Errc::Corruption, fmt::format("{}: {}", file.string(), why)); };
  const auto json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("version") || json["version"] != kVersion || !json.contains("jobs") || !json["jobs"].is_array())
    return damaged("is not what the daemon writes");
  RunMemory memory;
  for (const auto& entry : json["jobs"]) {
    auto read = read_entry(entry);
    if (!read) return damaged(read.failure().message());
    if (*read) memory.insert(std::move(**read));
  }
  return memory;
}

Status save_memory(const fs::path& file, const RunMemory& memory) {
  Json jobs = Json::array();
  for (const auto& [id, job] : memory) {
    const auto end = std::ranges::find(kEnds, job.history.end, &std::pair<RunEnd, std::string_view>::first);
    jobs.push_back({{"cluster", id.cluster},
                    {"job", spec_of(id.kind).name},
                    {"through", time_json(job.history.through)},
                    {"started", time_json(job.started)},
                    {"ended", time_json(job.history.ended)},
                    {"end", end->second},
                    {"failures", job.history.failures},
                    {"exit_code", job.exit_code ? Json(*job.exit_code) : Json(nullptr)},
                    {"succeeded", time_json(job.succeeded)},
                    {"running", job.is_running}});
  }
  TRY(create_directories(file.parent_path(), 0700));
  return write_file_durably(file, as_bytes(Json{{"version", kVersion}, {"jobs", std::move(jobs)}}.dump(1) + "\n"), 0600);
}

Result<std::optional<Fd>> try_lock(const fs::path& file) {
  TRY(create_directories(file.parent_path(), 0700));
  auto fd = TRY(open_file(file, O_RDWR | O_CREAT, 0600));
  struct flock whole = whole_file(F_WRLCK);
  while (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno == EAGAIN || errno == EACCES) return std::optional<Fd>();
    if (errno != EINTR) return errno_error(errno, fmt::format("lock {}", file.string()));
  }
  return std::optional<Fd>(std::move(fd));
}

Result<bool> is_locked(const fs::path& file) {
  const auto fd = TRY(open_if_exists(file, O_RDONLY));
  if (!fd) return false;
  struct flock whole = whole_file(F_RDLCK);
  if (::fcntl(fd->get(), F_OFD_GETLK, &whole) != 0) return errno_error(errno, fmt::format("ask for the lock of {}", file.string()));
  return whole.l_type != F_UNLCK;
}

}  // namespace pgmint::service
