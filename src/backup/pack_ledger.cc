#include "backup/pack_ledger.h"

#include <algorithm>

#include "repository/pack.h"

namespace pgmint::backup {

using repository::PackUse;
using repository::RecordLocation;
using repository::SegmentMap;

PackLedger::PackLedger(PackUse parent) {
  state_.with([&](State& state) { state.use = std::move(parent); });
}

void PackLedger::stored(const RecordLocation& where, const SegmentMap& map) {
  state_.with([&](State& state) {
    state.use.add(where);
    state.use.add(map);
  });
}

void PackLedger::dropped(const RecordLocation& where, const SegmentMap& map) {
  state_.with([&](State& state) {
    if (!state.dropped.insert(place_of(where)).second) return;
    state.use.remove(where);
    state.use.remove(map);
  });
}

Result<PackUse> PackLedger::settle(const ParentFiles* parent, const std::vector<RecordLocation>& bundles,
                                   const std::vector<RecordLocation>& maps, const std::vector<RecordLocation>& nodes,
                                   const std::function<Result<SegmentMap>(const RecordLocation&)>& read_map) {
  using Records = std::map<Place, RecordLocation>;
  const auto by_place = [](const std::vector<RecordLocation>& records) {
    Records sorted;
    for (const auto& record : records) sorted.emplace(place_of(record), record);
    return sorted;
  };
  Records old_bundles, old_maps, old_nodes;
  if (parent != nullptr) {
    for (const auto& entry : parent->entries) {
      if (const auto* member = std::get_if<repository::BundleMember>(&entry.content))
        old_bundles.emplace(place_of(member->bundle), member->bundle);
      if (const auto* map = std::get_if<RecordLocation>(&entry.content)) old_maps.emplace(place_of(*map), *map);
    }
    for (const auto& [digest, node] : parent->nodes) old_nodes.emplace(place_of(node), node);
  }

  const auto new_maps = by_place(maps);
  for (const auto& [place, map] : old_maps) {
    if (new_maps.contains(place)) continue;
    if (state_.with([&](State& state) { return state.dropped.contains(place); })) continue;
    auto content = read_map(map);
    if (content) {
      dropped(map, *content);
    } else if (!repository::is_damage(content.failure())) {
      return std::move(content).failure();
    }  // else what it referred to counts as in use: no pack goes because of what cannot be read
  }
  auto use = state_.with([](State& state) { return state.use; });
  const auto exchange = [&](const Records& before, const Records& now) {
    for (const auto& [place, record] : before)
      if (!now.contains(place)) use.remove(record);
    for (const auto& [place, record] : now)
      if (!before.contains(place)) use.add(record);
  };
  exchange(old_bundles, by_place(bundles));
  exchange(old_nodes, by_place(nodes));
  return use;
}

}  // namespace pgmint::backup
