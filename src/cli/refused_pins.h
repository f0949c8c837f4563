// PIN files that a token has refused: not tried again by the next command, since tries are counted and archive_command asks every minute.
#pragma once

#include <string>

#include "base/error.h"
#include "base/file.h"

namespace pgmint::cli {

/// Kept on this host. What is kept is which state of the file it was, and nothing of the PIN: once the file is written anew, or touched, it may be tried again.
class RefusedPins {
 public:
  /// @param directory  made when needed
  explicit RefusedPins(fs::path directory) : directory_(std::move(directory)) {}

  /// @param token  whichever text names it always alike
  /// @errors Key: it was refused as it is now
  Status expect_untried(const std::string& token, const fs::path& pin_file) const;
  /// Best effort: the refusal itself is told by others.
  void note(const std::string& token, const fs::path& pin_file) const;

 private:
  fs::path mark_of(const std::string& token, const fs::path& pin_file) const;

  const fs::path directory_;
};

}  // namespace pgmint::cli
