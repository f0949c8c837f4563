#include "sim/sim_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "sim/interleaver.h"

namespace pgmint::sim {

using storage::BlobInfo;
using storage::Created;
using storage::Operation;

namespace {

constexpr std::size_t kRecentMax = 60;

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) { return SeededRandom(hash ^ (value * 0x9e3779b97f4a7c15u)).next(); }

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

SimFaults SimFaults::rough() {
  SimFaults faults;
  faults.create_lost = 15;
  faults.create_uncertain = 25;
  faults.create_late = 25;
  faults.create_duplicated = 25;
  faults.exists_early = 300;
  faults.read_failed = 10;
  faults.remove_failed = 50;
  faults.delay_max = std::chrono::seconds(2);
  return faults;
}

const char* cut_side_name(CutSide side) {
  switch (side) {
    case CutSide::Before: return "before";
    case CutSide::After: return "after";
    case CutSide::Late: return "late";
  }
  return "?";
}

SimWorld::SimWorld(std::uint64_t seed, SimFaults faults) : seed_(seed), random_(mix(seed, 1)), faults_(faults) {}

std::unique_ptr<SimStore> SimWorld::connect(std::string actor) { return std::make_unique<SimStore>(*this, std::move(actor)); }

void SimWorld::set_faults(SimFaults faults) {
  std::lock_guard lock(mutex_);
  faults_ = faults;
}

void SimWorld::settle() {
  std::lock_guard lock(mutex_);
  for (const auto& request : std::exchange(late_, {})) land(request);
}

std::string SimWorld::recent_operations() const {
  std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& line : recent_) text += line + "\n";
  return text;
}

SeededRandom SimWorld::draw(Operation kind, const std::string& name) {
  const auto nth = asked_[{kind, name}]++;
  return SeededRandom(mix(mix(mix(seed_, hash_of(name)), static_cast<std::uint64_t>(kind) + 100), nth));
}

void SimWorld::land(const LateRequest& request) {
  if (!request.data) {
    (void)objects_.remove(request.name);
  } else if (auto created = objects_.create(request.name, *request.data); created && *created == Created::Yes) {
    appeared_[request.name] = now_;
    note("(late)", Operation::Create, request.name, "landed");
    return;
  }
  note("(late)", request.data ? Operation::Create : Operation::Remove, request.name, request.data ? "too late" : "landed");
}

void SimWorld::land_due() {
  for (std::size_t i = 0; i < late_.size();) {
    if (late_[i].due > now_) {
      ++i;
      continue;
    }
    auto request = std::move(late_[i]);
    late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(i));
    land(request);
  }
}

void SimWorld::send_late(std::string name, std::optional<Bytes> data, SeededRandom& random) {
  late_.push_back({std::move(name), std::move(data), now_ + 1 + random.below(std::max<std::uint64_t>(faults_.late_max, 1))});
}

bool SimWorld::on_its_way(const std::string& name) const {
  return std::any_of(late_.begin(), late_.end(), [&](const auto& late) { return late.data && late.name == name; });
}

void SimWorld::note(const std::string& actor, Operation kind, const std::string& name, const char* outcome) {
  recent_.push_back(fmt::format("  {:5} {:10} {} {}: {}", now_, actor, storage::operation_name(kind), name, outcome));
  if (recent_.size() > kRecentMax) recent_.pop_front();
}

void SimStore::cut_power_at(std::uint64_t operation, CutSide side) {
  std::lock_guard lock(world_.mutex_);
  cut_at_ = operation;
  cut_side_ = side;
}

void SimStore::crash() {
  std::lock_guard lock(world_.mutex_);
  cut_at_ = operations_;
  ++operations_;
}

bool SimStore::crashed() const {
  std::lock_guard lock(world_.mutex_);
  return cut_at_ && operations_ > *cut_at_;
}

std::uint64_t SimStore::operations() const {
  std::lock_guard lock(world_.mutex_);
  return operations_;
}

Error SimStore::power_cut() const { return Error(Errc::Storage, fmt::format("power cut at operation {}", *cut_at_)); }

Result<SimStore::Step> SimStore::begin(Operation kind, const std::string& name) {
  if (cut_at_ && operations_ > *cut_at_) return power_cut();
  const auto index = operations_++;
  ++world_.now_;
  world_.land_due();
  Step step{world_.draw(kind, name), std::nullopt};
  if (world_.faults_.delay_max.count() > 0)
    world_.clock_.sleep(std::chrono::microseconds(
        static_cast<std::int64_t>(step.random.below(static_cast<std::uint64_t>(world_.faults_.delay_max.count())))));
  if (cut_at_ && index == *cut_at_) step.cut = cut_side_;
  return step;
}

Error SimStore::fail(Operation kind, const std::string& name, const char* outcome, SeededRandom& random) {
  world_.note(actor_, kind, name, outcome);
  const bool write = kind == Operation::Create || kind == Operation::Remove;
  const auto code = write && random.below(2) == 0 ? Errc::Unknown : Errc::Storage;
  return Error(code, fmt::format("{} {}: simulated failure", storage::operation_name(kind), name));
}

Result<Created> SimStore::create(const std::string& name, ByteView data) {
  Interleaver::yield();
  std::lock_guard lock(world_.mutex_);
  auto step = TRY(begin(Operation::Create, name));
  auto& random = step.random;
  const auto& faults = world_.faults_;
  auto create_now = [&] {
    auto created = world_.objects_.create(name, data);
    if (created && *created == Created::Yes) world_.appeared_[name] = world_.now_;
    return created;
  };
  if (step.cut) {
    world_.note(actor_, Operation::Create, name, cut_side_name(*step.cut));
    if (*step.cut == CutSide::After) TRY(create_now());
    if (*step.cut == CutSide::Late) world_.send_late(name, to_bytes(data), random);
    return power_cut();
  }
  if (storage::valid_blob_name(name)) {
    if (world_.on_its_way(name) && random.below(1000) < faults.exists_early) {
      world_.note(actor_, Operation::Create, name, "exists, early");
      return Created::AlreadyExists;
    }
    auto dice = random.below(1000);
    auto falls = [&](unsigned chance) {
      const bool hit = dice < chance;
      dice -= hit ? 0 : chance;
      return hit;
    };
    if (falls(faults.create_lost)) return fail(Operation::Create, name, "lost", random);
    if (falls(faults.create_uncertain)) {
      TRY(create_now());
      return fail(Operation::Create, name, "done, reported as failed", random);
    }
    if (falls(faults.create_late)) {
      world_.send_late(name, to_bytes(data), random);
      return fail(Operation::Create, name, "reported as failed, on its way", random);
    }
    if (falls(faults.create_duplicated)) world_.send_late(name, to_bytes(data), random);
  }
  auto created = create_now();
  world_.note(actor_, Operation::Create, name, !created ? "refused" : *created == Created::Yes ? "created" : "exists");
  return created;
}

template <class F>
auto SimStore::reading(Operation kind, const std::string& name, F operation) -> decltype(operation()) {
  Interleaver::yield();
  std::lock_guard lock(world_.mutex_);
  auto step = TRY(begin(kind, name));
  if (step.cut) return power_cut();
  if (step.random.below(1000) < world_.faults_.read_failed) return fail(kind, name, "failed", step.random);
  auto result = operation();
  world_.note(actor_, kind, name, result ? "done" : "refused");
  return result;
}

Result<std::optional<Bytes>> SimStore::read(const std::string& name, std::uint64_t limit) {
  return reading(Operation::Read, name, [&] { return world_.objects_.read(name, limit); });
}
Status SimStore::read_range(const std::string& name, std::uint64_t offset, MutableByteView out) {
  return reading(Operation::ReadRange, name, [&] { return world_.objects_.read_range(name, offset, out); });
}
Result<std::optional<BlobInfo>> SimStore::stat(const std::string& name) {
  return reading(Operation::Stat, name, [&] { return world_.objects_.stat(name); });
}
Result<std::vector<std::string>> SimStore::list_parts(const std::string& prefix) {
  return reading(Operation::ListParts, prefix, [&] { return world_.objects_.list_parts(prefix); });
}

Status SimStore::list(const std::string& prefix, const std::string& after,
                      const std::function<Status(const BlobInfo&)>& visit) {
  constexpr std::uint64_t kPageMax = 6;  // small, so that others get in between
  std::optional<std::uint64_t> began;
  std::string last = after;
  for (;;) {
    std::vector<BlobInfo> page;
    bool more = false;
    TRY(reading(Operation::List, prefix, [&]() -> Status {
      if (!began) began = world_.now_;
      const auto size = 1 + world_.draw(Operation::List, prefix).below(kPageMax);
      // Stops the inner listing when the page is full.
      auto listed = world_.objects_.list(prefix, last, [&](const BlobInfo& info) -> Status {
        if (page.size() == size) return Error(Errc::Cancelled, "page full");
        last = info.name;
        // What came to be while the listing went on may be missed.
        const bool concurrent = world_.appeared_[info.name] > *began;
        if (!concurrent || world_.draw(Operation::Stat, info.name).below(2) == 0) page.push_back(info);
        return ok();
      });
      more = !listed && listed.failure().code() == Errc::Cancelled;
      return more ? ok() : std::move(listed);
    }));
    for (const auto& info : page) TRY(visit(info));
    if (!more) return ok();
  }
}

Status SimStore::remove(const std::string& name) {
  Interleaver::yield();
  std::lock_guard lock(world_.mutex_);
  auto step = TRY(begin(Operation::Remove, name));
  const bool failed = !step.cut && step.random.below(1000) < world_.faults_.remove_failed;
  if (step.cut || failed) {
    const auto side = step.cut ? *step.cut : kCutSides[step.random.below(3)];
    if (side == CutSide::After) TRY(world_.objects_.remove(name));
    if (side == CutSide::Late) world_.send_late(name, std::nullopt, step.random);
    if (failed) return fail(Operation::Remove, name, cut_side_name(side), step.random);
    world_.note(actor_, Operation::Remove, name, cut_side_name(side));
    return power_cut();
  }
  world_.note(actor_, Operation::Remove, name, "done");
  return world_.objects_.remove(name);
}

}  // namespace pgmint::sim
