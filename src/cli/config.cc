#include "cli/config.h"

#define TOML_EXCEPTIONS 0
// toml++ 3.3 asserts that a key begins with a key's character where it has not looked ("[= x"), and has a proper error
// for it right behind: a configuration file may hold anything, and must not end the process (fuzz_configuration).
#define TOML_ASSERT(expression) static_assert(true)
#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "cli/nearest.h"
#include "codec/compression.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kConfigMax = 1U << 20;

/// Where a node stands, for messages.
struct Place {
  std::string_view source;
  std::string table;  ///< "[encryption]", or "the top level"
};

Error config_error(const Place& place, const toml::node& node, std::string message) {
  return Error(Errc::Configuration, fmt::format("{}:{}: {}", place.source, node.source().begin.line, message));
}

/// One value with its name, read with its type checked.
struct Value {
  const toml::node& node;
  const Place& place;
  std::string_view key;

  Error wrong(std::string_view what) const {
    return config_error(place, node, fmt::format("\"{}\" in {} {}", key, place.table, what));
  }
  Result<std::string> text() const {
    const auto* value = node.as_string();
    if (value == nullptr) return wrong("must be a text in quotes");
    if (value->get().empty()) return wrong("is empty");
    if (value->get().find('\0') != std::string::npos) return wrong("holds a zero byte");
    return value->get();
  }
  Result<std::string> absolute_path() const {
    auto value = TRY(text());
    if (!value.starts_with('/')) return wrong(fmt::format("must be an absolute path, not \"{}\"", value));
    return value;
  }
  Result<bool> boolean() const {
    const auto* value = node.as_boolean();
    if (value == nullptr) return wrong("must be true or false");
    return value->get();
  }
  Result<unsigned> number(unsigned least, unsigned most) const {
    const auto* value = node.as_integer();
    if (value == nullptr) return wrong("must be a whole number");
    if (value->get() < least || value->get() > most) return wrong(fmt::format("must be from {} to {}", least, most));
    return static_cast<unsigned>(value->get());
  }
  Result<std::vector<std::string>> texts() const {
    const auto* array = node.as_array();
    if (array == nullptr) return wrong("must be a list of texts: [\"a\", \"b\"]");
    std::vector<std::string> all;
    for (const auto& one : *array) all.push_back(TRY(Value{one, place, key}.text()));
    return all;
  }
  Result<const toml::table*> table() const {
    if (const auto* value = node.as_table()) return value;
    return wrong("must be a table");
  }
};

/// One key that a table may hold. `set` is null for keys that stand for a group of tables in the manual.
template <class T>
struct Key {
  std::string_view name, kind, text;
  Status (*set)(T&, const Value&);
};

template <class T, class Reader>
Status assign(T& target, Result<Reader> value) {
  target = TRY(std::move(value));
  return ok();
}

template <class T>
Status read_table(const toml::table& table, T& target, const std::vector<Key<T>>& keys, const Place& place);

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
  };
  return keys;
}

const std::vector<Key<S3Settings>>& s3_keys() {
  using T = S3Settings;
  static const std::vector<Key<T>> keys = {
      {"endpoint", "URL", "Where the service listens; absent: AWS.",
       [](T& t, const Value& v) { return assign(t.endpoint, v.text()); }},
      {"region", "text", "The region to sign for.", [](T& t, const Value& v) { return assign(t.region, v.text()); }},
      {"path_style", "true or false", "Bucket names in the path instead of the host name.",
       [](T& t, const Value& v) { return assign(t.path_style, v.boolean()); }},
      {"ca_file", "path", "Certificates to trust, in PEM.",
       [](T& t, const Value& v) { return assign(t.ca_file, v.absolute_path()); }},
      {"access_key_id", "text", "Absent: the usual chain of environment, profile, web identity, metadata.",
       [](T& t, const Value& v) { return assign(t.access_key_id, v.text()); }},
      {"secret_access_key", "text", "Belongs to access_key_id.",
       [](T& t, const Value& v) { return assign(t.secret_access_key, v.text()); }},
  };
  return keys;
}

Status read_encryption(EncryptionSettings& target, const Value& value, std::string name) {
  return read_table(*TRY(value.table()), target, encryption_keys(), {value.place.source, std::move(name)});
}

Status read_s3(S3Settings& target, const Value& value, std::string name) {
  return read_table(*TRY(value.table()), target, s3_keys(), {value.place.source, std::move(name)});
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
      {"name", "text", "How messages and PGMINT_REPOSITORY name it.",
       [](T& t, const Value& v) { return assign(t.name, v.text()); }},
      {"url", "path or URL", "A directory, or s3://bucket/prefix.",
       [](T& t, const Value& v) { return assign(t.url, v.text()); }},
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
      {"data_directory", "path", "The server's data directory, as SHOW data_directory says.",
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
      {"retention", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.retention, retention_keys(),
                           {v.place.source, fmt::format("[cluster.{}.retention]", t.name)});
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
  };
  return keys;
}

const std::vector<Key<WalSettings>>& wal_keys() {
  using T = WalSettings;
  static const std::vector<Key<T>> keys = {
      {"batch", "number", "How many ready segments one wal push may send beside the one it was asked for; 0: none.",
       [](T& t, const Value& v) { return assign(t.batch, v.number(0, 4096)); }},
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

bool valid_cluster_name(std::string_view name) {
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
    if (!valid_cluster_name(cluster.name))
      return config_error(
          value.place, node,
          fmt::format("\"{}\" is no name for a cluster: letters, digits, '.', '_' and '-', at most 63", cluster.name));
    const Place place{value.place.source, fmt::format("[cluster.{}]", cluster.name)};
    TRY(read_table(*TRY(named.table()), cluster, cluster_keys(), place));
    if (cluster.data_directory.empty())
      return config_error(value.place, node, fmt::format("{} lacks \"data_directory\"", place.table));
    for (const auto& other : target.clusters)
      if (other.data_directory == cluster.data_directory)
        return config_error(value.place, node,
                            fmt::format("{} and [cluster.{}] have the same data_directory", place.table, other.name));
    target.clusters.push_back(std::move(cluster));
  }
  return ok();
}

Status read_repositories(Configuration& target, const Value& value) {
  if (value.node.is_string()) {
    RepositorySettings repository;
    repository.name = "default";
    repository.url = TRY(value.text());
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
      {"repository", "path or URL", "Where backups go: a directory, or tables [[repository]] with name and url.",
       [](T& t, const Value& v) { return read_repositories(t, v); }},
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
      {"progress", "text", "\"auto\" (a bar on a terminal, else lines; the default), \"plain\", \"json\" or \"none\".",
       [](T& t, const Value& v) {
         return check_word(t.progress, v, {"auto", "plain", "json", "none"});
       }},
      {"encryption", "table", "",
       [](T& t, const Value& v) { return read_encryption(t.encryption, v, "[encryption]"); }},
      {"cluster", "tables", "", [](T& t, const Value& v) { return read_clusters(t, v); }},
      {"s3", "table", "", [](T& t, const Value& v) { return read_s3(t.s3, v, "[s3]"); }},
      {"wal", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.wal, wal_keys(), {v.place.source, "[wal]"});
       }},
      {"recovery", "table", "",
       [](T& t, const Value& v) -> Status {
         return read_table(*TRY(v.table()), t.recovery, recovery_keys(), {v.place.source, "[recovery]"});
       }},
  };
  return keys;
}

/// The table where an unknown key would have been right, if there is exactly such a key.
std::optional<std::string> right_table(std::string_view key) {
  for (const auto& known : documented_keys())
    if (known.key == key) return known.table.empty() ? "the top level, before the first table" : known.table;
  return std::nullopt;
}

template <class T>
Status read_table(const toml::table& table, T& target, const std::vector<Key<T>>& keys, const Place& place) {
  for (const auto& [key, node] : table) {
    const auto name = key.str();
    const auto known = std::ranges::find(keys, name, &Key<T>::name);
    if (known != keys.end()) {
      TRY(known->set(target, Value{node, place, name}));
      continue;
    }
    std::vector<std::string> names;
    for (const auto& one : keys) names.emplace_back(one.name);
    std::string advice = fmt::format("known are {}", fmt::join(names, ", "));
    if (auto table_name = right_table(name))
      advice = fmt::format("it belongs in {}", *table_name);
    else if (auto meant = nearest(name, names))
      advice = fmt::format("the nearest known one is \"{}\"", *meant);
    return Error(Errc::Configuration,
                 fmt::format("{}:{}: unknown key \"{}\" in {}: {}", place.source, key.source().begin.line, name,
                             place.table, advice),
                 Hint{"man pgmint.toml lists every key"});
  }
  return ok();
}

template <class T>
void document(std::vector<KeyDocumentation>& out, std::string_view table, const std::vector<Key<T>>& keys) {
  for (const auto& key : keys)
    if (!key.text.empty())
      out.push_back({std::string(table), std::string(key.name), std::string(key.kind), std::string(key.text)});
}

Status apply_environment(Configuration& configuration, const GetEnvironment& environment) {
  if (auto url = environment("PGMINT_REPOSITORY")) {
    // A name chooses among [[repository]] tables; anything with a slash is a place of its own.
    const auto named = std::ranges::find(configuration.repositories, *url, &RepositorySettings::name);
    RepositorySettings chosen;
    if (named != configuration.repositories.end()) {
      chosen = *named;
    } else if (url->find('/') != std::string::npos) {
      chosen.name = "default";
      chosen.url = *url;
    } else {
      return Error(Errc::Configuration, fmt::format("PGMINT_REPOSITORY: there is no repository named \"{}\"", *url));
    }
    configuration.repositories = {std::move(chosen)};
  }
  EncryptionSettings chosen;
  chosen.key_file = environment("PGMINT_KEY_FILE");
  chosen.passphrase_file = environment("PGMINT_PASSPHRASE_FILE");
  chosen.recovery_key_file = environment("PGMINT_RECOVERY_KEY_FILE");
  if (!chosen.empty()) {  // whoever names a key wants that one tried, and no other
    configuration.encryption = chosen;
    for (auto& repository : configuration.repositories) repository.encryption = {};
  }
  if (auto value = environment("PGMINT_STATE_DIRECTORY")) configuration.state_directory = *value;
  if (auto value = environment("PGMINT_LOG_LEVEL")) configuration.log_level = *value;
  if (auto value = environment("PGMINT_PROGRESS")) configuration.progress = *value;
  if (auto value = environment("PGMINT_COMPRESSION")) {
    if (auto codec = codec::parse_codec(*value); !codec)
      return Error(Errc::Configuration, "PGMINT_COMPRESSION: " + codec.error().message());
    configuration.compression = *value;
    for (auto& repository : configuration.repositories) repository.compression.reset();
  }
  if (auto value = environment("PGMINT_JOBS")) {
    char* end = nullptr;
    const auto jobs = std::strtoul(value->c_str(), &end, 10);
    if (*end != '\0' || jobs < 1 || jobs > 256)
      return Error(Errc::Configuration, "PGMINT_JOBS must be a number from 1 to 256");
    configuration.jobs = static_cast<unsigned>(jobs);
  }
  return ok();
}

}  // namespace

std::string_view environment_name(EnvironmentKind kind) {
  switch (kind) {
    case EnvironmentKind::Production:
      return "production";
    case EnvironmentKind::Staging:
      return "staging";
    case EnvironmentKind::Development:
      return "development";
  }
  return "production";
}

std::chrono::seconds rpo_of(EnvironmentKind kind) {
  switch (kind) {
    case EnvironmentKind::Production:
      return std::chrono::hours(1);
    case EnvironmentKind::Staging:
      return std::chrono::hours(24);
    case EnvironmentKind::Development:
      return std::chrono::hours(48);
  }
  return std::chrono::hours(1);
}

Result<fs::path> RepositorySettings::directory() const {
  std::string_view path = url;
  if (is_s3())
    return Error(Errc::Configuration,
                 fmt::format("repository {}: s3:// repositories come with a later version; this one keeps its "
                             "repository in a local directory",
                             url),
                 Hint{"set repository = \"/var/lib/pgmint\""});
  if (path.starts_with("file://")) path.remove_prefix(7);
  if (!path.starts_with('/'))
    return Error(Errc::Configuration, fmt::format("repository \"{}\" is not an absolute path", url),
                 Hint{"set repository = \"/var/lib/pgmint\""});
  return fs::path(path);
}

const ClusterSettings* Configuration::find_cluster(std::string_view name) const {
  const auto found = std::ranges::find(clusters, name, &ClusterSettings::name);
  return found == clusters.end() ? nullptr : &*found;
}

Result<Configuration> parse_configuration(std::string_view text, std::string_view source) {
  if (text.size() > kConfigMax) return Error(Errc::Configuration, fmt::format("{}: larger than 1 MiB", source));
  const toml::parse_result parsed = toml::parse(text, std::string(source));
  if (!parsed) {
    const auto& failure = parsed.error();
    return Error(Errc::Configuration,
                 fmt::format("{}:{}: {}", source, failure.source().begin.line, failure.description()));
  }
  Configuration configuration;
  TRY(read_table(parsed.table(), configuration, top_keys(), {source, "the top level"}));
  // toml++ keeps its keys sorted; people expect the order in which they wrote them.
  const auto* clusters = parsed.table()["cluster"].as_table();
  std::ranges::sort(configuration.clusters, {}, [&](const ClusterSettings& cluster) {
    const auto* node = clusters == nullptr ? nullptr : clusters->get(cluster.name);
    return node == nullptr ? 0U : node->source().begin.line;
  });
  return configuration;
}

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

Result<Configuration> load_configuration(const std::optional<std::string>& file, const GetEnvironment& environment) {
  const auto named = file ? file : environment("PGMINT_CONFIG");
  const fs::path path = named ? fs::path(*named) : fs::path(kDefaultConfigFile);
  Configuration configuration;
  auto text = read_text_file(path, kConfigMax);
  if (text) {
    configuration = TRY(parse_configuration(*text, path.string()));
    configuration.file = path;
    if (auto status = stat_if_exists(fs::weakly_canonical(path)); status && *status)
      configuration.may_be_read_by_others = ((*status)->st_mode & (S_IRGRP | S_IROTH)) != 0;
  } else if (text.error().code() != Errc::NotFound || named) {
    return std::move(text.error())
        .with_code(Errc::Configuration)
        .with_context("configuration")
        .with_hint(Hint{"pgmint.toml(5) describes the file; --config FILE or PGMINT_CONFIG name another"});
  }
  TRY(apply_environment(configuration, environment));
  return configuration;
}

Result<fs::path> state_directory(const Configuration& configuration, const GetEnvironment& environment) {
  if (configuration.state_directory) return *configuration.state_directory;
  if (auto state = environment("XDG_STATE_HOME"); state && state->starts_with('/')) return fs::path(*state) / "pgmint";
  if (auto home = environment("HOME"); home && home->starts_with('/')) return fs::path(*home) / ".local/state/pgmint";
  return Error(Errc::Configuration, "there is no home directory to keep pgmint's state in",
               Hint{"set state_directory = \"/var/lib/pgmint-state\" in the configuration"});
}

Result<LogLevel> parse_log_level(std::string_view text) {
  if (text == "debug") return LogLevel::Debug;
  if (text == "info") return LogLevel::Info;
  if (text == "warning") return LogLevel::Warning;
  if (text == "error") return LogLevel::Error;
  return Error(Errc::Usage, fmt::format("log level \"{}\": must be debug, info, warning or error", text));
}

std::vector<KeyDocumentation> documented_keys() {
  std::vector<KeyDocumentation> out;
  document(out, "", top_keys());
  document(out, "[encryption]", encryption_keys());
  document(out, "[cluster.NAME]", cluster_keys());
  document(out, "[cluster.NAME.retention]", retention_keys());
  document(out, "[wal]", wal_keys());
  document(out, "[recovery]", recovery_keys());
  document(out, "[s3]", s3_keys());
  document(out, "[[repository]]", repository_keys());
  return out;
}

std::vector<VariableDocumentation> documented_variables() {
  return {
      {"PGMINT_CONFIG", "The configuration file."},
      {"PGMINT_REPOSITORY", "A directory, or the name of a configured repository; takes the place of repository."},
      {"PGMINT_KEY_FILE", "Takes the place of [encryption]: this key file alone is tried."},
      {"PGMINT_PASSPHRASE_FILE", "As above, with a passphrase."},
      {"PGMINT_RECOVERY_KEY_FILE",
       "As above, with the recovery key: how to get at the backups when the host and its key file are lost."},
      {"PGMINT_STATE_DIRECTORY", "Takes the place of state_directory."},
      {"PGMINT_COMPRESSION", "Takes the place of compression."},
      {"PGMINT_JOBS", "Takes the place of jobs."},
      {"PGMINT_LOG_LEVEL", "Takes the place of log_level."},
      {"PGMINT_PROGRESS", "Takes the place of progress."},
  };
}

}  // namespace pgmint::cli
