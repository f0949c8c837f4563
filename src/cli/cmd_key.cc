#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/key_services.h"
#include "cli/opened_slots.h"
#include "cli/secrets.h"
#include "cli/slots_json.h"

namespace pgmint::cli {
namespace {

using repository::KeyProvider;
using repository::Unlock;

Result<std::map<std::string, TimePoint>> opened(Context& context, repository::Repository& repository) {
  const auto clusters = TRY(repository.clusters());
  return opened_slots(repository, clusters, TRY(context.state_directory()));
}

Result<int> run_list(Context& context) {
  context.look_past_copies();
  auto& repository = *TRY(context.repository());
  const auto slots = TRY(repository.slots());
  const auto when = TRY(opened(context, repository));
  context.output().document({{"slots", to_json(slots, when)}});
  context.output().line(slots_table(slots, when));
  return 0;
}

/// The secret of the new slot, and what has to be told about it.
struct NewSecret {
  Unlock unlock;
  std::string told;    ///< for people
  PrintedKey printed;  ///< shown once; nothing for other kinds
};

Result<NewSecret> new_secret(const Arguments& arguments, const KeyServiceSettings& services) {
  std::vector<std::string> ways = {"--file", "--passphrase-file", "--recovery"};
  for (const auto& kind : key_service_kinds()) ways.push_back(kind.option);
  if (std::ranges::count_if(ways, [&](const auto& way) { return arguments.has(way); }) != 1)
    return Error(Errc::Usage, fmt::format("key add needs exactly one of {}", fmt::join(ways, ", ")), Hint{"pgmint key add --help"});
  const auto form = TRY(recovery_form(arguments));
  if (form.count != 0 && !arguments.has("--recovery")) return Error(Errc::Usage, "--shares is for --recovery", Hint{"pgmint key add --help"});
  if (const auto file = arguments.get("--passphrase-file"))
    return NewSecret{TRY(unlock_from_passphrase_file(*file)), "a passphrase slot", {}};
  for (const auto& kind : key_service_kinds())
    if (const auto uri = arguments.get(kind.option)) return NewSecret{TRY(kind.unlock(*uri, services)), fmt::format("a slot for the {} key {}", kind.title, *uri), {}};
  if (const auto file = arguments.get("--file")) {
    if (TRY(stat_if_exists(*file)))
      return NewSecret{TRY(unlock_from_key_file(*file)), fmt::format("a slot for the key file {}", *file), {}};
    return NewSecret{TRY(create_key_file(fs::absolute(*file), system_random())),
                     fmt::format("the key file {} and a slot for it", *file), {}};
  }
  auto made = create_recovery_key(form, system_random());
  return NewSecret{std::move(made.unlock), "a recovery slot", std::move(made.printed)};
}

Result<int> run_add(Context& context) {
  context.look_past_copies();
  const auto& arguments = context.arguments();
  const auto role = TRY(repository::parse_role(arguments.get("--role").value_or("root")));
  auto& repository = *TRY(context.repository());
  if (role == repository::Role::Host && !arguments.has("--cluster") &&
      TRY(context.configuration())->clusters.size() != 1)
    return Error(Errc::Usage, "a host slot needs --cluster NAME", Hint{"pgmint key add --help"});
  ClusterPtr host;
  if (role == repository::Role::Host) host = TRY(existing_cluster(context, arguments.get("--cluster")));
  if (repository.bundle().role != repository::Role::Root)
    return Error(Errc::Key, fmt::format("slot {} has the role {}: only a root slot adds others",
                                        repository.opened_slot(), repository::role_name(repository.bundle().role)));
  auto secret = TRY(new_secret(arguments, TRY(context.place())->encryption.services));
  const auto slot = TRY(repository.add_slot(secret.unlock, role, arguments.get("--note").value_or(""), host.get()));

  auto& out = context.output();
  Json json = {{"slot", slot}, {"role", repository::role_name(role)}};
  add_to(json, secret.printed);
  out.document(json);
  out.line(fmt::format("made {}: {} ({})", secret.told, slot, repository::role_name(role)));
  if (!secret.printed.texts.empty()) {
    out.line(secret.printed.form.count == 0 ? "This is the recovery key, shown only now; print it, keep it away from this host:"
                                            : "These are the recovery key's shares, shown only now; print each by itself, give them to different people, keep them away from this host:");
    out.line("");
    print(out, secret.printed);
  }
  return 0;
}

Result<int> run_remove(Context& context) {
  context.look_past_copies();
  auto& repository = *TRY(context.repository());
  const auto slot = *context.arguments().position("SLOT");
  const auto slots = TRY(repository.slots());
  if (std::ranges::find(slots, slot, &repository::SlotInfo::name) == slots.end())
    return Error(Errc::NotFound, fmt::format("there is no key slot {}", slot), Hint{"pgmint key list"});
  if (slot == repository.opened_slot() && !context.yes())
    return Error(
        Errc::Precondition,
        fmt::format("{} is the slot that the configured key opens: without it this configuration opens nothing", slot),
        Hint{fmt::format("add another first: pgmint key add; or: pgmint key remove {} --yes", slot)});
  TRY(repository.remove_slot(slot));
  context.output().document({{"removed", slot}});
  context.output().line(fmt::format(
      "removed {}. Whoever held its secret may have kept what it opened: after a leak, pgmint key rotate --root",
      slot));
  return 0;
}

Result<int> rotate_data(Context& context, repository::Repository& repository) {
  auto clusters = TRY(clusters_to_show(context, context.arguments().get("--cluster")));
  Json epochs = Json::array();
  for (const auto& cluster : clusters) {
    const auto epoch = TRY(repository.rotate_data_key(*cluster));
    epochs.push_back({{"cluster", cluster->state().cluster_name()}, {"epoch", epoch.value()}});
    context.output().line(fmt::format("cluster {}: what is stored from now on has a new data key (epoch {})",
                                      cluster->state().cluster_name(), epoch.value()));
  }
  if (clusters.empty()) context.output().line("the repository holds no cluster yet: nothing to rotate");
  context.output().document({{"data_keys", epochs}});
  return 0;
}

Result<int> rotate_root(Context& context, repository::Repository& repository) {
  const auto& arguments = context.arguments();
  const auto* place = TRY(context.place());
  std::vector<repository::Repository::Slot> slots;
  for (auto& unlock : TRY(configured_unlocks(place->encryption))) slots.push_back({std::move(unlock), ""});
  for (const auto& file : arguments.all("--file")) slots.push_back({TRY(unlock_from_key_file(file)), ""});
  for (const auto& file : arguments.all("--passphrase-file"))
    slots.push_back({TRY(unlock_from_passphrase_file(file)), ""});
  for (const auto& file : arguments.all("--recovery-key-file"))
    slots.push_back({TRY(unlock_from_recovery_file(file)), ""});
  for (const auto& kind : key_service_kinds())
    for (const auto& uri : arguments.all(kind.option)) slots.push_back({TRY(kind.unlock(uri, place->encryption.services)), ""});
  TRY(repository.rotate_root(std::move(slots), context.yes()));
  const auto left = TRY(repository.slots());
  context.output().document({{"slots", to_json(left, {})}});
  context.output().line("rotated the root key; the root slots are now:");
  context.output().line(slots_table(left, {}));
  return 0;
}

Result<int> run_rotate(Context& context) {
  context.look_past_copies();
  const bool data = context.arguments().has("--data"), root = context.arguments().has("--root");
  if (data == root) return Error(Errc::Usage, "key rotate needs --data or --root", Hint{"pgmint key rotate --help"});
  auto& repository = *TRY(context.repository());
  return data ? rotate_data(context, repository) : rotate_root(context, repository);
}

Result<int> run_check(Context& context) {
  context.look_past_copies();
  auto& repository = *TRY(context.repository());
  const auto slots = TRY(repository.slots());
  const auto slot = std::ranges::find(slots, repository.opened_slot(), &repository::SlotInfo::name);
  const auto clusters = TRY(repository.clusters());
  Json names = Json::array();
  std::string text;
  for (const auto& cluster : clusters) {
    names.push_back(cluster->state().cluster_name());
    text += (text.empty() ? "" : ", ") + cluster->state().cluster_name();
  }
  const auto role = repository::role_name(repository.bundle().role);
  context.output().document({{"slot", repository.opened_slot()},
                             {"kind", slot == slots.end() ? Json(nullptr) : Json(slot_kind(slot->provider))},
                             {"key", slot == slots.end() || slot->service_key.empty() ? Json(nullptr) : Json(slot->service_key)},
                             {"role", role},
                             {"repository_id", repository.format().repository.hex()},
                             {"clusters", names}});
  const std::string kind =
      slot == slots.end() ? "" : fmt::format(" ({}{}{})", slot_kind(slot->provider), slot->service_key.empty() ? "" : ", ", slot->service_key);
  context.output().line(fmt::format("{}{} opens the repository {} as {}; clusters: {}", repository.opened_slot(), kind,
                                    repository.format().repository.hex(), role, text.empty() ? "none yet" : text));
  return 0;
}

}  // namespace

const CommandSpec& key_list_command() {
  static const CommandSpec command = {
      .verb = "key list",
      .summary = "list the key slots of the repository",
      .description = {"A slot holds the repository's keys, sealed for one secret: a key file, a passphrase, a recovery "
                      "key, a key of AWS KMS, of Vault, in a token. Any one of them opens the repository."},
      .positionals = {},
      .options = {},
      .exits = {},
      .examples = {{"pgmint key list", "Who can open the repository, and which recovery key nobody has tried yet."}},
      .see_also = {"key add", "key remove", "key check"},
      .repositories = Repositories::Each,
      .run = run_list,
  };
  return command;
}

const CommandSpec& key_add_command() {
  static const CommandSpec command = {
      .verb = "key add",
      .summary = "add a key slot",
      .description = {"Seals the repository's keys for one more secret. Needs a root slot.",
                      "Roles: root may do everything; host may back up and restore one cluster; maintenance may verify "
                      "and collect, but read no data."},
      .positionals = {},
      .options =
          {
              {.name = "--file",
               .value = "FILE",
               .text = "A key file; it is made (mode 0600) when it is absent.",
               .completes = Completes::File},
              {.name = "--passphrase-file",
               .value = "FILE",
               .text = "A file whose first line is the passphrase.",
               .completes = Completes::File},
              {.name = "--recovery", .value = "", .text = "A new recovery key, which is printed once."},
              {.name = "--shares", .value = "N", .text = "With --recovery: print the key in N shares (32 at most) instead, for N people."},
              {.name = "--needed", .value = "K", .text = "With --shares: any K of them are as good as the key, and K - 1 tell nothing of it."},
              {.name = "--kms", .value = "URI", .text = "A key of AWS KMS: awskms:///ARN, awskms:///ID or awskms:///alias/NAME. It must be symmetric; [kms] says how it is reached."},
              {.name = "--vault", .value = "URI", .text = "A key of HashiCorp Vault's transit engine: vault:///transit/KEY, or vault:///MOUNT/KEY. [vault] says how it is reached."},
              {.name = "--pkcs11", .value = "URI", .text = "An AES key of 256 bits in a PKCS#11 token, which it never leaves: pkcs11:token=TOKEN;object=KEY (RFC 7512). [pkcs11] says how it is reached."},
              {.name = "--role",
               .value = "ROLE",
               .text = "root (the default), host or maintenance.",
               .words = {"root", "host", "maintenance"}},
              {.name = "--cluster",
               .value = "NAME",
               .text = "The cluster of a host slot.",
               .completes = Completes::Cluster},
              {.name = "--note", .value = "TEXT", .text = "For people."},
          },
      .exits = {},
      .examples = {{"pgmint key add --file /root/backup-admin.key --note \"admins\"", "A second root key."},
                   {"pgmint key add --recovery --shares 5 --needed 3", "A recovery key that any three of five people have together."},
                   {"pgmint key add --kms awskms:///alias/pgmint", "A root slot that AWS KMS opens for whoever may use that key."},
                   {"pgmint key add --vault vault:///transit/pgmint", "A root slot that Vault opens for whoever may decrypt with that key."},
                   {"pgmint key add --pkcs11 \"pkcs11:token=backup;object=pgmint\"", "A root slot that opens where the token is."},
                   {"pgmint key add --file /etc/pgmint/host.key --role host --cluster main",
                    "A key that opens the backups of main and nothing else."}},
      .see_also = {"key list", "key remove", "key rotate"},
      .changes_repository = true,
      .run = run_add,
  };
  return command;
}

const CommandSpec& key_remove_command() {
  static const CommandSpec command = {
      .verb = "key remove",
      .summary = "remove a key slot",
      .description = {"The secret of that slot opens the repository no more. Whoever held it may have kept the keys "
                      "that it opened: after a leak, rotate the root key.",
                      "The last root slot is never removed; the slot that is in use only with --yes."},
      .positionals = {{.name = "SLOT", .text = "As key list shows it."}},
      .options = {},
      .exits = {{1, "There is no such slot."},
                {4, "It is the last root slot, or the one in use; nothing was changed."}},
      .examples = {{"pgmint key remove recovery-1f00ba42",
                    "After a new recovery key was made with key add --recovery."}},
      .see_also = {"key list", "key add", "key rotate"},
      .changes_repository = true,
      .run = run_remove,
  };
  return command;
}

const CommandSpec& key_rotate_command() {
  static const CommandSpec command = {
      .verb = "key rotate",
      .summary = "change the keys of what is stored from now on",
      .description = {"--data gives each cluster a new data key; what is stored already stays as it is and readable.",
                      "--root draws a new root key and new data keys, and seals them for every root slot anew. It needs the "
                      "secrets of all root slots, or --yes, which lets the others go. When it is cut off, every secret "
                      "opens the repository as before; run it again to end it."},
      .positionals = {},
      .options =
          {
              {.name = "--data", .value = "", .text = "Rotate the data keys."},
              {.name = "--root", .value = "", .text = "Rotate the root key."},
              {.name = "--cluster",
               .value = "NAME",
               .text = "With --data: of this cluster alone.",
               .completes = Completes::Cluster},
              {.name = "--file",
               .value = "FILE",
               .text = "With --root: the key file of a further root slot.",
               .repeatable = true,
               .completes = Completes::File},
              {.name = "--passphrase-file",
               .value = "FILE",
               .text = "With --root: the passphrase of one.",
               .repeatable = true,
               .completes = Completes::File},
              {.name = "--recovery-key-file",
               .value = "FILE",
               .text = "With --root: the recovery key of one, or its shares.",
               .repeatable = true,
               .completes = Completes::File},
              {.name = "--kms", .value = "URI", .text = "With --root: the KMS key of one.", .repeatable = true},
              {.name = "--vault", .value = "URI", .text = "With --root: the Vault key of one.", .repeatable = true},
              {.name = "--pkcs11", .value = "URI", .text = "With --root: the token's key of one.", .repeatable = true},
          },
      .exits = {{4, "There is no cluster yet, a root slot's secret is missing, or with --data: a rotation of the root key was "
                    "cut off. Nothing was changed."},
                {5, "Keys were changed by somebody else at the same time."}},
      .examples = {{"pgmint key rotate --data", "As a policy may ask for once a year."},
                   {"pgmint key rotate --root --recovery-key-file /media/usb/recovery.txt",
                    "After a root key file was seen by somebody else."}},
      .see_also = {"key list", "key add"},
      .changes_repository = true,
      .run = run_rotate,
  };
  return command;
}

const CommandSpec& key_check_command() {
  static const CommandSpec command = {
      .verb = "key check",
      .summary = "open the repository with the configured key and say what it may do",
      .description = {"Names the slot that opened, its role, and the clusters that it reaches. Try the recovery key "
                      "like this once: then it is known to work, and status no longer warns."},
      .positionals = {},
      .options = {},
      .exits = {{6, "The key service (KMS, Vault) is not reached, Vault is sealed, or the token is not there."},
                {7, "The key opens no slot, or its file is missing or open to others; or the key service refuses: the hint says what to do."}},
      .examples = {{"PGMINT_RECOVERY_KEY_FILE=recovery.txt pgmint key check", "Try the printed recovery key."}},
      .see_also = {"key list", "status"},
      .repositories = Repositories::Each,
      .run = run_check,
  };
  return command;
}

}  // namespace pgmint::cli
