// AVX-512: sixteen lanes, thirty-two registers.
#pragma once
#include <immintrin.h>

#include <cstddef>

namespace {

using vec = __m512;
constexpr std::size_t lanes = 16;
constexpr int row_block = 6;     // rows that share one load of the weights: 6 x 4 accumulators
constexpr int panel_block = 3;   // panels that one row takes at a time
constexpr int cells_beside = 2;  // vectors of cells that are updated side by side

inline vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, vec a) { _mm512_storeu_ps(p, a); }
inline void store_first(float* p, vec a, std::size_t count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1u), a);
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

}  // namespace

#include "x86_control.hpp"
