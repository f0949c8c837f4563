#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/bucket_checks.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/lock_trial.h"
#include "cli/recall_command.h"
#include "cli/s3_connection.h"
#include "cli/secrets.h"
#include "cli/service_user.h"
#include "cli/slots_json.h"
#include "cli/store_probe.h"
#include "repository/key_objects.h"
#include "repository/layout.h"
#include "repository/object_header.h"
#include "storage/posix_publish.h"

namespace pgmint::cli {
namespace {

/// The secret that opens the repository from now on: what is configured; a key file is made when there is none yet.
struct FirstKey {
  repository::Unlock unlock;
  std::optional<fs::path> key_file;
  bool made = false;
};

/// nullopt: the key file is still to be made.
Result<std::optional<FirstKey>> present_key(const EncryptionSettings& settings) {
  if (!settings.key_file) {
    auto unlocks = TRY(configured_unlocks(settings));
    return std::optional(FirstKey{std::move(unlocks.front()), std::nullopt, false});
  }
  const fs::path file(*settings.key_file);
  if (!TRY(stat_if_exists(file))) return std::optional<FirstKey>();
  return std::optional(FirstKey{TRY(unlock_from_key_file(file)), file, false});
}

/// Keys of services that are configured beside the first one.
Result<std::vector<repository::Unlock>> keys_beside(const FirstKey& first, const EncryptionSettings& settings) {
  auto unlocks = TRY(configured_unlocks(settings));
  std::erase_if(unlocks, [&](const auto& unlock) { return !repository::needs_service(unlock.provider); });
  // Without a key file the first is whatever is configured first: when that is a service's, it is the first of these.
  if (repository::needs_service(first.unlock.provider)) unlocks.erase(unlocks.begin());
  return unlocks;
}

/// Whether `name` in `directory` is nothing but what an init leaves that was cut off before it made `format`: key slots
/// that open nothing, and temporary files. Repository::create passes over them and removes the slots.
bool left_by_an_init(const fs::path& directory, const std::string& name) {
  if (storage::is_temporary_name(name)) return true;
  if (name + '/' != repository::kKeysPrefix) return false;
  bool only_slots = true;
  const auto listed = list_directory(directory / name, [&](const std::string& slot, unsigned char) -> Status {
    if (storage::is_temporary_name(slot)) return ok();
    const auto object = read_file(directory / name / slot, repository::kSlotMax);
    only_slots = only_slots && object && repository::parse_header(*object, repository::ObjectKind::KeySlot);
    return ok();
  });
  // A file of that name, or a directory that shows its contents to others only, is no init's.
  return listed && only_slots;
}

/// A repository among other files would be a riddle to whoever finds it; one inside a data directory would back itself
/// up.
Status check_directory(const Configuration& configuration, const fs::path& directory) {
  if (TRY(stat_if_exists(directory / "format")))
    return Error(Errc::Precondition, fmt::format("{} is a repository already", directory.string()), Hint{"pgmint list"});
  for (const auto& cluster : configuration.clusters) {
    if (cluster.is_remote()) continue;
    const auto relative = directory.lexically_normal().lexically_relative(cluster.data_directory.lexically_normal());
    if (!relative.empty() && *relative.begin() != "..")
      return Error(Errc::Precondition,
                   fmt::format("{} lies in the data directory of cluster {}", directory.string(), cluster.name),
                   Hint{"name a place outside, better on another disk"});
  }
  const auto empty = list_directory(directory, [&](const std::string& name, unsigned char) -> Status {
    if (name == "lost+found" || left_by_an_init(directory, name)) return ok();
    return Error(Errc::Precondition, fmt::format("{} is not empty: it holds {}", directory.string(), name),
                 Hint{"name an empty directory, or one that is not there yet"});
  });
  if (!empty && empty.error().code() != Errc::NotFound) return empty;
  return ok();
}

Status probe_bucket(storage::BlobStore& store, storage::S3Store* bucket) {
  auto probed = probe_create_if_absent(store, system_random());
  if (probed || probed.failure().code() != Errc::Storage) return probed;
  return explain_failed_race(std::move(probed).failure(), bucket);
}

/// The same of a bucket's prefix; and whether its store decides who creates an object, on which everything rests.
Status check_bucket(Context& context) {
  auto& store = *TRY(context.place())->store;
  if (TRY(store.stat(std::string(repository::kFormatName))))
    return Error(Errc::Precondition, fmt::format("{} is a repository already", store.describe()), Hint{"pgmint list"});
  for (const auto& part : TRY(store.list_parts("")))
    // What an init or a probe leaves that was cut off.
    if (part + '/' != repository::kKeysPrefix && part + '/' != kProbePrefix)
      return Error(Errc::Precondition, fmt::format("{} is not empty: it holds {}", store.describe(), part), Hint{"name a prefix under which there is nothing: s3://bucket/prefix"});
  auto& place = *TRY(context.place());
  if (lock_rule(place.s3)) TRY(need_object_lock(*place.bucket));
  if (place.log_store != nullptr)
    TRY(probe_bucket(*place.log_store, place.log_bucket).context(fmt::format("log_url {}", place.log_store->describe())));
  return probe_bucket(store, place.bucket);
}

/// When root makes the repository, it does so for the owner of the server. What comes into the owner's directory is the owner's (base/owner.h).
Status make_places_for(const ServiceUser& owner, const RepositorySettings& settings, const std::optional<std::string>& key_file) {
  if (key_file) TRY(make_directory_for(owner, fs::path(*key_file).parent_path()));
  if (settings.is_s3()) return ok();
  const auto directory = TRY(settings.directory());
  TRY(make_directory_for(owner, directory));
  return give_to(owner, directory);
}

/// Clusters whose data directory can be read are made at once: a key for one host alone needs its cluster.
std::vector<std::string> create_clusters(Context& context, const Configuration& configuration) {
  std::vector<std::string> lines;
  for (const auto& settings : configuration.clusters) {
    const auto control = control_of(settings);
    if (!control) {
      lines.push_back(
          fmt::format("cluster {}: is made at its first backup ({})", settings.name, control.error().describe()));
      continue;
    }
    const auto made = cluster_for_writing(context, settings.name, control->system_identifier);
    if (made)
      lines.push_back(
          fmt::format("cluster {}: system identifier {}", settings.name, control->system_identifier.value()));
    else
      lines.push_back(fmt::format("cluster {}: not made: {}", settings.name, made.error().describe()));
  }
  return lines;
}

void tell(Context& context, const FirstKey& key, const PrintedKey& recovery, const std::vector<std::string>& clusters, const std::optional<ServiceUser>& owner) {
  auto& out = context.output();
  const auto& configuration = **context.configuration();
  out.line(fmt::format("created the repository {}", configuration.repositories.front().url));
  if (key.key_file) out.line(fmt::format("{} the key file {}", key.made ? "made" : "used", key.key_file->string()));
  for (const auto& line : clusters) out.line(line);
  if (owner) out.line(fmt::format("what root made of these belongs to {}, like the server that is backed up", owner->name));
  out.line("");
  if (recovery.form.count == 0) {
    out.line("This is the recovery key. It opens the repository when this host and its key file are lost, and is shown only now:");
    out.line("print it, keep it away from this host, then try it once with: PGMINT_RECOVERY_KEY_FILE=FILE pgmint key check");
  } else {
    out.line(fmt::format("These are the recovery key's shares. Any {} of them open the repository when this host and its key file are lost; they are shown only now:", recovery.form.needed));
    out.line("print each by itself, give them to different people, then try them once, so many in one file: PGMINT_RECOVERY_KEY_FILE=FILE pgmint key check");
  }
  out.line("");
  print(out, recovery);
  out.line("");
  out.line("Next: in postgresql.conf, then restart the server when archive_mode was off,");
  out.line("");
  out.line("  archive_mode = on");
  out.line(fmt::format("  archive_command = '{}'", archive_command_line(context)));
  out.line("");
  out.line(
      fmt::format("and take the first backup: {}pgmint backup{}", owner ? fmt::format("sudo -u {} ", owner->name) : "", configuration.clusters.size() == 1 ? "" : " CLUSTER"));
}

Result<int> run(Context& context) {
  context.look_past_copies();
  const auto& configuration = *TRY(context.configuration());
  const auto& settings = *TRY(context.repository_settings());
  const auto form = TRY(recovery_form(context.arguments()));
  TRY(settings.is_s3() ? check_bucket(context) : check_directory(configuration, TRY(settings.directory())));
  // Whatever refuses does so before anything is made.
  const auto encryption = TRY(context.encryption());
  auto present = TRY(present_key(encryption));
  const auto owner = whom_root_serves(configuration);
  if (owner) TRY(make_places_for(*owner, settings, encryption.key_file));
  auto environment = TRY(context.environment(true));
  if (!present) {
    const fs::path file(*encryption.key_file);
    present = FirstKey{TRY(create_key_file(file, system_random())), file, true};
    if (owner) TRY(give_to(*owner, file));
  }
  const auto& key = *present;
  const auto recovery = create_recovery_key(form, environment.random);
  std::vector<repository::Repository::Slot> slots;
  slots.push_back({clone(key.unlock), fmt::format("made by init for {}", actor_label())});
  for (auto& unlock : TRY(keys_beside(key, encryption))) slots.push_back({std::move(unlock), fmt::format("made by init for {}", actor_label())});
  slots.push_back({clone(recovery.unlock), "printed by init"});
  TRY(repository::Repository::create(environment, std::move(slots)));

  // The repository stands, and its recovery key exists only here: whatever fails from now on is told beside it, never in its place.
  std::vector<std::string> clusters;
  Json id(nullptr), slot_list(nullptr);
  const auto look_again = [&]() -> Status {
    auto& repository = *TRY(context.repository());
    id = repository.format().repository.hex();
    clusters = create_clusters(context, configuration);
    slot_list = to_json(TRY(repository.slots()), {});
    return ok();
  };
  const auto looked = look_again();
  if (!looked) {
    log_warning("the repository was created, but it cannot be read: {}", looked.error().describe());
    clusters.push_back("the repository was created, but it cannot be read: see what pgmint doctor says before you go on");
  }
  Json json = {{"repository", environment.store.describe()},
               {"repository_id", id},
               {"key_file", key.key_file ? Json(key.key_file->string()) : Json(nullptr)},
               {"slots", slot_list},
               {"archive_command", archive_command_line(context)}};
  add_to(json, recovery.printed);
  context.output().document(json);
  tell(context, key, recovery.printed, clusters, owner);
  return looked ? 0 : exit_code(looked.error().code());
}

}  // namespace

const CommandSpec& init_command() {
  static const CommandSpec command = {
      .verb = "init",
      .summary = "create the repository and its first key slots",
      .description =
          {"Creates the repository that the configuration names, and the key file when it is absent (mode 0600); a slot for it, and one for each key of a service "
           "that [encryption] names. "
           "Everything in the repository is encrypted: "
           "whoever has neither the key file nor the recovery key cannot read the backups, and that includes you.",
           "Root makes all of this for the owner of the first configured cluster's data directory, who is to run everything else.",
           "Prints the recovery key, once. Keep it away from this host, and try it: status warns until it has been "
           "opened once.",
           "The configured clusters whose data directory can be read are entered at once, others at their first "
           "backup. No server has to run. An existing "
           "repository is left as it is (exit 4). One that was cut off can be run again.",
           "In a bucket it first finds out whether the store lets exactly one of many create an object. Ceph's RADOS gateway 16 does so only in a bucket "
           "without versioning and without object lock; a repository in one with them needs a second bucket for its log there (log_url). A store that never does cannot hold a repository."},
      .positionals = {},
      .options = {{.name = "--shares", .value = "N", .text = "Print the recovery key in N shares (32 at most) instead, for N people."},
                  {.name = "--needed", .value = "K", .text = "With --shares: any K of them are as good as the key, and K - 1 tell nothing of it."}},
      .exits = {{4, "There is a repository already, or the place is not empty; nothing was changed."},
                {6, "The store was not reached, or lets several create one object: it cannot hold a repository."}},
      .examples =
          {{"pgmint init",
            "Create the repository of /etc/pgmint/pgmint.toml; then paste the archive_command that it prints."}},
      .see_also = {"backup", "key list", "key check", "doctor"},
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli
