// Whose is what root makes: the directory's owner's, from its first moment (ADR 43).
#pragma once

#include <sys/types.h>

#include <cerrno>

namespace pgmint {

/// While it lives, what this thread of root's does at files it does as the owner and group of a directory. Nothing changes for others than root, in a directory of root's, and where the
/// thread acts as somebody else already; other threads never notice.
class AsOwnerOf {
 public:
  explicit AsOwnerOf(int directory);  ///< an open descriptor, O_PATH is enough
  AsOwnerOf(const AsOwnerOf&) = delete;
  AsOwnerOf& operator=(const AsOwnerOf&) = delete;
  ~AsOwnerOf();
  bool is_in_force() const { return in_force_; }

 private:
  bool in_force_ = false;
  gid_t group_ = 0;  ///< to go back to
};

/// `sudo pgmint list` must not leave behind what keeps the repository's owner out: calls `make`, which makes one new thing in `directory` (result below zero, with errno: it did not), as
/// that directory's owner. Where the owner may not, root makes it, and it is root's. @returns what `make` did, errno with it
template <typename Make>
int make_for_owner_of(int directory, const Make& make) {
  {
    const AsOwnerOf owner(directory);
    const int made = make();
    if (made >= 0 || !owner.is_in_force() || (errno != EACCES && errno != EPERM)) return made;
  }
  return make();
}

}  // namespace pgmint
