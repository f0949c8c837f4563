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
  // Each record once, by place: of the lists, which live on, since a set of a million locations takes 130 MB.
  using Records = std::vector<const RecordLocation*>;
  const auto place = [](const RecordLocation* record) { return place_of(*record); };
  const auto once = [&](Records records) {
    std::ranges::sort(records, {}, place);
    const auto same = std::ranges::unique(records, {}, place);
    records.erase(same.begin(), same.end());
    return records;
  };
  const auto all_of = [&](const std::vector<RecordLocation>& list) {
    Records records;
    for (const auto& record : list) records.push_back(&record);
    return once(std::move(records));
  };
  const auto has = [&](const Records& records, const RecordLocation* record) { return std::ranges::binary_search(records, place_of(*record), {}, place); };
  Records old_bundles, old_maps, old_nodes;
  if (parent != nullptr) {
    for (const auto& entry : parent->entries) {
      const auto* bundle = entry.content.bundle();
      if (bundle != nullptr && (old_bundles.empty() || old_bundles.back() != bundle)) old_bundles.push_back(bundle);
      if (const auto* map = entry.content.map()) old_maps.push_back(map);
    }
    for (const auto& [digest, node] : parent->nodes) old_nodes.push_back(&node);
  }
  old_bundles = once(std::move(old_bundles));
  old_maps = once(std::move(old_maps));
  old_nodes = once(std::move(old_nodes));

  const auto new_maps = all_of(maps);
  for (const auto* map : old_maps) {
    if (has(new_maps, map)) continue;
    if (state_.with([&](State& state) { return state.dropped.contains(place_of(*map)); })) continue;
    auto content = read_map(*map);
    if (content) {
      dropped(*map, *content);
    } else if (!repository::is_damage(content.failure())) {
      return std::move(content).failure();
    }  // else what it referred to counts as in use: no pack goes because of what cannot be read
  }
  auto use = state_.with([](State& state) { return state.use; });
  const auto exchange = [&](const Records& before, const Records& now) {
    for (const auto* record : before)
      if (!has(now, record)) use.remove(*record);
    for (const auto* record : now)
      if (!has(before, record)) use.add(*record);
  };
  exchange(old_bundles, all_of(bundles));
  exchange(old_nodes, all_of(nodes));
  return use;
}

}  // namespace pgmint::backup
