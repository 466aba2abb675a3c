// The steps of a recurrence.
#pragma once
#include <cstddef>

#include "reading.inl.hpp"

namespace {

// More than an L1 of 32 KB holds beside all else. One row that goes through so much in each step, from either end in turn,
// does it in three parts or more, of which the last one then is in L1: sequences at H = 64 became 1 to 4 % faster, a
// stream's step of 40 units 13 %.
constexpr std::size_t near_bytes = 28 * 1024;

template <class Kind>
void recur(const Recurrence& a) noexcept {
  if (a.rows == 0 || a.first_panel == a.last_panel) return;
  if constexpr (Kind::reads_ahead)
    if (a.ahead.inputs > 0) return recur_reading<Kind>(a);
  const std::size_t inputs = a.input_size + a.recurrent_size;
  const typename Plan<Kind>::Panels panels = {a.first_panel, a.last_panel, tail_of<Kind>(a.last_outputs)};
  const std::size_t outputs = panels.whole() * panel_width + (panels.tail < gates ? panels.tail * lanes : 0);
  const std::size_t bytes = fusedlstm::panel_bytes(Kind::precision, inputs, outputs);
  const std::size_t fewest = a.rows == 1 && bytes > near_bytes ? 3 : 1;
  const Plan<Kind> plan(a.rows, inputs, panels, fewest);
  for (std::size_t step = 0; step < a.steps; ++step) {
    if constexpr (Kind::rounds)
      for (std::size_t row = 0; row < a.rows; ++row) {
        if (a.input_size > 0) Kind::OfInput::round_row(x_at(a, step, row), a.input_size, rounded_row(a.rounded_x, row));
        Kind::round_row(h_at(a, step, row), a.recurrent_size, rounded_row(a.rounded_h, row));
      }
    plan.each(a.last_panel_first != (step % 2 == 1),
              [&](std::size_t rows, std::size_t count, std::size_t tail, const Block& block) {
                recur_block_of<Kind>(rows, count, tail)(a, step, block);
              });
  }
}

// x by 16 bits, h by 8; where x was projected before, h alone is there to be multiplied.
template <class OfX, class OfH>
void recur_of_two(const Recurrence& a) noexcept {
  if (a.input_size == 0) return recur<Integer<OfH>>(a);
  recur<IntegerOfTwo<OfX, OfH>>(a);
}
template <class OfX, class OfH>
constexpr fusedlstm::Kernels kernels_of_two = {project<Integer<OfX>>, recur_of_two<OfX, OfH>, 0};

// What a table has of one kind of weights.
template <class Kind>
constexpr fusedlstm::Kernels kernels_of = {project<Kind>, recur<Kind>, Kind::reads_ahead ? steps_beside : 0};

}  // namespace
