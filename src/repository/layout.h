// Object names. Format: docs/format/README.md, "Names".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "repository/ids.h"
#include "storage/split_store.h"

namespace pgmint::repository {

inline constexpr std::string_view kFormatName = "format";
inline constexpr std::string_view kKeysPrefix = "keys/";
inline constexpr std::string_view kClustersPrefix = "c/";
inline constexpr std::string_view kMarksPrefix = "mirror/mark/";

std::string slot_name(std::string_view slot);
std::string cluster_prefix(const ClusterId& cluster);  ///< "c/<cluster>/"
std::string keyring_name(const ClusterId& cluster, Epoch epoch);
std::string log_prefix(const ClusterId& cluster);  ///< ".../log/"
std::string log_entry_name(const ClusterId& cluster, std::uint32_t generation, std::uint64_t seq);
/// Stands in the log's folder of a mirror, and of what was one: whoever lists the log learns of it. docs/format/mirror.md
std::string mirror_sign_name(const ClusterId& cluster);
std::string manifests_prefix(const ClusterId& cluster);  ///< ".../snap/"
std::string manifest_name(const ClusterId& cluster, const SessionId& session);
std::string packs_prefix(const ClusterId& cluster);
std::string pack_name(const ClusterId& cluster, const PackId& pack);
std::string wal_prefix(const ClusterId& cluster);
std::string wal_directory(const ClusterId& cluster, std::uint64_t system_id, Incarnation incarnation, std::uint32_t timeline);
/// `file_name` is PostgreSQL's; its first eight digits are the timeline.
std::string wal_name(const ClusterId& cluster, std::uint64_t system_id, Incarnation incarnation, std::string_view file_name);

/// Log entries, manifests and key rings: read by nearly every command, small, and never anything else under their name.
bool is_small_and_final(const std::string& name);
/// The root of a backup's manifest.
bool is_manifest(const std::string& name);

/// What a repository whose log lives in a store of its own keeps where: the log there, `format` and key rings in both, all else in the first.
/// Format: docs/format/README.md, "Log apart".
storage::SideRule log_apart_rule();

/// A file of WAL.
bool is_wal(const std::string& name);

std::string mirror_mark_name(std::uint64_t number);
std::string mirror_absences_prefix(const ClusterId& cluster);  ///< "mirror/absent/<cluster>/"

/// The inverse of mirror_mark_name; nullopt for anything else.
std::optional<std::uint64_t> parse_mirror_mark_name(std::string_view name);
/// The inverse of pack_name, of a full object name; nullopt for anything else.
std::optional<PackId> parse_pack_name(std::string_view name);
/// Generation and sequence number from a full object name.
struct LogSlot {
  std::uint32_t generation;
  std::uint64_t seq;
};
std::optional<LogSlot> parse_log_entry_name(std::string_view name);

}  // namespace pgmint::repository
