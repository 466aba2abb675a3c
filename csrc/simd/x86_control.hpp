// What x86 needs around the arithmetic: prefetches, flush-to-zero and a pause for spinning.
#pragma once
#include <emmintrin.h>

namespace {

// Always inlined: GCC takes an out-of-line one for a function without effect, and drops the calls.
#if defined(_MSC_VER) && !defined(__clang__)
#define FL_PREFETCH __forceinline
#else
#define FL_PREFETCH __attribute__((always_inline)) inline
#endif
FL_PREFETCH void prefetch_near(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }  // into L1
FL_PREFETCH void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }       // into L2

// Denormals cost a hundred cycles each; flush them, and say what to restore.
inline unsigned long long enter_flush_to_zero() {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040u);  // FTZ and DAZ
  return before;
}
inline void leave_flush_to_zero(unsigned long long before) { _mm_setcsr(static_cast<unsigned>(before)); }
inline void pause() { _mm_pause(); }

}  // namespace
