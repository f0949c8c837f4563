// [[mirror]]: where copies of the repository go, and how they are kept.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/strong.h"
#include "cli/s3_settings.h"

namespace pgmint::cli {

struct MirrorSettings {
  std::string name;
  std::string url;  ///< as a repository's
  std::string repository;  ///< whose copy it is; the first one, unless it says another
  S3Settings s3;    ///< of its own; empty: the general ones
  std::optional<ByteCount> max_rate;                  ///< bytes a second
  std::chrono::hours keep_removed{30 * 24};           ///< how long stays what has vanished at the source
  std::chrono::seconds lag_max{std::chrono::hours(24)};  ///< a mirror that is older is told
  bool one_writer = false;                            ///< the store has no create-if-absent

  /// @param its  name of a repository; one that was named by its URL ("default") has all mirrors
  bool is_of(const std::string& its) const { return repository.empty() || repository == its || its == "default"; }
};

}  // namespace pgmint::cli
