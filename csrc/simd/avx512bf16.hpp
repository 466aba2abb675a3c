// AVX-512 with BF16: products of bfloat16, summed two at a time.
#pragma once
#define FL_BFLOAT_PRODUCTS
#include "avx512.hpp"

namespace {

inline vec load_bfloats(const std::uint16_t* p) { return _mm512_castsi512_ps(_mm512_loadu_si512(p)); }
inline void store_bfloats(unsigned char* p, vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bits_as<__m256i>(_mm512_cvtneps_pbh(a)));
}
// sum + b[1] a[1], and then + b[0] a[0], each a fused multiply-add.
inline vec add_bfloat_products(vec sum, vec a, vec b) {
  return _mm512_dpbf16_ps(sum, bits_as<__m512bh>(a), bits_as<__m512bh>(b));
}

}  // namespace
