#include "repository/layout.h"

#include <fmt/format.h>

#include <charconv>

namespace pgmint::repository {
namespace {

template <class T>
std::optional<T> parse_fixed_hex(std::string_view text, std::size_t digits) {
  if (text.size() != digits) return std::nullopt;
  for (char c : text)
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return std::nullopt;
  T value{};
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// The part after "c/<32 digits>/", or nullopt.
std::optional<std::string_view> inside_cluster(std::string_view name) {
  constexpr std::size_t kPrefix = 2 + 32 + 1;
  if (name.size() <= kPrefix || !name.starts_with(kClustersPrefix) || name[kPrefix - 1] != '/') return std::nullopt;
  return name.substr(kPrefix);
}

/// Only spreads directories.
std::uint32_t spread_of(const PackId& pack) { return (std::to_integer<std::uint32_t>(pack.session.bytes[0]) + pack.number) & 0xff; }

}  // namespace

std::string slot_name(std::string_view slot) { return fmt::format("{}{}", kKeysPrefix, slot); }
std::string cluster_prefix(const ClusterId& cluster) { return fmt::format("{}{}/", kClustersPrefix, cluster.hex()); }
std::string keyring_name(const ClusterId& cluster, Epoch epoch) {
  return fmt::format("{}keyring/{:08x}", cluster_prefix(cluster), epoch.value());
}
std::string log_prefix(const ClusterId& cluster) { return cluster_prefix(cluster) + "log/"; }
std::string log_entry_name(const ClusterId& cluster, std::uint32_t generation, std::uint64_t seq) {
  return fmt::format("{}{:08x}/{:016x}", log_prefix(cluster), generation, seq);
}
std::string mirror_sign_name(const ClusterId& cluster) { return log_prefix(cluster) + "mirror"; }
std::string manifests_prefix(const ClusterId& cluster) { return cluster_prefix(cluster) + "snap/"; }
std::string manifest_name(const ClusterId& cluster, const SessionId& session) {
  return manifests_prefix(cluster) + session.hex();
}
std::string packs_prefix(const ClusterId& cluster) { return cluster_prefix(cluster) + "p/"; }
std::string pack_name(const ClusterId& cluster, const PackId& pack) {
  return fmt::format("{}{:02x}/{}-{:08x}", packs_prefix(cluster), spread_of(pack), pack.session.hex(), pack.number);
}
std::string wal_prefix(const ClusterId& cluster) { return cluster_prefix(cluster) + "wal/"; }
std::string wal_directory(const ClusterId& cluster, std::uint64_t system_id, Incarnation incarnation, std::uint32_t timeline) {
  return fmt::format("{}{:016x}-{:08x}/{:08x}/", wal_prefix(cluster), system_id, incarnation.value(), timeline);
}
std::string wal_name(const ClusterId& cluster, std::uint64_t system_id, Incarnation incarnation, std::string_view file_name) {
  PGMINT_ASSERT(file_name.size() >= 8);
  std::string timeline(file_name.substr(0, 8));
  for (char& c : timeline)
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  return fmt::format("{}{:016x}-{:08x}/{}/{}", wal_prefix(cluster), system_id, incarnation.value(), timeline, file_name);
}

bool is_small_and_final(const std::string& name) {
  const auto rest = inside_cluster(name);
  return rest && (rest->starts_with("log/") || rest->starts_with("snap/") || rest->starts_with("keyring/"));
}

bool is_manifest(const std::string& name) {
  const auto rest = inside_cluster(name);
  return rest && rest->starts_with("snap/");
}

storage::SideRule log_apart_rule() {
  using storage::Side;
  const auto of_name = [](const std::string& name) {
    const auto rest = inside_cluster(name);
    if (name == kFormatName || (rest && rest->starts_with("keyring/"))) return Side::Both;
    return rest && rest->starts_with("log/") ? Side::Second : Side::First;
  };
  const auto of_prefix = [](const std::string& prefix) {
    const auto rest = inside_cluster(prefix);
    if (rest && rest->starts_with("log/")) return Side::Second;
    for (const std::string_view part : {"p/", "snap/", "wal/"})
      if (rest && rest->starts_with(part)) return Side::First;
    return prefix.starts_with(kKeysPrefix) || prefix.starts_with("mirror/") ? Side::First : Side::Both;
  };
  return {of_name, of_prefix};
}

bool is_wal(const std::string& name) {
  const auto rest = inside_cluster(name);
  return rest && rest->starts_with("wal/");
}

std::string mirror_mark_name(std::uint64_t number) { return fmt::format("{}{:016x}", kMarksPrefix, number); }
std::string mirror_absences_prefix(const ClusterId& cluster) { return fmt::format("mirror/absent/{}/", cluster.hex()); }

std::optional<std::uint64_t> parse_mirror_mark_name(std::string_view name) {
  if (!name.starts_with(kMarksPrefix)) return std::nullopt;
  return parse_fixed_hex<std::uint64_t>(name.substr(kMarksPrefix.size()), 16);
}

std::optional<PackId> parse_pack_name(std::string_view name) {
  auto rest = inside_cluster(name);
  if (!rest || rest->size() != 2 + 3 + 32 + 1 + 8 || !rest->starts_with("p/") || (*rest)[4] != '/' || (*rest)[37] != '-')
    return std::nullopt;
  auto session = SessionId::parse(rest->substr(5, 32));
  auto number = parse_fixed_hex<std::uint32_t>(rest->substr(38), 8);
  if (!session || !number) return std::nullopt;
  const PackId pack{*session, *number};
  // Elsewhere it is nobody's: it is looked for, and removed, by the name that its id gives.
  if (parse_fixed_hex<std::uint32_t>(rest->substr(2, 2), 2) != spread_of(pack)) return std::nullopt;
  return pack;
}

std::optional<LogSlot> parse_log_entry_name(std::string_view name) {
  auto rest = inside_cluster(name);
  if (!rest || rest->size() != 4 + 8 + 1 + 16 || !rest->starts_with("log/") || (*rest)[12] != '/') return std::nullopt;
  auto generation = parse_fixed_hex<std::uint32_t>(rest->substr(4, 8), 8);
  auto seq = parse_fixed_hex<std::uint64_t>(rest->substr(13), 16);
  if (!generation || !seq) return std::nullopt;
  return LogSlot{*generation, *seq};
}

}  // namespace pgmint::repository
