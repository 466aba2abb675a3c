// One step of a cell with one state, from the pre-activations on: GRU and RNN.
#pragma once
#include "cell.inl.hpp"
#include "functions.inl.hpp"

namespace {

using fusedlstm::OneState;
using fusedlstm::StateUpdate;

// The usual functions; vectors go through them side by side.
struct UsualFunctions {
  static constexpr int beside = 2;
  template <int N>
  FL_INLINE Many<N> gate(const Many<N>& z) const {
    return value(sigmoid(z));
  }
  template <int N>
  FL_INLINE Many<N> candidate(const Many<N>& z) const {
    return value(tanh(z));
  }
};

struct AnyFunctions {
  static constexpr int beside = 1;
  const StateUpdate& a;
  FL_INLINE One gate(const One& z) const { return {{activate(a.gate, clip(z, -a.clip, a.clip).at[0])}}; }
  FL_INLINE One candidate(const One& z) const { return {{activate(a.candidate, clip(z, -a.clip, a.clip).at[0])}}; }
};

template <int N>
FL_INLINE Many<N> load_many(const float* from) {
  Many<N> r;
  FL_REPEAT (n, N) r.at[n] = load(from + n * lanes);
  return r;
}

// N vectors of units of one row; `left`: units from the first of them on.
template <int N, class Functions>
FL_INLINE void update_units(const StateUpdate& a, const Functions& f, std::size_t row, std::size_t unit, std::size_t left) {
  const float* const from_x = a.from_x + row * a.from_x_row + unit;
  const float* const from_h = a.from_h + row * a.from_h_row + unit;
  const float* const from_n = a.from_n + row * a.from_n_row + unit;
  float* const state = a.h[row] + unit;
  const auto sum = [&](std::size_t which) {
    return add(load_many<N>(from_x + which * a.units), load_many<N>(from_h + which * a.units));
  };
  if (a.cell == OneState::gru_reset) {
    const Many<N> reset = mul(f.gate(sum(1)), load_many<N>(state));
    FL_REPEAT (n, N) store(a.reset[row] + unit + n * lanes, reset.at[n]);
    return;
  }
  Many<N> h;
  if (a.cell == OneState::rnn) {
    h = f.candidate(sum(0));
  } else {
    const Many<N> x = load_many<N>(from_x + 2 * a.units), back = load_many<N>(from_n);
    const Many<N> candidate = f.candidate(a.cell == OneState::gru ? fma(f.gate(sum(1)), back, x) : add(x, back));
    const Many<N> update = f.gate(sum(0));
    h = fma(update, load_many<N>(state), mul(sub(splat<N>(1.0f), update), candidate));
  }
  FL_REPEAT (n, N) store(state + n * lanes, h.at[n]);
  if (a.y == nullptr) return;
  float* const y = a.y[row] + a.y_offset + unit;
  FL_REPEAT (n, N) {
    if (left >= (n + 1) * lanes)
      store(y + n * lanes, h.at[n]);
    else
      store_first(y + n * lanes, h.at[n], left - n * lanes);
  }
}

template <class Functions>
void update_rows(const StateUpdate& a, const Functions& f) {
  constexpr std::size_t beside = Functions::beside * lanes;
  for (std::size_t row = 0; row < a.rows; ++row) {
    std::size_t unit = 0;
    for (; unit + beside <= a.units; unit += beside) update_units<Functions::beside>(a, f, row, unit, a.units - unit);
    for (; unit < a.units; unit += lanes) update_units<1>(a, f, row, unit, a.units - unit);
  }
}

void update_state(const StateUpdate& a) noexcept {
  if (a.gate.function == Function::sigmoid && a.candidate.function == Function::tanh && !(a.clip < 1e38f))
    update_rows(a, UsualFunctions{});
  else
    update_rows(a, AnyFunctions{a});
}

}  // namespace
