#include "repository/rebuild.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "repository/layout.h"

namespace pgmint::repository {
namespace {

constexpr std::uint64_t kRootMax = 16 << 20;
constexpr int kRoundsMax = 5;

/// What the readable part of the old log says.
struct Facts {
  struct Known {
    SnapEntry snap;  ///< `added` is the whole set of packs
    std::optional<Hold> hold;
  };
  std::string name;
  std::uint64_t system_id = 0;
  Incarnation incarnation{1};
  std::map<SessionId, Known> live;
  std::set<SessionId> dead;      ///< forgotten or aborted
  std::set<SessionId> sessions;  ///< every one that is mentioned
  std::map<crypto::PublicKey, EnrolEntry> actors;
  std::vector<FloorLine> floors, window_floors;

  explicit Facts(const LogState& state)
      : name(state.cluster_name()), system_id(state.system_id()), incarnation(state.has_genesis() ? state.incarnation() : Incarnation(1)),
        actors(state.actors()), floors(state.floors()), window_floors(state.window_floors()) {
    for (const auto& [id, snapshot] : state.snapshots()) live[id] = {whole(snapshot.snap, state.packs_of(snapshot)), snapshot.hold};
    for (const auto& [id, session] : state.open_sessions()) sessions.insert(id);
    for (const auto& [id, how] : state.closed_sessions()) {
      sessions.insert(id);
      if (how == Closed::ByAbort || (how == Closed::BySnap && !live.contains(id))) dead.insert(id);
    }
  }

  static SnapEntry whole(SnapEntry snap, const PackSet& packs) {
    snap.added.assign(packs.begin(), packs.end());
    std::ranges::sort(snap.added, {}, &PackSummary::id);
    return snap;
  }

  /// An entry behind the break. Only what makes it lose nothing: a SNAP of which BEGIN or parent may be missing is left to its
  /// root, which says the same.
  void learn(const LogEntry& entry) {
    std::visit([&](const auto& content) { learn_content(content); }, entry.content);
  }
  template <class E>
  void learn_content(const E&) {}
  void learn_content(const BeginEntry& e) { sessions.insert(e.session); }
  void learn_content(const SnapEntry& e) { sessions.insert(e.session); }
  void learn_content(const EndEntry& e) { sessions.insert(e.session); }
  void learn_content(const AbortEntry& e) {
    sessions.insert(e.session);
    dead.insert(e.session);
  }
  void learn_content(const ForgetEntry& e) {
    sessions.insert(e.snapshot);
    dead.insert(e.snapshot);
    live.erase(e.snapshot);
  }
  void learn_content(const HoldEntry& e) { holds[e.snapshot] = {e.reason, e.until}; }
  void learn_content(const ReleaseEntry& e) {
    holds.erase(e.snapshot);
    if (const auto found = live.find(e.snapshot); found != live.end()) found->second.hold.reset();
  }
  void learn_content(const EnrolEntry& e) { actors[e.key] = e; }
  void learn_content(const RevokeEntry& e) { actors.erase(e.key); }
  void learn_content(const AdoptEntry& e) {
    system_id = e.system_id;
    incarnation = std::max(incarnation, e.incarnation);
  }
  void learn_content(const FloorEntry& e) {
    learn_lines(e.lines, floors);
    learn_lines(e.window_lines, window_floors);
  }
  static void learn_lines(const std::vector<FloorLine>& lines, std::vector<FloorLine>& known) {
    for (const auto& line : lines) {
      const auto same = std::find_if(known.begin(), known.end(), [&](const FloorLine& other) {
        return other.system_id == line.system_id && other.incarnation == line.incarnation && other.timeline == line.timeline;
      });
      if (same == known.end()) known.push_back(line);
      else same->lsn = std::max(same->lsn, line.lsn);
    }
  }
  std::map<SessionId, Hold> holds;  ///< of entries behind the break
};

class Rebuild {
 public:
  Rebuild(Repository& repository, Cluster& cluster) : repository_(repository), cluster_(cluster) {}

  /// One round: reads what there is and opens a generation from it.
  Status run(const std::string& name_if_lost) {
    report_ = {};
    auto salvage = TRY(cluster_.log().salvage());
    Facts facts(salvage.state);
    for (const auto& entry : salvage.later) facts.learn(entry);
    if (facts.name.empty()) facts.name = name_if_lost;
    if (facts.name.empty())
      return Error(Errc::Precondition, "the log does not tell the cluster's name any more",
                   Hint{fmt::format("say it: pgmint repair --rebuild-log {} --name NAME", cluster_.id().hex())});
    TRY(list_packs());
    TRY(read_roots(facts));
    if (!salvage.state.has_genesis()) identify(facts);

    // Who may open a generation is who was root where the log breaks off: it need not be the root of today.
    const auto* signer = repository_.signing_key_among(salvage.state.has_genesis() ? salvage.state.roots() : std::set{repository_.format().root});
    if (signer == nullptr)
      return Error(Errc::Precondition, "the root of this key slot was not in force where the log breaks off",
                   Hint{"try another root slot: pgmint key list shows them"});
    GenesisEntry genesis;
    genesis.cluster_name = facts.name;
    genesis.system_id = facts.system_id;
    genesis.incarnation = facts.incarnation;
    genesis.root_key = signer->public_key();
    genesis.previous_generation = salvage.last_object;
    for (auto& [id, known] : facts.live) {
      if (known.hold) genesis.holds.push_back({id, known.hold->reason, known.hold->until});
      report_.recovered.push_back(known.snap.name);
      genesis.snapshots.push_back(std::move(known.snap));
    }
    for (const auto& [key, enrolment] : facts.actors)
      if (key != genesis.root_key) genesis.enrolments.push_back(enrolment);
    genesis.floors = facts.floors;
    genesis.window_floors = facts.window_floors;
    genesis.known_sessions.assign(facts.sessions.begin(), facts.sessions.end());
    std::sort(report_.recovered.begin(), report_.recovered.end());
    Actor actor = cluster_.actor();
    actor.key = signer;
    TRY(cluster_.log().open_generation(actor, std::move(genesis)));
    TRY(install_root(actor));
    report_.generation = cluster_.state().generation();
    seen_ = std::move(salvage.objects);
    return ok();
  }

  /// Nothing was written into the old generations since they were read.
  Result<bool> still_whole() {
    auto now = TRY(cluster_.log().salvage()).objects;
    now.erase(now.lower_bound(report_.generation), now.end());
    return now == seen_;
  }

  const RebuildReport& report() const { return report_; }

 private:
  /// The root of today takes the place of the one that had to sign.
  Status install_root(const Actor& signer) {
    const auto& root = repository_.signing_key().public_key();
    if (signer.key->public_key() == root) return ok();
    if (!cluster_.state().actors().contains(root))
      TRY(cluster_.log().append(signer, EntryContent(enrolment(Role::Root, root, "root"))));
    TRY(cluster_.log().append(cluster_.actor(), EntryContent(RevokeEntry{signer.key->public_key()})));
    return ok();
  }

  Status list_packs() {
    packs_.clear();
    return cluster_.store().list(packs_prefix(cluster_.id()), "", [&](const storage::BlobInfo& info) -> Status {
      if (const auto id = parse_pack_name(info.name)) packs_[*id] = info.size;
      return ok();
    });
  }

  bool complete(const SnapEntry& snap) const {
    return std::all_of(snap.added.begin(), snap.added.end(), [&](const PackSummary& pack) {
      const auto found = packs_.find(pack.id);
      return found != packs_.end() && found->second == pack.size;
    });
  }

  /// Keeps of facts.live what is whole, and adds the roots that no entry speaks of.
  Status read_roots(Facts& facts) {
    std::set<SessionId> seen;
    for (const auto& blob : TRY(storage::list_all(cluster_.store(), manifests_prefix(cluster_.id())))) {
      const auto id = SessionId::parse(std::string_view(blob.name).substr(manifests_prefix(cluster_.id()).size()));
      if (!id || facts.dead.contains(*id)) continue;
      auto recovered = recover(*id, facts);
      if (!recovered && !is_damage(recovered.failure())) return std::move(recovered).failure();
      if (!recovered) {
        report_.unreadable.push_back(fmt::format("{}: {}", blob.name, recovered.failure().describe()));
        facts.live.erase(*id);
        continue;
      }
      seen.insert(*id);
      facts.sessions.insert(*id);
      if (!complete(*recovered)) {
        report_.incomplete.push_back(recovered->name);
        facts.live.erase(*id);
        continue;
      }
      auto& known = facts.live[*id];
      known.snap = std::move(*recovered);
      if (const auto hold = facts.holds.find(*id); hold != facts.holds.end()) known.hold = hold->second;
    }
    std::erase_if(facts.live, [&](const auto& item) {
      if (seen.contains(item.first)) return false;
      report_.unreadable.push_back(fmt::format("{}: missing ({})", manifest_name(cluster_.id(), item.first), item.second.snap.name));
      return true;
    });
    make_names_unique(facts);
    return ok();
  }

  /// The SNAP of one root. @errors Corruption, NotFound (an object that it needs), Storage, Key
  Result<SnapEntry> recover(const SessionId& id, const Facts& facts) {
    const auto name = manifest_name(cluster_.id(), id);
    const auto object = TRY(cluster_.store().read(name, kRootMax));
    if (!object) return Error(Errc::NotFound, fmt::format("{} is gone", name));
    const auto root = TRY(open_root(*object, cluster_.context(), id, cluster_.keys()));
    const auto hash = crypto::sha256(*object);
    if (const auto known = facts.live.find(id); known != facts.live.end()) {
      if (known->second.snap.root_sha256 != hash) return Error(Errc::Corruption, fmt::format("{} is not the one that was published", name));
      return known->second.snap;
    }
    note_server(root);
    SnapEntry snap;
    snap.session = id;
    snap.root_sha256 = hash;
    snap.root_size = object->size();
    snap.name = root.name;
    snap.type = root.type;
    snap.timeline = root.timeline;
    snap.start_lsn = root.start_lsn;
    snap.stop_lsn = root.stop_lsn;
    snap.system_id = root.system_id;
    snap.incarnation = root.incarnation;
    for (const auto& pack : TRY(packs_of(root))) {
      // Absent packs stay in the set: that is how complete() finds out.
      PackSummary summary{pack, 0, {}};
      if (packs_.contains(pack)) {
        const auto data = TRY(cluster_.store().read(pack_name(cluster_.id(), pack), kPackMax));
        if (data) {
          TRY(parse_pack(*data, cluster_.context(), pack, cluster_.keys().maintenance_key));
          summary = {pack, data->size(), crypto::sha256(*data)};
        }
      }
      snap.added.push_back(summary);
    }
    return snap;
  }

  /// A backup that is of no data directory may say which server it asked.
  void note_server(const ManifestRoot& root) {
    const auto found = std::ranges::find(root.settings, kSystemIdentifierSetting, &std::pair<std::string, std::string>::first);
    if (found == root.settings.end() || root.started < server_asked_) return;
    std::uint64_t value = 0;
    const auto& text = found->second;
    if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value); error != std::errc() || end != text.data() + text.size()) return;
    server_asked_ = root.started;
    server_ = value;
  }

  /// Every pack that a root and all below it refer to.
  Result<std::set<PackId>> packs_of(const ManifestRoot& root) {
    RecordOpener opener(cluster_.context(), cluster_.keys());
    const auto use = TRY(measure_pack_use(cluster_.store(), cluster_.context(), opener, root));
    std::set<PackId> packs;
    for (const auto& [pack, bytes] : use.packs()) packs.insert(pack);
    if (root.account)
      for (const auto& piece : *root.account) packs.insert(piece.pack);
    return packs;
  }

  /// Two roots may bear one name: of a backup whose publication failed, and of the one that was tried again.
  static void make_names_unique(Facts& facts) {
    std::set<std::string> names;
    for (auto& [id, known] : facts.live)
      if (!names.insert(known.snap.name).second) known.snap.name += "-" + id.hex().substr(0, 8);
  }

  /// Which PostgreSQL cluster this is: by its newest backup of a data directory; without any, by the server that the newest dump is of.
  void identify(Facts& facts) const {
    for (const auto& [id, known] : facts.live) {
      if (known.snap.system_id == 0) continue;
      if (facts.system_id != 0 && known.snap.incarnation < facts.incarnation) continue;
      facts.system_id = known.snap.system_id;
      facts.incarnation = known.snap.incarnation;
    }
    if (facts.system_id == 0) facts.system_id = server_;
  }

  Repository& repository_;
  Cluster& cluster_;
  std::map<PackId, std::uint64_t> packs_;           ///< sizes of those that are there
  std::map<std::uint32_t, std::uint64_t> seen_;     ///< log objects by generation
  TimePoint server_asked_{};
  std::uint64_t server_ = 0;
  RebuildReport report_;
};

/// The old log's notes are in it no more: what stands now is what must not vanish.
Status note_all_keys(Repository& repository, Cluster& cluster) {
  for (const auto& slot : TRY(repository.slots())) TRY(note_keys(cluster, kKeySlotAdded, slot.name));
  for (auto epoch : TRY(ring_epochs(cluster.store(), cluster.id()))) TRY(note_keys(cluster, kKeyRingMade, std::to_string(epoch.value())));
  return ok();
}

}  // namespace

Result<RebuildReport> rebuild_log(Repository& repository, const ClusterId& id, const std::string& name_if_lost, const std::string& event, const std::string& why) {
  if (repository.bundle().role != Role::Root)
    return Error(Errc::Key, "only a root key slot may rebuild a log", Hint{"open the repository with a root key"});
  TRY(check_features(repository.format(), Operation::Write));
  auto cluster = TRY(repository.open_cluster(id));
  Rebuild rebuild(repository, *cluster);
  for (int round = 0; round < kRoundsMax; ++round) {
    TRY(rebuild.run(name_if_lost));
    // Somebody may have written into the old log after it was read and before the new one stood. Writers look for a new log after
    // their entry, so that either they have seen this one, or their entry is seen here.
    if (!TRY(rebuild.still_whole())) continue;
    const auto& report = rebuild.report();
    TRY(note_all_keys(repository, *cluster));
    TRY(cluster->log().append(cluster->actor(), AuditEntry{event, why + fmt::format("{} backups, {} left out", report.recovered.size(),
                                                                                       report.unreadable.size() + report.incomplete.size())}));
    return report;
  }
  return Error(Errc::Busy, "others go on writing to the log while it is rebuilt", Hint{"stop backups of this cluster, then run the command again"});
}

}  // namespace pgmint::repository
