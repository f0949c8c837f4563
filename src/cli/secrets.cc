#include "cli/secrets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <nlohmann/json.hpp>

#include "cli/key_services.h"
#include "crypto/secret_shares.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kSecretMax = 64U << 10;

Result<repository::Unlock> unlock_from_key_text(repository::KeyProvider provider, const fs::path& path) {
  auto text = TRY(read_secret_file(path));
  if (provider == repository::KeyProvider::Recovery)  // typed from paper
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  repository::Unlock unlock;
  unlock.provider = provider;
  auto key = repository::parse_key_text(provider, text);
  crypto::wipe(std::as_writable_bytes(std::span(text.data(), text.size())));
  unlock.key = TRY(std::move(key).context(path.string()));
  return unlock;
}

}  // namespace

Result<std::string> read_secret_file(const fs::path& path) {
  auto opened = open_file(path, O_RDONLY);
  if (!opened) {
    auto error = std::move(opened.error());
    if (error.code() == Errc::NotFound)
      return Error(
          Errc::Key, fmt::format("{}: there is no such file", path.string()),
          Hint{"without the key file the repository opens with the recovery key: PGMINT_RECOVERY_KEY_FILE=FILE"});
    return std::move(error).with_code(Errc::Key);
  }
  struct stat status {};
  if (::fstat(opened->get(), &status) != 0) return errno_error(errno, path.string());
  if (!S_ISREG(status.st_mode)) return Error(Errc::Key, fmt::format("{}: not a plain file", path.string()));
  if (status.st_uid != ::geteuid() && status.st_uid != 0 && ::geteuid() != 0)
    return Error(Errc::Key,
                 fmt::format("{}: belongs to user {}, neither to you ({}) nor to root", path.string(), status.st_uid,
                             ::geteuid()),
                 Hint{fmt::format("chown {} {}", ::geteuid(), path.string())});
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return Error(Errc::Key,
                 fmt::format("{}: mode {:04o} lets others at the key", path.string(), status.st_mode & 07777),
                 Hint{fmt::format("chmod 600 {}", path.string())});
  if (static_cast<std::uint64_t>(status.st_size) > kSecretMax)
    return Error(Errc::Key, fmt::format("{}: too large for a key file", path.string()));
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  text.resize(TRY(read_at(*opened, std::as_writable_bytes(std::span(text.data(), text.size())), 0, path.string())));
  return text;
}

Result<repository::Unlock> unlock_from_key_file(const fs::path& path) {
  return unlock_from_key_text(repository::KeyProvider::KeyFile, path);
}

Result<repository::Unlock> unlock_from_recovery_file(const fs::path& path) {
  return unlock_from_key_text(repository::KeyProvider::Recovery, path);
}

Result<std::string> read_passphrase_file(const fs::path& path) {
  auto text = TRY(read_secret_file(path));
  if (const auto end = text.find('\n'); end != std::string::npos) text.resize(end);
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return Error(Errc::Key, fmt::format("{}: the first line is empty", path.string()));
  return text;
}

Result<repository::Unlock> unlock_from_passphrase_file(const fs::path& path) {
  repository::Unlock unlock;
  unlock.provider = repository::KeyProvider::Passphrase;
  unlock.passphrase = TRY(read_passphrase_file(path));
  return unlock;
}

Result<std::vector<repository::Unlock>> configured_unlocks(const EncryptionSettings& settings) {
  std::vector<repository::Unlock> unlocks;
  if (settings.key_file) unlocks.push_back(TRY(unlock_from_key_file(*settings.key_file)));
  if (settings.passphrase_file) unlocks.push_back(TRY(unlock_from_passphrase_file(*settings.passphrase_file)));
  if (settings.recovery_key_file) unlocks.push_back(TRY(unlock_from_recovery_file(*settings.recovery_key_file)));
  for (const auto& kind : key_service_kinds())
    for (const auto& uri : settings.*kind.uris) unlocks.push_back(TRY(kind.unlock(uri, settings.services)));
  if (unlocks.empty())
    return Error(Errc::Configuration, "no key is configured",
                 Hint{"set key_file in [encryption]; pgmint init makes the file when it is absent"});
  return unlocks;
}

Result<repository::Unlock> create_key_file(const fs::path& path, RandomSource& random) {
  repository::Unlock unlock;
  unlock.provider = repository::KeyProvider::KeyFile;
  unlock.key = crypto::Key256::generate(random);
  const std::string text = fmt::format(
      "# pgmint repository key. Whoever has it can read the backups; without it (or the recovery key) nobody "
      "can.\n{}\n",
      repository::encode_key_text(unlock.provider, unlock.key));
  TRY(create_directories(path.parent_path(), 0750));
  TRY(create_file_durably(path, as_bytes(text), 0600));
  return unlock;
}

Result<RecoveryForm> recovery_form(const Arguments& arguments) {
  RecoveryForm form;
  const auto number = [&](const char* option, unsigned least, unsigned most) -> Result<unsigned> {
    const auto text = *arguments.get(option);
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return value;
    return Error(Errc::Usage, fmt::format("{} \"{}\" is no number from {} to {}", option, text, least, most), Hint{"--shares 5 --needed 3: any three of five"});
  };
  if (arguments.has("--shares") != arguments.has("--needed"))
    return Error(Errc::Usage, "--shares and --needed go together", Hint{"--shares 5 --needed 3: any three of five"});
  if (!arguments.has("--shares")) return form;
  form.count = TRY(number("--shares", 2, crypto::kSharesMax));
  form.needed = TRY(number("--needed", 2, form.count));
  return form;
}

NewRecoveryKey create_recovery_key(const RecoveryForm& form, RandomSource& random) {
  NewRecoveryKey made;
  made.unlock.provider = repository::KeyProvider::Recovery;
  made.unlock.key = crypto::Key256::generate(random);
  made.printed.form = form;
  if (form.count == 0)
    made.printed.texts = {repository::encode_key_text(made.unlock.provider, made.unlock.key)};
  else
    made.printed.texts = repository::encode_recovery_shares(made.unlock.key, form.needed, form.count, random);
  return made;
}

void add_to(Json& json, const PrintedKey& printed) {
  const bool whole = printed.form.count == 0;
  json["recovery_key"] = whole && !printed.texts.empty() ? Json(printed.texts.front()) : Json(nullptr);
  json["recovery_shares"] = whole ? Json(nullptr) : Json{{"needed", printed.form.needed}, {"shares", printed.texts}};
}

void print(Output& out, const PrintedKey& printed) {
  for (std::size_t i = 0; i < printed.texts.size(); ++i) {
    if (printed.form.count != 0) out.line(fmt::format("# share {} of {}; {} of them, each on a line of its own, are the recovery key", i + 1, printed.form.count, printed.form.needed));
    out.line(printed.texts[i]);
    if (i + 1 < printed.texts.size()) out.line("");
  }
}

repository::Unlock clone(const repository::Unlock& unlock) {
  repository::Unlock copy;
  copy.provider = unlock.provider;
  copy.key = unlock.key.clone();
  copy.passphrase = unlock.passphrase;
  copy.service = unlock.service;
  return copy;
}

}  // namespace pgmint::cli
