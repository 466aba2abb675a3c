// exp, sigmoid and tanh as fixed sequences of IEEE operations, so that every instruction set gives the same bits.
//
// Both functions come as a quotient, so that a product of two of them is divided once:
//   sigmoid(x) = e / (1 + e) for x < 0, 1 / (1 + e) else,  e = exp(-|x|)
//   tanh(|x|)  = -m / (2 + m),                             m = exp(-2|x|) - 1
// Neither overflows, neither leaves [-1, 1], and tanh keeps its relative accuracy near 0.
#pragma once
#include "many.inl.hpp"

namespace {

template <int N>
struct Quotient {
  Many<N> numerator, denominator;
  Many<N> lost;  // what rounding took from the denominator, at most 2^-24
};

template <int N>
FL_INLINE Quotient<N> over_sum(const Many<N>& numerator, const Many<N>& large, const Many<N>& small) {
  const Many<N> sum = add(large, small);
  return {numerator, sum, sub(small, sub(sum, large))};
}

// numerator / (denominator + lost) within 0.51 units in the last place, for denominators in [1, 4]. Starts from the bits of
// the denominator (within 5.1 %), takes a step of third and one of second order, and corrects the quotient by its remainder.
template <int N>
FL_INLINE Many<N> value(const Quotient<N>& a) {
  const Many<N> one = splat<N>(1.0f);
  Many<N> reciprocal = rough_reciprocal(a.denominator);
  const Many<N> error = fnma(a.denominator, reciprocal, one);
  reciprocal = fma(reciprocal, fma(error, error, error), reciprocal);
  reciprocal = fma(reciprocal, fnma(a.denominator, reciprocal, one), reciprocal);
  const Many<N> quotient = mul(a.numerator, reciprocal);
  const Many<N> remainder = fnma(a.lost, quotient, fnma(a.denominator, quotient, a.numerator));
  return fma(remainder, reciprocal, quotient);
}

// a b, with one division; what was lost is left out, and the result is within 5 units in the last place. The divider works
// beside the multipliers, which are what a wide batch waits for.
template <int N>
FL_INLINE Many<N> product(const Quotient<N>& a, const Quotient<N>& b) {
  return div(mul(a.numerator, b.numerator), mul(a.denominator, b.denominator));
}

// For x <= 0 and FACTOR 1 or 2: FACTOR x = n ln 2 + s with |s| <= ln(2) / 2, so that exp(FACTOR x) = 2^n (1 + rest).
template <int N>
struct Exponential {
  Many<N> scale;    // FACTOR 2^n; 0 below the smallest normal number
  Many<N> rest;     // (exp(s) - 1) / FACTOR
  Many<N> shifted;  // n, as power_of_two takes it
};

// s + s^2 p(s) is within 1.4e-8 of exp(s) - 1, relatively. Everything is computed for r = s / FACTOR, so that the factor
// costs nothing. Even and odd terms apart: a shorter chain.
template <int FACTOR, int N>
FL_INLINE Exponential<N> exponential(Many<N> x) {
  constexpr float f = FACTOR;
  x = max_or_nan(splat<N>(-88.0f / f), x);
  const Many<N> shift = splat<N>(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Many<N> shifted = fma(x, splat<N>(1.44269504f * f), shift);
  const Many<N> n = sub(shifted, shift);
  Many<N> r;
  if constexpr (FACTOR == 1) {  // ln 2 in two parts, the first exact in products with n
    r = fnma(n, splat<N>(0.693145752f), x);
    r = fnma(n, splat<N>(1.42860677e-6f), r);
  } else {  // tanh: where n is large, the exponential is too small to matter
    r = fnma(n, splat<N>(0.693147181f / f), x);
  }
  const Many<N> square = mul(r, r);
  const Many<N> low = fma(splat<N>(0x1.5554bp-3f * f * f), r, splat<N>(0x1.fffffep-2f * f));
  const Many<N> high = fma(splat<N>(0x1.1227c2p-7f * f * f * f * f), r, splat<N>(0x1.555718p-5f * f * f * f));
  const Many<N> top = fma(splat<N>(0x1.6b71aap-10f * f * f * f * f * f), square, high);
  return {power_of_two<FACTOR - 1>(shifted), fma(fma(top, square, low), square, r), shifted};
}

template <int N>
FL_INLINE Quotient<N> sigmoid(const Many<N>& x) {
  const Many<N> one = splat<N>(1.0f);
  const Exponential<N> part = exponential<1>(with_sign(x, splat<N>(-0.0f)));
  const Many<N> e = fma(part.scale, part.rest, part.scale);
  return over_sum(if_negative(x, e, one), one, e);
}

template <int N>
FL_INLINE Quotient<N> tanh(const Many<N>& x) {
  const Exponential<N> part = exponential<2>(with_sign(x, splat<N>(-0.0f)));
  const Many<N> m = fma(part.scale, part.rest, fma(part.scale, splat<N>(0.5f), splat<N>(-1.0f)));  // in [-1, 0]
  return over_sum(with_sign(m, x), splat<N>(2.0f), m);
}

}  // namespace
