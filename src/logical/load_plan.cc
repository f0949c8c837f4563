#include "logical/load_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>

namespace pgmint::logical {
namespace {

constexpr std::array kStageNames{"high", "medium", "rest"};
constexpr std::size_t kRest = 2;
constexpr std::int64_t kLargeObjects = std::numeric_limits<std::int64_t>::min();  ///< below any id, which has 32 bits in an archive and may be negative in a forged one

/// '*' for any characters; everything else for itself.
bool fits(std::string_view text, std::string_view pattern) {
  const auto star = pattern.find('*');
  if (star == std::string_view::npos) return text == pattern;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  text.remove_prefix(star);
  pattern.remove_prefix(star + 1);
  for (std::size_t skip = 0; skip <= text.size(); ++skip)
    if (fits(text.substr(skip), pattern)) return true;
  return false;
}

bool is_table(const DumpEntry& entry) {
  return entry.kind == "TABLE" || entry.kind == "FOREIGN TABLE" || entry.kind == "MATERIALIZED VIEW";
}

/// Of the database itself, which is made before.
bool is_of_database(const DumpEntry& entry) { return entry.kind.starts_with("DATABASE") || (entry.kind == "COMMENT" && entry.name.starts_with("DATABASE ")); }

bool is_independent_index(const DumpEntry& entry) { return entry.kind == "INDEX" || entry.kind == "CONSTRAINT"; }

class Planner {
 public:
  Planner(const DumpContents& contents, const LoadChoice& choice, unsigned jobs) : contents_(contents), choice_(choice), jobs_(std::max(1U, jobs)) {
    for (const auto& entry : contents.entries) by_id_.emplace(entry.id, &entry);
    for (const auto& entry : contents.entries)
      if (is_table(entry)) stage_of_table_.emplace(entry.id, stage_of(entry));
    group_data();
  }

  Result<LoadPlan> plan() {
    TRY(check_patterns());
    std::array<LoadStage, 3> stages;
    std::array<std::vector<const DumpEntry*>, 3> data, indexes;
    LoadPlan plan;
    for (const auto& entry : contents_.entries) {
      if (is_of_database(entry) || !chosen(entry)) continue;
      if (entry.section == DumpSection::PreData) {
        if (!choice_.data_only) plan.schema.entries.push_back(&entry);
      } else if (entry.section == DumpSection::Data) {
        if (choice_.schema_only) continue;
        // Sequences have no data of their own: they go on from their value as soon as anything does.
        const auto stage = entry.kind == "TABLE DATA" ? stage_of(entry) : entry.kind == "SEQUENCE SET" ? first_stage() : kRest;
        data[stage].push_back(&entry);
        if (entry.kind == "TABLE DATA") stages[stage].tables.push_back(&entry);
      } else if (!choice_.data_only) {
        const auto stage = latest_need(entry);
        if (is_independent_index(entry)) indexes[stage].push_back(&entry);
        else stages[stage].last.entries.push_back(&entry);
      }
    }
    for (std::size_t i = 0; i < stages.size(); ++i) {
      stages[i].name = kStageNames[i];
      stages[i].data = shared_out(data[i], [&](const DumpEntry& entry) { return data_group(entry.id); });
      stages[i].indexes = shared_out(indexes[i], [&](const DumpEntry& entry) { return table_of(entry); });
      if (!stages[i].data.empty() || !stages[i].indexes.empty() || !stages[i].last.entries.empty()) plan.stages.push_back(std::move(stages[i]));
    }
    return plan;
  }

 private:
  bool in_choice(std::string_view schema, std::string_view table) const {
    const bool schema_fits = choice_.schemas.empty() || std::ranges::any_of(choice_.schemas, [&](const auto& pattern) { return fits(schema, pattern); });
    const bool table_fits = choice_.tables.empty() || std::ranges::any_of(choice_.tables, [&](const auto& pattern) { return matches_pattern(schema, table, pattern); });
    return schema_fits && table_fits;
  }

  /// With tables or schemas named, only what belongs to them.
  bool chosen(const DumpEntry& entry) {
    if (choice_.tables.empty() && choice_.schemas.empty()) return true;
    const auto [known, added] = chosen_.try_emplace(entry.id, false);
    if (!added) return known->second;
    bool is_chosen = false;
    if (entry.kind == "SCHEMA") {
      is_chosen = choice_.tables.empty() && std::ranges::any_of(choice_.schemas, [&](const auto& pattern) { return fits(entry.name, pattern); });
    } else if (is_table(entry) || entry.kind == "TABLE DATA" || entry.kind == "VIEW") {
      is_chosen = in_choice(entry.schema, entry.name);
    } else if (choice_.tables.empty() && !entry.schema.empty()) {
      is_chosen = in_choice(entry.schema, entry.name);
    } else if (entry.section != DumpSection::PreData || entry.kind == "SEQUENCE" || entry.kind == "DEFAULT" || entry.kind == "SEQUENCE OWNED BY" || entry.kind == "TABLE ATTACH") {
      is_chosen = !entry.needs.empty() && std::ranges::all_of(entry.needs, [&](const auto id) {
        const auto need = by_id_.find(id);
        return need == by_id_.end() || need->second->kind == "SCHEMA" || chosen(*need->second);
      });
    } else if (entry.kind == "SEQUENCE") {
      is_chosen = false;
    }
    chosen_[entry.id] = is_chosen;
    return is_chosen;
  }

  Status check_patterns() const {
    const auto is_any = [&](const auto& predicate) { return std::ranges::any_of(contents_.entries, predicate); };
    for (const auto& pattern : choice_.tables)
      if (!is_any([&](const DumpEntry& e) { return (is_table(e) || e.kind == "VIEW") && matches_pattern(e.schema, e.name, pattern); }))
        return Error(Errc::NotFound, fmt::format("the backup has no table {}", pattern), Hint{"pgmint show BACKUP lists the tables"});
    for (const auto& pattern : choice_.schemas)
      if (!is_any([&](const DumpEntry& e) { return fits(e.schema, pattern); }))
        return Error(Errc::NotFound, fmt::format("the backup has no schema {}", pattern), Hint{"pgmint show BACKUP lists the tables"});
    return ok();
  }

  std::size_t stage_of(const DumpEntry& table) const {
    const auto in = [&](const std::vector<std::string>& patterns) {
      return std::ranges::any_of(patterns, [&](const auto& pattern) { return matches_pattern(table.schema, table.name, pattern); });
    };
    return in(choice_.high) ? 0 : in(choice_.medium) ? 1 : kRest;
  }
  std::size_t first_stage() const {
    std::size_t first = kRest;
    for (const auto& [table, stage] : stage_of_table_) first = std::min(first, stage);
    return first;
  }

  /// The last stage of the tables that it needs, directly or not; what needs none comes last.
  std::size_t latest_need(const DumpEntry& entry) {
    std::set<std::int64_t> seen;
    std::optional<std::size_t> latest;
    std::vector<std::int64_t> ids = entry.needs;
    while (!ids.empty()) {
      const auto id = ids.back();
      ids.pop_back();
      if (!seen.insert(id).second) continue;
      if (const auto table = stage_of_table_.find(id); table != stage_of_table_.end()) latest = std::max(latest.value_or(0), table->second);
      // Through indexes and views to their tables.
      if (const auto need = by_id_.find(id); need != by_id_.end()) ids.insert(ids.end(), need->second->needs.begin(), need->second->needs.end());
    }
    return latest.value_or(kRest);
  }

  std::int64_t table_of(const DumpEntry& entry) const {
    for (const auto id : entry.needs)
      if (const auto need = by_id_.find(id); need != by_id_.end() && is_table(*need->second)) return id;
    return entry.id;
  }

  /// Data that needs other data is loaded behind it, in one task: from PostgreSQL 17 on what makes large objects is data (BLOB METADATA), and so is what fills them.
  void group_data() {
    for (const auto& entry : contents_.entries) {
      if (entry.section != DumpSection::Data) continue;
      if (entry.kind.starts_with("BLOB")) group_[data_group(entry.id)] = kLargeObjects;
      for (const auto id : entry.needs)
        if (const auto need = by_id_.find(id); need != by_id_.end() && need->second->section == DumpSection::Data)
          if (const auto ours = data_group(entry.id), its = data_group(id); ours != its) group_[std::max(ours, its)] = std::min(ours, its);
    }
  }
  /// Links lead to lower ids only: to the one that stands for the group.
  std::int64_t data_group(std::int64_t id) const {
    for (auto next = group_.find(id); next != group_.end() && next->second != id; next = group_.find(id)) id = next->second;
    return id;
  }

  /// As many tasks as may run at once, the largest groups first to the task that has least to do; a group stays together.
  template <class GroupOf>
  std::vector<LoadTask> shared_out(const std::vector<const DumpEntry*>& entries, const GroupOf& group_of) const {
    std::map<std::int64_t, LoadTask> groups;
    std::map<std::int64_t, std::uint64_t> weights;
    for (const auto* entry : entries) {
      const auto group = group_of(*entry);
      groups[group].entries.push_back(entry);
      // An index takes about as long as its table is large.
      const auto table = std::ranges::find_if(contents_.entries, [&](const DumpEntry& e) { return e.kind == "TABLE DATA" && !e.needs.empty() && e.needs.front() == group; });
      weights[group] += 1 + entry->length + (table == contents_.entries.end() ? 0 : table->length);
    }
    std::vector<std::pair<std::uint64_t, LoadTask*>> order;
    for (auto& [group, task] : groups) order.emplace_back(weights[group], &task);
    std::ranges::stable_sort(order, std::greater(), [](const auto& one) { return one.first; });
    std::vector<LoadTask> tasks(std::min<std::size_t>(jobs_, groups.size()));
    std::vector<std::uint64_t> loads(tasks.size());
    for (const auto& [weight, group] : order) {
      const auto least = static_cast<std::size_t>(std::ranges::min_element(loads) - loads.begin());
      loads[least] += weight;
      tasks[least].entries.insert(tasks[least].entries.end(), group->entries.begin(), group->entries.end());
    }
    // pg_restore reads its input once, from front to end: pointers into one vector order as it does.
    for (auto& task : tasks) std::ranges::sort(task.entries);
    return tasks;
  }

  const DumpContents& contents_;
  const LoadChoice& choice_;
  unsigned jobs_;
  std::map<std::int64_t, const DumpEntry*> by_id_;
  std::map<std::int64_t, std::size_t> stage_of_table_;  ///< by the id of the TABLE
  std::map<std::int64_t, bool> chosen_;
  std::map<std::int64_t, std::int64_t> group_;          ///< of data
};

}  // namespace

std::uint64_t LoadTask::length() const {
  std::uint64_t length = 0;
  for (const auto* entry : entries) length += entry->length;
  return length;
}

bool matches_pattern(std::string_view schema, std::string_view table, const std::string& pattern) {
  if (fits(table, pattern)) return true;
  return pattern.find('.') != std::string::npos && fits(fmt::format("{}.{}", schema, table), pattern);
}

Result<LoadPlan> plan_load(const DumpContents& contents, const LoadChoice& choice, unsigned jobs) { return Planner(contents, choice, jobs).plan(); }

}  // namespace pgmint::logical
