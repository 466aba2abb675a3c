// Plain C++: four lanes in an array, for any machine. Multiply-adds go through double, where the product is exact: as
// accurate as fused ones, and the same but for rare double roundings.
#pragma once
#include <cstddef>
#include <cstdint>

#include "bits.hpp"
#include "target.hpp"

namespace {

struct vec {
  float lane[4];
};
struct ivec {
  std::int32_t lane[4];
};
using sum_type = ivec;
constexpr std::size_t lanes = 4;
constexpr int row_block = 2;
constexpr int rows_beside_weights = 0;  // see avx512.hpp
constexpr int panel_block = 2;
constexpr bool projects_reading = false;  // see avx512.hpp
constexpr int cells_beside = 1;           // vectors of cells that are updated side by side

inline std::uint32_t bits(float a) { return bits_as<std::uint32_t>(a); }
inline float number(std::uint32_t a) { return bits_as<float>(a); }

template <class F>
inline vec each(F f) {
  vec r;
  for (int i = 0; i < 4; ++i) r.lane[i] = f(i);
  return r;
}

inline vec load(const float* p) {
  return each([&](int i) { return p[i]; });
}
inline vec load_first(const float* p, std::size_t count) {  // zeros behind them
  vec r = {};
  for (std::size_t i = 0; i < count; ++i) r.lane[i] = p[i];
  return r;
}
inline void store_first(float* p, vec a, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) p[i] = a.lane[i];
}
inline void store(float* p, vec a) { store_first(p, a, lanes); }
inline vec keep_first(vec a, std::size_t count) {  // zeros behind them
  for (std::size_t i = count; i < lanes; ++i) a.lane[i] = 0.0f;
  return a;
}
// Part I of PARTS, 2 or 4, zeros behind it.
template <int PARTS, int I>
inline vec part(vec a) {
  return load_first(a.lane + I * (4 / PARTS), 4 / PARTS);
}
inline vec in_register(vec a) { return a; }
inline vec broadcast(float a) {
  return each([&](int) { return a; });
}
inline vec add(vec a, vec b) {
  return each([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline vec sub(vec a, vec b) {
  return each([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline vec mul(vec a, vec b) {
  return each([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline vec div(vec a, vec b) {
  return each([&](int i) { return a.lane[i] / b.lane[i]; });
}
inline vec fma(vec a, vec b, vec c) {
  return each([&](int i) { return static_cast<float>(static_cast<double>(a.lane[i]) * b.lane[i] + c.lane[i]); });
}
inline vec fnma(vec a, vec b, vec c) {
  return each([&](int i) { return static_cast<float>(c.lane[i] - static_cast<double>(a.lane[i]) * b.lane[i]); });
}
inline vec max_or_nan(vec low, vec a) {  // a, when a is not a number
  return each([&](int i) { return low.lane[i] > a.lane[i] ? low.lane[i] : a.lane[i]; });
}
inline vec min_or_nan(vec high, vec a) {  // a, when a is not a number
  return each([&](int i) { return high.lane[i] < a.lane[i] ? high.lane[i] : a.lane[i]; });
}
// Newton's method in double, where the result is exact enough to round as the hardware's instruction does.
inline float square_root(float a) {
  if (!(a > 0.0f) || a > 3.402823466e38f) return a < 0.0f ? 0.0f * number(0x7f800000u) : a;  // NaN below 0
  double root = number((bits(a) >> 1) + 0x1fbd1df5u);                                        // within 4 %
  for (int i = 0; i < 4; ++i) root = 0.5 * (root + static_cast<double>(a) / root);
  return static_cast<float>(root);
}
inline vec square_root(vec a) {
  return each([&](int i) { return square_root(a.lane[i]); });
}
inline vec with_sign(vec a, vec sign) {  // |a| with the sign of sign
  return each([&](int i) { return number((bits(a.lane[i]) & 0x7fffffffu) | (bits(sign.lane[i]) & 0x80000000u)); });
}
inline vec if_negative(vec a, vec then, vec otherwise) {  // by the sign bit of a
  return each([&](int i) { return bits(a.lane[i]) >> 31 ? then.lane[i] : otherwise.lane[i]; });
}
// 2^(n + MORE), where shifted is n + 1.5 * 2^23; n + MORE = -127 gives 0.
template <int MORE>
inline vec power_of_two(vec shifted) {
  return each([&](int i) { return number((bits(shifted.lane[i]) << 23) + ((127u + MORE) << 23)); });
}
// 1 / a within 5.1 % for a in [1, 4], the same on every CPU
inline vec rough_reciprocal(vec a) {
  return each([&](int i) { return number(0x7ef33333u - bits(a.lane[i])); });
}

// float16
inline vec load_half(const std::uint16_t* p) {
  return each([&](int i) {
    const std::uint32_t sign = (p[i] & 0x8000u) << 16, rest = p[i] & 0x7fffu;
    if (rest < 0x0400u) {  // below the normal numbers: a multiple of 2^-24, exact
      const float small = static_cast<float>(rest) * 0x1p-24f;
      return sign != 0 ? -small : small;
    }
    return number(sign | ((rest << 13) + (rest >= 0x7c00u ? 0x70000000u : 0x38000000u)));
  });
}
// Two vectors of bfloat16, lane by lane beside each other.
inline void load_bfloat_pairs(const std::uint16_t* p, vec& first, vec& second) {
  first = each([&](int i) { return number(static_cast<std::uint32_t>(p[2 * i]) << 16); });
  second = each([&](int i) { return number(static_cast<std::uint32_t>(p[2 * i + 1]) << 16); });
}
// Every lane rounded to the nearest bfloat16, ties to the even one; denormals are zero.
inline vec to_bfloat(vec a) {
  return each([&](int i) {
    const float flushed = a.lane[i] + 0.0f;
    const std::uint32_t b = bits(flushed);
    return flushed == flushed ? number((b + 0x7fffu + (b >> 16 & 1u)) & 0xffff0000u) : flushed;
  });
}
inline ivec no_products() { return {{0, 0, 0, 0}}; }
inline vec larger_magnitude(vec most, vec a) {  // by the bits, so that NaN is the largest
  return each([&](int i) {
    const std::uint32_t m = bits(a.lane[i]) & 0x7fffffffu;
    return m > bits(most.lane[i]) ? number(m) : most.lane[i];
  });
}
inline float largest(vec magnitudes) {
  vec most = broadcast(magnitudes.lane[0]);
  for (int i = 1; i < 4; ++i) most = larger_magnitude(most, broadcast(magnitudes.lane[i]));
  return most.lane[0];
}

// int8 weights by whole numbers of 16 bits, four k at a time.
struct By16 {
  static constexpr int rows = 1, panels = 1;
  static constexpr float limit = 32767.0f, offset = 0.0f;
  static constexpr std::size_t bytes = 2;  // for each number
  static constexpr int sums = 1, weight_parts = 4, number_parts = 4;
  static inline void load_weights(const signed char* p, ivec (&w)[4]) {
    for (int i = 0; i < 4; ++i)
      for (int k = 0; k < 4; ++k) w[k].lane[i] = p[4 * i + k];
  }
  static inline void store_numbers(unsigned char* p, vec shifted) {
    for (int i = 0; i < 4; ++i) {
      const std::int32_t q = static_cast<std::int32_t>(bits(shifted.lane[i]) & 0xffffu);
      store_as(p + 2 * i, static_cast<std::int16_t>(q >= 0x8000 ? q - 0x10000 : q));
    }
  }
  static inline void load_numbers(const unsigned char* p, ivec (&q)[4]) {
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 4; ++i) q[k].lane[i] = load_as<std::int16_t>(p + 2 * k);
  }
  static inline ivec add_products(ivec sum, const ivec (&w)[4], const ivec (&q)[4], std::size_t) {
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 4; ++i) sum.lane[i] += w[k].lane[i] * q[k].lane[i];
    return sum;
  }
  static inline vec total(const ivec (&sum)[1], const signed char*) {
    return each([&](int i) { return static_cast<float>(sum[0].lane[i]); });
  }
};
struct By8 : By16 {  // the same, with smaller numbers
  static constexpr float limit = 127.0f;
};

#if !defined(FL_SSE2) && !defined(FL_ARM64)
inline void prefetch_near(const void*) {}
inline void prefetch(const void*) {}
inline unsigned long long enter_flush_to_zero() { return 0; }
inline void leave_flush_to_zero(unsigned long long) {}
inline void pause() {}
#endif

}  // namespace

#if defined(FL_SSE2)
#include "x86_control.hpp"
#elif defined(FL_ARM64)
#include "arm64_control.hpp"
#endif
