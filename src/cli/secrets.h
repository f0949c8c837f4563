// Where the secrets that open a repository come from on this host: key files, passphrases, recovery keys.
#pragma once

#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "cli/arguments.h"
#include "cli/config.h"
#include "cli/output.h"
#include "repository/keys.h"

namespace pgmint::cli {

/// Reads a file that holds a secret. It must be a plain file that belongs to the caller or root, and that neither group
/// nor others may read. @errors Key (absent, permissions; the hint is the chmod or chown to type), Io
Result<std::string> read_secret_file(const fs::path& path);

/// @errors Key: as read_secret_file, or not a pgmint key file
Result<repository::Unlock> unlock_from_key_file(const fs::path& path);
/// The first line. @errors Key: as read_secret_file, or empty
Result<repository::Unlock> unlock_from_passphrase_file(const fs::path& path);
/// The first line of such a file. @errors likewise
Result<std::string> read_passphrase_file(const fs::path& path);
Result<repository::Unlock> unlock_from_recovery_file(const fs::path& path);

/// Every secret that is configured, in the order key file, passphrase, recovery key, key services; the first that cannot be read is
/// an error. No service is asked here. @errors Configuration (none is configured), Key, Io
Result<std::vector<repository::Unlock>> configured_unlocks(const EncryptionSettings& settings);

/// Draws a key and writes its file, with mode 0600. @errors Precondition (exists), Key, Io
Result<repository::Unlock> create_key_file(const fs::path& path, RandomSource& random);
/// How a new recovery key is printed: whole, or in `count` shares of which `needed` open.
struct RecoveryForm {
  unsigned needed = 0, count = 0;  ///< 0: whole
};
/// Of --shares and --needed. @errors Usage
Result<RecoveryForm> recovery_form(const Arguments& arguments);

/// What is printed of a recovery key, once.
struct PrintedKey {
  RecoveryForm form;
  std::vector<std::string> texts;  ///< the key, or its shares
};
/// Draws a recovery key.
struct NewRecoveryKey {
  repository::Unlock unlock;
  PrintedKey printed;
};
NewRecoveryKey create_recovery_key(const RecoveryForm& form, RandomSource& random);
/// "recovery_key" and "recovery_shares" of an answer, one of them null.
void add_to(Json& json, const PrintedKey& printed);
/// The texts, each with a line in front of it that says which it is where there are several.
void print(Output& out, const PrintedKey& printed);

/// Key material does not copy by itself.
repository::Unlock clone(const repository::Unlock& unlock);

}  // namespace pgmint::cli
