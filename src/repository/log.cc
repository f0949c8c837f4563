#include "repository/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>

#include "base/log.h"
#include "base/task_group.h"
#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kSlotsAtOnce = 1024;
constexpr int kListingsMax = 8;
constexpr std::uint64_t kLookedBack = 900;  ///< entries before the newest one seen that a listing still covers: with what is new they fit on one page of S3's
constexpr int kRacesMax = 64;
constexpr int kPutsMax = 4;
constexpr int kReadBacksMax = 12;
constexpr auto kFirstWait = 100ms;
constexpr auto kLongestWait = 5s;

/// Ends a listing early; never leaves this file.
constexpr auto kEnough = Errc::Cancelled;

std::chrono::microseconds wait_after(int tries) {
  return std::min<std::chrono::microseconds>(kFirstWait * (1 << std::min(tries, 10)), kLongestWait);
}

std::optional<std::uint32_t> parse_generation(std::string_view part) {
  std::uint32_t value = 0;
  const auto end = part.data() + part.size();
  const auto parsed = std::from_chars(part.data(), end, value, 16);
  if (part.size() != 8 || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return value;
}

bool begins_a_backup(const LogEntry& entry) {
  const auto* begin = std::get_if<BeginEntry>(&entry.content);
  return begin != nullptr && begin->purpose == SessionPurpose::Write;
}

/// A log that cannot be read on for a reason that another generation may have answered.
bool is_damaged_entry(const Error& error) { return error.code() == Errc::Corruption || error.code() == Errc::Precondition; }

}  // namespace

Result<bool> log_ends_at(storage::BlobStore& store, const ClusterId& cluster, const LogEnd& end, bool far) {
  if (end.next_seq == 0) return false;
  const auto head = log_entry_name(cluster, end.generation, end.next_seq - 1);
  if (far) {
    // One more generation sorts behind this one, so that a single listing shows it too.
    std::vector<std::string> names;
    const auto before = end.next_seq > 1 ? log_entry_name(cluster, end.generation, end.next_seq - 2) : head.substr(0, head.rfind('/') + 1);
    const auto listed = store.list(log_prefix(cluster), before, [&](const storage::BlobInfo& info) -> Status {
      names.push_back(info.name);
      return names.size() > 1 ? Status(Error(kEnough, "enough")) : ok();
    });
    if (!listed && names.size() < 2) return listed.failure();
    if (names.size() != 1 || names.front() != head) return false;
    const auto object = TRY(store.read(head, kLogEntryMax));
    return object && crypto::sha256(*object) == end.head;
  }
  if (TRY(store.stat(log_entry_name(cluster, end.generation, end.next_seq)))) return false;
  if (TRY(store.stat(log_entry_name(cluster, end.generation + 1, 0)))) return false;
  return TRY(store.stat(head)).has_value();
}

Log::Log(Dependencies dependencies)
    : d_(std::move(dependencies)), origin_(d_.format_root), state_(d_.format_root) {}

std::string Log::entry_name(std::uint32_t generation, std::uint64_t seq) const {
  return log_entry_name(d_.context.cluster, generation, seq);
}

std::string Log::log_generation_prefix(std::uint32_t generation) const {
  const auto first = entry_name(generation, 0);
  return first.substr(0, first.rfind('/') + 1);
}

Error Log::damage(std::string what) const {
  return Error(Errc::Corruption, fmt::format("log of cluster {}: {}", d_.context.cluster.hex(), what),
               Hint{"pgmint verify tells what is affected; pgmint repair --rebuild-log opens a new log from the backups' manifests"});
}

/// So many entries of a generation count.
std::uint64_t Log::end_of(std::uint32_t generation) const { return d_.bounds ? d_.bounds->end_of(generation) : LogBounds::kWhole; }

// --- reading

Result<std::optional<Bytes>> Log::read_slot(std::uint32_t generation, std::uint64_t seq) {
  auto object = d_.store.read(entry_name(generation, seq), kLogEntryMax);
  if (!object && object.failure().code() == Errc::ResourceLimit)
    return damage(fmt::format("{} is larger than an entry may be", entry_name(generation, seq)));
  return object;
}

/// Folds one object. Outer failure: the log cannot be read on. Inner failure: the entry is void.
Result<Result<LogEntry>> Log::take(LogState& state, ByteView object) {
  const auto generation = state.generation();
  const auto seq = state.next_seq();
  const auto hash = crypto::sha256(object);
  if (seen_ && seen_->generation == generation && seen_->seq == seq && seen_->hash != hash)
    return damage(fmt::format("entry {} is not the one that was seen here before", seq));

  auto header = expect_header(object, ObjectKind::LogEntry, d_.context.repository, d_.context.cluster);
  if (!header && header.failure().code() == Errc::Precondition) return std::move(header).failure();
  auto entry = parse_entry(object, d_.context, d_.maintenance_key, generation, seq);
  const auto frame = frame_of(object);
  const bool known_actor = frame && state.knows_actor(frame->actor);
  // Written by somebody who may write here, and not understood: a newer pgmint. From anybody else it is void.
  if (!entry && entry.failure().code() == Errc::Precondition && known_actor)
    return std::move(entry).failure().with_context(fmt::format("log entry {}", seq));
  // An actor chains on what it has read, so this proves that the object before was another when it did.
  if (entry && known_actor && entry->previous != state.head())
    return damage(fmt::format("entry {} was changed after entry {} had been written", seq == 0 ? 0 : seq - 1, seq));

  if (entry)
    if (auto applied = state.apply(*entry); !applied) entry = std::move(applied).failure();
  if (!entry) {
    log_warning("log of cluster {}: entry {} is void: {}", d_.context.cluster.hex(), seq, entry.failure().describe());
    state.note_void(seq, entry.failure().describe());
  }
  state.advance(seq, hash);
  return entry;
}

/// Sets `more` when the slot that was absent has appeared since. @errors Corruption (later slots, and still not this one)
Status Log::check_no_gap(const LogState& state, bool& more) {
  const auto absent = entry_name(state.generation(), state.next_seq());
  const auto generation_prefix = log_generation_prefix(state.generation());
  std::string later;
  auto listed = d_.store.list(generation_prefix, absent, [&](const storage::BlobInfo& info) -> Status {
    later = info.name;
    return Error(kEnough, "enough");
  });
  if (!listed && later.empty()) return std::move(listed).failure();
  more = false;
  if (later.empty()) return ok();
  more = TRY(d_.store.stat(absent)).has_value();
  if (!more) return damage(fmt::format("{} is missing though {} is there", absent, later));
  return ok();
}

/// How many entries from state.next_seq() on the store lists. @errors Corruption (one is missing among them), Unknown (listings keep leaving one out)
Result<std::uint64_t> Log::listed_ahead(const LogState& state) {
  const auto prefix = log_generation_prefix(state.generation());
  const auto next = state.next_seq(), end = end_of(state.generation());
  for (int tries = 0; tries < kListingsMax; ++tries) {
    std::uint64_t expected = next;
    std::string unexpected;
    TRY(d_.store.list(prefix, next == 0 ? std::string() : entry_name(state.generation(), next - 1), [&](const storage::BlobInfo& info) -> Status {
      if (expected == end) return ok();  // what stands behind does not count
      if (info.name == entry_name(state.generation(), expected))
        ++expected;
      else if (unexpected.empty() && parse_log_entry_name(info.name))
        unexpected = info.name;
      return ok();
    }));
    if (unexpected.empty() && end != LogBounds::kWhole && expected < end) return damage(fmt::format("{} is missing though the mirror's mark counts {} entries", entry_name(state.generation(), expected), end));
    if (unexpected.empty()) return expected - next;
    if (!TRY(d_.store.stat(entry_name(state.generation(), expected))))
      return damage(fmt::format("{} is missing though {} is there", entry_name(state.generation(), expected), unexpected));
    // It appeared while the listing was under way: a part of the log must not pass for all of it.
  }
  return Error(Errc::Unknown, fmt::format("{}: the store's listings leave out what is there", prefix));
}

/// Slots `first` to `first + count - 1`, many at a time.
Result<std::vector<std::optional<Bytes>>> Log::read_slots(std::uint32_t generation, std::uint64_t first, std::size_t count) {
  std::vector<std::optional<Bytes>> objects(count);
  std::atomic<std::size_t> next{0};
  TaskGroup readers;
  for (unsigned i = 0; i < std::min<std::size_t>(d_.reads_at_once, count); ++i)
    readers.spawn([&]() -> Status {
      for (auto at = next++; at < count && !readers.cancelled(); at = next++) objects[at] = TRY(read_slot(generation, first + at));
      return ok();
    });
  TRY(readers.join());
  return objects;
}

/// What one listing tells of all generations, from `after` on.
Result<std::map<std::uint32_t, Log::Run>> Log::list_runs(const std::string& after) {
  std::map<std::uint32_t, Run> runs;
  TRY(d_.store.list(log_prefix(d_.context.cluster), after, [&](const storage::BlobInfo& info) -> Status {
    if (info.name == mirror_sign_name(d_.context.cluster)) shows_mirror_ = true;
    const auto slot = parse_log_entry_name(info.name);
    if (!slot) return ok();
    if (slot->seq >= end_of(slot->generation)) {
      runs.try_emplace(slot->generation);  // it does not count, and takes up its place
      return ok();
    }
    auto [at, is_first] = runs.try_emplace(slot->generation, Run{slot->seq, slot->seq, false});
    auto& run = at->second;
    if (slot->seq == run.end)
      ++run.end;
    else
      run.broken = true;
    return ok();
  }));
  return runs;
}

/// As fold(), for a store that is far away: one listing instead of a question for each slot. What came after the listing is met when a slot is to be created.
/// @param run  of state's generation. Entries before it, where there are any, were seen here once, and are read like those in it: one that is not there is damage
Status Log::fold_run(LogState& state, const Run& run) {
  const auto next = state.next_seq(), end = end_of(state.generation());
  if (!run.broken && end != LogBounds::kWhole && std::max(run.end, next) < end)
    return damage(fmt::format("{} is missing though the mirror's mark counts {} entries", entry_name(state.generation(), std::max(run.end, next)), end));
  for (auto ahead = !run.broken ? std::max(run.end, next) - next : TRY(listed_ahead(state)); ahead > 0;) {
    const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(ahead, kSlotsAtOnce));
    for (const auto& object : TRY(read_slots(state.generation(), state.next_seq(), some))) {
      if (!object && state.next_seq() < run.begin) return damage(fmt::format("entry {} is gone", state.next_seq()));
      if (!object) return Error(Errc::Unknown, fmt::format("{} is listed and cannot be found", entry_name(state.generation(), state.next_seq())));
      [[maybe_unused]] const auto entry = TRY(take(state, *object));
    }
    ahead -= some;
  }
  return ok();
}

/// Everything from state.next_seq() on.
Status Log::fold(LogState& state) {
  for (;;) {
    const auto end = end_of(state.generation());
    while (state.next_seq() < end) {
      const auto object = TRY(read_slot(state.generation(), state.next_seq()));
      if (!object && end != LogBounds::kWhole)
        return damage(fmt::format("{} is missing though the mirror's mark counts {} entries", entry_name(state.generation(), state.next_seq()), end));
      if (!object) break;
      // A void entry has been noted in the state.
      [[maybe_unused]] const auto entry = TRY(take(state, *object));
    }
    if (state.next_seq() == end) return ok();
    bool more = false;
    TRY(check_no_gap(state, more));
    if (!more) return ok();
  }
}

/// An empty log is a new cluster's only when nothing else of it is there but its keys.
Status Log::check_empty() {
  if (seen_) return damage("it is empty, and entries of it were seen here before");
  const auto prefix = cluster_prefix(d_.context.cluster);
  std::string other;
  auto listed = d_.store.list(prefix, "", [&](const storage::BlobInfo& info) -> Status {
    if (std::string_view(info.name).substr(prefix.size()).starts_with("keyring/")) return ok();
    other = info.name;
    return Error(kEnough, "enough");
  });
  if (!listed && other.empty()) return std::move(listed).failure();
  if (!other.empty()) return damage(fmt::format("it is empty, and {} is there", other));
  return ok();
}

/// Generations that have an object, and, of a store that is far away, what it lists of them.
Result<std::map<std::uint32_t, Log::Run>> Log::generations() {
  if (is_far()) {
    // An older generation is needed from its beginning on: who may open the next one stands in it.
    const bool looks_back = seen_ && seen_->generation == 0 && seen_->seq > kLookedBack;
    const auto before = looks_back ? seen_->seq - kLookedBack : 0;
    auto runs = TRY(list_runs(looks_back ? entry_name(0, before) : std::string()));
    if (looks_back) runs.try_emplace(0);
    for (auto& [generation, run] : runs)
      if (run.begin != (looks_back && generation == 0 ? before + 1 : 0)) run.broken = true;
    return runs;
  }
  std::map<std::uint32_t, Run> found;
  for (const auto& part : TRY(d_.store.list_parts(log_prefix(d_.context.cluster))))
    if (const auto generation = parse_generation(part)) found.emplace(*generation, Run{});
  return found;
}

Result<Log::Survey> Log::survey() {
  auto generations = TRY(this->generations());

  Survey found{LogState(d_.format_root), LogState(d_.format_root), ok(), 0, {d_.format_root}};
  // What does not count takes up its place all the same.
  if (!generations.empty()) found.next_generation = generations.rbegin()->first + 1;
  std::erase_if(generations, [&](const auto& entry) { return end_of(entry.first) == 0; });
  if (generations.empty()) {
    found.health = check_empty();
    if (!found.health && !is_damaged_entry(found.health.failure())) return std::move(found.health).failure();
    return found;
  }
  for (const auto& [generation, run] : generations) {
    const LogState origin(generation, found.roots);
    LogState state = origin;
    auto health = is_far() ? fold_run(state, run) : fold(state);
    if (!health && !is_damaged_entry(health.failure())) return std::move(health).failure();
    if (!state.has_genesis()) {
      // Nobody's word: a generation without a valid first entry does not count, unless it is all there is.
      if (!found.state.has_genesis() && found.health)
        found.health = health ? Status(damage(fmt::format("entry 0 of generation {} is not valid", generation))) : std::move(health);
      continue;
    }
    found.roots = state.roots();
    found.origin = origin;
    found.state = std::move(state);
    found.health = std::move(health);
  }
  return found;
}

/// Folds what has come since. False: a newer generation has been opened.
Result<bool> Log::read_on() {
  if (d_.bounds && d_.bounds->is_frozen()) return true;
  if (is_far() && state_.next_seq() > 0) {
    const auto runs = TRY(list_runs(entry_name(state_.generation(), state_.next_seq() - 1)));
    if (!runs.empty() && runs.rbegin()->first > state_.generation()) return false;
    if (runs.empty()) return true;
    auto run = runs.begin()->second;
    run.broken = run.broken || run.begin != state_.next_seq();
    TRY(fold_run(state_, run));
    return true;
  }
  if (TRY(superseded())) return false;
  const auto end = end_of(state_.generation());
  while (state_.next_seq() < end) {
    const auto object = TRY(read_slot(state_.generation(), state_.next_seq()));
    if (!object) break;
    [[maybe_unused]] const auto entry = TRY(take(state_, *object));
  }
  return true;
}

/// A newer generation has been opened since the survey.
Result<bool> Log::superseded() {
  if (d_.bounds && d_.bounds->is_frozen()) return false;
  return TRY(d_.store.stat(entry_name(std::max(next_generation_, 1u), 0))).has_value();
}

Status Log::refresh() {
  auto done = refresh_now();
  // What stands in the store is not what was read: nothing is to be built on that.
  if (!done) opened_ = false;
  return done;
}

Status Log::refresh_now() {
  if (!opened_) seen_ = TRY(d_.seen.load(seen_as(), d_.context.cluster));
  if (!opened_ || !TRY(read_on())) {
    auto found = TRY(survey());
    TRY(std::move(found.health));
    if (seen_ && found.state.generation() == seen_->generation && found.state.next_seq() <= seen_->seq)
      return damage(fmt::format("it ends at entry {}, and entry {} was seen here before: the store went back in time",
                                found.state.next_seq(), seen_->seq));
    if (seen_ && found.state.generation() < seen_->generation)
      return damage(fmt::format("generation {} was seen here before and is not there: the store went back in time, or was left behind when a mirror of it was promoted", seen_->generation));
    origin_ = std::move(found.origin);
    state_ = std::move(found.state);
    next_generation_ = found.next_generation;
    opened_ = true;
  }
  return remember();
}

std::optional<Log::Position> Log::take_position() {
  if (!opened_) return std::nullopt;
  opened_ = false;
  return Position{std::move(origin_), std::move(state_), next_generation_, seen_};
}

void Log::resume(Position position) {
  origin_ = std::move(position.origin);
  state_ = std::move(position.state);
  next_generation_ = position.next_generation;
  seen_ = position.seen;
  opened_ = true;
}

Status Log::remember() {
  if (state_.next_seq() == 0) return ok();
  const SeenMemory::Head head{state_.generation(), state_.next_seq() - 1, state_.head()};
  if (seen_ && seen_->generation == head.generation && seen_->seq == head.seq) return ok();
  seen_ = head;
  // What cannot be remembered weakens the check of a later run and nothing else: no reason to fail this one.
  if (auto stored = d_.seen.store(seen_as(), d_.context.cluster, head); !stored)
    log_warning("the newest log entry cannot be remembered: {}", stored.failure().describe());
  return ok();
}

Status Log::for_each(const std::function<Status(std::uint64_t seq, const Result<LogEntry>& entry)>& visit) {
  TRY(refresh());
  LogState state = origin_;
  while (is_far() && state.next_seq() < state_.next_seq()) {
    const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(state_.next_seq() - state.next_seq(), kSlotsAtOnce));
    for (const auto& object : TRY(read_slots(state.generation(), state.next_seq(), some))) {
      const auto seq = state.next_seq();
      if (!object) return damage(fmt::format("entry {} is gone", seq));
      TRY(visit(seq, TRY(take(state, *object))));
    }
  }
  while (state.next_seq() < end_of(state.generation())) {
    const auto object = TRY(read_slot(state.generation(), state.next_seq()));
    if (!object) break;
    const auto seq = state.next_seq();
    TRY(visit(seq, TRY(take(state, *object))));
  }
  if (state.next_seq() < state_.next_seq()) return damage(fmt::format("entry {} is gone", state.next_seq()));
  return ok();
}

// --- writing

Result<Bytes> Log::make_object(const Actor& actor, const LogState& state, EntryContent content, LogEntry& entry) {
  PGMINT_ASSERT(actor.key != nullptr);
  entry = {};
  entry.generation = state.generation();
  entry.seq = state.next_seq();
  entry.previous = state.head();
  entry.actor = actor.key->public_key();
  d_.random.fill(entry.attempt);
  entry.time = d_.clock.now();
  entry.actor_label = actor.label;
  entry.command = actor.command;
  entry.content = std::move(content);
  TRY(state.validate(entry));
  auto object = encode_entry(entry, d_.context, d_.maintenance_key, *actor.key, d_.random);
  // What cannot be read again must never become an entry: a text that is too long, a body above the limit.
  if (auto parsed = parse_entry(object, d_.context, d_.maintenance_key, entry.generation, entry.seq); !parsed)
    return std::move(parsed).failure().with_code(Errc::ResourceLimit).with_context("this entry cannot be written");
  return object;
}

/// What stands in a slot after an uncertain put. With `exists` absence is no answer: wait, read again.
Result<std::optional<Bytes>> Log::read_back(const std::string& name, bool exists) {
  for (int tries = 0;; ++tries) {
    auto object = d_.store.read(name, kLogEntryMax);
    const bool answered = object ? (object->has_value() || !exists) : !is_transient(object.failure().code());
    if (answered || tries == kReadBacksMax) return object;
    d_.clock.sleep(wait_after(tries));
  }
}

/// Creates the slot, or finds out who did. A resend follows a read that found the slot empty, and is the same object: if the
/// request before lands after all, it is still this entry and no second one.
Result<Log::Put> Log::put(const std::string& name, ByteView object, const ByteArray<16>& attempt) {
  bool uncertain = false;
  for (int tries = 0;; ++tries) {
    auto created = d_.store.create(name, object);
    if (created && *created == storage::Created::Yes) return Put::Ours;
    const bool exists = created.has_value();
    auto now_there = read_back(name, exists);
    if (!now_there)
      return Error(Errc::Unknown, fmt::format("{} may or may not have been written: {}", name, now_there.failure().describe()),
                   Hint{"pgmint audit list shows whether it was; then run the command again"});
    if (now_there->has_value()) {
      const auto frame = frame_of(**now_there);
      return frame && frame->attempt == attempt ? Put::Ours : Put::Theirs;
    }
    if (exists)
      return Error(Errc::Unknown, fmt::format("{} exists for the store and cannot be read", name),
                   Hint{"pgmint doctor checks whether the store can be used"});
    if (!is_transient(created.failure().code()) && !uncertain) return std::move(created).failure();
    if (!is_transient(created.failure().code()) || tries == kPutsMax)
      return std::move(created).failure().with_code(Errc::Unknown).with_context(fmt::format("{} may still appear", name));
    uncertain = true;
    d_.clock.sleep(wait_after(tries));
  }
}

Result<Bytes> Log::make_content(const Actor& actor, const std::function<Result<EntryContent>(const LogState&)>& make, LogEntry& entry) {
  return make_object(actor, state_, TRY(make(state_)), entry);
}

Result<std::uint64_t> Log::append(const Actor& actor, const std::function<Result<EntryContent>(const LogState&)>& make) {
  for (int races = 0; races < kRacesMax; ++races) {
    // A store that is far away is not asked for what is new: if there is anything, the slot is taken. Only a refusal must rest on the newest state.
    const bool as_it_was_read = is_far() && opened_ && races == 0;
    if (!as_it_was_read) TRY(refresh());
    LogEntry entry;
    auto made = make_content(actor, make, entry);
    if (!made && as_it_was_read) {
      TRY(refresh());
      made = make_content(actor, make, entry);
    }
    const auto object = TRY(std::move(made));
    const auto outcome = TRY(put(entry_name(entry.generation, entry.seq), object, entry.attempt));
    if (outcome == Put::Theirs) {
      d_.clock.sleep(std::chrono::milliseconds(static_cast<std::int64_t>(d_.random.u64() % (std::uint64_t{8} << std::min(races, 6)))));
      continue;
    }
    [[maybe_unused]] const auto taken = TRY(take(state_, object));
    TRY(remember());
    // A rebuild may have read the log before this entry: then it counts for nothing, and must be valid in the new generation. Far away that is found out
    // for BEGIN of a backup when it is published: a new generation does not know its session, and never lets its packs go.
    if (is_far() && begins_a_backup(entry)) return entry.seq;
    if (TRY(superseded())) continue;
    return entry.seq;
  }
  return Error(Errc::Busy, fmt::format("{} others wrote to the log first", kRacesMax), Hint{"run the command again"});
}

Result<std::uint64_t> Log::append(const Actor& actor, EntryContent content) {
  return append(actor, [&](const LogState&) -> Result<EntryContent> { return content; });
}

Status Log::create(const Actor& actor, GenesisEntry genesis) {
  TRY(refresh());
  const Error exists(Errc::Precondition, fmt::format("cluster {} has a log already", d_.context.cluster.hex()));
  if (state_.has_genesis()) return exists;
  LogEntry entry;
  const auto object = TRY(make_object(actor, state_, std::move(genesis), entry));
  if (TRY(put(entry_name(0, 0), object, entry.attempt)) == Put::Theirs) return exists;
  return refresh();
}

Status Log::open_generation(const Actor& actor, GenesisEntry genesis) {
  auto found = TRY(survey());
  const auto generation = std::max(found.next_generation, 1u);
  LogEntry entry;
  const auto object = TRY(make_object(actor, LogState(generation, found.roots), std::move(genesis), entry));
  if (TRY(put(entry_name(generation, 0), object, entry.attempt)) == Put::Theirs)
    return Error(Errc::Busy, fmt::format("generation {} has been opened by somebody else", generation), Hint{"run the command again"});
  if (d_.bounds && d_.bounds->is_frozen()) d_.bounds->goes_on_from = generation;
  opened_ = false;
  return refresh();
}

}  // namespace pgmint::repository
