// ICU as a server program would load it, asked for the version of its collations without running a server.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace pgmint::restore {

/// What pg_collation_actual_version() of ICU's root collation would say there: "153.120". Empty: that program has no ICU. nullopt: not known.
std::optional<std::string> icu_version_of(const fs::path& postgres);

/// Of what the dynamic loader prints with LD_TRACE_LOADED_OBJECTS: ICU's libraries, each behind those that it needs.
struct IcuLibraries {
  std::vector<std::string> paths;  ///< the last is the one with the collations; empty: no ICU is loaded
  std::string suffix;              ///< of its functions' names: "_72"
};
/// nullopt: a library of ICU was not found, or the text is no such answer.
std::optional<IcuLibraries> icu_libraries(std::string_view traced);

}  // namespace pgmint::restore
