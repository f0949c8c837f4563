#include "cli/unit_facts.h"

#include <algorithm>

#include "cli/pkcs11_keys.h"
#include "cli/recall_command.h"

namespace pgmint::cli {
namespace {

/// Every path in a conninfo or URI: directories of sockets, certificates. A database's name may pass for one, which only makes the unit more careful.
std::vector<fs::path> paths_in(std::string connection) {
  for (const std::string_view slash : {"%2F", "%2f"})
    for (auto at = connection.find(slash); at != std::string::npos; at = connection.find(slash)) connection.replace(at, slash.size(), "/");
  std::vector<fs::path> paths;
  constexpr std::string_view kBetween = " '\"=&,?@:";
  for (std::size_t at = 0; at < connection.size();) {
    const auto end = std::min(connection.find_first_of(kBetween, at), connection.size());
    if (connection[at] == '/') paths.emplace_back(fs::path(connection.substr(at, end - at)).lexically_normal());
    at = end + 1;
  }
  return paths;
}

/// What a repository is written to and read by.
Status add_repository(service::InstallFacts& facts, const Configuration& configuration, const RepositorySettings& repository) {
  if (!repository.is_s3()) facts.written.push_back(TRY(repository.directory()));
  const auto& encryption = repository.encryption.empty() ? configuration.encryption : repository.encryption;
  for (const auto& file : {encryption.key_file, encryption.passphrase_file, encryption.recovery_key_file})
    if (file) facts.read.emplace_back(*file);
  const auto& s3 = repository.s3.empty() ? configuration.s3 : repository.s3;
  if (repository.is_s3() && s3.ca_file) facts.read.emplace_back(*s3.ca_file);
  const auto& services = encryption.services;
  if (!encryption.kms.empty() && services.kms.ca_file) facts.read.emplace_back(*services.kms.ca_file);
  if (!encryption.vault.empty())
    for (const auto& file : {services.vault.ca_file, services.vault.token_file, services.vault.secret_id_file})
      if (file) facts.read.emplace_back(*file);
  for (const auto& text : encryption.pkcs11) {
    const auto uri = TRY(parse_pkcs11_uri(text));
    for (const auto& file : {uri.module ? uri.module : services.pkcs11.module, uri.pin_file ? uri.pin_file : services.pkcs11.pin_file})
      if (file) facts.read.emplace_back(*file);
  }
  return ok();
}

/// A data directory, and what its links lead to: WAL and tablespaces. Who cannot look into it gets it alone.
void add_data_directory(service::InstallFacts& facts, const fs::path& directory) {
  facts.read.push_back(directory);
  const auto add_target = [&](const fs::path& link) {
    std::error_code ignored;
    if (auto target = fs::read_symlink(link, ignored); !ignored) facts.read.push_back((link.parent_path() / target).lexically_normal());
  };
  add_target(directory);
  add_target(directory / "pg_wal");
  std::error_code ignored;
  for (fs::directory_iterator entry(directory / "pg_tblspc", ignored), end; !ignored && entry != end; entry.increment(ignored)) add_target(entry->path());
}

}  // namespace

Result<service::InstallFacts> unit_facts(Context& context, const ServiceUser& user) {
  const auto& configuration = *TRY(context.configuration());
  service::InstallFacts facts;
  facts.program = own_command(context);
  facts.user = user.name;
  facts.state_directory = TRY(state_directory_of(configuration, user));
  TRY(context.need_repositories());
  for (const auto& repository : configuration.repositories) TRY(add_repository(facts, configuration, repository));
  for (const auto& mirror : configuration.mirrors) {
    RepositorySettings place;
    place.url = mirror.url;
    if (!place.is_s3()) facts.written.push_back(TRY(place.directory()));
    const auto& its = mirror.s3.empty() ? configuration.s3 : mirror.s3;
    if (place.is_s3() && its.ca_file) facts.read.emplace_back(*its.ca_file);
  }
  if (configuration.logs.directory) facts.written.push_back(*configuration.logs.directory);
  if (!configuration.file.empty()) facts.read.push_back(fs::absolute(configuration.file));
  for (const auto& channel : configuration.alerts) {
    for (const auto& file : {channel.secret_file, channel.password_file, channel.ca_file})
      if (!file.empty()) facts.read.push_back(file);
    if (!channel.command.empty()) facts.read.emplace_back(channel.command.front());
  }
  for (const auto& cluster : configuration.clusters) {
    if (!cluster.is_remote()) add_data_directory(facts, cluster.data_directory);
    if (cluster.bin_directory) facts.read.push_back(*cluster.bin_directory);
    for (const auto& path : cluster.config_paths) facts.read.emplace_back(path);
    for (auto& place : paths_in(cluster.connection)) facts.socket_places.push_back(std::move(place));
  }
  return facts;
}

}  // namespace pgmint::cli
