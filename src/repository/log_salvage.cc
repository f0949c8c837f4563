// Reading a damaged log as far as it goes, for `repair --rebuild-log`.
#include "repository/log.h"

#include <fmt/format.h>

namespace pgmint::repository {

Result<LogEntry> Log::read_loose(ByteView object, const LogSlot& slot, const std::set<crypto::PublicKey>& actors) {
  auto entry = TRY(parse_entry(object, d_.context, d_.maintenance_key, slot.generation, slot.seq));
  if (!actors.contains(entry.actor)) return Error(Errc::Precondition, "the actor is not enrolled");
  return entry;
}

Result<Log::Salvage> Log::salvage() {
  // Damage of what was seen before is what this is for.
  seen_.reset();
  opened_ = false;
  Salvage salvage{TRY(survey()).state, {}, {}, {}};
  const auto& state = salvage.state;

  std::vector<LogSlot> behind;
  TRY(d_.store.list(log_prefix(d_.context.cluster), "", [&](const storage::BlobInfo& info) -> Status {
    const auto slot = parse_log_entry_name(info.name);
    if (!slot || slot->seq >= end_of(slot->generation)) return ok();
    ++salvage.objects[slot->generation];
    if (slot->generation == state.generation() && slot->seq >= state.next_seq()) behind.push_back(*slot);
    return ok();
  }));

  salvage.last_object = state.head();
  auto actors = state.has_genesis() ? std::set<crypto::PublicKey>{} : std::set{d_.format_root};
  for (const auto& [key, enrolment] : state.actors()) actors.insert(key);
  for (const auto& slot : behind) {
    auto object = read_slot(slot.generation, slot.seq);
    if (!object && object.failure().code() != Errc::Corruption) return std::move(object).failure();
    if (!object || !*object) continue;
    salvage.last_object = crypto::sha256(**object);
    auto entry = read_loose(**object, slot, actors);
    if (!entry) continue;
    if (const auto* enrol = std::get_if<EnrolEntry>(&entry->content)) actors.insert(enrol->key);
    if (const auto* revoke = std::get_if<RevokeEntry>(&entry->content)) actors.erase(revoke->key);
    salvage.later.push_back(std::move(*entry));
  }
  return salvage;
}

}  // namespace pgmint::repository
