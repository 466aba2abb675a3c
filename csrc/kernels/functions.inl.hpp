// The element-wise functions of cell.py, as fixed sequences of IEEE operations like those of activations.inl.hpp.
#pragma once
#include "activations.inl.hpp"
#include "table.hpp"

namespace {

using fusedlstm::Activation;
using fusedlstm::Function;

using One = Many<1>;

FL_INLINE One clip(const One& x, float low, float high) { return min_or_nan(splat<1>(high), max_or_nan(splat<1>(low), x)); }
FL_INLINE One magnitude(const One& x) { return with_sign(x, splat<1>(0.0f)); }
FL_INLINE One minus_magnitude(const One& x) { return with_sign(x, splat<1>(-0.0f)); }
// 0, or NaN where x is.
FL_INLINE One zero_or_nan(const One& x) { return add(clip(x, 0.0f, 0.0f), splat<1>(0.0f)); }

// exp(-|x|)
FL_INLINE One falling_exp(const One& x) {
  const Exponential<1> part = exponential<1>(minus_magnitude(x));
  return fma(part.scale, part.rest, part.scale);
}

// exp(x). Above 0 it is made of half of 2^n and doubled, so that it does not overflow before the result does.
FL_INLINE One exp(const One& x) {
  const Exponential<1> part = exponential<1>(min_or_nan(splat<1>(89.0f), x));
  const One scale = if_negative(x, part.scale, power_of_two<-1>(part.shifted));
  const One e = fma(scale, part.rest, scale);
  return if_negative(x, e, add(e, e));
}

// exp(-|x|) - 1, with its relative accuracy near 0
FL_INLINE One falling_exp_minus_1(const One& x) {
  const Exponential<1> part = exponential<2>(minus_magnitude(mul(x, splat<1>(0.5f))));
  return fma(part.scale, part.rest, fma(part.scale, splat<1>(0.5f), splat<1>(-1.0f)));
}

// log(1 + x) for x in [0, 1], as 2 artanh(x / (2 + x)) by its series, of which 3^-18 / 19 is left out.
FL_INLINE One log_1_plus(const One& x) {
  const One s = div(x, add(splat<1>(2.0f), x));
  const One square = mul(s, s);
  One sum = splat<1>(2.0f / 17);
  for (int odd = 15; odd >= 3; odd -= 2) sum = fma(sum, square, splat<1>(2.0f / static_cast<float>(odd)));
  const One tail = mul(mul(sum, square), s);
  return add(add(s, s), tail);
}

// The normal distribution's share below -|x|. Without the exponential it is p((y - 4) / (y + 4)) / (y + 4) for y = |x|;
// p is within 1e-8, relatively, up to y = 14, where nothing is left. x^2 / 2 comes in two parts, because the exponential
// turns its absolute error into a relative one.
FL_INLINE One normal_tail(const One& x) {
  const One y = min_or_nan(splat<1>(14.0f), magnitude(x));
  const One shifted = add(y, splat<1>(4.0f));
  const One t = div(sub(y, splat<1>(4.0f)), shifted);
  constexpr float p[] = {0.7552851438522339f,     -0.6078965663909912f,    0.38713693618774414f,    -0.18652336299419403f,
                         0.060403574258089066f,   -0.007525951601564884f,  -0.0035123268608003855f, 0.0015714478213340044f,
                         0.00018049457867164165f, -0.00013175162894185632f};
  One sum = splat<1>(p[9]);
  for (int i = 8; i >= 0; --i) sum = fma(sum, t, splat<1>(p[i]));
  const One half = mul(y, splat<1>(0.5f)), exponent = mul(half, y);
  const One lost = fma(half, y, sub(splat<1>(-0.0f), exponent));
  return mul(div(sum, shifted), fnma(lost, falling_exp(exponent), falling_exp(exponent)));
}

FL_INLINE One gelu_tanh(const One& x) {  // tanh's form is x sigmoid(2 u)
  const One u = mul(x, fma(mul(x, x), splat<1>(0.0713548163f), splat<1>(1.59576912f)));
  return mul(x, value(sigmoid(u)));
}

// x tanh(log(1 + e^x)) = x n / (n + 2), n = e^x (e^x + 2)
FL_INLINE One mish(const One& x) {
  const One e = exp(min_or_nan(splat<1>(30.0f), x)), two = splat<1>(2.0f);
  const One n = mul(e, add(e, two));
  return mul(x, div(n, add(n, two)));
}

FL_INLINE vec activated(const Activation& a, vec vector) {
  const One x = {{vector}}, alpha = splat<1>(a.alpha), beta = splat<1>(a.beta), zero = splat<1>(0.0f), one = splat<1>(1.0f);
  One y = x;
  switch (a.function) {
    case Function::affine:
      y = fma(alpha, x, beta);
      break;
    case Function::clipped_relu:
      y = add(min_or_nan(alpha, max_or_nan(zero, x)), zero);
      break;
    case Function::elu:
      y = if_negative(x, mul(alpha, falling_exp_minus_1(x)), x);
      break;
    case Function::exponential:
      y = exp(x);
      break;
    case Function::gelu: {
      const One tail = normal_tail(x);
      y = mul(x, if_negative(x, tail, sub(one, tail)));
      break;
    }
    case Function::gelu_tanh:
      y = gelu_tanh(x);
      break;
    case Function::hard_sigmoid:
      y = add(clip(fma(alpha, x, beta), 0.0f, 1.0f), zero);
      break;
    case Function::leaky_relu:
      y = if_negative(x, mul(alpha, x), x);
      break;
    case Function::mish:
      y = mish(x);
      break;
    case Function::relu:
      y = add(max_or_nan(zero, x), zero);
      break;
    case Function::scaled_tanh:
      y = mul(alpha, value(tanh(mul(beta, x))));
      break;
    case Function::selu:
      y = mul(beta, if_negative(x, mul(alpha, falling_exp_minus_1(x)), x));
      break;
    case Function::sigmoid:
      y = value(sigmoid(x));
      break;
    case Function::silu:
      y = mul(x, value(sigmoid(x)));
      break;
    case Function::softplus:
      y = add(max_or_nan(zero, x), log_1_plus(falling_exp(x)));
      break;
    case Function::softsign:
      y = div(x, add(one, magnitude(x)));
      break;
    case Function::tanh:
      y = value(tanh(x));
      break;
    case Function::thresholded_relu:
      y = if_negative(sub(x, alpha), zero_or_nan(x), x);
      break;
  }
  return y.at[0];
}

vec activate(const Activation& a, vec vector) { return activated(a, vector); }

// The nearest whole number, of two the even one. From 2^23 on there is nothing behind the point.
FL_INLINE One rounded(const One& x) {
  const One most = splat<1>(8388608.0f), size = magnitude(x);
  return with_sign(if_negative(sub(size, most), sub(add(size, most), most), size), x);
}
FL_INLINE One floored(const One& x) {
  const One near = rounded(x);
  return add(near, if_negative(sub(x, near), splat<1>(-1.0f), splat<1>(-0.0f)));
}
FL_INLINE One ceiled(const One& x) {
  const One near = rounded(x);
  return add(near, if_negative(sub(near, x), splat<1>(1.0f), splat<1>(-0.0f)));
}

// Below 1 x + x p(x^2), p within 2e-9; from there on what the normal distribution leaves.
FL_INLINE One error_function(const One& x) {
  const One size = magnitude(x), square = mul(size, size), one = splat<1>(1.0f);
  constexpr float p[] = {0.12837916612625122f,  -0.3761262595653534f,    0.11283597350120544f,  -0.02685432881116867f,
                         0.005189312156289816f, -0.0008018855005502701f, 7.882497448008507e-05f};
  One sum = splat<1>(p[6]);
  for (int i = 5; i >= 0; --i) sum = fma(sum, square, splat<1>(p[i]));
  const One tail = normal_tail(mul(size, splat<1>(1.41421356f)));
  return with_sign(if_negative(sub(size, one), fma(sum, size, size), fnma(splat<1>(2.0f), tail, one)), x);
}

}  // namespace
