// What is done to a row of floats as a whole: reductions, softmax, normalisations. Each is here twice, for a row and for
// rows that lie side by side; both take their sums in the same order.
#pragma once
#include <cstddef>

#include "functions.inl.hpp"
#include "sums.inl.hpp"
#include "table.hpp"

namespace {

using fusedlstm::Columns;
using fusedlstm::Normalise;
using fusedlstm::Reducing;
using fusedlstm::Reduction;

constexpr std::size_t sum_chunk = 1024;  // terms whose sum is a float

// exp(x) for x <= 0
FL_INLINE vec falling(vec x) {
  const Exponential<1> part = exponential<1>(One{{with_sign(x, broadcast(-0.0f))}});
  return fma(part.scale, part.rest, part.scale).at[0];
}

// How terms are joined, and what changes nothing.
struct Add {
  static constexpr float neutral = 0.0f;
  static FL_INLINE vec join(vec a, vec b) { return add(a, b); }
  static FL_INLINE float join(float a, float b) { return a + b; }
  static FL_INLINE double join(double a, double b) { return a + b; }
};
struct Multiply {
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
struct Greater {
  static constexpr float neutral = -__builtin_huge_valf();
  static FL_INLINE vec join(vec a, vec b) {
    return add(max_or_nan(a, b), max_or_nan(broadcast(0.0f), min_or_nan(broadcast(0.0f), a)));
  }
  static FL_INLINE float join(float a, float b) { return greater_of(a, b); }
  static FL_INLINE double join(double a, double b) { return greater_of(a, b); }
};

FL_INLINE vec itself(vec a) { return a; }
FL_INLINE vec negative(vec a) { return sub(broadcast(-0.0f), a); }
FL_INLINE vec size_of(vec a) { return with_sign(a, broadcast(0.0f)); }
FL_INLINE vec square(vec a) { return mul(a, a); }

// A term of its element alone, as join_row takes it.
template <class Term>
FL_INLINE auto alone(Term term) {
  return [term](vec a, std::size_t, std::size_t) { return Many<1>{{term(a)}}; };
}

template <class How>
struct Behind {
  float at[2 * lanes];
  constexpr Behind() : at{} {
    for (std::size_t i = lanes; i < 2 * lanes; ++i) at[i] = How::neutral;
  }
};
// The first `count` terms of a vector, and what changes nothing behind them.
template <class How>
FL_INLINE vec only_first(vec terms, std::size_t count) {
  static constexpr Behind<How> behind;
  return add(keep_first(terms, count), load(behind.at + lanes - count));
}

// A row's terms joined, term k into partial sum k % 16. A term is given its elements, the first one's place, and how many
// there are; N sums are taken at once.
template <class How, int N, class Term>
FL_INLINE void join_row(const float* x, std::size_t count, double (&totals)[N], Term term) {
  FL_REPEAT (n, N) totals[n] = static_cast<double>(How::neutral);
  for (std::size_t first = 0; first < count; first += sum_chunk) {
    const std::size_t last = count - first < sum_chunk ? count : first + sum_chunk;
    vec sums[N][partial_vectors];
    FL_REPEAT (n, N) {
      FL_REPEAT (i, partial_vectors) sums[n][i] = broadcast(How::neutral);
    }
    std::size_t k = first;
    for (; k + partial_sums <= last; k += partial_sums) {
      FL_REPEAT (i, partial_vectors) {
        const Many<N> terms = term(load(x + k + i * lanes), k + i * lanes, lanes);
        FL_REPEAT (n, N) sums[n][i] = How::join(sums[n][i], terms.at[n]);
      }
    }
    for (std::size_t i = 0; k < last; ++i, k += lanes) {
      const std::size_t there = last - k < lanes ? last - k : lanes;
      const Many<N> terms = term(load_first(x + k, there), k, there);
      FL_REPEAT (n, N) sums[n][i] = How::join(sums[n][i], only_first<How>(terms.at[n], there));
    }
    FL_REPEAT (n, N) {
      const float chunk = joined(sums[n], [](float a, float b) { return How::join(a, b); });
      totals[n] = How::join(totals[n], static_cast<double>(chunk));
    }
  }
}
template <class How, class Term>
FL_INLINE double join_row(const float* x, std::size_t count, Term term) {
  double total[1];
  join_row<How>(x, count, total, alone(term));
  return total[0];
}

// The greatest of a row. It depends on no order, so that several are looked for side by side; NaN is kept apart.
template <class Term>
FL_INLINE double greatest(const float* x, std::size_t count, Term term) {
  constexpr std::size_t beside = 4;
  vec most[beside], lost[beside];
  FL_REPEAT (i, beside) {
    most[i] = broadcast(Greater::neutral);
    lost[i] = broadcast(0.0f);
  }
  const auto meet = [&](std::size_t i, vec a) {
    most[i] = max_or_nan(a, most[i]);
    lost[i] = add(lost[i], max_or_nan(broadcast(0.0f), min_or_nan(broadcast(0.0f), a)));
  };
  std::size_t k = 0;
  for (; k + beside * lanes <= count; k += beside * lanes) {
    FL_REPEAT (i, beside) meet(i, term(load(x + k + i * lanes)));
  }
  for (; k + lanes <= count; k += lanes) meet(0, term(load(x + k)));
  if (k < count) meet(0, only_first<Greater>(term(load_first(x + k, count - k)), count - k));
  // What is NaN in `most` is so in `lost`.
  float found[lanes], none[lanes];
  store(found, max_or_nan(max_or_nan(most[0], most[1]), max_or_nan(most[2], most[3])));
  store(none, add(add(lost[0], lost[1]), add(lost[2], lost[3])));
  FL_UNROLL for (std::size_t half = lanes / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) {
      found[i] = found[i] < found[i + half] ? found[i + half] : found[i];
      none[i] += none[i + half];
    }
  }
  return static_cast<double>(found[0] + none[0]);
}

// The same of one vector of columns, `width` of which are there.
template <class How, int N, class Term>
FL_INLINE void join_columns(const Columns& a, std::size_t width, double (&totals)[N][lanes], Term term) {
  FL_REPEAT (n, N) {
    for (std::size_t i = 0; i < width; ++i) totals[n][i] = static_cast<double>(How::neutral);
  }
  for (std::size_t first = 0; first < a.count; first += sum_chunk) {
    const std::size_t last = a.count - first < sum_chunk ? a.count : first + sum_chunk;
    vec sums[N][partial_sums];
    FL_REPEAT (n, N) {
      for (std::size_t i = 0; i < partial_sums; ++i) sums[n][i] = broadcast(How::neutral);
    }
    const float* x = a.x + static_cast<std::ptrdiff_t>(first) * a.x_step;
    for (std::size_t k = first; k < last; k += partial_sums) {
      const std::size_t there = last - k < partial_sums ? last - k : partial_sums;
      for (std::size_t i = 0; i < there; ++i, x += a.x_step) {
        const Many<N> terms = term(width == lanes ? load(x) : load_first(x, width), k + i, width);
        FL_REPEAT (n, N) sums[n][i] = How::join(sums[n][i], terms.at[n]);
      }
    }
    FL_REPEAT (n, N) {
      for (std::size_t half = partial_sums / 2; half > 0; half /= 2)
        for (std::size_t i = 0; i < half; ++i) sums[n][i] = How::join(sums[n][i], sums[n][i + half]);
      float whole[lanes];
      store(whole, sums[n][0]);
      for (std::size_t i = 0; i < width; ++i) totals[n][i] = How::join(totals[n][i], static_cast<double>(whole[i]));
    }
  }
}
template <class How, class Term>
FL_INLINE void join_columns(const Columns& a, std::size_t width, double* totals, Term term) {
  double total[1][lanes];
  join_columns<How>(a, width, total, alone(term));
  for (std::size_t i = 0; i < width; ++i) totals[i] = total[0][i];
}

double reduce(const Reducing& how, const float* x, std::size_t count) noexcept {
  const vec shift = broadcast(how.shift);
  switch (how.kind) {
    case Reduction::sum:
      return join_row<Add>(x, count, itself);
    case Reduction::sum_abs:
      return join_row<Add>(x, count, size_of);
    case Reduction::sum_squares:
      return join_row<Add>(x, count, square);
    case Reduction::sum_exp:
      return join_row<Add>(x, count, [&](vec a) { return falling(sub(a, shift)); });
    case Reduction::product:
      return join_row<Multiply>(x, count, itself);
    case Reduction::max:
      return greatest(x, count, itself);
    case Reduction::min:
      return -greatest(x, count, negative);
  }
  return 0.0;
}

// run(columns of one vector, how many are there, the first)
template <class Run>
FL_INLINE void by_vectors(const Columns& a, Run run) {
  for (std::size_t first = 0; first < a.columns; first += lanes) {
    Columns some = a;
    some.x = a.x + first;
    some.y = a.y == nullptr ? nullptr : a.y + first;
    run(some, a.columns - first < lanes ? a.columns - first : lanes, first);
  }
}

void reduce_columns(Reduction kind, const Columns& a, double* sums) noexcept {
  by_vectors(a, [&](const Columns& some, std::size_t width, std::size_t first) {
    double* const to = sums + first;
    switch (kind) {
      case Reduction::sum:
        return join_columns<Add>(some, width, to, itself);
      case Reduction::sum_abs:
        return join_columns<Add>(some, width, to, size_of);
      case Reduction::sum_squares:
        return join_columns<Add>(some, width, to, square);
      case Reduction::product:
        return join_columns<Multiply>(some, width, to, itself);
      case Reduction::max:
        return join_columns<Greater>(some, width, to, itself);
      case Reduction::min:
        join_columns<Greater>(some, width, to, negative);
        for (std::size_t i = 0; i < width; ++i) to[i] = -to[i];
        return;
      case Reduction::sum_exp:
        return join_columns<Add>(some, width, to, falling);
    }
  });
}

// y[k] = f(x[k], k) along a row, vector by vector; f is also given how many of the vector are there.
template <class F>
FL_INLINE void along_row(const float* x, float* y, std::size_t count, F f) {
  std::size_t k = 0;
  for (; k + lanes <= count; k += lanes) store(y + k, f(load(x + k), k, lanes));
  if (k < count) store_first(y + k, f(load_first(x + k, count - k), k, count - k), count - k);
}
// The same down one vector of columns, f without a width.
template <class F>
FL_INLINE void down_columns(const Columns& a, std::size_t width, F f) {
  const float* x = a.x;
  float* y = a.y;
  for (std::size_t k = 0; k < a.count; ++k, x += a.x_step, y += a.y_step) {
    if (width == lanes)
      store(y, f(load(x), k));
    else
      store_first(y, f(load_first(x, width), k), width);
  }
}

FL_INLINE void store_some(float* p, vec a, std::size_t width) {
  if (width == lanes)
    store(p, a);
  else
    store_first(p, a, width);
}

// a / b, rightly rounded but for a few; multiplying takes a third of the time that dividing does.
struct Divisor {
  vec b, inverse;
  FL_INLINE explicit Divisor(vec of) : b(of), inverse(div(broadcast(1.0f), of)) {}
  FL_INLINE vec operator()(vec a) const {
    const vec near = mul(a, inverse);
    return fma(fnma(near, b, a), inverse, near);
  }
};

void softmax(const float* x, float* y, std::size_t count) noexcept {
  const vec most = broadcast(static_cast<float>(greatest(x, count, itself)));
  double total[1];
  join_row<Add>(x, count, total, [&](vec a, std::size_t k, std::size_t width) {
    const vec e = falling(sub(a, most));
    store_some(y + k, e, width);
    return Many<1>{{e}};
  });
  const Divisor by(broadcast(static_cast<float>(total[0])));
  along_row(y, y, count, [&](vec a, std::size_t, std::size_t) { return by(a); });
}

FL_INLINE vec as_floats(const double* values, std::size_t width) {
  float floats[lanes] = {};
  for (std::size_t i = 0; i < width; ++i) floats[i] = static_cast<float>(values[i]);
  return load(floats);
}

void softmax_columns(const Columns& a) noexcept {
  by_vectors(a, [](const Columns& some, std::size_t width, std::size_t) {
    double totals[1][lanes];
    join_columns<Greater>(some, width, totals, alone(itself));
    const vec most = as_floats(totals[0], width);
    join_columns<Add>(some, width, totals, [&](vec v, std::size_t k, std::size_t there) {
      const vec e = falling(sub(v, most));
      store_some(some.y + static_cast<std::ptrdiff_t>(k) * some.y_step, e, there);
      return Many<1>{{e}};
    });
    const Divisor by(as_floats(totals[0], width));
    const Columns made = {some.y, some.y, some.y_step, some.y_step, some.count, some.columns};
    down_columns(made, width, [&](vec v, std::size_t) { return by(v); });
  });
}

// What normalises rows, one in each lane, or the same one in all. The mean comes in two parts: where values are nearly
// equal, much is made of what rounding took from it.
struct Moments {
  vec mean, rest, scale;
  FL_INLINE vec operator()(vec a) const { return mul(sub(sub(a, mean), rest), scale); }
};

// Sums over rows as doubles, WIDTH of them: sum(totals, term) adds N terms up, and spread(totals) makes a vector.
template <std::size_t WIDTH, class Sum, class Spread>
FL_INLINE Moments moments_of(const Normalise& how, std::size_t count, Sum sum, Spread spread) {
  const double size = static_cast<double>(count);
  Moments found = {broadcast(0.0f), broadcast(0.0f), broadcast(0.0f)};
  double means[1][WIDTH] = {}, sums[2][WIDTH] = {};
  if (how.centred) {
    sum(means, alone(itself));
    for (double& mean : means[0]) mean /= size;
    found.mean = spread(means[0]);
  }
  const vec mean = found.mean;
  sum(sums, [mean](vec v, std::size_t, std::size_t) {
    const vec centred = sub(v, mean);
    return Many<2>{{centred, square(centred)}};
  });
  for (std::size_t i = 0; i < WIDTH; ++i) {
    const double rest = how.centred ? sums[0][i] / size : 0.0;
    sums[0][i] = rest;
    sums[1][i] = sums[1][i] / size - rest * rest;
  }
  found.rest = spread(sums[0]);
  const vec deviation = add(square_root(add(spread(sums[1]), broadcast(how.epsilon))), broadcast(how.floor));
  found.scale = div(broadcast(1.0f), deviation);
  return found;
}

// y = normal gain + bias
FL_INLINE vec finished(vec normal, const float* gain, const vec& g, const float* bias, const vec& b) {
  if (gain == nullptr) return bias == nullptr ? normal : add(normal, b);
  return bias == nullptr ? mul(normal, g) : fma(normal, g, b);
}

void normalise(const Normalise& how, const float* x, float* y, std::size_t count) noexcept {
  const Moments one = moments_of<1>(
      how, count,
      [&](auto& totals, auto term) {
        constexpr int n = sizeof totals / sizeof(double);
        double of_row[n];
        join_row<Add>(x, count, of_row, term);
        for (std::size_t i = 0; i < n; ++i) totals[i][0] = of_row[i];
      },
      [](const double* total) { return broadcast(static_cast<float>(*total)); });
  if (how.mean != nullptr) *how.mean = first_lane(add(one.mean, one.rest));
  if (how.inverse != nullptr) *how.inverse = first_lane(one.scale);
  along_row(x, y, count, [&](vec v, std::size_t k, std::size_t width) {
    const auto of = [&](const float* array) {
      return array == nullptr ? v : width == lanes ? load(array + k) : load_first(array + k, width);
    };
    return finished(one(v), how.gain, of(how.gain), how.bias, of(how.bias));
  });
}

void normalise_columns(const Normalise& how, const Columns& a) noexcept {
  by_vectors(a, [&](const Columns& some, std::size_t width, std::size_t first) {
    const Moments all = moments_of<lanes>(
        how, some.count, [&](auto& totals, auto term) { join_columns<Add>(some, width, totals, term); },
        [&](const double* totals) { return as_floats(totals, width); });
    if (how.mean != nullptr) store_first(how.mean + first, add(all.mean, all.rest), width);
    if (how.inverse != nullptr) store_first(how.inverse + first, all.scale, width);
    down_columns(some, width, [&](vec v, std::size_t k) {
      const auto of = [&](const float* array) { return array == nullptr ? v : broadcast(array[k]); };
      return finished(all(v), how.gain, of(how.gain), how.bias, of(how.bias));
    });
  });
}

}  // namespace
