#include "cli/cluster_choice.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "cli/cluster_memory.h"
#include "cli/dump_names.h"
#include "cli/nearest.h"
#include "postgres/server_facts.h"
#include "repository/layout.h"

namespace pgmint::cli {
namespace {

Error unknown_cluster(std::string_view name, std::vector<std::string> known) {
  std::ranges::sort(known);
  known.erase(std::unique(known.begin(), known.end()), known.end());
  const auto meant = nearest(name, known);
  const std::string advice = meant           ? fmt::format("; the nearest is \"{}\"", *meant)
                             : known.empty() ? std::string("; none is configured")
                                             : fmt::format("; known are {}", fmt::join(known, ", "));
  return Error(Errc::Configuration, fmt::format("unknown cluster \"{}\"{}", name, advice),
               Hint{"a cluster is a table [cluster.NAME] of the configuration: man pgmint.toml"});
}

std::vector<std::string> configured_names(const Configuration& configuration) {
  std::vector<std::string> names;
  for (const auto& cluster : configuration.clusters) names.push_back(cluster.name);
  return names;
}

Error not_there_yet(std::string_view name) {
  return Error(Errc::Precondition, fmt::format("cluster {} has nothing in the repository yet", name),
               Hint{fmt::format("pgmint backup {}", name)});
}

std::string user_name(uid_t uid) {
  const auto* user = ::getpwuid(uid);
  return user != nullptr ? std::string(user->pw_name) : fmt::format("user {}", uid);
}

/// Whose the directory is, as far down as it can be seen, and how to become that user.
Error not_the_owner(Error denied, const fs::path& data_directory) {
  for (fs::path seen = data_directory; seen.has_relative_path(); seen = seen.parent_path()) {
    const auto status = stat_if_exists(seen);
    if (!status || !*status) continue;
    const auto owner = user_name((*status)->st_uid);
    if ((*status)->st_uid == ::geteuid()) break;
    return std::move(denied)
        .with_context(fmt::format("{} runs this, and {} belongs to {}", user_name(::geteuid()), seen.string(), owner))
        .with_hint(Hint{fmt::format("run it as the data directory's owner: sudo -u {} pgmint ...", owner)});
  }
  return denied;
}

/// Of several clusters with one name, pg_control decides, where it can be read.
std::optional<std::uint64_t> known_identifier(Context& context, const std::string& name) {
  const auto configuration = context.configuration();
  const auto* settings = configuration ? (*configuration)->find_cluster(name) : nullptr;
  // Commands that only look must not wait for another machine.
  if (settings == nullptr || settings->is_remote()) return std::nullopt;
  const auto control = control_of(*settings);
  return control ? std::optional(control->system_identifier.value()) : std::nullopt;
}

}  // namespace

Result<const ClusterSettings*> configured_cluster(Context& context, const std::optional<std::string>& name) {
  const auto& configuration = *TRY(context.configuration());
  if (name) {
    if (const auto* found = configuration.find_cluster(*name)) return found;
    return unknown_cluster(*name, configured_names(configuration));
  }
  if (configuration.clusters.size() == 1) return &configuration.clusters.front();
  if (configuration.clusters.empty())
    return Error(Errc::Configuration, "no cluster is configured",
                 Hint{"add [cluster.main] with data_directory and connection to the configuration; connection alone for a server on another machine"});
  return Error(Errc::Configuration,
               fmt::format("several clusters are configured: {}", fmt::join(configured_names(configuration), ", ")),
               Hint{fmt::format("name one: pgmint {} {}", context.arguments().command->verb,
                                configuration.clusters.front().name)});
}

Result<std::vector<const ClusterSettings*>> configured_clusters(Context& context, const std::optional<std::string>& name) {
  const auto& configuration = *TRY(context.configuration());
  std::vector<const ClusterSettings*> found;
  if (name || configuration.clusters.size() < 2) {
    found.push_back(TRY(configured_cluster(context, name)));
    return found;
  }
  for (const auto& settings : configuration.clusters) found.push_back(&settings);
  return found;
}

namespace {

/// As existing_cluster().
Result<ClusterPtr> choose_existing(Context& context, const std::optional<std::string>& name) {
  const auto& configuration = *TRY(context.configuration());
  auto& repository = *TRY(context.repository());
  std::optional<std::string> wanted = name;
  if (!wanted && configuration.clusters.size() == 1) wanted = configuration.clusters.front().name;
  if (wanted) {
    auto found = TRY(repository.find_cluster(*wanted, known_identifier(context, *wanted)));
    if (found) return found;
    if (name && configuration.find_cluster(*name) != nullptr) return not_there_yet(*name);
  }
  auto all = TRY(repository.clusters());
  if (!name && all.size() == 1) return std::move(all.front());
  std::vector<std::string> names;
  for (const auto& cluster : all) names.push_back(cluster->state().cluster_name());
  if (name) {
    const auto configured = configured_names(configuration);
    names.insert(names.end(), configured.begin(), configured.end());
    return unknown_cluster(*name, std::move(names));
  }
  if (all.empty()) {
    if (wanted) return not_there_yet(*wanted);
    return Error(Errc::Precondition, "the repository holds no cluster yet", Hint{"pgmint backup CLUSTER"});
  }
  return Error(Errc::Configuration, fmt::format("the repository holds several clusters: {}", fmt::join(names, ", ")),
               Hint{fmt::format("name one: pgmint {} {}", context.arguments().command->verb, names.front())});
}

/// As clusters_to_show().
Result<std::vector<ClusterPtr>> clusters_named(Context& context, const std::optional<std::string>& name) {
  if (!name) return TRY(context.repository())->clusters();
  std::vector<ClusterPtr> one;
  one.push_back(TRY(choose_existing(context, name)));
  return one;
}

}  // namespace

Result<ClusterPtr> existing_cluster(Context& context, const std::optional<std::string>& name) {
  auto cluster = TRY(choose_existing(context, name));
  context.meet(cluster->id());
  return cluster;
}

Result<std::vector<ClusterPtr>> clusters_to_show(Context& context, const std::optional<std::string>& name) {
  auto clusters = TRY(clusters_named(context, name));
  for (const auto& cluster : clusters) context.meet(cluster->id());
  return clusters;
}

Result<ClusterPtr> cluster_without_log(Context& context, const std::optional<std::string>& name) {
  auto& repository = *TRY(context.repository());
  TRY(repository.look_past_key_copies());  // no log vouches for them
  const auto ids = TRY(repository.environment().store.list_parts(std::string(repository::kClustersPrefix)));
  if (name)
    if (const auto id = repository::ClusterId::parse(*name)) return repository.open_cluster(*id);
  const auto& configuration = *TRY(context.configuration());
  std::optional<std::string> wanted = name;
  if (!wanted && configuration.clusters.size() == 1) wanted = configuration.clusters.front().name;
  ClusterPtr unnamed;
  std::size_t unreadable = 0;
  for (const auto& text : ids) {
    const auto id = repository::ClusterId::parse(text);
    if (!id) continue;
    auto cluster = repository.open_cluster(*id);
    if (!cluster) {
      if (cluster.error().code() == Errc::Key && ids.size() > 1) continue;  // another host's
      return std::move(cluster.error());
    }
    const auto read = (*cluster)->log().refresh();
    if (read && wanted && (*cluster)->state().cluster_name() == *wanted) return std::move(*cluster);
    if (read && wanted) continue;
    if (!read) log_warning("cluster {}: its log cannot be read: {}", text, read.error().describe());
    ++unreadable;
    unnamed = std::move(*cluster);
  }
  if (unreadable == 1) return unnamed;
  return Error(Errc::Configuration, fmt::format("which cluster? the repository holds the ids {}", fmt::join(ids, ", ")),
               Hint{"name one by its id in place of CLUSTER"});
}

Result<postgres::ControlFile> control_of(const ClusterSettings& settings) {
  if (settings.is_remote()) {
    postgres::ConnectOptions options;
    options.conninfo = settings.connection;
    auto connection = TRY(postgres::Connection::open(options).context(fmt::format("cluster {}", settings.name)));
    return TRY(postgres::control_by_sql(connection).context(fmt::format("cluster {}", settings.name)));
  }
  auto image = postgres::read_control_file(settings.data_directory);
  if (image) return std::move(image->control);
  auto error = std::move(image.error()).with_context(fmt::format("cluster {}", settings.name));
  if (error.code() == Errc::Key) return not_the_owner(std::move(error), settings.data_directory);
  if (error.code() != Errc::NotFound) return error;
  return std::move(error)
      .with_code(Errc::Precondition)
      .with_hint(
          Hint{fmt::format("data_directory in [cluster.{}] must be what SHOW data_directory says", settings.name)});
}

Result<Fd> lock_repository(Context& context) {
  const auto* place = TRY(context.place());
  // A bucket has nothing to lock: this host's writers at least keep apart.
  const auto where = TRY(place->settings.is_s3() ? context.state_directory() : place->settings.directory());
  if (place->settings.is_s3()) TRY(create_directories(where, 0700));
  auto directory = TRY(open_file(where, O_RDONLY | O_DIRECTORY));
  while (::flock(directory.get(), LOCK_EX) != 0)
    if (errno != EINTR) return errno_error(errno, "locking the repository", Errc::Storage);
  return directory;
}

namespace {

/// As cluster_for_writing().
Result<ClusterPtr> choose_for_writing(Context& context, const std::string& name, postgres::SystemIdentifier identifier) {
  auto& repository = *TRY(context.repository());
  const auto look = [&]() -> Result<ClusterPtr> {
    auto found = TRY(repository.find_cluster(name, identifier.value()));
    if (!found || found->state().system_id() == identifier.value()) return found;
    return Error(Errc::Precondition,
                 fmt::format("cluster {} is system identifier {} in the repository, but the data directory has {} "
                             "(initdb anew, pg_upgrade, "
                             "or another server's directory)",
                             name, found->state().system_id(), identifier.value()),
                 Hint{fmt::format("when the new server takes the old one's place: pgmint cluster adopt {}", name)});
  };
  // Most runs mean the cluster of the run before.
  const auto file = TRY(cluster_memory_file(context, repository, name, identifier));
  if (const auto known = recall_cluster(file, identifier))
    if (auto cluster = read_known_cluster(repository, *known, name, identifier)) return cluster;
  if (auto found = TRY(look())) {
    remember_cluster(file, *found, repository::current_identity(found->state()));
    return found;
  }

  const auto lock = TRY(lock_repository(context));
  if (auto found = TRY(look())) return found;
  if (const auto other = TRY(repository.find_by_system_id(identifier.value())))
    return Error(Errc::Precondition,
                 fmt::format("this server (system identifier {}) is cluster {} in the repository, not {}",
                             identifier.value(), other->state().cluster_name(), name),
                 Hint{fmt::format(
                     "rename the table to [cluster.{}]; for a copy that lives on by itself: pgmint cluster adopt {}",
                     other->state().cluster_name(), name)});
  return repository.create_cluster(name, identifier.value());
}

}  // namespace

Result<ClusterPtr> cluster_for_writing(Context& context, const std::string& name, postgres::SystemIdentifier identifier) {
  auto cluster = TRY(choose_for_writing(context, name, identifier));
  context.meet(cluster->id());
  return cluster;
}

Result<FoundBackup> find_backup(Context& context, const std::string& backup,
                                const std::optional<std::string>& cluster) {
  auto clusters = TRY(clusters_named(context, cluster));
  std::optional<FoundBackup> found;
  std::vector<std::string> names;
  for (auto& one : clusters) {
    for (const auto& [session, snapshot] : one->state().snapshots()) names.push_back(snapshot.snap.name);
    std::string database;
    const auto* live = one->state().find(backup);
    if (live == nullptr) {
      if (const auto dump = TRY(find_dump(*one, backup))) {
        live = &one->state().snapshots().at(dump->session);
        database = dump->database;
      }
    }
    if (live == nullptr) continue;
    if (found)
      return Error(Errc::Precondition,
                   fmt::format("clusters {} and {} both have a backup {}", found->cluster->state().cluster_name(),
                               one->state().cluster_name(), backup),
                   Hint{"choose with --cluster NAME"});
    found = FoundBackup{nullptr, live->snap.session, database};
    found->cluster = std::move(one);
  }
  if (found) {
    context.meet(found->cluster->id());
    return std::move(*found);
  }
  const auto meant = nearest(backup, names);
  return Error(Errc::NotFound,
               fmt::format("there is no backup {}{}", backup, meant ? fmt::format("; the nearest is {}", *meant) : ""),
               Hint{"pgmint list"});
}

}  // namespace pgmint::cli
