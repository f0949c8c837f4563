#include "base/machine_time.h"

#include <ctime>

#include "base/file.h"

namespace pgmint {
namespace {

constexpr std::uint64_t kBootIdMax = 64;

std::chrono::nanoseconds read_clock(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

std::optional<MachineTime> machine_time() {
  auto boot = read_text_file("/proc/sys/kernel/random/boot_id", kBootIdMax);
  if (!boot) return std::nullopt;
  while (!boot->empty() && boot->back() == '\n') boot->pop_back();
  if (boot->empty()) return std::nullopt;
  return MachineTime{std::move(*boot), read_clock(CLOCK_BOOTTIME), read_clock(CLOCK_REALTIME)};
}

}  // namespace pgmint
