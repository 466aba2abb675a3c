// What is done to a row of floats as a whole: reductions, softmax, normalisations.
#pragma once
#include <cstddef>

#include "functions.inl.hpp"
#include "sums.inl.hpp"
#include "table.hpp"

namespace {

using fusedlstm::NormaliseRow;
using fusedlstm::ReduceColumns;
using fusedlstm::Reducing;
using fusedlstm::Reduction;

constexpr std::size_t sum_chunk = 1024;  // terms whose sum is a float

// exp(x) for x <= 0 of N vectors
template <int N>
FL_INLINE Many<N> falling(const Many<N>& x) {
  const Exponential<N> part = exponential<1>(with_sign(x, splat<N>(-0.0f)));
  return fma(part.scale, part.rest, part.scale);
}

// For each reduction what a term is, how two are joined, and what changes nothing.
struct Add {
  static constexpr float neutral = 0.0f;
  static FL_INLINE vec join(vec a, vec b) { return add(a, b); }
  static FL_INLINE float join(float a, float b) { return a + b; }
  static FL_INLINE double join(double a, double b) { return a + b; }
};
struct Sum : Add {
  static FL_INLINE vec term(vec a, vec) { return a; }
};
struct SumAbs : Add {
  static FL_INLINE vec term(vec a, vec) { return with_sign(a, broadcast(0.0f)); }
};
struct SumSquares : Add {
  static FL_INLINE vec term(vec a, vec) { return mul(a, a); }
};
struct SumExp : Add {
  static FL_INLINE vec term(vec a, vec shift) { return falling(One{{sub(a, shift)}}).at[0]; }
};
struct Product : Sum {
  static constexpr float neutral = 1.0f;
  static FL_INLINE vec join(vec a, vec b) { return mul(a, b); }
  static FL_INLINE float join(float a, float b) { return a * b; }
  static FL_INLINE double join(double a, double b) { return a * b; }
};
// NaN, once met, stays.
template <class Number>
FL_INLINE Number greater_of(Number a, Number b) {
  return a != a ? a : b != b ? b : a < b ? b : a;
}
struct Max : Sum {
  static constexpr float neutral = -__builtin_huge_valf();
  static FL_INLINE vec join(vec a, vec b) {
    return add(max_or_nan(a, b), max_or_nan(broadcast(0.0f), min_or_nan(broadcast(0.0f), a)));
  }
  static FL_INLINE float join(float a, float b) { return greater_of(a, b); }
  static FL_INLINE double join(double a, double b) { return greater_of(a, b); }
};
struct Min : Max {  // of -x
  static FL_INLINE vec term(vec a, vec) { return sub(broadcast(-0.0f), a); }
};

// A row, term k into partial sum k % 16; `at` gives vectors.
template <class How>
FL_INLINE double reduce_row(const float* x, std::size_t count, float shift) {
  const vec shifted = broadcast(shift);
  double total = static_cast<double>(How::neutral);
  for (std::size_t first = 0; first < count; first += sum_chunk) {
    const std::size_t last = count - first < sum_chunk ? count : first + sum_chunk;
    vec sums[partial_vectors];
    FL_REPEAT (i, partial_vectors) sums[i] = broadcast(How::neutral);
    std::size_t k = first;
    for (; k + partial_sums <= last; k += partial_sums) {
      FL_REPEAT (i, partial_vectors) sums[i] = How::join(sums[i], How::term(load(x + k + i * lanes), shifted));
    }
    if (k < last) {
      float rest[partial_sums], terms[partial_sums];
      for (std::size_t i = 0; i < partial_sums; ++i) rest[i] = k + i < last ? x[k + i] : 0.0f;
      FL_REPEAT (i, partial_vectors) store(terms + i * lanes, How::term(load(rest + i * lanes), shifted));
      for (std::size_t i = last - k; i < partial_sums; ++i) terms[i] = How::neutral;
      FL_REPEAT (i, partial_vectors) sums[i] = How::join(sums[i], load(terms + i * lanes));
    }
    total = How::join(total, static_cast<double>(joined(sums, [](float a, float b) { return How::join(a, b); })));
  }
  return total;
}

double reduce(const Reducing& how, const float* x, std::size_t count) noexcept {
  switch (how.kind) {
    case Reduction::sum:
      return reduce_row<Sum>(x, count, 0.0f);
    case Reduction::sum_abs:
      return reduce_row<SumAbs>(x, count, 0.0f);
    case Reduction::sum_squares:
      return reduce_row<SumSquares>(x, count, 0.0f);
    case Reduction::sum_exp:
      return reduce_row<SumExp>(x, count, how.shift);
    case Reduction::product:
      return reduce_row<Product>(x, count, 0.0f);
    case Reduction::max:
      return reduce_row<Max>(x, count, 0.0f);
    case Reduction::min:
      return -reduce_row<Min>(x, count, 0.0f);
  }
  return 0.0;
}

// One vector of columns; `width` of it are there.
template <class How>
FL_INLINE void reduce_some_columns(const ReduceColumns& a, std::size_t column, std::size_t width) {
  const vec shifted = broadcast(a.how.shift);
  double* const y = a.y + column;
  for (std::size_t i = 0; i < width; ++i) y[i] = static_cast<double>(How::neutral);
  for (std::size_t first = 0; first < a.count; first += sum_chunk) {
    const std::size_t last = a.count - first < sum_chunk ? a.count : first + sum_chunk;
    vec sums[partial_sums];
    for (std::size_t i = 0; i < partial_sums; ++i) sums[i] = broadcast(How::neutral);
    for (std::size_t k = first; k < last; k += partial_sums) {
      const std::size_t there = last - k < partial_sums ? last - k : partial_sums;
      const float* const x = a.x + static_cast<std::ptrdiff_t>(k) * a.step + column;
      const auto at = [&](std::size_t i) {
        const float* const p = x + static_cast<std::ptrdiff_t>(i) * a.step;
        return How::term(width == lanes ? load(p) : load_first(p, width), shifted);
      };
      if (there == partial_sums) {
        FL_REPEAT (i, partial_sums) sums[i] = How::join(sums[i], at(i));
      } else {
        for (std::size_t i = 0; i < there; ++i) sums[i] = How::join(sums[i], at(i));
      }
    }
    for (std::size_t half = partial_sums / 2; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) sums[i] = How::join(sums[i], sums[i + half]);
    float whole[lanes];
    store(whole, sums[0]);
    for (std::size_t i = 0; i < width; ++i) y[i] = How::join(y[i], static_cast<double>(whole[i]));
  }
}

template <class How>
void reduce_all_columns(const ReduceColumns& a) {
  std::size_t column = 0;
  for (; column + lanes <= a.columns; column += lanes) reduce_some_columns<How>(a, column, lanes);
  if (column < a.columns) reduce_some_columns<How>(a, column, a.columns - column);
}

void reduce_columns(const ReduceColumns& a) noexcept {
  switch (a.how.kind) {
    case Reduction::sum:
      return reduce_all_columns<Sum>(a);
    case Reduction::sum_abs:
      return reduce_all_columns<SumAbs>(a);
    case Reduction::sum_squares:
      return reduce_all_columns<SumSquares>(a);
    case Reduction::sum_exp:
      return reduce_all_columns<SumExp>(a);
    case Reduction::product:
      return reduce_all_columns<Product>(a);
    case Reduction::max:
      return reduce_all_columns<Max>(a);
    case Reduction::min:
      reduce_all_columns<Min>(a);
      for (std::size_t i = 0; i < a.columns; ++i) a.y[i] = -a.y[i];
      return;
  }
}

// y[k] = f(x[k], k), vector by vector; f is also given how many of the vector are there.
template <class F>
FL_INLINE void along_row(const float* x, float* y, std::size_t count, F f) {
  std::size_t k = 0;
  for (; k + lanes <= count; k += lanes) store(y + k, f(load(x + k), k, lanes));
  if (k < count) store_first(y + k, f(load_first(x + k, count - k), k, count - k), count - k);
}

void softmax(const float* x, float* y, std::size_t count) noexcept {
  const vec most = broadcast(static_cast<float>(reduce_row<Max>(x, count, 0.0f)));
  along_row(x, y, count, [&](vec a, std::size_t, std::size_t) { return falling(One{{sub(a, most)}}).at[0]; });
  const vec sum = broadcast(static_cast<float>(reduce_row<Sum>(y, count, 0.0f)));
  along_row(y, y, count, [&](vec a, std::size_t, std::size_t) { return div(a, sum); });
}

// The mean of f(x), summed like a reduction, in float: what it lacks is in the next pass over the row.
template <class F>
FL_INLINE double mean_of(const float* x, std::size_t count, F f) {
  double total = 0.0;
  for (std::size_t first = 0; first < count; first += sum_chunk) {
    const std::size_t size = count - first < sum_chunk ? count - first : sum_chunk;
    total += static_cast<double>(sum_over_units(size, [&](std::size_t panel) {
      const std::size_t k = first + panel * lanes;
      return f(count - k < lanes ? load_first(x + k, count - k) : load(x + k));
    }));
  }
  return total / static_cast<double>(count);
}

void normalise(const NormaliseRow& a) noexcept {
  vec mean = broadcast(0.0f), rest = mean;
  if (a.centred) {  // the mean in two parts: where values are nearly equal, much is made of what rounding took from it
    const double whole = mean_of(a.x, a.count, [](vec v) { return v; });
    mean = broadcast(static_cast<float>(whole));
    rest = broadcast(static_cast<float>(mean_of(a.x, a.count, [&](vec v) { return sub(v, mean); })));
  }
  const auto centred = [&](vec v) { return sub(sub(v, mean), rest); };
  const float variance = static_cast<float>(mean_of(a.x, a.count, [&](vec v) { return mul(centred(v), centred(v)); }));
  const float deviation = first_lane(square_root(broadcast(variance + a.epsilon))) + a.floor;
  const float inverse = 1.0f / deviation;
  if (a.statistics != nullptr) {
    a.statistics[0] = first_lane(add(mean, rest));
    a.statistics[1] = inverse;
  }
  const vec scale = broadcast(inverse);
  along_row(a.x, a.y, a.count, [&](vec v, std::size_t k, std::size_t width) {
    const auto of = [&](const float* array) { return width == lanes ? load(array + k) : load_first(array + k, width); };
    v = mul(centred(v), scale);
    if (a.gain == nullptr) return a.bias == nullptr ? v : add(v, of(a.bias));
    return a.bias == nullptr ? mul(v, of(a.gain)) : fma(v, of(a.gain), of(a.bias));
  });
}

}  // namespace
