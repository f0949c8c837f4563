// A store that misbehaves as stores may, from a seed: what production code is run against to see what it survives.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "storage/blob_store.h"
#include "storage/instant_clock.h"
#include "storage/memory_store.h"
#include "storage/meter_store.h"

namespace pgmint::sim {

/// How often things go wrong: chances in a thousand operations of the kind. All errors are Storage or Unknown, since the
/// contract lets a write that failed with either have happened.
struct SimFaults {
  unsigned create_lost = 0;        ///< fails and never happens
  unsigned create_uncertain = 0;   ///< happens and fails
  unsigned create_late = 0;        ///< fails, and lands some operations later, if its name is free by then
  unsigned create_duplicated = 0;  ///< succeeds, and lands once more later, if its object has been removed by then
  unsigned exists_early = 0;       ///< while another's put of that name is on its way: AlreadyExists before it can be read
  unsigned read_failed = 0;        ///< read, read_range, stat, list_parts, and each page of a listing
  unsigned remove_failed = 0;      ///< fails: not done, done, or done later
  std::uint64_t late_max = 40;     ///< operations (of anybody) after which a late request has landed
  std::chrono::microseconds delay_max{};  ///< an operation takes up to this on the simulated clock

  /// A bad day: some of everything.
  static SimFaults rough();
};

/// What became of the operation during which the power failed.
enum class CutSide {
  Before,  ///< nothing
  After,   ///< done; the answer never came
  Late     ///< on its way, and lands later, after the next process has begun
};
inline constexpr CutSide kCutSides[] = {CutSide::Before, CutSide::After, CutSide::Late};
const char* cut_side_name(CutSide side);

class SimStore;

/// The objects, the requests still on their way, time and randomness: what outlives a process.
///
/// Everything follows from the seed as long as each process is single-threaded: a fault is drawn from the seed, the kind of
/// operation, the name, and how often that name was asked for, so that it does not move when other names are added.
/// Names should be drawn from random(). Thread-safe.
class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed, SimFaults faults = {});

  /// A new process, after a reboot as well. Borrows the world.
  std::unique_ptr<SimStore> connect(std::string actor = "process");
  void set_faults(SimFaults faults);
  /// Whatever is on its way lands now.
  void settle();

  /// The truth, for checks and for damage.
  storage::MemoryStore& objects() { return objects_; }
  Clock& clock() { return clock_; }
  RandomSource& random() { return random_; }
  std::uint64_t seed() const { return seed_; }
  /// The last operations, a line each: what to read when a check fails.
  std::string recent_operations() const;

 private:
  friend class SimStore;
  struct LateRequest {
    std::string name;
    std::optional<Bytes> data;  ///< absent: a removal
    std::uint64_t due = 0;
  };
  class LockedRandom final : public RandomSource {
   public:
    explicit LockedRandom(std::uint64_t seed) : random_(seed) {}
    void fill(MutableByteView out) override {
      std::lock_guard lock(mutex_);
      random_.fill(out);
    }

   private:
    std::mutex mutex_;
    SeededRandom random_;
  };

  // All below are called with mutex_ held.
  SeededRandom draw(storage::Operation kind, const std::string& name);
  void land(const LateRequest& request);
  void land_due();
  void send_late(std::string name, std::optional<Bytes> data, SeededRandom& random);
  bool on_its_way(const std::string& name) const;
  void note(const std::string& actor, storage::Operation kind, const std::string& name, const char* outcome);

  const std::uint64_t seed_;
  storage::MemoryStore objects_;
  storage::InstantClock clock_;
  LockedRandom random_;
  mutable std::mutex mutex_;
  SimFaults faults_;
  std::uint64_t now_ = 0;  ///< operations so far
  std::vector<LateRequest> late_;
  std::map<std::pair<storage::Operation, std::string>, std::uint64_t> asked_;
  std::map<std::string, std::uint64_t> appeared_;  ///< when an object came to be, for listings
  std::deque<std::string> recent_;
};

/// One process's view of the world. After the power cut every operation fails with Storage, so that the process unwinds.
class SimStore final : public storage::BlobStore {
 public:
  SimStore(SimWorld& world, std::string actor) : world_(world), actor_(std::move(actor)) {}

  /// The operation of that number (from 0) is the last, and ends as `side` says.
  void cut_power_at(std::uint64_t operation, CutSide side);
  /// Now.
  void crash();
  bool crashed() const;
  /// Operations so far; every page of a listing is one.
  std::uint64_t operations() const;

  Result<storage::Created> create(const std::string& name, ByteView data) override;
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override;
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override;
  Result<std::optional<storage::BlobInfo>> stat(const std::string& name) override;
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const storage::BlobInfo&)>& visit) override;
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override;
  Status remove(const std::string& name) override;
  std::optional<TimePoint> store_time() override { return world_.clock_.now(); }
  std::string describe() const override { return "simulation"; }

 private:
  struct Step {
    SeededRandom random;          ///< for this operation alone
    std::optional<CutSide> cut;   ///< the power fails during it
  };
  /// Counts, lets time pass, lets late requests land. @errors Storage (the power is off)
  Result<Step> begin(storage::Operation kind, const std::string& name);
  Error fail(storage::Operation kind, const std::string& name, const char* outcome, SeededRandom& random);
  Error power_cut() const;
  template <class F>
  auto reading(storage::Operation kind, const std::string& name, F operation) -> decltype(operation());

  SimWorld& world_;
  const std::string actor_;
  std::uint64_t operations_ = 0;
  std::optional<std::uint64_t> cut_at_;
  CutSide cut_side_ = CutSide::Before;
};

}  // namespace pgmint::sim
