// What AArch64 needs around the arithmetic: prefetches, flush-to-zero and a pause for spinning.
#pragma once
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace {

#if defined(_MSC_VER) && !defined(__clang__)
inline void prefetch_near(const void* p) { __prefetch(p); }
inline void prefetch(const void* p) { __prefetch(p); }
inline unsigned long long enter_flush_to_zero() {
  const unsigned long long before = static_cast<unsigned long long>(_ReadStatusReg(ARM64_FPCR));
  _WriteStatusReg(ARM64_FPCR, static_cast<long long>(before | (1ull << 24)));
  return before;
}
inline void leave_flush_to_zero(unsigned long long before) { _WriteStatusReg(ARM64_FPCR, static_cast<long long>(before)); }
inline void pause() { __yield(); }
#else
__attribute__((always_inline)) inline void prefetch_near(const void* p) { __builtin_prefetch(p); }
__attribute__((always_inline)) inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }
// Denormals can be slow; flush them (FPCR.FZ), and say what to restore.
inline unsigned long long enter_flush_to_zero() {
  unsigned long long before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  __asm__ volatile("msr fpcr, %0" : : "r"(before | (1ull << 24)));
  return before;
}
inline void leave_flush_to_zero(unsigned long long before) { __asm__ volatile("msr fpcr, %0" : : "r"(before)); }
inline void pause() { __asm__ volatile("yield"); }
#endif

}  // namespace
