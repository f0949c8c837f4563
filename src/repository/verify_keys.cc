#include "repository/verify_keys.h"

#include <fmt/format.h>

#include "repository/layout.h"

namespace pgmint::repository {
namespace {

constexpr std::uint64_t kRingMax = 1 << 20;

}  // namespace

Status verify_keys(Cluster& cluster, std::vector<Finding>& findings) {
  const auto found = [&](Finding::Severity severity, std::string object, std::string problem) {
    findings.push_back({severity, std::move(object), std::move(problem), {}});
  };
  using enum Finding::Severity;
  auto& repository = cluster.repository();
  auto& store = cluster.store();
  const auto& id = repository.format().repository;
  auto noted = TRY(noted_keys(cluster.log()));
  std::vector<std::string> foreign;
  for (const auto& slot : TRY(read_slots(store, id, &foreign))) {
    const auto name = slot_name(slot.info.name);
    noted.slots.erase(slot.info.name);
    if (noted.removed_slots.contains(slot.info.name))
      found(Warning, name, fmt::format("the removal of this key slot was cut off: pgmint key remove {}", slot.info.name));
    if (slot.object.empty()) found(Damage, name, slot.info.note);
    else if (!slot_is_authentic(slot.object, repository.bundle().repository_mac_key))
      found(Damage, name, "the key slot is damaged, or somebody without the key wrote it");
  }
  for (const auto& name : foreign)
    if (!noted.slots.contains(name.substr(kKeysPrefix.size())))
      found(Warning, name, "the key slot is of another repository: an init that was cut off left it");
  for (const auto& slot : noted.slots) found(Damage, slot_name(slot), "the key slot is missing: its secret opens nothing any more");
  for (auto epoch : noted.rings) {
    const auto name = keyring_name(cluster.id(), Epoch(epoch));
    auto object = TRY(store.read(name, kRingMax));
    if (!object) {
      found(Damage, name, "the key ring is missing");
      continue;
    }
    auto opened = open_keyring(*object, id, cluster.id(), Epoch(epoch), repository.bundle());
    if (!opened && is_damage(opened.failure())) found(Damage, name, opened.failure().describe());
  }
  return ok();
}

}  // namespace pgmint::repository
