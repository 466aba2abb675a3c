// Lines of element-wise work, and what one position of a convolution by channels adds up.
#pragma once
#include <cstddef>
#include <cstdint>

#include "functions.inl.hpp"
#include "sums.inl.hpp"
#include "table.hpp"

namespace {

using fusedlstm::ChannelPool;
using fusedlstm::ChannelProducts;
using fusedlstm::MapLine;
using fusedlstm::ResampleLine;

// The compiler may take y for one of the inputs, but not for a part of it.
#if defined(_MSC_VER) && !defined(__clang__)
#define FL_APART __pragma(loop(ivdep))
#elif defined(__clang__)
#define FL_APART _Pragma("clang loop vectorize(assume_safety)")
#else
#define FL_APART _Pragma("GCC ivdep")
#endif

// y = f(inputs...) of vectors; a repeated input is spread over one vector, which is read again and again.
template <int INPUTS, class F>
FL_INLINE void over_line(const MapLine& a, F f) {
  float spread[INPUTS][lanes];
  const float* in[INPUTS];
  std::size_t moves[INPUTS];
  FL_REPEAT (n, INPUTS) {
    in[n] = static_cast<const float*>(a.inputs[n]);
    moves[n] = a.repeated[n] ? 0 : 1;
    if (a.repeated[n]) {
      store(spread[n], broadcast(*in[n]));
      in[n] = spread[n];
    }
  }
  float* const y = static_cast<float*>(a.y);
  std::size_t i = 0;
  One v[INPUTS];
  for (; i + lanes <= a.count; i += lanes) {
    FL_REPEAT (n, INPUTS) v[n].at[0] = load(in[n] + i * moves[n]);
    store(y + i, f(v).at[0]);
  }
  if (i == a.count) return;
  const std::size_t rest = a.count - i;
  FL_REPEAT (n, INPUTS) v[n].at[0] = load_first(in[n] + i * moves[n], rest);
  store_first(y + i, f(v).at[0], rest);
}

// The same for what has no vectors here: compilers find their own.
template <class Y, class A, class F>
FL_INLINE void over_pairs(const MapLine& line, F f) {
  const std::size_t count = line.count;  // y may be of bytes, which the compiler takes for anything
  Y* const y = static_cast<Y*>(line.y);
  const A* const a = static_cast<const A*>(line.inputs[0]);
  const A* const b = static_cast<const A*>(line.inputs[1]);
  if (line.repeated[0]) {
    const A one = *a;
    FL_APART for (std::size_t i = 0; i < count; ++i) y[i] = f(one, b[i]);
  } else if (line.repeated[1]) {
    const A one = *b;
    FL_APART for (std::size_t i = 0; i < count; ++i) y[i] = f(a[i], one);
  } else {
    FL_APART for (std::size_t i = 0; i < count; ++i) y[i] = f(a[i], b[i]);
  }
}

FL_INLINE One larger(const One& a, const One& b) { return add(max_or_nan(a, b), zero_or_nan(a)); }
FL_INLINE One smaller(const One& a, const One& b) { return add(min_or_nan(a, b), zero_or_nan(a)); }
FL_INLINE One root(const One& a) { return {{square_root(a.at[0])}}; }

#define FL_LINE(name, inputs, expression)                          \
  void map_##name(const MapLine& a) noexcept {                     \
    over_line<inputs>(a, [](const One* v) { return expression; }); \
  }
FL_LINE(add, 2, add(v[0], v[1]))
FL_LINE(sub, 2, sub(v[0], v[1]))
FL_LINE(mul, 2, mul(v[0], v[1]))
FL_LINE(div, 2, div(v[0], v[1]))
FL_LINE(min, 2, smaller(v[0], v[1]))
FL_LINE(max, 2, larger(v[0], v[1]))
FL_LINE(multiply_add, 3, fma(v[0], v[1], v[2]))
FL_LINE(neg, 1, sub(splat<1>(-0.0f), v[0]))
FL_LINE(abs, 1, magnitude(v[0]))
FL_LINE(square, 1, mul(v[0], v[0]))
FL_LINE(square_root, 1, root(v[0]))
FL_LINE(reciprocal, 1, div(splat<1>(1.0f), v[0]))
FL_LINE(slope, 2, if_negative(v[0], mul(v[0], v[1]), v[0]))
FL_LINE(floor, 1, floored(v[0]))
FL_LINE(ceil, 1, ceiled(v[0]))
FL_LINE(round, 1, rounded(v[0]))
FL_LINE(erf, 1, error_function(v[0]))
FL_LINE(mish, 1, mish(v[0]))
#undef FL_LINE

void map_less(const MapLine& line) noexcept {
  over_pairs<unsigned char, float>(line, [](float a, float b) -> unsigned char { return a < b; });
}
void map_less_or_equal(const MapLine& line) noexcept {
  over_pairs<unsigned char, float>(line, [](float a, float b) -> unsigned char { return a <= b; });
}
void map_equal(const MapLine& line) noexcept {
  over_pairs<unsigned char, float>(line, [](float a, float b) -> unsigned char { return a == b; });
}

void map_choose(const MapLine& line) noexcept {
  const std::size_t count = line.count;
  float* const y = static_cast<float*>(line.y);
  const unsigned char* const which = static_cast<const unsigned char*>(line.inputs[0]);
  const float* const a = static_cast<const float*>(line.inputs[1]);
  const float* const b = static_cast<const float*>(line.inputs[2]);
  const auto choose = [&](auto of_a, auto of_b) {
    FL_APART for (std::size_t i = 0; i < count; ++i) y[i] = which[i] != 0 ? of_a(i) : of_b(i);
  };
  const auto each_a = [a](std::size_t i) { return a[i]; };
  const auto each_b = [b](std::size_t i) { return b[i]; };
  const auto one_a = [one = *a](std::size_t) { return one; };
  const auto one_b = [one = *b](std::size_t) { return one; };
  if (!line.repeated[1]) return line.repeated[2] ? choose(each_a, one_b) : choose(each_a, each_b);
  return line.repeated[2] ? choose(one_a, one_b) : choose(one_a, each_b);
}

// log(x) = e ln 2 + log(1 + f), x = 2^e (1 + f), with 1 + f in [sqrt(1/2), sqrt(2)]; log(1 + f) = f - s (f - r) for
// s = f / (2 + f) and r = 2/3 s^2 + 2/5 s^4 + ..., of which 2/11 s^10 is left out. In steps that compilers find vectors for.
FL_INLINE float logarithm(float x) {
  const std::uint32_t shifted = bits_as<std::uint32_t>(x) - 0x3f3504f3u;  // from sqrt(1/2)
  const float m = bits_as<float>((shifted & 0x007fffffu) + 0x3f3504f3u);
  const float e = static_cast<float>(static_cast<std::int32_t>(shifted) >> 23);
  const float f = m - 1.0f, s = f / (2.0f + f), square = s * s;
  const float r = square * (0.666666667f + square * (0.4f + square * (0.285714286f + square * 0.222222222f)));
  const float half = 0.5f * f * f;
  const float result = e * 0.693359375f - ((half - (s * (half + r) + e * -2.12194440e-4f)) - f);
  // By the bits: 0, and what is flushed to it, gives -infinity, infinity itself, what is below 0 or no number NaN.
  const std::uint32_t word = bits_as<std::uint32_t>(x), infinity = 0x7f800000u, smallest = 0x00800000u;
  const auto choose = [](bool which, std::uint32_t a, std::uint32_t b) {
    return b ^ ((a ^ b) & (0u - std::uint32_t{which}));
  };
  const std::uint32_t special = choose((word & infinity) == 0, 0xff800000u, choose(word == infinity, infinity, 0x7fc00000u));
  return bits_as<float>(choose(word - smallest < infinity - smallest, bits_as<std::uint32_t>(result), special));
}
void map_log(const MapLine& line) noexcept {
  float* const y = static_cast<float*>(line.y);
  const float* const x = static_cast<const float*>(line.inputs[0]);
  const std::size_t count = line.count;
  FL_APART for (std::size_t i = 0; i < count; ++i) y[i] = logarithm(x[i]);
}

// N vectors of channels, or the first `width` of one: blocks of 64 terms, each a chain that starts at zero, as in all
// products.
template <int N, bool WHOLE = true>
FL_INLINE Many<N> channel_sums(const ChannelProducts& a, std::size_t channel, std::size_t width = lanes) {
  const auto at = [&](const float* p, std::size_t n) { return WHOLE ? load(p + n * lanes) : load_first(p, width); };
  Many<N> total;
  FL_REPEAT (n, N) total.at[n] = at(a.bias + channel, n);
  for (std::size_t first = 0; first < a.count; first += 64) {
    const std::size_t last = a.count - first < 64 ? a.count : first + 64;
    Many<N> sum = splat<N>(0.0f);
    for (std::size_t k = first; k < last; ++k) {
      if (a.offsets[k] == fusedlstm::nothing) continue;
      const float *const x = a.x + a.offsets[k] + channel, *const w = a.weights + k * a.channels + channel;
      FL_REPEAT (n, N) sum.at[n] = fma(at(x, n), at(w, n), sum.at[n]);
    }
    total = add(total, sum);
  }
  return total;
}

void channel_products(const ChannelProducts& a) noexcept {
  constexpr int beside = 4;
  std::size_t c = 0;
  for (; c + beside * lanes <= a.channels; c += beside * lanes) {
    const Many<beside> sums = channel_sums<beside>(a, c);
    FL_REPEAT (n, beside) store(a.y + c + n * lanes, sums.at[n]);
  }
  for (; c + lanes <= a.channels; c += lanes) store(a.y + c, channel_sums<1>(a, c).at[0]);
  if (c == a.channels) return;
  store_first(a.y + c, channel_sums<1, false>(a, c, a.channels - c).at[0], a.channels - c);
}

template <int N, bool WHOLE = true>
FL_INLINE Many<N> channels_pooled(const ChannelPool& a, std::size_t channel, std::size_t width = lanes) {
  const auto at = [&](std::size_t k, std::size_t n) {
    const float* const p = a.x + a.offsets[k] + channel + n * lanes;
    return WHOLE ? load(p) : load_first(p, width);
  };
  Many<N> total;
  FL_REPEAT (n, N) total.at[n] = at(0, n);
  for (std::size_t k = 1; k < a.count; ++k) {
    FL_REPEAT (n, N) {
      const One both[2] = {{{total.at[n]}}, {{at(k, n)}}};
      total.at[n] = a.divisor == 0.0f ? larger(both[0], both[1]).at[0] : add(total.at[n], both[1].at[0]);
    }
  }
  return a.divisor == 0.0f ? total : div(total, splat<N>(a.divisor));
}

void channel_pool(const ChannelPool& a) noexcept {
  constexpr int beside = 4;
  std::size_t c = 0;
  for (; c + beside * lanes <= a.channels; c += beside * lanes) {
    const Many<beside> found = channels_pooled<beside>(a, c);
    FL_REPEAT (n, beside) store(a.y + c + n * lanes, found.at[n]);
  }
  for (; c + lanes <= a.channels; c += lanes) store(a.y + c, channels_pooled<1>(a, c).at[0]);
  if (c == a.channels) return;
  store_first(a.y + c, channels_pooled<1, false>(a, c, a.channels - c).at[0], a.channels - c);
}

void resample_line(const ResampleLine& a) noexcept {
  for (std::size_t i = 0; i < a.count; i += lanes) {
    const std::size_t width = a.count - i < lanes ? a.count - i : lanes;
    vec sum = broadcast(0.0f);
    for (std::size_t t = 0; t < a.taps; ++t) {
      float seen[lanes] = {};
      const std::size_t row = t * a.count + i;
      for (std::size_t k = 0; k < width; ++k) seen[k] = a.x[a.places[row + k]];
      const vec weights = width == lanes ? load(a.weights + row) : load_first(a.weights + row, width);
      sum = t == 0 ? mul(load(seen), weights) : fma(load(seen), weights, sum);
    }
    store_first(a.y + i, sum, width);
  }
}

}  // namespace
