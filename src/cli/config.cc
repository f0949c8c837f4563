#include "cli/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "cli/config_value.h"
#include "codec/compression.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kConfigMax = 1U << 20;

/// One store must not be part of the other, or each would list what is the other's.
Status check_log_url(const RepositorySettings& repository) {
  const auto& log = repository.log_url;
  if (log.empty()) return ok();
  const Hint hint{"log_url = \"s3://bucket/prefix\", of a bucket without versions"};
  if (!log.starts_with("s3://")) return Error(Errc::Configuration, fmt::format("log_url \"{}\" is no s3:// URL", log), hint);
  if (!repository.is_s3()) return Error(Errc::Configuration, fmt::format("log_url is given, and the repository {} is a directory, which needs none", repository.url), Hint{"remove log_url"});
  const auto folder = [](std::string url) { return url.ends_with('/') ? url : url + '/'; };
  const auto packs = folder(repository.url), logs = folder(log);
  if (packs.starts_with(logs) || logs.starts_with(packs)) return Error(Errc::Configuration, fmt::format("log_url {} lies in the repository {}, or it in that", log, repository.url), hint);
  return ok();
}

Status place_logs(Configuration& configuration) {
  if (configuration.log_url) {
    if (configuration.repositories.size() != 1 || configuration.repositories.front().name != kOnlyRepository)
      return Error(Errc::Configuration, "log_url stands without repository = \"s3://...\" beside it", Hint{"of several repositories each has its own: log_url in [[repository]]"});
    configuration.repositories.front().log_url = *configuration.log_url;
  }
  for (const auto& repository : configuration.repositories) TRY(check_log_url(repository));
  return ok();
}

Status apply_environment(Configuration& configuration, const GetEnvironment& environment) {
  if (auto url = environment("PGMINT_REPOSITORY")) {
    // A name chooses among [[repository]] tables; anything with a slash is a place of its own.
    const auto named = std::ranges::find(configuration.repositories, *url, &RepositorySettings::name);
    RepositorySettings chosen;
    if (named != configuration.repositories.end()) {
      chosen = *named;
      configuration.chosen_of_several = configuration.repositories.size() > 1;
    } else if (url->find('/') != std::string::npos) {
      chosen.name = kOnlyRepository;
      chosen.url = *url;
    } else {
      std::vector<std::string> names;
      for (const auto& one : configuration.repositories) names.push_back(one.name);
      return Error(Errc::Configuration, fmt::format("there is no repository named \"{}\"; configured: {}", *url, fmt::join(names, ", ")),
                   Hint{"--repository, or PGMINT_REPOSITORY, takes one of these names, or a directory or URL"});
    }
    configuration.repositories = {std::move(chosen)};
  }
  if (auto url = environment("PGMINT_LOG_URL")) {
    if (configuration.repositories.size() != 1)
      return Error(Errc::Configuration, "PGMINT_LOG_URL is about one repository", Hint{"choose it with --repository or PGMINT_REPOSITORY"});
    configuration.repositories.front().log_url = *url;
    TRY(check_log_url(configuration.repositories.front()));
  }
  EncryptionSettings chosen;
  chosen.key_file = environment("PGMINT_KEY_FILE");
  chosen.passphrase_file = environment("PGMINT_PASSPHRASE_FILE");
  chosen.recovery_key_file = environment("PGMINT_RECOVERY_KEY_FILE");
  if (!chosen.empty()) {  // whoever names a key wants that one tried, and no other
    chosen.services = configuration.services;
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

policy::Objectives objectives_of(const ClusterSettings* settings) {
  if (settings == nullptr) return policy::objectives_of(EnvironmentKind::Production);
  return policy::objectives_of(settings->environment, settings->rpo, settings->rto);
}

Result<fs::path> RepositorySettings::directory() const {
  std::string_view path = url;
  if (is_s3())
    return Error(Errc::Configuration, fmt::format("repository {} is a bucket, where a directory is needed", url));
  if (path.starts_with("file://")) path.remove_prefix(7);
  if (!path.starts_with('/'))
    return Error(Errc::Configuration, fmt::format("repository \"{}\" is not an absolute path", url),
                 Hint{"set repository = \"/var/lib/pgmint\""});
  return fs::path(path);
}

policy::Period LogSettings::keep(std::string_view book) const {
  if (book == "restore") return restore;
  if (book == "access") return access;
  return book == "audit" ? audit : backup;
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
  TRY(read_top_level(parsed.table(), configuration, source));
  TRY(place_logs(configuration).context(std::string(source)));
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

Result<Configuration> load_configuration(const Arguments& arguments) {
  const auto named = arguments.get("--repository");
  return load_configuration(arguments.get("--config"), [&](const char* name) { return named && std::string_view(name) == "PGMINT_REPOSITORY" ? named : process_environment(name); });
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
