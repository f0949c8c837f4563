// The repository's own code on a store that misbehaves, with the power cut at each operation: keys are changed, clusters and
// backups made, and whatever is left, every secret opens everything and nothing that was confirmed is lost.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "policy/wal_floors.h"
#include "repository/expire.h"
#include "repository/layout.h"
#include "repository/manifest.h"
#include "repository/pack.h"
#include "repository/repository.h"
#include "repository/session.h"
#include "repository/verify.h"
#include "repository/wal_archive.h"
#include "sim/sim_repository.h"

namespace pgmint::sim {
namespace {

// ---------------------------------------------------------------- small files as evidence

std::string evidence_name(std::uint32_t n) { return fmt::format("{:08X}.history", n + 2); }
std::string evidence_text(std::uint32_t n) { return fmt::format("1\t0/{:X}000000\tevidence\n", n + 1); }
WalArchive evidence(Cluster& cluster) { return {cluster, {cluster.state().system_id(), Incarnation(1)}}; }

/// Stores file `n` under the newest data key that this opener knows.
Status leave_evidence(Cluster& cluster, std::uint32_t n) {
  const auto text = evidence_text(n);
  TRY(evidence(cluster).put(evidence_name(n), WalContent::History, 0, as_bytes(text), {}));
  return ok();
}
Status find_evidence(Cluster& cluster, std::uint32_t n) {
  const auto got = TRY(evidence(cluster).get(evidence_name(n)));
  if (!got || as_text(*got) != evidence_text(n)) return Error(Errc::NotFound, fmt::format("{} is lost", evidence_name(n)));
  return ok();
}

/// What a process that succeeded has left, to be asked for later. Beside the repository, where nothing looks.
Status confirm(BlobStore& store, const std::string& what) {
  TRY(store.create("confirmed/" + what, {}));
  return ok();
}

/// One of two that change the same thing at once may be refused, and says so.
Scenario::Process or_refused(Scenario::Process process) {
  return [process](SimWorld& world, BlobStore& raw) -> Status {
    auto done = process(world, raw);
    if (!done && (done.failure().code() == Errc::Busy || done.failure().code() == Errc::Precondition || done.failure().code() == Errc::Key)) return ok();
    return done;
  };
}

/// Every secret opens every cluster, reads all that was stored with any of them, and may write. `next` numbers new files.
Status everything_opens(Process& process, std::initializer_list<Secret> secrets, std::uint32_t next, std::size_t clusters_min = 1) {
  std::uint32_t stored = next;
  for (auto secret : secrets) {
    auto repository = TRY(open_with(process, secret).context("opening"));
    const auto clusters = TRY(repository->clusters());
    if (clusters.size() < clusters_min) return Error(Errc::NotFound, "a cluster is lost");
    for (const auto& cluster : clusters) {
      TRY(find_evidence(*cluster, 0).context(cluster->state().cluster_name()));
      TRY(leave_evidence(*cluster, stored).context(cluster->state().cluster_name()));
      TRY(cluster->log().append(cluster->actor(), EntryContent(AuditEntry{"sim", ""})).context(cluster->state().cluster_name()));
      const auto report = TRY(verify(*cluster, {}));
      for (const auto& finding : report.findings)
        if (finding.severity == Finding::Severity::Damage) return Error(Errc::Corruption, finding.object + ": " + finding.problem);
    }
    ++stored;
  }
  for (auto secret : secrets) {
    auto repository = TRY(open_with(process, secret));
    for (const auto& cluster : TRY(repository->clusters()))
      for (auto n = next; n < stored; ++n) TRY(find_evidence(*cluster, n).context("what another secret stored"));
  }
  return ok();
}

Status prepare(SimWorld& world, BlobStore& raw) {
  Process process(world, raw);
  auto repository = TRY(Repository::create(process.environment, slots_for({Secret::File, Secret::Recovery})));
  for (const auto* name : {"main", "other"}) {
    auto cluster = TRY(repository->create_cluster(name, kSystemId + (*name == 'o')));
    TRY(leave_evidence(*cluster, 0));
  }
  return ok();
}

Scenario::Process rotate_root(std::initializer_list<Secret> secrets, Secret with = Secret::File) {
  return [secrets = std::vector(secrets), with](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, with));
    std::vector<Repository::Slot> slots;
    for (auto secret : secrets) slots.push_back({unlock(secret), ""});
    return repository->rotate_root(std::move(slots), false);
  };
}
Scenario::Process rotate_data() {
  return [](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    for (const auto& cluster : TRY(repository->clusters())) {
      TRY(repository->rotate_data_key(*cluster));
      // A writer of this very moment: what it stores must outlive every change that is under way.
      auto again = TRY(repository->open_cluster(cluster->id()));
      TRY(again->log().refresh());
      TRY(leave_evidence(*again, 1000));
      TRY(confirm(raw, cluster->id().hex()));
    }
    return ok();
  };
}
/// Whatever a rotation of the data keys has stored under a new one is still read, by everybody.
Status confirmed_evidence(Process& process, BlobStore& raw) {
  for (auto secret : {Secret::File, Secret::Recovery}) {
    auto repository = TRY(open_with(process, secret));
    for (const auto& cluster : TRY(repository->clusters()))
      if (TRY(raw.stat("confirmed/" + cluster->id().hex()))) TRY(find_evidence(*cluster, 1000).context("sealed with a new data key"));
  }
  return ok();
}

/// The rotation is run again and ends; after that one generation of slots stands, and the keys can be changed.
Status finish_and_recheck(Process& process, SimWorld& world, BlobStore& raw, std::uint32_t next) {
  TRY(rotate_root({Secret::File, Secret::Recovery}, Secret::Recovery)(world, raw).context("rotating again"));
  TRY(everything_opens(process, {Secret::File, Secret::Recovery}, next));
  auto repository = TRY(open_with(process, Secret::File));
  for (const auto& slot : TRY(repository->slots()))
    if (slot.root_generation != repository->bundle().root_generation) return Error(Errc::Internal, "an old slot stands");
  for (const auto& cluster : TRY(repository->clusters())) TRY(repository->rotate_data_key(*cluster).context("after it"));
  return ok();
}

Scenario rotation() {
  return {"rotate the root key", prepare, {rotate_root({Secret::File, Secret::Recovery})},
          [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(everything_opens(process, {Secret::File, Secret::Recovery}, after.settled ? 20 : 10, 2));
            return finish_and_recheck(process, world, raw, after.settled ? 40 : 30);
          }};
}
Scenario two_rotations() {
  auto scenario = rotation();
  scenario.name = "rotate the root key twice at once";
  scenario.actors = {or_refused(scenario.actors[0]), or_refused(rotate_root({Secret::Recovery, Secret::File}, Secret::Recovery))};
  return scenario;
}
Scenario both_rotations() {
  auto scenario = rotation();
  scenario.name = "rotate root and data keys at once";
  scenario.actors = {or_refused(scenario.actors[0]), or_refused(rotate_data())};
  const auto check = scenario.check;
  scenario.check = [check](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
    Process process(world, raw);
    TRY(confirmed_evidence(process, raw));
    TRY(check(world, raw, after));
    return confirmed_evidence(process, raw).context("after another rotation");
  };
  return scenario;
}
Scenario two_data_rotations() {
  return {"rotate the data keys twice at once", prepare, {rotate_data(), rotate_data()},
          [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(everything_opens(process, {Secret::File, Secret::Recovery}, after.settled ? 20 : 10, 2));
            return confirmed_evidence(process, raw);
          }};
}

Scenario::Process create_cluster() {
  return [](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(repository->find_cluster("new", std::nullopt));
    if (!cluster) cluster = TRY(repository->create_cluster("new", 99));
    return leave_evidence(*cluster, 0);
  };
}
Scenario creation_beside_rotation() {
  auto scenario = rotation();
  scenario.name = "create a cluster while the root key is rotated";
  scenario.actors = {or_refused(scenario.actors[0]), or_refused(create_cluster())};
  scenario.check = [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
    Process process(world, raw);
    // What was cut off is done again; then the cluster is there for every secret.
    TRY(rotate_root({Secret::File, Secret::Recovery}, Secret::Recovery)(world, raw));
    TRY(create_cluster()(world, raw));
    return everything_opens(process, {Secret::File, Secret::Recovery}, after.settled ? 20 : 10, 3);
  };
  return scenario;
}
Scenario creation() {
  return {"create a cluster", prepare, {create_cluster()}, [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(create_cluster()(world, raw));
            return everything_opens(process, {Secret::File, Secret::Recovery}, after.settled ? 20 : 10, 3);
          }};
}

Scenario::Process remove_secret(Secret going, Secret with) {
  return [=](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, with));
    for (const auto& slot : TRY(repository->slots()))
      if (slot.provider == unlock(going).provider) TRY(repository->remove_slot(slot.name));
    return ok();
  };
}
Scenario removal() {
  return {"remove a slot", prepare, {remove_secret(Secret::Recovery, Secret::File)},
          [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(everything_opens(process, {Secret::File}, after.settled ? 20 : 10, 2));
            TRY(remove_secret(Secret::Recovery, Secret::File)(world, raw).context("removing again"));
            TRY(everything_opens(process, {Secret::File}, after.settled ? 40 : 30, 2));
            auto opened = open_with(process, Secret::Recovery);
            if (opened || opened.failure().code() != Errc::Key) return Error(Errc::Internal, "the removed secret still opens");
            return ok();
          }};
}
Scenario mutual_removal() {
  return {"two remove each other's slot", prepare,
          {or_refused(remove_secret(Secret::Recovery, Secret::File)), or_refused(remove_secret(Secret::File, Secret::Recovery))},
          [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            const auto opens = [&](Secret secret) { return open_with(process, secret).has_value(); };
            for (auto secret : {Secret::File, Secret::Recovery}) {
              if (!opens(secret)) continue;
              const auto whole = everything_opens(process, {secret}, after.settled ? 20 : 10, 2);
              // A removal that was on its way may have landed meanwhile: then it is the other secret's turn.
              if (whole || opens(secret)) return whole;
            }
            return Error(Errc::Key, "nobody can open the repository any more");
          }};
}

Scenario::Process add_secret(Role role) {
  return [role](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    if (open_with(process, Secret::Added)) return ok();
    auto repository = TRY(open_with(process, Secret::Recovery));
    auto cluster = TRY(repository->find_cluster("main", kSystemId));
    TRY(repository->add_slot(unlock(Secret::Added), role, "", cluster.get()));
    return ok();
  };
}
Scenario addition(Role role) {
  return {fmt::format("add a {} slot", role_name(role)), prepare, {add_secret(role)},
          [role](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(everything_opens(process, {Secret::File, Secret::Recovery}, after.settled ? 20 : 10, 2));
            TRY(add_secret(role)(world, raw).context("adding again"));
            auto repository = TRY(open_with(process, Secret::Added));
            for (const auto& cluster : TRY(repository->clusters()))
              TRY(cluster->log().append(cluster->actor(), EntryContent(AuditEntry{"sim", ""})).context("with the added key"));
            return ok();
          }};
}

Scenario::Process initialise() {
  return [](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto made = Repository::create(process.environment, slots_for({Secret::File, Secret::Recovery}));
    if (!made && made.failure().code() == Errc::Precondition && open_with(process, Secret::File)) return ok();
    if (!made) return std::move(made).failure();
    return ok();
  };
}
Scenario initialisation(std::size_t actors) {
  return {fmt::format("{} at init", actors), {}, std::vector<Scenario::Process>(actors, initialise()),
          [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(initialise()(world, raw).context("init again"));
            auto repository = TRY(open_with(process, Secret::File));
            auto cluster = TRY(repository->find_cluster("main", std::nullopt));
            if (!cluster) cluster = TRY(repository->create_cluster("main", kSystemId));
            TRY(leave_evidence(*cluster, 0));
            return everything_opens(process, {Secret::File, Secret::Recovery}, after.settled ? 20 : 10);
          }};
}

// ---------------------------------------------------------------- backups

Scenario::Process backup_process(std::string name) {
  return [name](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(repository->find_cluster("main", kSystemId));
    if (cluster->state().find(name) != nullptr) return ok();
    return back_up(*cluster, name, as_bytes("15\n"));
  };
}
Scenario backups_and_collection() {
  return {"back up and collect at once", prepare, {backup_process("first"), backup_process("second"), collection()},
          [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(listed_backups_are_whole(process));
            {
              auto repository = TRY(open_with(process, Secret::File));
              auto cluster = TRY(repository->find_cluster("main", kSystemId));
              for (std::size_t actor = 0; actor < 2; ++actor)
                if (after.finished[actor] && cluster->state().find(actor == 0 ? "first" : "second") == nullptr)
                  return Error(Errc::NotFound, "a backup that succeeded is not listed");
            }
            world.clock().sleep(std::chrono::hours(24 * 9));
            TRY(collection()(world, raw).context("collecting"));
            TRY(listed_backups_are_whole(process).context("after collection"));
            TRY(backup_process("later")(world, raw).context("the next backup"));
            return listed_backups_are_whole(process).context("after the next backup");
          }};
}

// ---------------------------------------------------------------- expire

std::string wal_file(std::uint64_t segment) {
  return postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(segment), *postgres::WalSegmentSize::of(kWalSegment));
}
Status push(Cluster& cluster, std::uint64_t first, std::uint64_t last) {
  for (auto segment = first; segment <= last; ++segment)
    TRY(evidence(cluster).put(wal_file(segment), WalContent::Segment, kWalSegment, Bytes(kWalSegment), {}));
  return ok();
}
Result<bool> has_wal(Cluster& cluster, std::uint64_t segment) {
  return TRY(evidence(cluster).info(wal_file(segment))).has_value();
}

/// As the command does, with the rule that the newest two backups stay, and a window that begins now.
Scenario::Process expiry() {
  return [](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(repository->find_cluster("main", kSystemId));
    const auto now = TRY(expire_time(*cluster));
    const auto goes = [&](const LogState& state) { return but_the_newest(2, state, now); };
    const auto going = goes(cluster->state());
    const WalIdentity identity = current_identity(cluster->state());
    WalArchive archive(*cluster, identity);
    const std::vector<policy::WalOfIdentity> wal = {{identity, TRY(load_wal_inventory(archive))}};
    TRY(forget(*cluster, {going.begin(), going.end()}, goes));
    TRY(raise_floors(*cluster, [&](const LogState& state) {
      std::map<SessionId, policy::WalBackup> backups;
      for (const auto& [id, snapshot] : state.snapshots()) backups[id] = {snapshot.committed, true};
      return policy::plan_floors(state, wal, backups, now);
    }));
    return ok();
  };
}
Status prepare_history(SimWorld& world, BlobStore& raw) {
  TRY(prepare(world, raw));
  Process process(world, raw);
  auto repository = TRY(open_with(process, Secret::File));
  auto cluster = TRY(repository->find_cluster("main", kSystemId));
  for (const auto& [name, segment] : {std::pair("a", 2u), std::pair("b", 4u), std::pair("c", 6u)}) {
    TRY(push(*cluster, segment - 1, segment));
    TRY(back_up(*cluster, name, as_bytes("15\n"), segment));
    world.clock().sleep(std::chrono::hours(24));
  }
  return push(*cluster, 7, 7);
}
/// A backup at `segment` with the WAL around it.
Scenario::Process backup_with_wal(std::string name, std::uint64_t segment) {
  return [name, segment](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(repository->find_cluster("main", kSystemId));
    if (cluster->state().find(name) == nullptr)
      TRY(back_up(*cluster, name, as_bytes("15\n"), segment, [&] { return push(*cluster, segment - 1, segment); }));
    TRY(push(*cluster, segment + 1, segment + 1));
    return confirm(raw, fmt::format("wal-to-{}", segment + 1));
  };
}
/// Every live backup has the segment that it needs; from the newest that was there before on all WAL is there.
Status wal_is_there(Process& process, BlobStore& raw, std::uint64_t window_from, std::uint64_t last) {
  auto repository = TRY(open_with(process, Secret::File));
  auto cluster = TRY(repository->find_cluster("main", kSystemId));
  for (const auto& [id, snapshot] : cluster->state().snapshots()) {
    const auto segment = snapshot.snap.start_lsn / kWalSegment;
    if (!TRY(has_wal(*cluster, segment))) return Error(Errc::NotFound, fmt::format("{} has lost segment {}", snapshot.snap.name, segment));
  }
  if (!TRY(raw.stat(fmt::format("confirmed/wal-to-{}", last)))) last = 7;
  for (auto segment = window_from; segment <= last; ++segment)
    if (!TRY(has_wal(*cluster, segment))) return Error(Errc::NotFound, fmt::format("segment {} of the window is lost", segment));
  return ok();
}
Scenario expiry_beside_backups() {
  return {"expire, collect and back up at once", prepare_history, {expiry(), backup_with_wal("d", 9), collection()},
          [](SimWorld& world, BlobStore& raw, const Aftermath& after) -> Status {
            Process process(world, raw);
            TRY(listed_backups_are_whole(process));
            TRY(wal_is_there(process, raw, after.finished[1] ? 9 : 6, 10));
            if (!after.settled) return ok();
            world.clock().sleep(std::chrono::hours(24 * 9));
            TRY(collection()(world, raw).context("collecting"));
            TRY(backup_with_wal("d", 9)(world, raw).context("the backup again"));
            TRY(expiry()(world, raw).context("expiring again"));
            TRY(collection()(world, raw).context("collecting again"));
            TRY(listed_backups_are_whole(process).context("after it"));
            TRY(wal_is_there(process, raw, 9, 10).context("after it"));
            auto repository = TRY(open_with(process, Secret::File));
            auto cluster = TRY(repository->find_cluster("main", kSystemId));
            if (cluster->state().snapshots().size() != 2 || cluster->state().find("d") == nullptr || cluster->state().find("c") == nullptr)
              return Error(Errc::Internal, "not the newest two have stayed");
            for (std::uint64_t segment : {1u, 2u, 3u, 4u, 5u, 7u, 8u})
              if (TRY(has_wal(*cluster, segment))) return Error(Errc::Internal, fmt::format("segment {} is still there", segment));
            const auto report = TRY(collect(*cluster));
            if (!report.remove.empty()) return Error(Errc::Internal, "a second collection finds " + report.remove.front().name);
            TRY(backup_with_wal("e", 12)(world, raw).context("the next backup"));
            return listed_backups_are_whole(process).context("after the next backup");
          }};
}

// ---------------------------------------------------------------- runs

struct Named {
  std::string name;
  Scenario (*make)();
  std::uint64_t stride;
  std::size_t seeds;
};
void PrintTo(const Named& named, std::ostream* out) { *out << named.name; }
struct RepositorySim : ::testing::TestWithParam<Named> {};

TEST_P(RepositorySim, SurvivesThePowerCutEverywhere) { expect_survives_cuts(GetParam().make(), GetParam().stride); }
TEST_P(RepositorySim, SurvivesBadDays) { expect_survives_days(GetParam().make(), GetParam().seeds); }

INSTANTIATE_TEST_SUITE_P(
    Repository, RepositorySim,
    ::testing::Values(Named{"Rotation", rotation, 13, 6}, Named{"TwoRotations", two_rotations, 61, 6},
                      Named{"RootAndData", both_rotations, 31, 6}, Named{"TwoDataRotations", two_data_rotations, 11, 10},
                      Named{"CreationBesideRotation", creation_beside_rotation, 41, 6}, Named{"Creation", creation, 5, 10},
                      Named{"Removal", removal, 3, 10}, Named{"MutualRemoval", mutual_removal, 5, 10},
                      Named{"RootAdded", +[] { return addition(Role::Root); }, 3, 10},
                      Named{"HostAdded", +[] { return addition(Role::Host); }, 3, 10},
                      Named{"MaintenanceAdded", +[] { return addition(Role::Maintenance); }, 3, 10},
                      Named{"Init", +[] { return initialisation(1); }, 1, 10}, Named{"TwoAtInit", +[] { return initialisation(2); }, 1, 10},
                      Named{"Backups", backups_and_collection, 19, 15},
                      Named{"Expiry", expiry_beside_backups, 7, 15}),
    [](const auto& named) { return named.param.name; });

}  // namespace
}  // namespace pgmint::sim
