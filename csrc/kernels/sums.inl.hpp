// Sums over a row in an order that neither the width of the vectors nor the threads change: sixteen partial sums, added in
// pairs.
#pragma once
#include <cstddef>

#include "many.inl.hpp"

namespace {

constexpr std::size_t partial_sums = 16;
constexpr std::size_t partial_vectors = partial_sums / lanes;

FL_INLINE float first_lane(vec a) {
  float whole[lanes];
  store(whole, a);
  return whole[0];
}

// All partial sums as one.
template <class Join>
FL_INLINE float joined(const vec (&sums)[partial_vectors], Join join) {
  float at[partial_sums];
  FL_REPEAT (i, partial_vectors) store(at + i * lanes, sums[i]);
  for (std::size_t half = partial_sums / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) at[i] = join(at[i], at[i + half]);
  return at[0];
}

// The sum over all units of values(panel), a vector of units.
template <class Values>
FL_INLINE float sum_over_units(std::size_t units, Values values) {
  vec sums[partial_vectors];
  FL_REPEAT (i, partial_vectors) sums[i] = broadcast(0.0f);
  const std::size_t panels = (units + lanes - 1) / lanes;
  for (std::size_t panel = 0; panel < panels; ++panel) {
    vec v = values(panel);
    if (units - panel * lanes < lanes) v = keep_first(v, units - panel * lanes);
    sums[panel % partial_vectors] = add(sums[panel % partial_vectors], v);
  }
  return joined(sums, [](float a, float b) { return a + b; });
}

}  // namespace
