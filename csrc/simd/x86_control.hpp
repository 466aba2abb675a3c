// What x86 needs around the arithmetic: flush-to-zero and a pause for spinning.
#pragma once
#include <emmintrin.h>

namespace {

// Denormals cost a hundred cycles each; flush them, and say what to restore.
inline unsigned long long enter_flush_to_zero() {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040u);  // FTZ and DAZ
  return before;
}
inline void leave_flush_to_zero(unsigned long long before) { _mm_setcsr(static_cast<unsigned>(before)); }
inline void pause() { _mm_pause(); }

}  // namespace
