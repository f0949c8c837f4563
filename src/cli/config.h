// What /etc/pgmint/pgmint.toml says, checked key by key. Manual: pgmint.toml(5), generated from the same table.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "cli/arguments.h"
#include "cli/export_settings.h"
#include "cli/health_limits.h"
#include "cli/key_service_settings.h"
#include "cli/mirror_settings.h"
#include "cli/s3_settings.h"
#include "cli/schedule_settings.h"
#include "cli/validation_settings.h"
#include "policy/objectives.h"
#include "policy/retention.h"
#include "service/channel.h"
#include "service/contact.h"

namespace pgmint::cli {

inline constexpr std::string_view kDefaultConfigFile = "/etc/pgmint/pgmint.toml";

inline constexpr std::chrono::seconds kServiceKeyCache = std::chrono::hours(4);

struct EncryptionSettings {
  std::optional<std::string> key_file;           ///< the 32 random bytes, in their text form
  std::optional<std::string> passphrase_file;    ///< first line is the passphrase
  std::optional<std::string> recovery_key_file;  ///< holds the printed recovery key
  std::optional<std::string> export_passphrase_file;  ///< of exported files; opens nothing here
  std::vector<std::string> kms{}, vault{}, pkcs11{};  ///< URIs of keys ("awskms:///...", "vault:///...", "pkcs11:...")
  std::optional<std::chrono::seconds> service_key_cache{};  ///< how long what a service unwrapped is good for while that is away; absent: kServiceKeyCache
  KeyServiceSettings services{};                      ///< [kms], [vault], [pkcs11], wherever a repository has its own [repository.encryption]
  bool needs_service() const { return !kms.empty() || !vault.empty() || !pkcs11.empty(); }
  bool empty() const { return !key_file && !passphrase_file && !recovery_key_file && !needs_service(); }
};

/// What `repository = "..."` names is called.
inline constexpr std::string_view kOnlyRepository = "default";

struct RepositorySettings {
  std::string name;  ///< "default" for the short form
  std::string url;   ///< a directory, file:///directory, or s3://bucket/prefix
  std::string log_url;  ///< s3://bucket/prefix of the log alone; empty: beside the packs
  std::optional<std::string> compression;
  S3Settings s3;  ///< of its own; empty: the general ones
  EncryptionSettings encryption;

  bool is_s3() const { return url.starts_with("s3://"); }
  /// The directory of a local repository. @errors Configuration: s3://, which has none; a relative path
  Result<fs::path> directory() const;
};

using policy::environment_name;
using policy::EnvironmentKind;

/// [cluster.NAME.retention]
struct RetentionSettings {
  policy::RetentionRules rules;
  policy::Period wal = policy::days(30);  ///< how far back any moment can be recovered
  std::optional<std::string> timezone;    ///< absent: the system's
};

/// [recovery]: tables by how soon they are needed, as name, schema.name, with '*'.
struct RecoverySettings {
  std::vector<std::string> high, medium;
  std::optional<fs::path> plan;  ///< what pgmint recover runs when it is not told
};

struct ClusterSettings {
  std::string name;
  fs::path data_directory;  ///< empty: a remote cluster, reached by connection alone
  std::optional<fs::path> bin_directory;  ///< PostgreSQL's programs; absent: found
  bool consistent_dumps = false;  ///< all databases as of one moment
  std::string connection;  ///< libpq conninfo; empty: libpq's own defaults
  std::vector<std::string> config_paths;  ///< further files of a configuration backup, with wildcards
  EnvironmentKind environment = EnvironmentKind::Production;
  std::optional<std::chrono::seconds> rpo, rto;  ///< absent: the environment's
  RetentionSettings retention;
  ScheduleSettings schedule;  ///< takes the place of the general one, key by key
  ValidationSettings validation;

  bool is_remote() const { return data_directory.empty(); }
};

/// [logs]: files on this host beside standard error.
struct LogSettings {
  std::optional<fs::path> directory;  ///< absent: no files
  bool json = false;
  policy::Period backup = policy::days(90), restore = policy::days(90), access = policy::days(365), audit = policy::years(7);
  /// How long a book's files stay. @param book  "backup", "restore", "access", "audit"
  policy::Period keep(std::string_view book) const;
};

/// A cluster that is not configured is taken for production.
policy::Objectives objectives_of(const ClusterSettings* settings);

struct WalSettings {
  std::optional<ByteCount> spool_max;   ///< of WAL that waits on this host while the repository is away; 0: none waits; absent: by the repository's kind
  std::optional<unsigned> batch;        ///< segments that one `wal push` may send ahead
  std::optional<unsigned> prefetch;     ///< segments that one `wal get` may fetch ahead
  std::optional<std::string> on_error;  ///< what `wal get` answers a standby in the end: "stop" or "absent"
  std::optional<std::chrono::seconds> standby_retry;
};

struct Configuration {
  fs::path file;  ///< where it was read; empty: no file
  bool may_be_read_by_others = false;
  std::vector<RepositorySettings> repositories;
  bool chosen_of_several = false;  ///< `repositories` is the one that was named
  std::optional<std::string> log_url;  ///< beside `repository = ...`; once read, it is that repository's
  EncryptionSettings encryption;
  KeyServiceSettings services;
  S3Settings s3;
  ExportSettings exports;                 ///< [export]
  std::vector<MirrorSettings> mirrors;    ///< in the order of the file
  std::vector<ClusterSettings> clusters;  ///< in the order of the file
  WalSettings wal;
  RecoverySettings recovery;
  std::vector<service::Contact> contacts;
  LogSettings logs;
  ScheduleSettings schedule;
  HealthLimits health;
  std::vector<service::Channel> alerts;  ///< in the order of the file
  std::optional<std::string> metrics_listen;  ///< of this host alone (service::ListenAddress)
  std::vector<ValidationQuery> validation_queries;
  std::optional<fs::path> state_directory;
  std::optional<std::string> compression;  ///< what codec::parse_codec() takes
  std::optional<bool> compression_check;
  std::optional<unsigned> jobs;
  std::optional<std::string> log_level;
  std::optional<std::string> log_format;  ///< "auto", "text", "json", "journal"
  std::optional<std::string> progress;

  const ClusterSettings* find_cluster(std::string_view name) const;
};

/// Parses the text of a configuration file. @param source  how messages name it
/// @errors Configuration: syntax, unknown key (names the nearest known one and the line), wrong type, value out of
/// range
Result<Configuration> parse_configuration(std::string_view text, std::string_view source);

using GetEnvironment = std::function<std::optional<std::string>(const char* name)>;
/// The process's own environment; an empty variable counts as absent.
std::optional<std::string> process_environment(const char* name);

/// Reads `file`; without one, PGMINT_CONFIG or the default. Only the default may be missing. Then PGMINT_* variables
/// take the place of what the file says. @errors Configuration
Result<Configuration> load_configuration(const std::optional<std::string>& file, const GetEnvironment& environment);

/// As the command line wants it: --config, and --repository in the place of PGMINT_REPOSITORY. @errors Configuration
Result<Configuration> load_configuration(const Arguments& arguments);

/// The state directory: configured, else $XDG_STATE_HOME/pgmint, else ~/.local/state/pgmint. @errors Configuration
Result<fs::path> state_directory(const Configuration& configuration, const GetEnvironment& environment);

/// "debug", "info", "warning", "error". @errors Usage
Result<LogLevel> parse_log_level(std::string_view text);

/// For manual pages: every key, and every variable, with what it means.
struct KeyDocumentation {
  std::string table;  ///< "" for the top level, "[encryption]", "[cluster.NAME]", ...
  std::string key, kind, text;
};
std::vector<KeyDocumentation> documented_keys();
struct VariableDocumentation {
  std::string name, text;
};
std::vector<VariableDocumentation> documented_variables();

}  // namespace pgmint::cli
