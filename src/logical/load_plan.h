// In which order a dump is loaded: the schema, then what the service cannot do without, then the rest. Pure.
#pragma once

#include <string>
#include <vector>

#include "logical/archive_scanner.h"

namespace pgmint::logical {

/// What to load. Patterns are a table's name or schema.name; '*' stands for any characters.
struct LoadChoice {
  std::vector<std::string> tables{};   ///< none: everything
  std::vector<std::string> schemas{};  ///< none: all
  std::vector<std::string> high{}, medium{};
  bool schema_only = false, data_only = false;
};

/// Entries that one run of pg_restore is given, in the archive's order.
struct LoadTask {
  std::vector<const DumpEntry*> entries;
  std::uint64_t length() const;  ///< of their data
};

/// One class of tables: their data, then what is built on it.
struct LoadStage {
  std::string name;                        ///< "high", "medium", "rest"
  std::vector<const DumpEntry*> tables;    ///< TABLE DATA
  std::vector<LoadTask> data;              ///< may run at once
  std::vector<LoadTask> indexes;           ///< then these, at once
  LoadTask last;                           ///< then these: foreign keys, triggers, grants
};

struct LoadPlan {
  LoadTask schema;                 ///< first
  std::vector<LoadStage> stages;   ///< in their order; those without anything to do are not there
};

bool matches_pattern(std::string_view schema, std::string_view table, const std::string& pattern);

/// Every entry of the archive that is chosen stands in exactly one task. An entry comes no sooner than what it needs, and an entry that
/// needs tables of several classes with the last of these.
/// @param jobs  how many tasks of a stage may run at once
/// @errors NotFound: a pattern of `tables` or `schemas` that fits nothing
Result<LoadPlan> plan_load(const DumpContents& contents, const LoadChoice& choice, unsigned jobs);

}  // namespace pgmint::logical
