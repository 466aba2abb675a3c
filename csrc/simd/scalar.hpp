// Plain C++: four lanes in an array, for any machine. Multiplies and adds are rounded separately.
#pragma once
#include <cstddef>
#include <cstdint>

namespace {

struct vec {
  float lane[4];
};
constexpr std::size_t lanes = 4;
constexpr int row_block = 2;
constexpr int panel_block = 2;

inline std::uint32_t bits(float a) {
  union {
    float number;
    std::uint32_t word;
  } u = {a};
  return u.word;
}
inline float number(std::uint32_t a) {
  union {
    std::uint32_t word;
    float number;
  } u = {a};
  return u.number;
}

template <class F>
inline vec each(F f) {
  vec r;
  for (int i = 0; i < 4; ++i) r.lane[i] = f(i);
  return r;
}

inline vec load(const float* p) {
  return each([&](int i) { return p[i]; });
}
inline void store_first(float* p, vec a, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) p[i] = a.lane[i];
}
inline void store(float* p, vec a) { store_first(p, a, lanes); }
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
inline vec fma(vec a, vec b, vec c) { return add(mul(a, b), c); }
inline vec fnma(vec a, vec b, vec c) { return sub(c, mul(a, b)); }
inline vec max_or_nan(vec low, vec a) {  // a, when a is not a number
  return each([&](int i) { return low.lane[i] > a.lane[i] ? low.lane[i] : a.lane[i]; });
}
inline vec sign_bit(vec a) {
  return each([&](int i) { return number(bits(a.lane[i]) & 0x80000000u); });
}
inline vec absolute(vec a) {
  return each([&](int i) { return number(bits(a.lane[i]) & 0x7fffffffu); });
}
inline vec with_sign(vec a, vec sign) {  // for a without a sign: a or -a, sign being 0.0 or -0.0
  return each([&](int i) { return number(bits(a.lane[i]) | bits(sign.lane[i])); });
}
inline vec if_negative(vec a, vec then, vec otherwise) {  // by the sign bit of a
  return each([&](int i) { return bits(a.lane[i]) >> 31 ? then.lane[i] : otherwise.lane[i]; });
}
// 2^n, where shifted is n + 1.5 * 2^23; n = -127 gives 0.
inline vec power_of_two(vec shifted) {
  return each([&](int i) { return number((bits(shifted.lane[i]) << 23) + 0x3f800000u); });
}
inline void prefetch(const float*) {}

#if !(defined(__x86_64__) || defined(_M_X64) || defined(__i386__))
inline unsigned long long enter_flush_to_zero() { return 0; }
inline void leave_flush_to_zero(unsigned long long) {}
inline void pause() {}
#endif

}  // namespace

#if defined(__x86_64__) || defined(_M_X64) || defined(__i386__)
#include "x86_control.hpp"
#endif
