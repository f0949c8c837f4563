#include "postgres/path_classes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

using Kind = Place::Kind;

// Contents that a start removes, or that belong to this server alone (basebackup.c, excludeDirContents; pg_wal apart).
constexpr std::array<std::string_view, 8> kEmptied{"pg_dynshmem",  "pg_notify",   "pg_replslot", "pg_serial",
                                                   "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_wal"};
constexpr std::array<std::string_view, 2> kSlruAtRoot{"pg_commit_ts", "pg_xact"};
constexpr std::array<std::string_view, 5> kServerAtRoot{"pg_logical", "pg_multixact", "pg_stat", "pg_twophase",
                                                        "pg_tblspc"};
constexpr std::array<std::string_view, 10> kExcludedAtRoot{
    "postmaster.pid",     "postmaster.opts", "backup_label",        "backup_label.old",         "tablespace_map",
    "tablespace_map.old", "backup_manifest", "backup_manifest.tmp", "postgresql.auto.conf.tmp", "current_logfiles.tmp"};
constexpr std::array<std::string_view, 5> kRequiredAtRoot{"PG_VERSION", "postgresql.auto.conf", "postgresql.conf",
                                                          "pg_hba.conf", "pg_ident.conf"};

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<Oid> parse_oid(std::string_view name) {
  if (name.empty() || name[0] == '0') return std::nullopt;
  auto value = parse_number<std::uint32_t>(name, 10);
  if (!value) return std::nullopt;
  return Oid(*value);
}

bool is_slru_segment(std::string_view name) {
  return name.size() >= 4 && name.size() <= 15 &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); });
}

/// Splits off the part before the first '/'.
std::string_view take_component(std::string_view& path) {
  auto end = path.find('/');
  auto name = path.substr(0, end);
  path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
  return name;
}

}  // namespace

Place enter(const Place& parent, std::string_view name) {
  switch (parent.kind) {
    case Kind::Root:
      if (name == "base") return {Kind::Base, kDefaultTablespace, Oid(0)};
      if (name == "global") return {Kind::Global, kGlobalTablespace, Oid(0)};
      if (name == "pg_tblspc") return {Kind::TablespaceLinks, {}, {}};
      if (is_one_of(kEmptied, name)) return {Kind::Emptied, {}, {}};
      if (is_one_of(kSlruAtRoot, name)) return {Kind::Slru, {}, {}};
      if (is_one_of(kServerAtRoot, name)) return {Kind::Server, {}, {}};
      return {};
    case Kind::Base:
    case Kind::TablespaceVersion:
      if (auto oid = parse_oid(name)) return {Kind::Database, parent.tablespace, *oid};
      return {};
    case Kind::TablespaceLinks:
      if (auto oid = parse_oid(name)) return {Kind::Tablespace, *oid, {}};
      return {};
    case Kind::Tablespace:
      if (name.starts_with("PG_")) return {Kind::TablespaceVersion, parent.tablespace, {}};
      return {};
    case Kind::Emptied:
      return parent;
    case Kind::Server:
      return {name == "members" || name == "offsets" ? Kind::Slru : Kind::Server, {}, {}};
    case Kind::Global:
    case Kind::Database:
    case Kind::Slru:
    case Kind::Foreign:
      return {};
  }
  return {};
}

NameClass classify_name(const Place& place, std::string_view name) {
  NameClass result;
  // Sort and hash files, and the relation cache, at any depth: all are made anew.
  if (name.starts_with("pgsql_tmp") || name.starts_with("pg_internal.init")) result.excluded = true;
  switch (place.kind) {
    case Kind::Root:
      if (is_one_of(kExcludedAtRoot, name) || name.starts_with(".s.PGSQL.")) result.excluded = true;
      if (is_one_of(kRequiredAtRoot, name)) result.kind = EntryKind::Required;
      break;
    case Kind::Global:
    case Kind::Database:
      if (auto file = parse_relation_file_name(name)) {
        if (file->temporary) result.excluded = true;
        result.kind = EntryKind::RelationSegment;
        result.relation =
            RelationSegment{{place.tablespace, place.database, file->relation}, file->fork, file->segment};
      } else if (name == "pg_filenode.map" || (name == "PG_VERSION" && place.kind == Kind::Database)) {
        result.kind = EntryKind::Required;
      } else if (name == "pg_control" && place.kind == Kind::Global) {
        result.kind = EntryKind::ControlFile;
      }
      break;
    case Kind::Slru:
      if (is_slru_segment(name)) result.kind = EntryKind::Slru;
      break;
    case Kind::Emptied:
      result.excluded = true;
      break;
    case Kind::Base:
    case Kind::TablespaceLinks:
    case Kind::Tablespace:
    case Kind::TablespaceVersion:
    case Kind::Server:
    case Kind::Foreign:
      break;
  }
  return result;
}

bool kept_in_wal_directory(std::string_view name) {
  return name == "archive_status" || name == "summaries";
}

bool holds_server_data(const Place& place, std::string_view name) {
  switch (place.kind) {
    case Kind::Root: {
      auto kind = enter(place, name).kind;
      return kind != Kind::Foreign;
    }
    case Kind::Base:
    case Kind::Global:
    case Kind::Database:
    case Kind::TablespaceVersion:
    case Kind::Slru:
    case Kind::Server:
      return true;
    case Kind::Tablespace:
      return name.starts_with("PG_");
    case Kind::TablespaceLinks:
    case Kind::Emptied:
    case Kind::Foreign:
      return false;
  }
  return false;
}

namespace {

struct Located {
  Place place;
  std::string_view name;
  bool excluded = false;
};

/// Walks down `path`; the place is that of its last component.
Located locate(std::string_view path) {
  Located at{{Kind::Root, {}, {}}, {}, false};
  bool in_wal = false;
  for (;;) {
    at.name = take_component(path);
    bool kept = at.place.kind == Kind::Emptied && in_wal && kept_in_wal_directory(at.name) && path.empty();
    if (!kept && classify_name(at.place, at.name).excluded) at.excluded = true;
    if (path.empty()) return at;
    in_wal = at.place.kind == Kind::Root && at.name == "pg_wal";
    at.place = enter(at.place, at.name);
  }
}

}  // namespace

std::optional<EntryKind> classify_path(std::string_view path) {
  if (path.empty()) return EntryKind::Directory;
  Located at = locate(path);
  if (at.excluded) return std::nullopt;
  if (at.place.kind == Kind::Emptied) return EntryKind::Directory;  // pg_wal/archive_status
  return classify_name(at.place, at.name).kind;
}

std::optional<RelationSegment> relation_of_path(std::string_view path) {
  Located at = locate(path);
  if (at.excluded) return std::nullopt;
  return classify_name(at.place, at.name).relation;
}

std::optional<std::string> database_directory_of(std::string_view path) {
  Place place{Kind::Root, {}, {}};
  std::string_view rest = path;
  while (!rest.empty()) {
    place = enter(place, take_component(rest));
    if (place.kind != Kind::Database) continue;
    auto length = path.size() - rest.size();
    if (!rest.empty()) --length;  // the slash
    return std::string(path.substr(0, length));
  }
  return std::nullopt;
}

Vanishing vanishing_rule(const DirectoryEntry& entry) {
  switch (entry.kind) {
    case EntryKind::RelationSegment:
    case EntryKind::Slru:
      return Vanishing::Tolerated;
    case EntryKind::Directory:
      return database_directory_of(entry.path) ? Vanishing::Tolerated : Vanishing::Noted;
    case EntryKind::ControlFile:
    case EntryKind::Required:
      return Vanishing::Refused;
    case EntryKind::Symlink:
    case EntryKind::TablespaceLink:
    case EntryKind::Other:
      return Vanishing::Noted;
  }
  return Vanishing::Refused;
}

std::string tablespace_version_directory(const VersionEntry& version) {
  return fmt::format("PG_{}_{}", version.major, version.catalog_version);
}

}  // namespace pgmint::postgres
