#include "backup/testing_heap.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace pgmint::backup::testing {
namespace {

std::atomic<std::int64_t> held{0}, most{0};

#ifndef PGMINT_SANITIZED_HEAP
void count(std::int64_t bytes) {
  const auto now = held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  auto seen = most.load(std::memory_order_relaxed);
  while (now > seen && !most.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
  }
}

void* counted(void* made) {
  if (made == nullptr) throw std::bad_alloc();
  count(static_cast<std::int64_t>(::malloc_usable_size(made)));
  return made;
}

void give_back(void* made) {
  if (made == nullptr) return;
  count(-static_cast<std::int64_t>(::malloc_usable_size(made)));
  std::free(made);
}
#endif

}  // namespace

std::uint64_t heap_growth_during(const std::function<void()>& work) {
  const auto before = held.load();
  most = before;
  work();
  return static_cast<std::uint64_t>(most.load() - before);
}

}  // namespace pgmint::backup::testing

#ifndef PGMINT_SANITIZED_HEAP
// The forms for arrays and without exceptions call these.
void* operator new(std::size_t size) { return pgmint::backup::testing::counted(std::malloc(size)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto to = static_cast<std::size_t>(alignment);
  return pgmint::backup::testing::counted(std::aligned_alloc(to, (size + to - 1) / to * to));
}
void operator delete(void* made) noexcept { pgmint::backup::testing::give_back(made); }
void operator delete(void* made, std::size_t) noexcept { pgmint::backup::testing::give_back(made); }
void operator delete(void* made, std::align_val_t) noexcept { pgmint::backup::testing::give_back(made); }
void operator delete(void* made, std::size_t, std::align_val_t) noexcept { pgmint::backup::testing::give_back(made); }
#endif
