// For tests: what a program holds by operator new, counted to the byte. What the kernel says of a process is no measure of what
// one piece of work keeps: the allocator's arenas grow by how threads happen to meet, and freed memory stays with it.
#pragma once

#include <cstdint>
#include <functional>

// Sanitizers bring an allocator of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PGMINT_SANITIZED_HEAP
#endif

namespace pgmint::backup::testing {

/// False where nothing is counted, in sanitizers' builds.
constexpr bool counts_heap() {
#ifdef PGMINT_SANITIZED_HEAP
  return false;
#else
  return true;
#endif
}

/// Bytes, of all threads: by how much what is held grew at most while `work` ran. Memory from C libraries is not in it.
std::uint64_t heap_growth_during(const std::function<void()>& work);

}  // namespace pgmint::backup::testing
