#include "base/owner.h"

#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pgmint {
namespace {

constexpr auto kAsk = -1;  ///< no such identity: setfsuid and setfsgid tell the one that is in force, and change nothing

uid_t user_in_force() { return static_cast<uid_t>(::setfsuid(static_cast<uid_t>(kAsk))); }

}  // namespace

AsOwnerOf::AsOwnerOf(int directory) {
  if (::geteuid() != 0 || user_in_force() != 0) return;
  struct stat owner {};
  if (::fstat(directory, &owner) != 0 || owner.st_uid == 0) return;
  group_ = static_cast<gid_t>(::setfsgid(owner.st_gid));
  ::setfsuid(owner.st_uid);
  in_force_ = user_in_force() == owner.st_uid;  // neither call tells whether it was allowed
  if (!in_force_) ::setfsgid(group_);
}

AsOwnerOf::~AsOwnerOf() {
  if (!in_force_) return;
  const int error = errno;
  ::setfsuid(0);
  ::setfsgid(group_);
  errno = error;
}

}  // namespace pgmint
