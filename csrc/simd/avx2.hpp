// AVX2 with FMA: eight lanes, sixteen registers.
#pragma once
#include <immintrin.h>

#include <cstddef>

namespace {

using vec = __m256;
constexpr std::size_t lanes = 8;
constexpr int row_block = 3;     // rows that share one load of the weights: 3 x 4 accumulators
constexpr int panel_block = 3;   // panels that one row takes at a time
constexpr int cells_beside = 1;  // vectors of cells that are updated side by side

inline vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, vec a) { _mm256_storeu_ps(p, a); }
inline void store_first(float* p, vec a, std::size_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane), a);
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

}  // namespace

#include "x86_control.hpp"
