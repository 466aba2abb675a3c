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

inline vec value(Ratio a) { return div(a.numerator, a.denominator); }

struct Exponential {
  vec scale;  // 2^n, 0 below the smallest normal number
  vec rest;   // exp(r) - 1, so that exp(x) = scale * (1 + rest)
};

// exp(FACTOR x) for x <= 0, FACTOR being 1 or 2. FACTOR x = n ln 2 + FACTOR r with |FACTOR r| <= ln(2) / 2;
// s + s^2 p(s) is within 2e-8 of exp(s) - 1, relatively. Even and odd terms apart, for a shorter chain.
template <int FACTOR>
inline Exponential exponential(vec x) {
  constexpr float f = FACTOR;
  x = max_or_nan(broadcast(-88.0f / f), x);
  const vec shift = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const vec shifted = fma(x, broadcast(1.44269504f * f), shift);
  const vec n = sub(shifted, shift);
  vec r = fnma(n, broadcast(0.693145752f / f), x);  // ln 2 in two parts, the first exact in products with n
  r = fnma(n, broadcast(1.42860677e-6f / f), r);
  const vec square = mul(r, r);
  const vec low = fma(broadcast(0x1.5554aep-3f * f * f * f), r, broadcast(0x1.fffffep-2f * f * f));
  const vec high = fma(broadcast(0x1.122886p-7f * f * f * f * f * f), r, broadcast(0x1.555676p-5f * f * f * f * f));
  const vec top = fma(broadcast(0x1.6bebdep-10f * f * f * f * f * f * f), square, high);
  const vec rest = fma(fma(top, square, low), square, FACTOR == 1 ? r : add(r, r));
  return {power_of_two(shifted), rest};
}

inline Ratio sigmoid(vec x) {
  const vec one = broadcast(1.0f);
  const Exponential part = exponential<1>(with_sign(x, broadcast(-0.0f)));
  const vec e = fma(part.scale, part.rest, part.scale);
  return {if_negative(x, e, one), add(one, e)};
}

inline Ratio tanh(vec x) {
  const Exponential part = exponential<2>(with_sign(x, broadcast(-0.0f)));
  const vec m = fma(part.scale, part.rest, sub(part.scale, broadcast(1.0f)));  // in [-1, 0]
  const vec two = broadcast(2.0f);
  const vec sum = add(two, m);
  const vec lost = sub(m, sub(sum, two));  // what rounding took from the denominator: give it to the numerator
  return {with_sign(absolute(fnma(lost, m, m)), sign_bit(x)), sum};
}

inline Ratio product(Ratio a, Ratio b) { return {mul(a.numerator, b.numerator), mul(a.denominator, b.denominator)}; }

}  // namespace
