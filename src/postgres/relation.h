// What PostgreSQL calls its files: relations, forks and segment files.
// Source: src/include/storage/relfilelocator.h, src/common/relpath.c, src/backend/storage/file/reinit.c, 13 to 18
// alike.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/strong.h"

namespace pgmint::postgres {

using Oid = Strong<std::uint32_t, struct OidTag>;
using BlockNumber = std::uint32_t;

inline constexpr Oid kDefaultTablespace{1663};  ///< base/
inline constexpr Oid kGlobalTablespace{1664};   ///< global/, with database 0

enum class Fork : std::uint8_t { Main = 0, FreeSpaceMap = 1, VisibilityMap = 2, Init = 3 };

/// Which relation's storage, on disk and in WAL.
struct RelationLocator {
  Oid tablespace;
  Oid database;  ///< zero for shared relations
  Oid relation;  ///< the relfilenode; zero stands for every relation of the database where a contract says so
  auto operator<=>(const RelationLocator&) const = default;
};

struct RelationFork {
  RelationLocator locator;
  Fork fork = Fork::Main;
  auto operator<=>(const RelationFork&) const = default;
};

/// "16384", "16384_vm.3", "t4_16384": what the name of a file in a database's directory says.
struct RelationFileName {
  Oid relation;
  Fork fork = Fork::Main;
  std::uint32_t segment = 0;
  bool temporary = false;
  bool operator==(const RelationFileName&) const = default;
};

/// nullopt for every other name. Pure.
std::optional<RelationFileName> parse_relation_file_name(std::string_view name);

/// One segment file: blocks segment * relseg_size and up of a fork.
struct RelationSegment {
  RelationLocator locator;
  Fork fork = Fork::Main;
  std::uint32_t segment = 0;
  auto operator<=>(const RelationSegment&) const = default;
};

}  // namespace pgmint::postgres
