// AVX2 with FMA: eight lanes, sixteen registers.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "bits.hpp"

namespace {

using vec = __m256;
#if defined(__GNUC__)
// GCC keeps sums in registers only if they are of the type that the instructions have, 32-bit numbers.
typedef int sum_type __attribute__((vector_size(32)));
#else
using sum_type = __m256i;
#endif
using ivec = __m256i;
constexpr std::size_t lanes = 8;
constexpr int row_block = 3;  // rows that share one load of the weights: 3 x 4 accumulators
// Groups of up to this many rows load each weight once, into a register; compilers else load it again for each row, and
// loads become what a block waits for (7 to 30 % of the time).
constexpr int rows_beside_weights = 3;
constexpr int panel_block = 3;            // panels that one row takes at a time
constexpr bool projects_reading = false;  // see avx512.hpp
constexpr int cells_beside = 1;           // vectors of cells that are updated side by side

inline vec load(const float* p) { return _mm256_loadu_ps(p); }
inline vec load_first(const float* p, std::size_t count) {  // zeros behind them
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane));
}
inline void store(float* p, vec a) { _mm256_storeu_ps(p, a); }
inline void store_first(float* p, vec a, std::size_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane), a);
}
inline vec keep_first(vec a, std::size_t count) {  // zeros behind them
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane)));
}
// Part I of PARTS, 2 or 4, zeros behind it.
template <int PARTS, int I>
inline vec part(vec a) {
  const __m128 half = _mm256_extractf128_ps(a, PARTS == 2 ? I : I / 2), zero = _mm_setzero_ps();
  if constexpr (PARTS == 2) return _mm256_zextps128_ps256(half);
  return _mm256_zextps128_ps256(I % 2 == 0 ? _mm_movelh_ps(half, zero) : _mm_movehl_ps(zero, half));
}
inline vec in_register(vec a) {
#if defined(__GNUC__)
  asm("" : "+x"(a));
#endif
  return a;
}
inline vec broadcast(float a) { return _mm256_set1_ps(a); }
inline vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
inline vec mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
inline vec div(vec a, vec b) { return _mm256_div_ps(a, b); }
inline vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }    // a * b + c
inline vec fnma(vec a, vec b, vec c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a * b
inline vec max_or_nan(vec low, vec a) { return _mm256_max_ps(low, a); }     // a, when a is not a number
inline vec min_or_nan(vec high, vec a) { return _mm256_min_ps(high, a); }   // a, when a is not a number
inline vec square_root(vec a) { return _mm256_sqrt_ps(a); }
inline vec with_sign(vec a, vec sign) {  // |a| with the sign of sign
  const vec bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign));
}
inline vec if_negative(vec a, vec then, vec otherwise) {
  return _mm256_blendv_ps(otherwise, then, a);
}  // by the sign bit of a
// 2^(n + MORE), where shifted is n + 1.5 * 2^23; n + MORE = -127 gives 0.
template <int MORE>
inline vec power_of_two(vec shifted) {
  const __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32((127 + MORE) << 23)));
}
// 1 / a within 5.1 % for a in [1, 4], the same on every CPU
inline vec rough_reciprocal(vec a) {
  return _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_set1_epi32(0x7ef33333), _mm256_castps_si256(a)));
}

// float16
inline vec load_half(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
// Two vectors of bfloat16, lane by lane beside each other.
inline void load_bfloat_pairs(const std::uint16_t* p, vec& first, vec& second) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  first = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  second = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
// Every lane rounded to the nearest bfloat16, ties to the even one; denormals are zero.
inline vec to_bfloat(vec a) {
  a = _mm256_add_ps(a, _mm256_setzero_ps());  // with denormals flushed
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i rounded = _mm256_and_si256(up, _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
  return _mm256_blendv_ps(a, _mm256_castsi256_ps(rounded), _mm256_cmp_ps(a, a, _CMP_ORD_Q));
}
inline sum_type no_products() { return (sum_type)_mm256_setzero_si256(); }
inline vec larger_magnitude(vec most, vec a) {  // by the bits, so that NaN is the largest
  const __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7fffffff));
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(most), bits));
}
inline float largest(vec magnitudes) {
  const __m256i all = _mm256_castps_si256(magnitudes);
  __m128i most = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(most));
}
// The low 16 bits of each lane, four lanes after four, in the order that `order` gives to each four.
inline void store_words(unsigned char* p, vec a, long long order) {
  const __m256i ordered = _mm256_shuffle_epi8(_mm256_castps_si256(a), _mm256_set1_epi64x(order));
  const __m256i together = _mm256_permute4x64_epi64(ordered, 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(together));
}
inline __m256i broadcast_word(const unsigned char* p) { return _mm256_set1_epi32(load_as<int>(p)); }

#ifndef FL_BYTE_PRODUCTS  // avx2vnni.hpp has better ones
// int8 weights by whole numbers of 16 bits, four k at a time, through products of pairs of 16 bits.
struct By16 {
  static constexpr int rows = 3, panels = 2;
  static constexpr float limit = 32767.0f, offset = 0.0f;
  static constexpr std::size_t bytes = 2;  // for each number
  static constexpr int sums = 1, weight_parts = 2, number_parts = 2;
  static inline void load_weights(const signed char* p, ivec (&w)[2]) {
    const ivec all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    w[0] = _mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8);  // k = 0 and 2
    w[1] = _mm256_srai_epi16(all, 8);                        // k = 1 and 3
  }
  static inline void store_numbers(unsigned char* p, vec shifted) { store_words(p, shifted, 0x0d0c050409080100); }
  static inline void load_numbers(const unsigned char* p, ivec (&q)[2]) {
    q[0] = broadcast_word(p);
    q[1] = broadcast_word(p + 4);
  }
  static inline sum_type add_products(sum_type sum, const ivec (&w)[2], const ivec (&q)[2], std::size_t) {
    return (sum_type)_mm256_add_epi32((__m256i)sum,
                                      _mm256_add_epi32(_mm256_madd_epi16(w[0], q[0]), _mm256_madd_epi16(w[1], q[1])));
  }
  static inline vec total(const sum_type (&sum)[1], const signed char*) { return _mm256_cvtepi32_ps((__m256i)sum[0]); }
};
struct By8 : By16 {  // the same, with smaller numbers
  static constexpr float limit = 127.0f;
};
#endif

}  // namespace

#include "x86_control.hpp"
