// NEON on AArch64: four lanes, thirty-two registers.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "bits.hpp"

namespace {

using vec = float32x4_t;
using ivec = int32x4_t;
using sum_type = ivec;
constexpr std::size_t lanes = 4;
constexpr int row_block = 6;              // rows that share one load of the weights: 6 x 4 accumulators
constexpr int rows_beside_weights = 0;    // see avx512.hpp
constexpr int panel_block = 4;            // panels that one row takes at a time
constexpr bool projects_reading = false;  // see avx512.hpp
constexpr int cells_beside = 2;           // vectors of cells that are updated side by side

inline vec load(const float* p) { return vld1q_f32(p); }
inline vec load_first(const float* p, std::size_t count) {  // zeros behind them
  float whole[lanes] = {};
  for (std::size_t i = 0; i < count; ++i) whole[i] = p[i];
  return vld1q_f32(whole);
}
inline void store(float* p, vec a) { vst1q_f32(p, a); }
inline void store_first(float* p, vec a, std::size_t count) {
  float whole[lanes];
  vst1q_f32(whole, a);
  for (std::size_t i = 0; i < count; ++i) p[i] = whole[i];
}
inline vec keep_first(vec a, std::size_t count) {  // zeros behind them
  const std::uint32_t all = 0xffffffffu, kept[8] = {all, all, all, all, 0, 0, 0, 0};
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vld1q_u32(kept + lanes - count)));
}
// Part I of PARTS, 2 or 4, zeros behind it.
template <int PARTS, int I>
inline vec part(vec a) {
  if constexpr (PARTS == 2) return vcombine_f32(I == 0 ? vget_low_f32(a) : vget_high_f32(a), vdup_n_f32(0.0f));
  return vsetq_lane_f32(vgetq_lane_f32(a, I), vdupq_n_f32(0.0f), 0);
}
inline vec in_register(vec a) { return a; }
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

// float16
inline vec load_half(const std::uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
// Two vectors of bfloat16, lane by lane beside each other.
inline void load_bfloat_pairs(const std::uint16_t* p, vec& first, vec& second) {
  const uint32x4_t both = vreinterpretq_u32_u16(vld1q_u16(p));
  first = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
  second = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000u)));
}
// Every lane rounded to the nearest bfloat16, ties to the even one; denormals are zero.
inline vec to_bfloat(vec a) {
  a = vaddq_f32(a, vdupq_n_f32(0.0f));  // with denormals flushed
  const uint32x4_t bits = vreinterpretq_u32_f32(a), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vandq_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), vdupq_n_u32(0xffff0000u));
  return vbslq_f32(vceqq_f32(a, a), vreinterpretq_f32_u32(rounded), a);
}
inline ivec no_products() { return vdupq_n_s32(0); }
inline vec larger_magnitude(vec most, vec a) {  // by the bits, so that NaN is the largest
  const uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x7fffffffu));
  return vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(most), bits));
}
inline float largest(vec magnitudes) {
  return vgetq_lane_f32(vreinterpretq_f32_u32(vdupq_n_u32(vmaxvq_u32(vreinterpretq_u32_f32(magnitudes)))), 0);
}

// int8 weights by whole numbers of 16 bits, four k at a time, through products of pairs of 16 bits.
struct By16 {
  static constexpr int rows = 3, panels = 3;
  static constexpr float limit = 32767.0f, offset = 0.0f;
  static constexpr std::size_t bytes = 2;  // for each number
  static constexpr int sums = 1, weight_parts = 2, number_parts = 2;
  static inline void load_weights(const signed char* p, ivec (&w)[2]) {
    const int16x8_t all = vreinterpretq_s16_s8(vld1q_s8(p));
    w[0] = vreinterpretq_s32_s16(vshrq_n_s16(vshlq_n_s16(all, 8), 8));  // k = 0 and 2
    w[1] = vreinterpretq_s32_s16(vshrq_n_s16(all, 8));                  // k = 1 and 3
  }
  static inline void store_numbers(unsigned char* p, vec shifted) {
    const int16x4_t q = vmovn_s32(vreinterpretq_s32_f32(shifted));
    const int16x4_t swapped = vext_s16(q, q, 2);  // k = 2, 3, 0, 1
    const int16x4x2_t pairs = vzip_s16(q, swapped);
    vst1_u8(p, vreinterpret_u8_s16(pairs.val[0]));  // 0, 2, 1, 3
  }
  static inline void load_numbers(const unsigned char* p, ivec (&q)[2]) {
    q[0] = vdupq_n_s32(load_as<std::int32_t>(p));
    q[1] = vdupq_n_s32(load_as<std::int32_t>(p + 4));
  }
  static inline ivec pairs_of(ivec w, ivec q) {
    const int16x8_t a = vreinterpretq_s16_s32(w), b = vreinterpretq_s16_s32(q);
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
  }
  static inline ivec add_products(ivec sum, const ivec (&w)[2], const ivec (&q)[2], std::size_t) {
    return vaddq_s32(sum, vaddq_s32(pairs_of(w[0], q[0]), pairs_of(w[1], q[1])));
  }
  static inline vec total(const ivec (&sum)[1], const signed char*) { return vcvtq_f32_s32(sum[0]); }
};
struct By8 : By16 {  // the same, with smaller numbers
  static constexpr float limit = 127.0f;
};

}  // namespace

#include "arm64_control.hpp"
