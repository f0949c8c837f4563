#include "service/run_notes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/machine_time.h"
#include "crypto/hash.h"
#include "service/json_fields.h"
#include "service/utf8.h"

namespace pgmint::service {
namespace {

constexpr std::uint64_t kNoteMax = 64 << 10;
constexpr std::size_t kMessageMax = 2000;
constexpr std::size_t kNotesMax = 10'000;
/// A success from later than this was written while the clock was wrong, and covers nothing that comes.
constexpr auto kClockSlack = std::chrono::hours(1);

/// A process by more than its number, which is given to others later.
struct ProcessName {
  std::string boot;
  std::uint64_t pid = 0, start = 0;
  bool operator==(const ProcessName&) const = default;
};

/// Field 22 of proc(5)'s stat: when the process began, in ticks since boot. nullopt: there is no such process.
std::optional<std::uint64_t> start_of(std::uint64_t pid) {
  const auto text = read_text_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!text) return std::nullopt;
  auto at = text->rfind(')');  // a program's name may hold blanks and brackets
  if (at == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(*text).substr(at + 1);
  for (int field = 2; field < 22; ++field) {
    const auto blank = rest.find(' ');
    if (blank == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(blank + 1);
  }
  std::uint64_t ticks = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), ticks);
  return error == std::errc() ? std::optional(ticks) : std::nullopt;
}

ProcessName own_name() {
  const auto machine = machine_time();
  const auto pid = static_cast<std::uint64_t>(::getpid());
  return {machine ? machine->boot : "", pid, start_of(pid).value_or(0)};
}

bool is_alive(const ProcessName& process) {
  const auto machine = machine_time();
  return machine && machine->boot == process.boot && start_of(process.pid) == process.start;
}

Json time_json(const std::optional<TimePoint>& time) { return time ? Json(format_rfc3339(*time)) : Json(nullptr); }

std::optional<TimePoint> time_of(const Json& json, const char* key) {
  const auto text = text_field(json, key);
  if (text.empty()) return std::nullopt;
  const auto time = parse_time(text);
  return time ? std::optional(*time) : std::nullopt;
}

/// A run that has not ended.
struct Begun {
  ProcessName process;
  std::optional<TimePoint> started;
};

/// What a file holds: the note, and the runs that have not ended, the oldest first.
struct Stored {
  RunNote note;
  std::vector<Begun> begun;

  void drop_own() {
    std::erase_if(begun, [own = own_name()](const Begun& one) { return one.process == own; });
  }
  void drop_dead() {
    std::erase_if(begun, [](const Begun& one) { return !is_alive(one.process); });
  }
  /// Of those that were killed the newest tells as much as all of them.
  void drop_all_dead_but_the_newest() {
    const auto newest = std::ranges::find_if(begun.rbegin(), begun.rend(), [](const Begun& one) { return !is_alive(one.process); });
    if (newest == begun.rend()) return;
    const auto kept = newest->process;
    std::erase_if(begun, [&](const Begun& one) { return one.process != kept && !is_alive(one.process); });
  }
};

std::string text_of(const Stored& stored) {
  const auto& note = stored.note;
  Json json = {{"verb", note.key.verb},         {"cluster", note.key.cluster},       {"part", note.key.part},
               {"started", time_json(note.started)}, {"ended", time_json(note.ended)}, {"succeeded", time_json(note.succeeded)},
               {"exit", note.exit},             {"message", note.message},           {"hint", note.hint}};
  Json begun = Json::array();
  for (const auto& one : stored.begun)
    begun.push_back({{"boot", one.process.boot}, {"pid", one.process.pid}, {"start", one.process.start}, {"started", time_json(one.started)}});
  if (note.dismissed) json["dismissed"] = time_json(note.dismissed);
  if (!begun.empty()) json["processes"] = std::move(begun);
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<Stored> parse_stored(std::string_view text) {
  const auto json = Json::parse(text, nullptr, false);
  if (!json.is_object() || text_field(json, "verb").empty()) return std::nullopt;
  Stored stored;
  auto& note = stored.note;
  note.key = {text_field(json, "verb"), text_field(json, "cluster"), text_field(json, "part")};
  note.started = time_of(json, "started");
  note.ended = time_of(json, "ended");
  note.succeeded = time_of(json, "succeeded");
  note.dismissed = time_of(json, "dismissed");
  note.exit = static_cast<int>(std::min<std::uint64_t>(number_field(json, "exit"), 255));
  note.message = text_field(json, "message");
  note.hint = text_field(json, "hint");
  const auto process_of = [](const Json& one) { return ProcessName{text_field(one, "boot"), number_field(one, "pid"), number_field(one, "start")}; };
  for (const auto& one : part_field(json, "processes"))
    if (one.is_object()) stored.begun.push_back({process_of(one), time_of(one, "started")});
  // As it was written when there was room for one.
  if (const auto process = json.find("process"); process != json.end() && process->is_object()) stored.begun.push_back({process_of(*process), note.started});
  for (const auto& one : stored.begun) {
    if (is_alive(one.process)) {
      note.running = true;
      if (one.started && (!note.running_since || *one.started < *note.running_since)) note.running_since = one.started;
    }
    if (one.started) note.started = one.started;
  }
  note.lost = !stored.begun.empty() && !note.running;
  return stored;
}

Result<std::optional<Stored>> read_stored(const fs::path& file) {
  const auto text = read_text_file(file, kNoteMax);
  if (text) return parse_stored(*text);
  if (text.error().code() == Errc::NotFound) return std::optional<Stored>();
  return text.error();
}

}  // namespace

std::string RunKey::describe() const {
  std::string text = verb;
  if (!cluster.empty()) text += " of " + cluster;
  if (!part.empty()) text += " (" + part + ")";
  return text;
}

namespace {

/// What goes well under `wide` has done what `narrow` does.
bool covers(const RunKey& wide, const RunKey& narrow) {
  const bool does_more = wide.verb.starts_with(narrow.verb + " --");  // verify --read-data does what verify does, backup --type full what backup does
  return (wide.verb == narrow.verb || does_more) && (wide.cluster.empty() || wide.cluster == narrow.cluster) && (wide.part.empty() || wide.part == narrow.part);
}

}  // namespace

/// Readable where the key allows it, and never a path of its own.
fs::path RunNotes::file_of(const RunKey& key) const {
  std::string name = key.verb;
  if (!key.cluster.empty()) name += "@" + key.cluster;
  for (char& c : name)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '@' || c == '.')) c = '-';
  const auto digest = crypto::sha256(as_bytes(key.verb + '\0' + key.cluster + '\0' + key.part));
  return directory_ / fmt::format("{}~{:02x}{:02x}{:02x}{:02x}.json", name, std::to_integer<unsigned>(digest[0]), std::to_integer<unsigned>(digest[1]),
                                  std::to_integer<unsigned>(digest[2]), std::to_integer<unsigned>(digest[3]));
}

/// Two processes must not each write back what they read before the other wrote. Without one a note may be lost, and the run goes on.
Fd RunNotes::lock() const {
  auto fd = open_file(directory_, O_RDONLY | O_DIRECTORY);
  if (!fd) return Fd();
  while (::flock(fd->get(), LOCK_EX) != 0)
    if (errno != EINTR) return Fd();
  return std::move(*fd);
}

Status RunNotes::begin(const RunKey& key) {
  TRY(create_directories(directory_, 0700));
  const auto lock = this->lock();
  const auto file = file_of(key);
  // One that cannot be read tells nothing, and must not keep this run from being told.
  auto before = read_stored(file);
  Stored stored;
  if (before && *before) stored = std::move(**before);
  stored.note.key = key;
  stored.note.started = clock_.now();
  stored.drop_own();
  stored.drop_all_dead_but_the_newest();
  stored.begun.push_back({own_name(), stored.note.started});
  return write_file_durably(file, as_bytes(text_of(stored)), 0600);
}

Status RunNotes::never_began(const RunKey& key) {
  const auto lock = this->lock();
  const auto file = file_of(key);
  auto before = TRY(read_stored(file));
  if (!before) return ok();
  before->drop_own();
  if (before->note.ended || !before->begun.empty()) return write_file_durably(file, as_bytes(text_of(*before)), 0600);
  TRY(forget(key));
  return ok();
}

bool RunNotes::has_succeeded(const RunKey& key) const {
  const auto notes = all();
  return notes && std::ranges::any_of(*notes, [&](const RunNote& note) { return note.succeeded && note.key.cluster == key.cluster && covers(note.key, key); });
}

Status RunNotes::end(const RunKey& key, int exit, std::string_view message, std::string_view hint) {
  TRY(create_directories(directory_, 0700));
  const auto lock = this->lock();
  const auto file = file_of(key);
  auto before = read_stored(file);
  Stored stored;
  if (before && *before) stored = std::move(**before);
  auto& note = stored.note;
  note.key = key;
  note.ended = clock_.now();
  note.exit = exit;
  note.message = exit == 0 ? "" : shortened(redact(message), kMessageMax);
  note.hint = exit == 0 ? "" : shortened(redact(hint), kMessageMax);
  if (exit == 0) note.succeeded = note.ended;
  // Another run of the same kind may still go on; of those that were killed before, this end is newer news.
  stored.drop_own();
  stored.drop_dead();
  return write_file_durably(file, as_bytes(text_of(stored)), 0600);
}

Result<std::vector<RunNote>> RunNotes::all(std::vector<std::string>* unreadable) const {
  std::vector<std::string> names;
  const auto listed = list_directory(directory_, [&](const std::string& name, unsigned char) -> Status {
    if (name.ends_with(".json") && names.size() < kNotesMax) names.push_back(name);
    return ok();
  });
  if (!listed && listed.error().code() != Errc::NotFound) return listed.error();
  std::vector<RunNote> notes;
  for (const auto& name : names) {
    auto stored = read_stored(directory_ / name);
    if (stored && *stored) notes.push_back(std::move((**stored).note));
    else if (unreadable != nullptr) unreadable->push_back((directory_ / name).string());
  }
  std::ranges::sort(notes, {}, [](const RunNote& note) { return std::tie(note.key.verb, note.key.cluster, note.key.part); });
  return notes;
}

Result<bool> RunNotes::dismiss(const RunKey& key) {
  const auto lock = this->lock();
  const auto file = file_of(key);
  auto stored = TRY(read_stored(file));
  if (!stored || !stored->note.failed() || !stored->note.failed_at()) return false;
  stored->note.dismissed = stored->note.failed_at();
  TRY(write_file_durably(file, as_bytes(text_of(*stored)), 0600));
  return true;
}

Result<std::size_t> RunNotes::forget(const RunKey& key) {
  const auto file = file_of(key);
  if (!TRY(stat_if_exists(file))) return std::size_t{0};
  if (::unlink(file.c_str()) != 0 && errno != ENOENT) return errno_error(errno, fmt::format("remove {}", file.string()));
  TRY(sync_directory(directory_));
  return std::size_t{1};
}

std::optional<TimePoint> last_success(const std::vector<RunNote>& notes, const RunKey& key) {
  std::optional<TimePoint> last;
  for (const auto& note : notes)
    if (note.succeeded && covers(note.key, key)) last = std::max(last.value_or(*note.succeeded), *note.succeeded);
  return last;
}

std::vector<RunNote> open_failures(const std::vector<RunNote>& notes, TimePoint now) {
  std::vector<RunNote> open;
  for (const auto& note : notes) {
    const auto failed = note.failed_at();
    if (!note.failed() || (failed && note.dismissed == failed)) continue;
    const bool made_good = std::ranges::any_of(notes, [&](const RunNote& other) {
      return !(other.key == note.key) && covers(other.key, note.key) && other.succeeded && failed && *other.succeeded > *failed && *other.succeeded <= now + kClockSlack;
    });
    if (!made_good) open.push_back(note);
  }
  return open;
}

}  // namespace pgmint::service
