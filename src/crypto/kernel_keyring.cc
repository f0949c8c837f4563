#include "crypto/kernel_keyring.h"

#include <fmt/format.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"

namespace pgmint::crypto {
namespace {

constexpr const char* kType = "user";
/// Whoever possesses it may do everything; the same user without a session of ours (PostgreSQL's archiver) may find and read it.
constexpr unsigned long kPermissions = 0x3f0b0000;

struct Payload {
  std::int64_t since_us;
  ByteArray<Key256::kSize> key;
};

long find_id(const std::string& name) { return ::syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_USER_KEYRING, kType, name.c_str(), 0); }

MutableByteView bytes_of(Payload& payload) { return {reinterpret_cast<std::byte*>(&payload), sizeof(payload)}; }

}  // namespace

Status KernelKeyring::keep(const std::string& name, const Key256& key, TimePoint now, std::chrono::seconds life) {
  forget(name);
  Payload payload{now.time_since_epoch().count(), {}};
  std::memcpy(payload.key.data(), key.bytes().data(), payload.key.size());
  const long id = ::syscall(SYS_add_key, kType, name.c_str(), &payload, sizeof(payload), KEY_SPEC_USER_KEYRING);
  const int reason = errno;
  wipe(bytes_of(payload));
  if (id < 0) return errno_error(reason, "keep a key in the kernel's memory", reason == EDQUOT ? Errc::ResourceLimit : Errc::Precondition);
  // Without its end it would stay for as long as the user has processes.
  if (::syscall(SYS_keyctl, KEYCTL_SET_TIMEOUT, id, static_cast<unsigned>(life.count())) != 0 || ::syscall(SYS_keyctl, KEYCTL_SETPERM, id, kPermissions) != 0) {
    const int refused = errno;
    ::syscall(SYS_keyctl, KEYCTL_UNLINK, id, KEY_SPEC_USER_KEYRING);
    return errno_error(refused, "limit the time of a key in the kernel's memory", Errc::Precondition);
  }
  return ok();
}

std::optional<KernelKeyring::Kept> KernelKeyring::find(const std::string& name) {
  const long id = find_id(name);
  if (id < 0) return std::nullopt;
  Payload payload{};
  const long got = ::syscall(SYS_keyctl, KEYCTL_READ, id, &payload, sizeof(payload));
  std::optional<Kept> kept;
  if (got == static_cast<long>(sizeof(payload)))
    if (auto key = Key256::from_bytes(payload.key)) kept = Kept{std::move(*key), TimePoint(std::chrono::microseconds(payload.since_us))};
  wipe(bytes_of(payload));
  return kept;
}

void KernelKeyring::forget(const std::string& name) {
  if (const long id = find_id(name); id >= 0) ::syscall(SYS_keyctl, KEYCTL_UNLINK, id, KEY_SPEC_USER_KEYRING);
}

}  // namespace pgmint::crypto
