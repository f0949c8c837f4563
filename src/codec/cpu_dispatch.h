// One source, several instruction sets: hot loops are written once, in plain C++, as PGMINT_INLINE functions, and compiled into a
// function for the baseline and one for AVX2; the CPU decides at run time. On other machines only the first exists.
#pragma once

#define PGMINT_INLINE [[gnu::always_inline]] inline
/// The same behind the parameters of a lambda. Left to itself it may become a function of its own, for the baseline.
#define PGMINT_INLINE_LAMBDA __attribute__((always_inline))

#if defined(__x86_64__)
#define PGMINT_HAS_AVX2_BUILD 1
#define PGMINT_TARGET_AVX2 [[gnu::target("avx2,bmi,bmi2,lzcnt,popcnt")]]
#else
#define PGMINT_HAS_AVX2_BUILD 0
#endif

namespace pgmint::codec {

/// Which of the builds to run.
enum class CpuPath { Baseline, Avx2 };

/// The best that this CPU and build can run.
inline CpuPath best_cpu_path() {
#if PGMINT_HAS_AVX2_BUILD
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
  if (avx2) return CpuPath::Avx2;
#endif
  return CpuPath::Baseline;
}

}  // namespace pgmint::codec
