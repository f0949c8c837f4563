#include "explore/log_explorer.h"

#include <fmt/format.h>

#include <deque>
#include <optional>
#include <unordered_set>

#include "explore/shared_log.h"

namespace pgmint::explore {
namespace {

enum class Role : std::uint8_t { Writer, Reader, Collector, Forgetter, Holder, Floor, AborterOfUnknown, Clock };

struct Actor {
  Role role{};
  std::uint8_t number = 0;   ///< among those of its role
  std::uint8_t at = 0;       ///< where it is in its program
  std::uint8_t rounds = 0;
  bool told = false;         ///< a writer that was told that its backup is published
  std::optional<Draft> draft;
  std::uint8_t stale = 0;    ///< entries that came in since the draft was validated, at most 2
  std::optional<Draft> in_flight;  ///< put by a process that has given up: may land while its slot is free
  std::uint8_t in_flight_stale = 0;
  PackMask listed = 0, targets = 0, believed = 0;
  std::uint32_t known = 0;   ///< LeftOut::UnknownSessionsStay: sessions that the fold knew before the listing
};

struct World {
  std::shared_ptr<const SharedLog> log;
  PackMask store = kBasePacks;
  PackMask late = 0;     ///< puts that may land at any time
  bool held = false;     ///< somebody was told that the base is held
  bool moved_on = false; ///< the clock, past the base's retain
  std::vector<Actor> actors;
};

struct Step {
  std::uint32_t from = 0;
  std::uint8_t actor = 0;
  const char* what = "";
};

class Explorer {
 public:
  Explorer(const Configuration& configuration, LeftOut rule, std::size_t states_max)
      : configuration_(configuration), rule_(rule), states_max_(states_max) {}

  Exploration run() {
    Exploration result;
    enqueue(first_world(), {});
    while (!frontier_.empty() && result.violation.empty()) {
      const auto [world, index] = std::move(frontier_.front());
      frontier_.pop_front();
      result.violation = violation_in(world);
      if (!result.violation.empty()) result.history = history_of(index);
      if (steps_.size() > states_max_) result.violation = "too many states to finish";
      index_ = index;
      for (std::uint8_t i = 0; i < world.actors.size(); ++i) {
        actor_ = i;
        step(world);
      }
      for (unsigned pack = 0; pack < 32; ++pack) {
        if (((world.late >> pack) & 1) == 0) continue;
        auto next = world;
        next.late &= ~(1u << pack);
        next.store |= 1u << pack;
        actor_ = 255;
        add(std::move(next), "a late put lands");
      }
    }
    result.states = steps_.size();
    return result;
  }

 private:
  World first_world() const {
    World world;
    world.log = std::make_shared<SharedLog>(configuration_);
    const auto add_actors = [&](Role role, std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) {
        Actor actor;
        actor.role = role;
        actor.number = static_cast<std::uint8_t>(i);
        world.actors.push_back(actor);
      }
    };
    const auto& c = configuration_;
    add_actors(Role::Writer, c.writers.size());
    add_actors(Role::Reader, static_cast<std::size_t>(c.readers));
    add_actors(Role::Collector, static_cast<std::size_t>(c.collectors));
    add_actors(Role::Forgetter, c.forget_base || c.forget_others ? 1 : 0);
    add_actors(Role::Holder, c.hold_base ? 1 : 0);
    add_actors(Role::Floor, c.floor || c.window_floor ? 1 : 0);
    add_actors(Role::AborterOfUnknown, c.aborts_unknown ? 1 : 0);
    add_actors(Role::Clock, c.retain_base ? 1 : 0);
    return world;
  }

  // --- what must hold in every state

  std::string violation_in(const World& world) const {
    const auto& log = *world.log;
    for (auto session : log.live()) {
      if ((log.packs_of(session) & ~world.store) != 0) return fmt::format("live backup {} has lost a pack", session);
      if (log.start_of(session) < log.floor() || log.may_have_lost_wal(session)) return fmt::format("live backup {} has lost WAL", session);
    }
    for (auto session : log.open()) {
      if ((log.pins_of(session) & ~world.store) != 0) return fmt::format("open session {} misses a pack that it pins", session);
      if (const auto wal = log.wal_of_open(session); wal && (*wal < log.floor() || log.is_cut_off(session))) return fmt::format("open session {} misses WAL", session);
    }
    // With a rule left out this is where the loss begins; but the loss itself is what shows that the rule matters.
    for (unsigned pack = 0; rule_ == LeftOut::Nothing && pack < 2 + configuration_.writers.size(); ++pack)
      if (log.is_purged(pack) && ((log.needed(LeftOut::Nothing) >> pack) & 1) != 0) return fmt::format("pack {} is purged and needed", pack);
    if (world.held && !log.is_live(kBaseSession)) return "a held backup is gone";
    if (configuration_.retain_base && !world.moved_on && !log.is_live(kBaseSession)) return "a retained backup is gone";
    if (log.two_live_of_one_name()) return "two backups have one name";
    for (const auto& actor : world.actors) {
      if (actor.role == Role::Writer && actor.told) {
        const auto session = kFirstWriter + actor.number;
        if (!log.is_live(session) && !log.is_closed_by_snap(session)) return fmt::format("backup {} was reported as done and is not there", session);
      }
      if (actor.role == Role::Reader && (actor.at == 2 || actor.at == 3) && !log.is_aborted(kFirstReader + actor.number) &&
          (kBasePacks & ~world.store) != 0)
        return "a reader that believes to have pinned misses a pack";
    }
    return {};
  }

  // --- the programs, one step at a time

  void step(const World& world) {
    const auto& actor = world.actors[actor_];
    if (actor.in_flight) land_in_flight(world);
    switch (actor.role) {
      case Role::Writer: return step_writer(world, actor);
      case Role::Reader: return step_reader(world, actor);
      case Role::Collector: return step_collector(world, actor);
      case Role::Forgetter: return step_forgetter(world, actor);
      case Role::Holder: return step_holder(world, actor);
      case Role::Floor: return step_floor(world, actor);
      case Role::AborterOfUnknown: return step_aborter(world, actor);
      case Role::Clock:
        if (actor.at == 0) go(world, 1, "moves on", [](World& next, Actor&) { next.moved_on = true; });
        return;
    }
  }

  void step_writer(const World& world, const Actor& actor) {
    const unsigned session = kFirstWriter + actor.number;
    const PackMask pack = 1u << (2 + actor.number);
    switch (actor.at) {
      case 0: draft(world, {EntryKind::Begin, session}, 1, "validates BEGIN"); return;
      case 1: return submit(world, 0, 2, "BEGIN");
      case 2:
        go(world, 3, "its put succeeds", [&](World& next, Actor&) {
          next.store |= pack;
          next.late &= ~pack;
        });
        if ((world.late & pack) == 0) go(world, 2, "its put has no answer", [&](World& next, Actor&) { next.late |= pack; });
        else if (rule_ == LeftOut::PutsAreAcknowledged) go(world, 3, "takes its put for done");
        return go(world, 5, "gives up");
      case 3:
        if (!draft(world, {EntryKind::Snap, session}, 4, "validates SNAP")) go(world, 7, "may not publish");
        return;
      case 4:
        submit(world, 3, 8, "SNAP", [](World&, Actor& self, bool) { self.told = true; });
        return give_up(world, 5, "SNAP without an answer; gives up");
      case 5:
        if (rule_ == LeftOut::AbortBeforeCleanUp) return go(world, 9, "cleans up");
        if (!draft(world, {EntryKind::Abort, session}, 6, "validates ABORT")) go(world, 7, "may not abort");
        return;
      case 6: return submit(world, 5, 9, "ABORT");
      case 9: return go(world, 7, "deletes its pack", [&](World& next, Actor&) { next.store &= ~pack; });
      default: return;
    }
  }

  void step_reader(const World& world, const Actor& actor) {
    const unsigned session = kFirstReader + actor.number;
    switch (actor.at) {
      case 0: draft(world, {EntryKind::Begin, session}, 1, "validates BEGIN"); return;
      case 1: return submit(world, 0, 2, "BEGIN");
      case 2: draft(world, {EntryKind::End, session}, 3, "validates END"); return;
      case 3: return submit(world, 2, 4, "END");
      default: return;
    }
  }

  void step_collector(const World& world, const Actor& actor) {
    const auto& log = *world.log;
    switch (actor.at) {
      case 0:
        if (actor.rounds >= configuration_.collector_rounds) return;
        return go(world, 4, "folds", [&](World&, Actor& self) {
          self = fresh(self);
          ++self.rounds;
          if (rule_ == LeftOut::UnknownSessionsStay)
            for (unsigned session = 0; session < 16; ++session) self.known |= (log.was_seen(session) ? 1u : 0u) << session;
        });
      case 4: return go(world, 1, "lists", [&](World&, Actor& self) { self.listed = world.store; });
      case 1: {
        for (auto session : log.open()) draft(world, {EntryKind::Abort, session}, 2, "validates ABORT");
        if (rule_ == LeftOut::AbortOnlyWhatIsOpen)
          for (unsigned i = 0; i < configuration_.writers.size(); ++i)
            if (log.is_closed_by_snap(kFirstWriter + i)) draft(world, {EntryKind::Abort, kFirstWriter + i}, 2, "validates ABORT of a closed session");
        const PackMask needed = log.needed(rule_);
        PackMask purge = 0, targets = actor.believed;
        for (unsigned pack = 0; pack < 2 + configuration_.writers.size(); ++pack) {
          const auto session = session_of(pack);
          const bool unneeded = ((needed >> pack) & 1) == 0;
          if (log.is_purged(pack) || log.is_aborted(session)) targets |= 1u << pack;
          else if (unneeded && (log.is_closed_by_snap(session) || rule_ == LeftOut::PurgeOnlyWhatIsClosed)) purge |= 1u << pack;
          if (rule_ == LeftOut::AbortBeforeSweep && unneeded && log.is_open(session)) targets |= 1u << pack;
          if (rule_ == LeftOut::PurgeBeforeDelete && unneeded && log.is_closed_by_snap(session)) targets |= 1u << pack;
          if (rule_ == LeftOut::UnknownSessionsStay && ((actor.known >> session) & 1) == 0) targets |= 1u << pack;
        }
        purge &= actor.listed;
        targets &= actor.listed;
        if (purge != 0) draft(world, {EntryKind::Purge, 0, purge}, 2, "validates PURGE");
        if (targets != 0) go(world, 3, "plans to delete", [&](World&, Actor& self) { self.targets = targets; });
        return go(world, 0, "is done");
      }
      case 2:
        submit(world, 1, 1, "PURGE or ABORT", [](World&, Actor& self, bool) {
          if (self.draft->kind == EntryKind::Purge) self.believed |= self.draft->packs;
        });
        return give_up(world, 0, "PURGE or ABORT without an answer; starts again");
      case 3:
        for (unsigned pack = 0; pack < 32; ++pack) {
          if (((actor.targets >> pack) & 1) == 0) continue;
          go(world, actor.targets == 1u << pack ? 1 : 3, "deletes a pack", [&](World& next, Actor& self) {
            next.store &= ~(1u << pack);
            self.targets &= ~(1u << pack);
            self.listed &= ~(1u << pack);
          });
        }
        return go(world, 0, "starts again");
      default: return;
    }
  }

  void step_forgetter(const World& world, const Actor& actor) {
    if (actor.at == 1) return submit(world, 0, 0, "FORGET");
    for (auto session : world.log->live())
      if (session == kBaseSession ? configuration_.forget_base : configuration_.forget_others)
        draft(world, {EntryKind::Forget, session}, 1, "validates FORGET");
  }

  void step_holder(const World& world, const Actor& actor) {
    switch (actor.at) {
      case 0: draft(world, {EntryKind::Hold, kBaseSession}, 1, "validates HOLD"); return;
      case 1: return submit(world, 0, 2, "HOLD", [](World& next, Actor&, bool) { next.held = true; });
      case 2: draft(world, {EntryKind::Release, kBaseSession}, 3, "validates RELEASE"); return;
      // From when on it may go: as soon as the request is out.
      case 3: return submit(world, 2, 4, "RELEASE", [](World& next, Actor&, bool) { next.held = false; });
      default: return;
    }
  }

  /// Wants any floor; the fold refuses the wrong ones.
  void step_floor(const World& world, const Actor& actor) {
    if (actor.at == 1) return submit(world, 0, 0, "FLOOR");
    for (std::uint64_t lsn : {1500u, 2500u, 9000u}) {
      if (lsn == 9000 && configuration_.window_floor) continue;  // above the second writer's start: nothing that 2500 does not show
      if (configuration_.floor && lsn > world.log->floor()) draft(world, {EntryKind::Floor, 0, 0, lsn}, 1, "validates FLOOR");
      if (configuration_.window_floor && lsn > world.log->window_floor())
        draft(world, {EntryKind::Floor, 0, 0, lsn, true}, 1, "validates FLOOR (window)");
    }
  }

  void step_aborter(const World& world, const Actor& actor) {
    if (actor.at == 1) return submit(world, 0, 2, "ABORT of a session that has not begun");
    if (actor.at == 0 && !world.log->was_seen(kFirstWriter)) draft(world, {EntryKind::Abort, kFirstWriter}, 1, "validates ABORT");
  }

  // --- moves

  static Actor fresh(const Actor& actor) {
    Actor self;
    self.role = actor.role;
    self.number = actor.number;
    self.at = actor.at;
    self.rounds = actor.rounds;
    self.in_flight = actor.in_flight;
    self.in_flight_stale = actor.in_flight_stale;
    return self;
  }

  template <class F>
  void go(const World& world, std::uint8_t to, const char* what, F change) {
    auto next = world;
    auto& self = next.actors[actor_];
    self.at = to;
    change(next, self);
    add(std::move(next), what);
  }
  void go(const World& world, std::uint8_t to, const char* what) {
    go(world, to, what, [](World&, Actor&) {});
  }

  bool draft(const World& world, const Draft& entry, std::uint8_t to, const char* what) {
    if (!world.log->would_accept(entry, rule_, world.moved_on)) return false;
    go(world, to, what, [&](World&, Actor& self) {
      self.draft = entry;
      self.stale = 0;
    });
    return true;
  }

  /// The log after the entry, or nullptr: somebody else has the slot.
  std::shared_ptr<const SharedLog> put(const World& world, const Draft& entry, std::uint8_t stale, bool as_it_is, bool& accepted) const {
    std::shared_ptr<const SharedLog> next;
    if (stale == 0 || (as_it_is && rule_ == LeftOut::RevalidateAfterRace)) next = world.log->append(entry, rule_, world.moved_on, accepted);
    else if (stale == 1 && rule_ == LeftOut::SlotsAreImmutable && world.log->before_last())
      return world.log->before_last()->append(entry, rule_, world.moved_on, accepted);
    if (next && rule_ == LeftOut::SlotsAreImmutable) {
      auto with_past = std::make_shared<SharedLog>(*next);
      auto past = std::make_shared<SharedLog>(*world.log);
      past->forget_history();
      with_past->set_before(std::move(past));
      return with_past;
    }
    return next;
  }

  void outdate(World& next) const {
    for (auto& actor : next.actors) {
      if (actor.draft) actor.stale = std::min<std::uint8_t>(2, static_cast<std::uint8_t>(actor.stale + 1));
      if (actor.in_flight) actor.in_flight_stale = std::min<std::uint8_t>(2, static_cast<std::uint8_t>(actor.in_flight_stale + 1));
    }
  }

  /// The draft's slot is created, and the actor goes to `won`; or somebody else has it, and it goes to `lost` to fold again.
  template <class F>
  void submit(const World& world, std::uint8_t lost, std::uint8_t won, const char* what, F then) {
    const auto& actor = world.actors[actor_];
    bool accepted = false;
    auto log = put(world, *actor.draft, actor.stale, true, accepted);
    if (!log) {
      return go(world, lost, "loses the race for a slot", [](World&, Actor& self) {
        self.draft.reset();
        self.stale = 0;
      });
    }
    go(world, won, what, [&](World& next, Actor& self) {
      next.log = log;
      then(next, self, accepted);
      self.draft.reset();
      self.stale = 0;
      outdate(next);
    });
  }
  void submit(const World& world, std::uint8_t lost, std::uint8_t won, const char* what) {
    submit(world, lost, won, what, [](World&, Actor&, bool) {});
  }

  void give_up(const World& world, std::uint8_t to, const char* what) {
    go(world, to, what, [](World&, Actor& self) {
      self.in_flight = std::move(self.draft);
      self.in_flight_stale = self.stale;
      self.draft.reset();
      self.stale = 0;
    });
  }

  void land_in_flight(const World& world) {
    const auto& actor = world.actors[actor_];
    bool accepted = false;
    auto log = put(world, *actor.in_flight, actor.in_flight_stale, false, accepted);
    go(world, actor.at, log ? "an earlier request of its lands" : "an earlier request of its is refused", [&](World& next, Actor& self) {
      self.in_flight.reset();
      self.in_flight_stale = 0;
      if (!log) return;
      next.log = log;
      outdate(next);
    });
  }

  // --- states

  static void put_draft(std::string& key, const std::optional<Draft>& draft, std::uint8_t stale) {
    key.push_back(draft ? static_cast<char>(draft->kind) : '\0');
    if (!draft) return;
    key.push_back(static_cast<char>(draft->session));
    key.push_back(static_cast<char>(draft->packs));
    key.push_back(static_cast<char>(draft->lsn / 500));
    key.push_back(static_cast<char>(stale));
  }

  std::string key_of(const World& world) const {
    std::string key = world.log->key();
    if (world.log->before_last()) key += "|" + world.log->before_last()->key();
    key += '#';
    key.push_back(static_cast<char>(world.store));
    key.push_back(static_cast<char>(world.late));
    key.push_back(static_cast<char>((world.held ? 1 : 0) | (world.moved_on ? 2 : 0)));
    for (const auto& actor : world.actors) {
      key.push_back(static_cast<char>(actor.at));
      key.push_back(static_cast<char>(actor.rounds << 1 | (actor.told ? 1 : 0)));
      put_draft(key, actor.draft, actor.stale);
      put_draft(key, actor.in_flight, actor.in_flight_stale);
      if (actor.role != Role::Collector) continue;
      key.push_back(static_cast<char>(actor.listed));
      key.push_back(static_cast<char>(actor.targets));
      key.push_back(static_cast<char>(actor.believed));
      key.push_back(static_cast<char>(actor.known));
      key.push_back(static_cast<char>(actor.known >> 8));
    }
    return key;
  }

  void add(World&& next, const char* what) { enqueue(std::move(next), {static_cast<std::uint32_t>(index_), actor_, what}); }

  void enqueue(World&& world, const Step& step) {
    if (!seen_.insert(key_of(world)).second) return;
    steps_.push_back(step);
    if (roles_.empty()) roles_ = world.actors;
    frontier_.emplace_back(std::move(world), steps_.size() - 1);
  }

  std::vector<std::string> history_of(std::size_t index) const {
    static constexpr const char* kNames[] = {"writer", "reader", "collector", "forgetter", "holder", "floor", "aborter", "clock"};
    std::vector<std::string> history;
    for (; index != 0; index = steps_[index].from) {
      const auto& step = steps_[index];
      const auto who = step.actor == 255 ? std::string("store")
                                         : fmt::format("{} {}", kNames[static_cast<std::size_t>(roles_[step.actor].role)], roles_[step.actor].number);
      history.push_back(fmt::format("{}: {}", who, step.what));
    }
    return {history.rbegin(), history.rend()};
  }

  const Configuration& configuration_;
  const LeftOut rule_;
  const std::size_t states_max_;
  std::unordered_set<std::string> seen_;
  std::vector<Step> steps_;
  std::vector<Actor> roles_;
  std::deque<std::pair<World, std::size_t>> frontier_;
  std::size_t index_ = 0;
  std::uint8_t actor_ = 255;
};

}  // namespace

const char* name_of(LeftOut rule) {
  switch (rule) {
    case LeftOut::Nothing: return "nothing";
    case LeftOut::BeginPins: return "BEGIN pins (I3, I5)";
    case LeftOut::PinsAreFrozen: return "pins outlive their parent (I3)";
    case LeftOut::SnapNeedsOpenSession: return "SNAP needs an open session (I4)";
    case LeftOut::ParentIsLive: return "a parent is live (I3)";
    case LeftOut::SessionBeginsOnce: return "a session begins once (I2)";
    case LeftOut::AbortOnlyWhatIsOpen: return "a closed session is not aborted (I4)";
    case LeftOut::PurgeOnlyWhatIsClosed: return "PURGE only of closed sessions (I5)";
    case LeftOut::PurgeNothingNeeded: return "PURGE nothing that is needed (I5)";
    case LeftOut::HoldBlocksForget: return "a held backup stays (I7)";
    case LeftOut::RetainBlocksForget: return "a retained backup stays (I7)";
    case LeftOut::NameIsUnused: return "names are unused (I2)";
    case LeftOut::SnapAboveFloor: return "SNAP needs its WAL (I4)";
    case LeftOut::FloorBelowSnapshots: return "the floor stays below snapshots";
    case LeftOut::FloorBelowReaders: return "the floor stays below readers";
    case LeftOut::RevalidateAfterRace: return "fold and validate again after a lost race (I1)";
    case LeftOut::SlotsAreImmutable: return "slots are created once (I1)";
    case LeftOut::AbortBeforeSweep: return "ABORT before a sweep (I6)";
    case LeftOut::PurgeBeforeDelete: return "PURGE before deletion (I6)";
    case LeftOut::UnknownSessionsStay: return "packs of unknown sessions stay (I6)";
    case LeftOut::PutsAreAcknowledged: return "puts are acknowledged before SNAP (I4)";
    case LeftOut::AbortBeforeCleanUp: return "ABORT before clean-up (I6)";
  }
  return "?";
}

Exploration explore(const Configuration& configuration, LeftOut rule, std::size_t states_max) {
  return Explorer(configuration, rule, states_max).run();
}

}  // namespace pgmint::explore
