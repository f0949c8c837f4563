#include "cli/cluster_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"

namespace pgmint::cli {

Result<fs::path> cluster_memory_file(Context& context, const repository::Repository& repository, const std::string& name, postgres::SystemIdentifier identifier) {
  return TRY(context.state_directory()) / "wal-target" /
         fmt::format("{}-{}-{:016X}", repository.format().repository.hex(), name, identifier.value());
}

std::optional<KnownCluster> recall_cluster(const fs::path& file, postgres::SystemIdentifier identifier) {
  const auto text = read_text_file(file, 4096);
  if (!text) return std::nullopt;
  const auto json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto number = [&](const char* key) {
    return json.contains(key) && json[key].is_number_unsigned() ? std::optional(json[key].get<std::uint64_t>())
                                                                : std::nullopt;
  };
  const auto incarnation = number("incarnation"), generation = number("generation"), next_seq = number("next_seq");
  if (!json.contains("cluster") || !json["cluster"].is_string() || !incarnation || !generation || !next_seq)
    return std::nullopt;
  const auto cluster = repository::ClusterId::parse(json["cluster"].get<std::string>());
  const auto head = json.contains("head") && json["head"].is_string() ? from_hex(json["head"].get<std::string>()) : std::nullopt;
  if (!cluster || !head || head->size() != sizeof(crypto::Digest)) return std::nullopt;
  KnownCluster known{*cluster,
                   {identifier.value(), repository::Incarnation(static_cast<std::uint32_t>(*incarnation))},
                   {static_cast<std::uint32_t>(*generation), *next_seq, {}}};
  std::ranges::copy(*head, known.log.head.begin());
  return known;
}

void remember_cluster(const fs::path& file, const repository::Cluster& cluster, const repository::WalIdentity& identity) {
  const Json json = {{"cluster", cluster.id().hex()},
                     {"incarnation", identity.incarnation.value()},
                     {"generation", cluster.state().generation()},
                     {"next_seq", cluster.state().next_seq()},
                     {"head", to_hex(cluster.state().head())}};
  auto written = create_directories(file.parent_path(), 0700);
  if (written) written = write_file_durably(file, as_bytes(json.dump()), 0600);
  if (!written) log_debug("{}", written.error().describe());
}

Result<bool> log_stands_still(repository::Repository& repository, const KnownCluster& known) {
  auto& environment = repository.environment();
  return repository::log_ends_at(environment.store, known.cluster, known.log, environment.reads_at_once > 1);
}

ClusterPtr read_known_cluster(repository::Repository& repository, const KnownCluster& known, const std::optional<std::string>& name, postgres::SystemIdentifier identifier) {
  auto cluster = repository.read_cluster(known.cluster);
  if (!cluster || !*cluster) return nullptr;
  const auto& state = (*cluster)->state();
  if (state.system_id() != identifier.value() || (name && state.cluster_name() != *name)) return nullptr;
  return std::move(*cluster);
}

}  // namespace pgmint::cli
