// Every table of the configuration file with its keys: how each is read, and what the manual says of it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/units.h"
#include "cli/contacts.h"
#include "cli/export_keys.h"
#include "cli/key_uris.h"
#include "cli/kms_keys.h"
#include "cli/mirror_keys.h"
#include "cli/pkcs11_keys.h"
#include "cli/s3_keys.h"
#include "cli/schedule_keys.h"
#include "cli/service_keys.h"
#include "cli/validation_keys.h"
#include "cli/vault_keys.h"
#include "codec/compression.h"

namespace pgmint::cli {
namespace {

const std::vector<Key<EncryptionSettings>>& encryption_keys() {
  using T = EncryptionSettings;
  static const std::vector<Key<T>> keys = {
      {"key_file", "path", "The key file. init makes it with mode 0600 when it is absent.",
       [](T& t, const Value& v) { return assign(t.key_file, v.absolute_path()); }},
      {"passphrase_file", "path", "A file whose first line is the passphrase of a passphrase slot.",
       [](T& t, const Value& v) { return assign(t.passphrase_file, v.absolute_path()); }},
      {"recovery_key_file", "path", "A file that holds the recovery key that init printed.",
       [](T& t, const Value& v) { return assign(t.recovery_key_file, v.absolute_path()); }},
      {"export_passphrase_file", "path", "A file whose first line is the passphrase of files that export writes and import reads. It opens nothing in the repository.",
       [](T& t, const Value& v) { return assign(t.export_passphrase_file, v.absolute_path()); }},
      {"kms", "text or list", "A key of AWS KMS that opens the repository, or several: \"awskms:///ARN\" or \"awskms:///alias/NAME\". [kms] says how it is reached.",
       [](T& t, const Value& v) { return read_key_uris(t.kms, v, [](std::string_view uri) -> Status { TRY(parse_kms_uri(uri)); return ok(); }); }},
      {"vault", "text or list", "A key of HashiCorp Vault's transit engine that opens the repository, or several: \"vault:///transit/KEY\". [vault] says how it is reached.",
       [](T& t, const Value& v) { return read_key_uris(t.vault, v, [](std::string_view uri) -> Status { TRY(parse_vault_uri(uri)); return ok(); }); }},
      {"pkcs11", "text or list", "An AES key in a PKCS#11 token that opens the repository, or several: \"pkcs11:token=TOKEN;object=KEY\" (RFC 7512). [pkcs11] says how it is reached.",
       [](T& t, const Value& v) { return read_key_uris(t.pkcs11, v, [](std::string_view uri) -> Status { TRY(parse_pkcs11_uri(uri)); return ok(); }); }},
      {"service_key_cache", "time",
       "While KMS or Vault cannot be reached, backup, wal push and whatever else writes go on with the key that it last gave on this host, for so long after that. It is kept in the kernel's "
       "memory of this user, on no disk. 0: never. Default: \"4h\".",
       [](T& t, const Value& v) -> Status {
         t.service_key_cache = TRY(v.duration(std::chrono::seconds(0), std::chrono::days(7)));
         return ok();
       }},
  };
  return keys;
}

Status read_encryption(EncryptionSettings& target, const Value& value, std::string name) {
  return read_table(*TRY(value.table()), target, encryption_keys(), {value.place.source, std::move(name)});
}

Status check_compression(std::optional<std::string>& target, const Value& value) {
  auto text = TRY(value.text());
  if (auto codec = codec::parse_codec(text); !codec) return value.wrong(codec.error().message());
  target = std::move(text);
  return ok();
}

Status check_word(std::optional<std::string>& target, const Value& value, const std::vector<std::string>& words) {
  auto text = TRY(value.text());
  if (std::ranges::find(words, text) == words.end())
    return value.wrong(fmt::format("must be one of {}, not \"{}\"", fmt::join(words, ", "), text));
  target = std::move(text);
  return ok();
}

const std::vector<Key<RepositorySettings>>& repository_keys() {
  using T = RepositorySettings;
  static const std::vector<Key<T>> keys = {
      {"name", "text", "How messages, --repository and PGMINT_REPOSITORY name it.",
       [](T& t, const Value& v) { return assign(t.name, v.text()); }},
      {"url", "path or URL", "A directory, or s3://bucket/prefix.",
       [](T& t, const Value& v) { return assign(t.url, v.line()); }},
      {"log_url", "URL", "As log_url, of this repository.", [](T& t, const Value& v) { return assign(t.log_url, v.line()); }},
      {"compression", "text", "Takes the place of the general setting.",
       [](T& t, const Value& v) { return check_compression(t.compression, v); }},
      {"s3", "table", "Takes the place of [s3].",
       [](T& t, const Value& v) { return read_s3(t.s3, v, "[repository.s3]"); }},
      {"encryption", "table", "Takes the place of [encryption].",
       [](T& t, const Value& v) { return read_encryption(t.encryption, v, "[repository.encryption]"); }},
  };
  return keys;
}

Status read_environment(ClusterSettings& target, const Value& value) {
  const auto text = TRY(value.text());
  for (auto kind : {EnvironmentKind::Production, EnvironmentKind::Staging, EnvironmentKind::Development})
    if (text == environment_name(kind)) {
      target.environment = kind;
      return ok();
    }
  return value.wrong(fmt::format("must be \"production\", \"staging\" or \"development\", not \"{}\"", text));
}

Result<policy::Period> read_period(const Value& value) {
  const auto text = TRY(value.text());
  auto period = policy::parse_period(text);
  if (!period) return value.wrong(fmt::format("is wrong: {}", period.error().message()));
  return *period;
}

Status read_duration(std::optional<std::chrono::seconds>& target, const Value& value) {
  auto duration = policy::parse_duration(TRY(value.text()));
  if (!duration) return value.wrong(fmt::format("is wrong: {}", duration.error().message()));
  target = *duration;
  return ok();
}

Status read_rule(std::optional<policy::Period>& target, const Value& value) {
  const auto* text = value.node.as_string();
  if (text != nullptr && text->get() == "none") {
    target.reset();
    return ok();
  }
  return assign(target, read_period(value));
}

const std::vector<Key<RetentionSettings>>& retention_keys() {
  using T = RetentionSettings;
  static const std::vector<Key<T>> keys = {
      {"daily", "period",
       "How long the newest backup of each day stays: a number and d, w, mo or y, or \"none\". Default: \"30d\".",
       [](T& t, const Value& v) { return read_rule(t.rules.daily, v); }},
      {"weekly", "period", "The same of each week, from Monday to Sunday. Default: \"90d\".",
       [](T& t, const Value& v) { return read_rule(t.rules.weekly, v); }},
      {"monthly", "period", "The same of each month. Default: \"365d\".",
       [](T& t, const Value& v) { return read_rule(t.rules.monthly, v); }},
      {"yearly", "period", "The same of each year. Default: \"7y\".",
       [](T& t, const Value& v) { return read_rule(t.rules.yearly, v); }},
      {"window", "period", "Beside these: every backup of the last so many days stays. Default: \"none\".",
       [](T& t, const Value& v) { return read_rule(t.rules.window, v); }},
      {"count", "number", "Beside these: the newest so many backups stay. Default: none.",
       [](T& t, const Value& v) { return assign(t.rules.count, v.number(1, 100'000)); }},
      {"minimum", "number", "The newest so many backups stay however old they are. Default: 1.",
       [](T& t, const Value& v) { return assign(t.rules.minimum, v.number(1, 100'000)); }},
      {"wal", "period",
       "How far back any moment can be recovered: WAL older than that goes, but for what older backups need to become "
       "consistent. Default: \"30d\".",
       [](T& t, const Value& v) { return assign(t.wal, read_period(v)); }},
      {"timezone", "text", "Whose days these are, such as \"Europe/Berlin\". Default: the system's local time.",
       [](T& t, const Value& v) { return assign(t.timezone, v.text()); }},
  };
  return keys;
}

const std::vector<Key<ClusterSettings>>& cluster_keys() {
  using T = ClusterSettings;
  static const std::vector<Key<T>> keys = {
      {"data_directory", "path", "The server's data directory, as SHOW data_directory says. Absent: a remote cluster, which sends its files over connection (a role with REPLICATION, and a line for "
       "\"replication\" in pg_hba.conf).",
       [](T& t, const Value& v) { return assign(t.data_directory, v.absolute_path()); }},
      {"connection", "text",
       "How to connect: libpq's key=value pairs or a URI. Better no password here: a ~/.pgpass, or peer "
       "authentication.",
       [](T& t, const Value& v) { return assign(t.connection, v.text()); }},
      {"bin_directory", "path",
       "Where pg_dump, pg_dumpall and pg_restore are. Default: where packages put those of the server's major version, or of the next newer one.",
       [](T& t, const Value& v) -> Status {
         t.bin_directory = TRY(v.absolute_path());
         return ok();
       }},
      {"consistent_dumps", "boolean", "backup --type logical, also by schedule, dumps all databases as of one moment, as with --consistent. Default: false.",
       [](T& t, const Value& v) { return assign(t.consistent_dumps, v.boolean()); }},
      {"config_paths", "list of paths",
       "What backup --type config takes beside the server's own files: files and directories, such as \"/etc/mint-replica\" or \"/etc/nginx/*.conf\".",
       [](T& t, const Value& v) -> Status {
         t.config_paths = TRY(v.texts());
         for (const auto& path : t.config_paths)
           if (!path.starts_with('/')) return v.wrong(fmt::format("must hold absolute paths, not \"{}\"", path));
         return ok();
       }},
      {"environment", "text",
       "What the data is to the business: \"production\" (at most 1 h of changes may be lost; the default), "
       "\"staging\" (24 h), \"development\" (48 h). "
       "status exits 10 when more could be lost now.",
       [](T& t, const Value& v) { return read_environment(t, v); }},
      {"rpo", "duration", "How much may be lost, in place of the environment's: a number and s, min, h or d, such as \"15min\".",
       [](T& t, const Value& v) { return read_duration(t.rpo, v); }},
      {"rto", "duration",
       "How long a restore may take: status exits 10 when, by what was measured, one would take longer. Default: production \"4h\", staging \"24h\", "
       "development \"48h\".",
       [](T& t, const Value& v) { return read_duration(t.rto, v); }},
      {"retention", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.retention, retention_keys(),
                           {v.place.source, fmt::format("[cluster.{}.retention]", t.name)});
       }},
      {"schedule", "table", "",
       [](T& t, const Value& v) { return read_schedule(t.schedule, v, fmt::format("[cluster.{}.schedule]", t.name)); }},
      {"validation", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.validation, validation_keys(), {v.place.source, fmt::format("[cluster.{}.validation]", t.name)});
       }},
  };
  return keys;
}

const std::vector<Key<RecoverySettings>>& recovery_keys() {
  using T = RecoverySettings;
  static const std::vector<Key<T>> keys = {
      {"high", "list of tables",
       "What the service cannot do without: restore-db loads these tables first, with their indexes and constraints, and tells when they can be "
       "used. A name, or schema.name; '*' stands for any characters.",
       [](T& t, const Value& v) { return assign(t.high, v.texts()); }},
      {"medium", "list of tables", "What comes next. Everything else follows.",
       [](T& t, const Value& v) { return assign(t.medium, v.texts()); }},
      {"plan", "path", "The recovery plan: what recover runs when no plan is named, and what runbook shows.",
       [](T& t, const Value& v) -> Status {
         t.plan = TRY(v.absolute_path());
         return ok();
       }},
  };
  return keys;
}

const std::vector<Key<LogSettings>>& log_keys() {
  using T = LogSettings;
  static const std::vector<Key<T>> keys = {
      {"directory", "path",
       "Where what commands tell is also kept, a file a day for each of backup, restore, access and audit: backup-2026-11-26.log, to which backup.log "
       "leads. Absent: nowhere but on standard error.",
       [](T& t, const Value& v) -> Status {
         t.directory = TRY(v.absolute_path());
         return ok();
       }},
      {"format", "text", "\"text\" (the default), or \"json\": one object a line.",
       [](T& t, const Value& v) -> Status {
         std::optional<std::string> word;
         TRY(check_word(word, v, {"text", "json"}));
         t.json = *word == "json";
         return ok();
       }},
      {"backup", "period", "How long the files of backups stay, and of what else writes. Default: \"90d\".",
       [](T& t, const Value& v) { return assign(t.backup, read_period(v)); }},
      {"restore", "period", "Of restores, exports and validations. Default: \"90d\".",
       [](T& t, const Value& v) { return assign(t.restore, read_period(v)); }},
      {"access", "period", "Of commands that only read. Default: \"365d\".",
       [](T& t, const Value& v) { return assign(t.access, read_period(v)); }},
      {"audit", "period", "Of keys, holds, and of what is written into the repository's own audit log. Default: \"7y\".",
       [](T& t, const Value& v) { return assign(t.audit, read_period(v)); }},
  };
  return keys;
}

const std::vector<Key<WalSettings>>& wal_keys() {
  using T = WalSettings;
  static const std::vector<Key<T>> keys = {
      {"batch", "number", "How many ready segments one wal push may send beside the one it was asked for; 0: none.",
       [](T& t, const Value& v) { return assign(t.batch, v.number(0, 4096)); }},
      {"spool_max", "size",
       "How much WAL may wait in the state directory, sealed, while the repository is away: wal push then says that PostgreSQL may go on. \"0\": none, PostgreSQL keeps "
       "its WAL. Default: \"4GiB\" for a repository in a bucket, none for a directory.",
       [](T& t, const Value& v) -> Status {
         const auto size = parse_size(TRY(v.text()));
         if (!size) return v.wrong(fmt::format("is wrong: {}", size.error().message()));
         t.spool_max = *size;
         return ok();
       }},
      {"prefetch", "number", "How many segments one wal get may fetch ahead; 0: none.",
       [](T& t, const Value& v) { return assign(t.prefetch, v.number(0, 1024)); }},
      {"on_error", "text",
       "What wal get answers a standby when the repository still cannot be read after standby_retry: \"stop\" (exit "
       "200, the server ends; the default) or "
       "\"absent\" (exit 1, the standby goes on and asks again). Elsewhere it is always \"stop\".",
       [](T& t, const Value& v) {
         return check_word(t.on_error, v, {"stop", "absent"});
       }},
      {"standby_retry", "seconds", "How long wal get tries again on a standby. Default: 60.",
       [](T& t, const Value& v) -> Status {
         t.standby_retry = std::chrono::seconds(TRY(v.number(0, 7U * 86400)));
         return ok();
       }},
  };
  return keys;
}

bool is_plain_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 63 && name[0] != '.' && name[0] != '-' && std::ranges::all_of(name, allowed);
}

Status read_clusters(Configuration& target, const Value& value) {
  const auto* table = TRY(value.table());
  for (const auto& [key, node] : *table) {
    ClusterSettings cluster;
    cluster.name = std::string(key.str());
    const Value named{node, value.place, key.str()};
    if (!is_plain_name(cluster.name))
      return config_error(
          value.place, node,
          fmt::format("\"{}\" is no name for a cluster: letters, digits, '.', '_' and '-', at most 63", cluster.name));
    const Place place{value.place.source, fmt::format("[cluster.{}]", cluster.name)};
    TRY(read_table(*TRY(named.table()), cluster, cluster_keys(), place));
    if (cluster.is_remote() && cluster.connection.empty())
      return config_error(value.place, node, fmt::format("{} lacks \"data_directory\", or \"connection\" for a server on another machine", place.table));
    for (const auto& other : target.clusters)
      if (!cluster.is_remote() && other.data_directory == cluster.data_directory)
        return config_error(value.place, node,
                            fmt::format("{} and [cluster.{}] have the same data_directory", place.table, other.name));
    target.clusters.push_back(std::move(cluster));
  }
  return ok();
}

Status read_repositories(Configuration& target, const Value& value) {
  if (value.node.is_string()) {
    RepositorySettings repository;
    repository.name = kOnlyRepository;
    repository.url = TRY(value.line());
    target.repositories.push_back(std::move(repository));
    return ok();
  }
  const auto* array = value.node.as_array();
  if (array == nullptr) return value.wrong("must be a text, or tables [[repository]]");
  for (const auto& node : *array) {
    const auto* table = node.as_table();
    if (table == nullptr) return value.wrong("must be a text, or tables [[repository]]");
    RepositorySettings repository;
    TRY(read_table(*table, repository, repository_keys(), {value.place.source, "[[repository]]"}));
    if (repository.name.empty()) return config_error(value.place, node, "[[repository]] lacks \"name\"");
    if (repository.url.empty()) return config_error(value.place, node, "[[repository]] lacks \"url\"");
    if (!is_plain_name(repository.name))
      return config_error(value.place, node, fmt::format("\"{}\" is no name for a repository: letters, digits, '.', '_' and '-', at most 63", repository.name));
    for (const auto& other : target.repositories)
      if (other.name == repository.name)
        return config_error(value.place, node, fmt::format("two repositories are named \"{}\"", other.name));
    target.repositories.push_back(std::move(repository));
  }
  if (target.repositories.empty()) return value.wrong("names no repository");
  return ok();
}

const std::vector<Key<Configuration>>& top_keys() {
  using T = Configuration;
  static const std::vector<Key<T>> keys = {
      {"repository", "path or URL", "Where backups go: a directory, s3://bucket/prefix, or tables [[repository]] with name and url for several.",
       [](T& t, const Value& v) { return read_repositories(t, v); }},
      {"log_url", "URL",
       "Where the repository's log is kept, when not beside the backups: s3://bucket/prefix of a bucket without versions. For a store that does not decide who creates an object in "
       "a bucket with versioning or object lock (RGW 16). Chosen when the repository is made. Needs repository = \"s3://...\".",
       [](T& t, const Value& v) { return assign(t.log_url, v.line()); }},
      {"state_directory", "path",
       "What pgmint remembers on this host, such as the newest log entry seen. Default: $XDG_STATE_HOME/pgmint, else "
       "~/.local/state/pgmint.",
       [](T& t, const Value& v) -> Status {
         t.state_directory = TRY(v.absolute_path());
         return ok();
       }},
      {"compression", "text",
       "Of what is stored from now on: \"balanced\" (default: PostgreSQL's pages are taken apart, then zstd level 1), \"fast\" (then lz4), "
       "\"small\" (then zstd level 5; \"small:LEVEL\"), \"none\"; or \"zstd:LEVEL\" or \"lz4\" alone.",
       [](T& t, const Value& v) { return check_compression(t.compression, v); }},
      {"compression_check", "boolean",
       "Put pages and WAL that were taken apart together again and compare, before they are stored; a difference would be a defect of pgmint's, and the "
       "they would be stored by zstd or lz4 alone. Costs about a tenth of a backup's processor time. Default: true.",
       [](T& t, const Value& v) { return assign(t.compression_check, v.boolean()); }},
      {"jobs", "number", "Threads of backup, restore and verify. Default: the machine's cores.",
       [](T& t, const Value& v) { return assign(t.jobs, v.number(1, 256)); }},
      {"log_level", "text",
       "\"debug\", \"info\", \"warning\" or \"error\". Default: \"info\", \"warning\" for wal push and wal get.",
       [](T& t, const Value& v) {
         return check_word(t.log_level, v, {"debug", "info", "warning", "error"});
       }},
      {"log_format", "text",
       "How diagnostics look on standard error: \"text\", \"json\" (one object a line), \"journal\" (with the priorities that journald reads), or \"auto\" "
       "(the default: \"journal\" where standard error is the journal, else \"text\").",
       [](T& t, const Value& v) {
         return check_word(t.log_format, v, {"auto", "text", "json", "journal"});
       }},
      {"progress", "text", "\"auto\" (a bar on a terminal, else lines, with log_format \"json\" those of json; the default), \"plain\", \"json\" or \"none\".",
       [](T& t, const Value& v) {
         return check_word(t.progress, v, {"auto", "plain", "json", "none"});
       }},
      {"encryption", "table", "",
       [](T& t, const Value& v) { return read_encryption(t.encryption, v, "[encryption]"); }},
      {"cluster", "tables", "", [](T& t, const Value& v) { return read_clusters(t, v); }},
      {"s3", "table", "", [](T& t, const Value& v) { return read_s3(t.s3, v, "[s3]"); }},
      {"export", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.exports, export_keys(), {v.place.source, "[export]"});
       }},
      {"kms", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.services.kms, kms_keys(), {v.place.source, "[kms]"});
       }},
      {"vault", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.services.vault, vault_keys(), {v.place.source, "[vault]"});
       }},
      {"pkcs11", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.services.pkcs11, pkcs11_keys(), {v.place.source, "[pkcs11]"});
       }},
      {"mirror", "tables", "", [](T& t, const Value& v) { return read_mirrors(t.mirrors, v); }},
      {"wal", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.wal, wal_keys(), {v.place.source, "[wal]"});
       }},
      {"contact", "tables", "", [](T& t, const Value& v) { return read_contacts(t.contacts, v); }},
      {"logs", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.logs, log_keys(), {v.place.source, "[logs]"});
       }},
      {"recovery", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.recovery, recovery_keys(), {v.place.source, "[recovery]"});
       }},
      {"schedule", "table", "", [](T& t, const Value& v) { return read_schedule(t.schedule, v, "[schedule]"); }},
      {"health", "table", "", [](T& t, const Value& v) { return read_health(t.health, v); }},
      {"alert", "tables", "", [](T& t, const Value& v) { return read_alerts(t.alerts, v); }},
      {"metrics", "table", "", [](T& t, const Value& v) { return read_metrics(t, v); }},
      {"validation", "tables", "", [](T& t, const Value& v) { return read_validation_queries(t.validation_queries, v); }},
  };
  return keys;
}

}  // namespace

Status read_top_level(const toml::table& table, Configuration& target, std::string_view source) {
  TRY(read_table(table, target, top_keys(), {source, "the top level"}));
  target.encryption.services = target.services;
  for (auto& repository : target.repositories) repository.encryption.services = target.services;
  for (auto& mirror : target.mirrors) {
    if (mirror.repository.empty() && target.repositories.size() > 1) mirror.repository = target.repositories.front().name;
    if (!mirror.repository.empty() && std::ranges::find(target.repositories, mirror.repository, &RepositorySettings::name) == target.repositories.end())
      return Error(Errc::Configuration, fmt::format("{}: mirror \"{}\" is to be of repository \"{}\", which is not configured", source, mirror.name, mirror.repository));
  }
  return ok();
}

std::vector<KeyDocumentation> documented_keys() {
  std::vector<KeyDocumentation> out;
  document(out, "", top_keys());
  document(out, "[encryption]", encryption_keys());
  document(out, "[cluster.NAME]", cluster_keys());
  document(out, "[cluster.NAME.retention]", retention_keys());
  document(out, "[schedule]", schedule_keys());
  out.push_back({"[cluster.NAME.schedule]", "full, incremental, logical, config, expire, collect, lock, verify, timezone, jitter", "as in [schedule]",
                 "Take the place of [schedule] for this cluster, key by key."});
  document(out, "[cluster.NAME.validation]", validation_keys());
  document(out, "[[validation]]", validation_query_keys());
  document(out, "[wal]", wal_keys());
  document(out, "[recovery]", recovery_keys());
  document(out, "[[contact]]", contact_keys());
  document(out, "[logs]", log_keys());
  document_service(out);
  document(out, "[s3]", s3_keys());
  document(out, "[export]", export_keys());
  out.push_back({"[export.s3]", "endpoint, region, ..., storage_class, server_side_encryption, kms_key_id", "as in [s3]",
                 "Of the bucket that export writes to. Where it says anything of the service or of who we are to it, it takes the place of [s3]; else that is used. How objects are kept is "
                 "never taken from [s3]: storage_class is \"STANDARD_IA\" by default, server_side_encryption \"aws:kms\" (\"none\": as the bucket says)."});
  document(out, "[kms]", kms_keys());
  document(out, "[vault]", vault_keys());
  document(out, "[pkcs11]", pkcs11_keys());
  document(out, "[[repository]]", repository_keys());
  document(out, "[[mirror]]", mirror_keys());
  return out;
}

}  // namespace pgmint::cli
