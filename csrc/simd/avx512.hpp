// AVX-512: sixteen lanes, thirty-two registers.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "bits.hpp"

namespace {

using vec = __m512;
#if defined(__GNUC__)
// GCC keeps sums in registers only if they are of the type that the instructions have, 32-bit numbers.
typedef int sum_type __attribute__((vector_size(64)));
#else
using sum_type = __m512i;
#endif
using ivec = __m512i;
constexpr std::size_t lanes = 16;
constexpr int row_block = 6;  // rows that share one load of the weights: 6 x 4 accumulators
// Groups of up to this many rows load each weight once, into a register; compilers else load it again for each row, and
// loads become what a block waits for (a third of the time with two rows; six rows need all registers for sums).
constexpr int rows_beside_weights = 5;
constexpr int panel_block = 3;           // panels that one row takes at a time
constexpr bool projects_reading = true;  // one row projects while it reads its weights
constexpr int cells_beside = 2;          // vectors of cells that are updated side by side

inline vec load(const float* p) { return _mm512_loadu_ps(p); }
inline vec load_first(const float* p, std::size_t count) {  // zeros behind them
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), p);
}
inline void store(float* p, vec a) { _mm512_storeu_ps(p, a); }
inline void store_first(float* p, vec a, std::size_t count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1u), a);
}
inline vec keep_first(vec a, std::size_t count) {  // zeros behind them
  return _mm512_maskz_mov_ps(static_cast<__mmask16>((1u << count) - 1u), a);
}
// Part I of PARTS, 2 or 4, zeros behind it.
template <int PARTS, int I>
inline vec part(vec a) {
  if constexpr (PARTS == 2) return _mm512_zextps256_ps512(_mm512_extractf32x8_ps(a, I));
  return _mm512_zextps128_ps512(_mm512_extractf32x4_ps(a, I));
}
inline vec in_register(vec a) {
#if defined(__GNUC__)
  asm("" : "+v"(a));
#endif
  return a;
}
inline vec broadcast(float a) { return _mm512_set1_ps(a); }
inline vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
inline vec sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
inline vec mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
inline vec div(vec a, vec b) { return _mm512_div_ps(a, b); }
inline vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }    // a * b + c
inline vec fnma(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
inline vec max_or_nan(vec low, vec a) { return _mm512_max_ps(low, a); }     // a, when a is not a number
inline vec min_or_nan(vec high, vec a) { return _mm512_min_ps(high, a); }   // a, when a is not a number
inline vec square_root(vec a) { return _mm512_sqrt_ps(a); }
inline vec with_sign(vec a, vec sign) {                                  // |a| with the sign of sign
  const __m512i bit = _mm512_set1_epi32(static_cast<int>(0x80000000u));  // bit ? sign : a
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign), _mm512_castps_si512(a), 0xca));
}
inline vec if_negative(vec a, vec then, vec otherwise) {  // by the sign bit of a
  return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(a)), otherwise, then);
}
// 2^(n + MORE), where shifted is n + 1.5 * 2^23; n + MORE = -127 gives 0.
template <int MORE>
inline vec power_of_two(vec shifted) {
  return _mm512_castsi512_ps(
      _mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23), _mm512_set1_epi32((127 + MORE) << 23)));
}
// 1 / a within 5.1 % for a in [1, 4], the same on every CPU
inline vec rough_reciprocal(vec a) {
  return _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_set1_epi32(0x7ef33333), _mm512_castps_si512(a)));
}

// float16
inline vec load_half(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// Two vectors of bfloat16, lane by lane beside each other.
inline void load_bfloat_pairs(const std::uint16_t* p, vec& first, vec& second) {
  const __m512i both = _mm512_loadu_si512(p);
  first = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
  second = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
// Every lane rounded to the nearest bfloat16, ties to the even one; denormals are zero.
inline vec to_bfloat(vec a) {
  a = _mm512_add_ps(a, _mm512_setzero_ps());  // with denormals flushed
  const __m512i bits = _mm512_castps_si512(a);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i rounded = _mm512_and_si512(up, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  return _mm512_mask_mov_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), _mm512_castsi512_ps(rounded));
}
inline sum_type no_products() { return (sum_type)_mm512_setzero_si512(); }
inline vec larger_magnitude(vec most, vec a) {  // by the bits, so that NaN is the largest
  const __m512i bits = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
  return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(most), bits));
}
inline float largest(vec magnitudes) {
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(_mm512_castps_si512(magnitudes)))));
}
// The low 16 bits of each lane, four lanes after four, in the order that `order` gives to each four.
inline void store_words(unsigned char* p, vec a, long long order) {
  const __m512i ordered = _mm512_shuffle_epi8(_mm512_castps_si512(a), _mm512_set1_epi64(order));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_castsi512_si256(_mm512_maskz_compress_epi64(0x55, ordered)));
}
inline __m512i broadcast_word(const unsigned char* p) { return _mm512_set1_epi32(load_as<int>(p)); }

#ifndef FL_BYTE_PRODUCTS  // avx512vnni.hpp has better ones
// int8 weights by whole numbers of 16 bits, four k at a time, through products of pairs of 16 bits.
struct By16 {
  static constexpr int rows = 4, panels = 3;
  static constexpr float limit = 32767.0f, offset = 0.0f;
  static constexpr std::size_t bytes = 2;  // for each number
  static constexpr int sums = 1, weight_parts = 2, number_parts = 2;
  static inline void load_weights(const signed char* p, ivec (&w)[2]) {
    const ivec all = _mm512_loadu_si512(p);
    w[0] = _mm512_srai_epi16(_mm512_slli_epi16(all, 8), 8);  // k = 0 and 2
    w[1] = _mm512_srai_epi16(all, 8);                        // k = 1 and 3
  }
  static inline void store_numbers(unsigned char* p, vec shifted) { store_words(p, shifted, 0x0d0c050409080100); }
  static inline void load_numbers(const unsigned char* p, ivec (&q)[2]) {
    q[0] = broadcast_word(p);
    q[1] = broadcast_word(p + 4);
  }
  static inline sum_type add_products(sum_type sum, const ivec (&w)[2], const ivec (&q)[2], std::size_t) {
    return (sum_type)_mm512_add_epi32((__m512i)sum,
                                      _mm512_add_epi32(_mm512_madd_epi16(w[0], q[0]), _mm512_madd_epi16(w[1], q[1])));
  }
  static inline vec total(const sum_type (&sum)[1], const signed char*) { return _mm512_cvtepi32_ps((__m512i)sum[0]); }
};
struct By8 : By16 {  // the same, with smaller numbers
  static constexpr float limit = 127.0f;
};
#endif

}  // namespace

#include "x86_control.hpp"
