// NEON on AArch64: four lanes, thirty-two registers.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace {

using vec = float32x4_t;
constexpr std::size_t lanes = 4;
constexpr int row_block = 6;     // rows that share one load of the weights: 6 x 4 accumulators
constexpr int panel_block = 4;   // panels that one row takes at a time
constexpr int cells_beside = 2;  // vectors of cells that are updated side by side

inline vec load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, vec a) { vst1q_f32(p, a); }
inline void store_first(float* p, vec a, std::size_t count) {
  float whole[lanes];
  vst1q_f32(whole, a);
  for (std::size_t i = 0; i < count; ++i) p[i] = whole[i];
}
inline vec broadcast(float a) { return vdupq_n_f32(a); }
inline vec add(vec a, vec b) { return vaddq_f32(a, b); }
inline vec sub(vec a, vec b) { return vsubq_f32(a, b); }
inline vec mul(vec a, vec b) { return vmulq_f32(a, b); }
inline vec div(vec a, vec b) { return vdivq_f32(a, b); }
inline vec fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }     // a * b + c
inline vec fnma(vec a, vec b, vec c) { return vfmsq_f32(c, a, b); }    // c - a * b
inline vec max_or_nan(vec low, vec a) { return vmaxq_f32(low, a); }    // a, when a is not a number
inline vec min_or_nan(vec high, vec a) { return vminq_f32(high, a); }  // a, when a is not a number
inline vec square_root(vec a) { return vsqrtq_f32(a); }
inline vec with_sign(vec a, vec sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, a); }  // |a| with the sign of sign
inline vec if_negative(vec a, vec then, vec otherwise) {                                        // by the sign bit of a
  return vbslq_f32(vcltzq_s32(vreinterpretq_s32_f32(a)), then, otherwise);
}
// 2^(n + MORE), where shifted is n + 1.5 * 2^23; n + MORE = -127 gives 0.
template <int MORE>
inline vec power_of_two(vec shifted) {
  return vreinterpretq_f32_s32(vaddq_s32(vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23), vdupq_n_s32((127 + MORE) << 23)));
}
// 1 / a within 5.1 % for a in [1, 4], the same on every CPU
inline vec rough_reciprocal(vec a) {
  return vreinterpretq_f32_s32(vsubq_s32(vdupq_n_s32(0x7ef33333), vreinterpretq_s32_f32(a)));
}

#if defined(_MSC_VER) && !defined(__clang__)
inline void prefetch_near(const float* p) { __prefetch(p); }
inline void prefetch(const float* p) { __prefetch(p); }
inline unsigned long long enter_flush_to_zero() {
  const unsigned long long before = static_cast<unsigned long long>(_ReadStatusReg(ARM64_FPCR));
  _WriteStatusReg(ARM64_FPCR, static_cast<long long>(before | (1ull << 24)));
  return before;
}
inline void leave_flush_to_zero(unsigned long long before) { _WriteStatusReg(ARM64_FPCR, static_cast<long long>(before)); }
inline void pause() { __yield(); }
#else
__attribute__((always_inline)) inline void prefetch_near(const float* p) { __builtin_prefetch(p); }
__attribute__((always_inline)) inline void prefetch(const float* p) { __builtin_prefetch(p, 0, 2); }
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
