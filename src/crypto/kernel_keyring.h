// Keys that processes of one user share for some time, in memory of the kernel: never on a disk, never in a core dump. keyrings(7)
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/clock.h"
#include "crypto/secret.h"

namespace pgmint::crypto {

/// The keyring of this process's effective user. Whoever else runs as this user, and root, can read what is in it, as they could read the process's memory.
class KernelKeyring {
 public:
  struct Kept {
    Key256 key;
    TimePoint since{};
  };
  /// For `life`, in the place of what had that name; then the kernel forgets it. @errors Precondition (no keyrings here: containers often forbid them),
  /// ResourceLimit (the user's quota)
  static Status keep(const std::string& name, const Key256& key, TimePoint now, std::chrono::seconds life);
  /// nullopt: there is none, or none that can be read.
  static std::optional<Kept> find(const std::string& name);
  static void forget(const std::string& name);
};

}  // namespace pgmint::crypto
