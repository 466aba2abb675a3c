// AVX-512 with VNNI: products of bytes, summed four at a time.
#pragma once
#define FL_BYTE_PRODUCTS
#include "avx512.hpp"

namespace {

// These multiply bytes without a sign by bytes with one. Whole numbers are stored with an offset, so that they have no
// sign, and the offset times the sum of the weights is taken off at the end. Sums may wrap around; the difference does not.
inline ivec load_byte_weights(const signed char* p) { return _mm512_loadu_si512(p); }
inline vec without_offset(ivec sum, const signed char* weights, int offset_bits) {
  return _mm512_cvtepi32_ps(
      _mm512_sub_epi32(sum, _mm512_slli_epi32(load_byte_weights(weights), static_cast<unsigned>(offset_bits))));
}

// Numbers of 16 bits: the high bytes of four k, then the low ones, both multiplied by one load of the weights.
struct By16 {
  static constexpr int rows = 3, panels = 2;
  static constexpr float limit = 32767.0f, offset = 32768.0f;
  static constexpr std::size_t bytes = 2;  // for each number
  static constexpr int sums = 2, weight_parts = 1, number_parts = 2;
  // Held in a register, since compilers else load them again for the second product: 4 to 11 % of one row's time.
  static inline void load_weights(const signed char* p, ivec (&w)[1]) {
    w[0] = load_byte_weights(p);
#if defined(__GNUC__)
    asm("" : "+v"(w[0]));
#endif
  }
  static inline void store_numbers(unsigned char* p, vec shifted) { store_words(p, shifted, 0x0c0804000d090501); }
  static inline void load_numbers(const unsigned char* p, ivec (&q)[2]) {
    q[0] = broadcast_word(p);
    q[1] = broadcast_word(p + 4);
  }
  static inline sum_type add_products(sum_type sum, const ivec (&w)[1], const ivec (&q)[2], std::size_t part) {
    return (sum_type)_mm512_dpbusd_epi32((__m512i)sum, q[part], w[0]);
  }
  static inline vec total(const sum_type (&sum)[2], const signed char* weights) {
    return without_offset(_mm512_add_epi32(_mm512_slli_epi32((__m512i)sum[0], 8), (__m512i)sum[1]), weights, 15);
  }
};

struct By8 {
  static constexpr int rows = 6, panels = 3;
  static constexpr float limit = 127.0f, offset = 128.0f;
  static constexpr std::size_t bytes = 1;
  static constexpr int sums = 1, weight_parts = 1, number_parts = 1;
  static inline void load_weights(const signed char* p, ivec (&w)[1]) { w[0] = load_byte_weights(p); }
  static inline void store_numbers(unsigned char* p, vec shifted) {
    const __m128i numbers = _mm512_cvtepi32_epi8(_mm512_castps_si512(shifted));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), numbers);
  }
  static inline void load_numbers(const unsigned char* p, ivec (&q)[1]) { q[0] = broadcast_word(p); }
  static inline sum_type add_products(sum_type sum, const ivec (&w)[1], const ivec (&q)[1], std::size_t) {
    return (sum_type)_mm512_dpbusd_epi32((__m512i)sum, q[0], w[0]);
  }
  static inline vec total(const sum_type (&sum)[1], const signed char* weights) {
    return without_offset((__m512i)sum[0], weights, 7);
  }
};

}  // namespace
