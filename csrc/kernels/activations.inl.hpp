// exp, sigmoid and tanh as fixed sequences of IEEE operations, so that every instruction set gives the same bits.
//
// Both functions come as a numerator and a denominator: a product of two of them then needs one division.
//   sigmoid(x) = e / (1 + e) for x < 0, 1 / (1 + e) else,  e = exp(-|x|)
//   tanh(|x|)  = -m / (2 + m),                             m = exp(-2|x|) - 1
// Neither overflows, neither leaves [-1, 1], and tanh keeps its relative accuracy near 0.
#pragma once

namespace {

struct Ratio {
  vec numerator, denominator;
};

struct Exponential {
  vec scale;  // 2^n, 0 below the smallest normal number
  vec rest;   // exp(r) - 1, so that exp(x) = scale * (1 + rest)
};

// For x <= 0. x = n ln 2 + r with |r| <= ln(2) / 2; r + r^2 p(r) is within 2e-8 of exp(r) - 1, relatively.
inline Exponential exponential(vec x) {
  x = max_or_nan(broadcast(-88.0f), x);
  const vec shift = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vec shifted = fma(x, broadcast(1.44269504f), shift);
  const vec n = sub(shifted, shift);
  vec r = fnma(n, broadcast(0.693145752f), x);  // ln 2 in two parts, the first exact in products with n
  r = fnma(n, broadcast(1.42860677e-6f), r);
  vec p = broadcast(0x1.6bebdep-10f);
  p = fma(p, r, broadcast(0x1.122886p-7f));
  p = fma(p, r, broadcast(0x1.555676p-5f));
  p = fma(p, r, broadcast(0x1.5554aep-3f));
  p = fma(p, r, broadcast(0x1.fffffep-2f));
  p = fma(mul(p, r), r, r);
  return {power_of_two(shifted), p};
}

inline Ratio sigmoid(vec x) {
  const vec one = broadcast(1.0f);
  const Exponential part = exponential(with_sign(x, broadcast(-0.0f)));
  const vec e = fma(part.scale, part.rest, part.scale);
  return {if_negative(x, e, one), add(one, e)};
}

inline Ratio tanh(vec x) {
  const Exponential part = exponential(mul(broadcast(2.0f), with_sign(x, broadcast(-0.0f))));
  const vec m = fma(part.scale, part.rest, sub(part.scale, broadcast(1.0f)));  // in [-1, 0]
  return {with_sign(absolute(m), sign_bit(x)), add(broadcast(2.0f), m)};
}

inline vec value(Ratio a) { return div(a.numerator, a.denominator); }
inline Ratio product(Ratio a, Ratio b) { return {mul(a.numerator, b.numerator), mul(a.denominator, b.denominator)}; }

}  // namespace
