#include "cli/wal_target.h"

#include <fmt/format.h>

#include <charconv>

#include "base/log.h"
#include "cli/cluster_memory.h"
#include "repository/layout.h"

namespace pgmint::cli {
namespace {

bool same_directory(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return fs::equivalent(a, b, ignored);
}

/// The name under which this server is configured, if it is.
std::optional<std::string> configured_name(const Configuration& configuration, postgres::SystemIdentifier identifier,
                                           const fs::path& directory) {
  for (const auto& cluster : configuration.clusters)
    if (!cluster.is_remote() && same_directory(cluster.data_directory, directory)) return cluster.name;
  for (const auto& cluster : configuration.clusters) {
    if (cluster.is_remote()) continue;  // its WAL is pushed on its own machine, and no push waits for another one
    if (const auto control = control_of(cluster); control && control->system_identifier == identifier) return cluster.name;
  }
  return std::nullopt;
}

Error no_cluster(postgres::SystemIdentifier identifier) {
  return Error(
      Errc::Configuration, fmt::format("no cluster has the system identifier {}", identifier.value()),
      Hint{"add [cluster.NAME] with this server's data_directory to the configuration, or say --cluster NAME"});
}

/// From the names below wal/, for when the log cannot tell: the newest incarnation of this server, or of any.
Result<repository::WalIdentity> identity_from_objects(storage::BlobStore& store, const repository::ClusterId& cluster,
                                                      std::optional<postgres::SystemIdentifier> identifier) {
  std::optional<repository::WalIdentity> best;
  for (const auto& part : TRY(store.list_parts(repository::wal_prefix(cluster)))) {
    std::uint64_t system_id = 0;
    std::uint32_t incarnation = 0;
    const auto dash = part.find('-');
    if (dash != 16 || part.size() != 25) continue;
    const char* text = part.data();
    if (std::from_chars(text, text + 16, system_id, 16).ptr != text + 16 ||
        std::from_chars(text + 17, text + 25, incarnation, 16).ptr != text + 25)
      continue;
    if (identifier && identifier->value() != system_id) continue;
    if (!best || incarnation > best->incarnation.value()) best = {system_id, repository::Incarnation(incarnation)};
  }
  if (best) return *best;
  return Error(Errc::Precondition, fmt::format("cluster {} has no WAL of this server", cluster.hex()),
               Hint{"pgmint wal status"});
}

}  // namespace

namespace {

Result<std::optional<std::string>> name_for_push(Context& context, postgres::SystemIdentifier identifier, const fs::path& directory) {
  const auto name = context.arguments().get("--cluster");
  if (!name) return configured_name(*TRY(context.configuration()), identifier, directory);
  TRY(configured_cluster(context, name));
  return name;
}

}  // namespace

Result<WalTarget> wal_target_by_memory(Context& context, repository::Repository& away, postgres::SystemIdentifier identifier, const fs::path& directory) {
  const auto name = TRY(name_for_push(context, identifier, directory));
  const auto known = recall_cluster(TRY(cluster_memory_file(context, away, name.value_or(""), identifier)), identifier);
  if (!known) return Error(Errc::Storage, "no WAL of this server has been pushed from this host before, so that it is not known whose it is");
  return WalTarget{TRY(away.open_cluster(known->cluster)), known->identity};
}

Result<WalTarget> wal_target_for_push(Context& context, postgres::SystemIdentifier identifier,
                                      const fs::path& directory) {
  const auto name = TRY(name_for_push(context, identifier, directory));
  auto& repository = *TRY(context.repository());
  const auto file = TRY(cluster_memory_file(context, repository, name.value_or(""), identifier));
  if (const auto known = recall_cluster(file, identifier)) {
    if (TRY(log_stands_still(repository, *known))) {
      auto cluster = repository.open_cluster(known->cluster);
      if (cluster) return WalTarget{std::move(*cluster), known->identity};
    } else if (auto cluster = read_known_cluster(repository, *known, name, identifier)) {
      const auto identity = repository::current_identity(cluster->state());
      remember_cluster(file, *cluster, identity);
      return WalTarget{std::move(cluster), identity};
    }
  }
  auto cluster = name ? TRY(cluster_for_writing(context, *name, identifier))
                      : TRY(repository.find_by_system_id(identifier.value()));
  if (!cluster) return no_cluster(identifier);
  const auto identity = repository::current_identity(cluster->state());
  remember_cluster(file, *cluster, identity);
  return WalTarget{std::move(cluster), identity};
}

namespace {

Result<WalTarget> look_up_for_get(Context& context, const std::optional<std::string>& name,
                                  std::optional<postgres::SystemIdentifier> identifier) {
  auto& repository = *TRY(context.repository());
  // Without pg_control in sight (typed by hand) the only configured cluster is meant.
  auto found = name && repository::ClusterId::parse(*name) ? cluster_without_log(context, name)
               : name || !identifier                       ? existing_cluster(context, name)
                                                           : repository.find_by_system_id(identifier->value());
  if (!found && found.error().code() == Errc::Corruption) {
    log_warning("{}", found.error().describe());
    found = cluster_without_log(context, name);
  }
  auto cluster = TRY(std::move(found));
  if (!cluster) return no_cluster(*identifier);
  if (!cluster->state().has_genesis()) {
    if (auto read = cluster->log().refresh(); !read) log_warning("{}", read.error().describe());
  }
  if (!cluster->state().has_genesis()) {
    const auto identity = TRY(identity_from_objects(cluster->store(), cluster->id(), identifier));
    return WalTarget{std::move(cluster), identity};
  }
  if (!identifier) {
    const auto identity = repository::current_identity(cluster->state());
    return WalTarget{std::move(cluster), identity};
  }
  const auto identity = repository::find_identity(cluster->state(), identifier->value());
  if (!identity)
    return Error(Errc::Precondition,
                 fmt::format("system identifier {} was never cluster {} (now {})", identifier->value(),
                             cluster->state().cluster_name(), cluster->state().system_id()),
                 Hint{"the directory belongs to another cluster: --cluster NAME"});
  return WalTarget{std::move(cluster), *identity};
}

}  // namespace

Result<WalTarget> wal_target_for_get(Context& context, const std::optional<std::string>& name,
                                     std::optional<postgres::SystemIdentifier> identifier) {
  if (!identifier) return look_up_for_get(context, name, identifier);
  auto& repository = *TRY(context.repository());
  // The memory is a shortcut: whatever is wrong with it, the long way tells.
  const auto file = cluster_memory_file(context, repository, "get-" + name.value_or(""), *identifier);
  if (const auto known = file ? recall_cluster(*file, *identifier) : std::nullopt) {
    const auto still = log_stands_still(repository, *known);
    auto cluster = still && *still ? repository.open_cluster(known->cluster) : Result<ClusterPtr>(ClusterPtr());
    if (cluster && *cluster) return WalTarget{std::move(*cluster), known->identity};
  }
  auto target = TRY(look_up_for_get(context, name, identifier));
  // What a damaged log could not tell was guessed, and is not worth remembering.
  if (file && target.cluster->state().has_genesis()) remember_cluster(*file, *target.cluster, target.identity);
  return target;
}

}  // namespace pgmint::cli
