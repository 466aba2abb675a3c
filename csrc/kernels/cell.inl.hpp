// The hot kernels: matrix products by panels with every sum in registers, and the fused recurrent step.
#pragma once
#include <cstddef>

#include "activations.inl.hpp"
#include "panels.inl.hpp"
#include "plan.inl.hpp"
#include "table.hpp"

namespace {

using fusedlstm::Projection;
using fusedlstm::Recurrence;

// c = f c + i g, h = o tanh(c), for N vectors of units; z[n] holds the four gates of vector n.
template <int N>
FL_INLINE Many<N> update_cells(const vec (*z)[gates], Many<N>& c) {
  Many<N> gate[gates];
  FL_REPEAT (g, gates) {
    FL_REPEAT (n, N) gate[g].at[n] = z[n][g];
  }
  const Quotient<N> input = sigmoid(gate[0]), forget = sigmoid(gate[1]), candidate = tanh(gate[2]);
  c = fma(value(forget), c, product(input, candidate));
  return product(sigmoid(gate[3]), tanh(c));
}

template <class Kind, int ROWS, int PANELS, int TAIL>
void project_block(const Projection& a, const Block& block) {
  const float* bias[ROWS];
  typename Kind::Row x[ROWS];
  const float* soon[ROWS];
  float* z[ROWS];
  FL_REPEAT (r, ROWS) {
    bias[r] = a.bias + block.panel * panel_width;
    x[r] = Kind::row_of(a.x[block.row + r], a.rounded_x, block.row + r);
    soon[r] = z[r] = a.z + (block.row + r) * a.z_row + block.panel * panel_width;
  }
  Sums<Kind, ROWS, PANELS, TAIL> sums;
  sums.start(bias);
  sums.add_product(a.weights, x, a.input_size, block, soon);
  sums.store_all(z, block.panel + PANELS == a.last_panel && a.last_outputs > 0 ? a.last_outputs : panel_width);
}

// The gates of vectors [first, first + N) of a block are known: update c, write h and y. Vector n is that of row n % ROWS
// and panel n / ROWS of the block.
template <int ROWS, int N>
FL_INLINE void finish(const Recurrence& a, std::size_t step, const Block& block, std::size_t first, const vec (*z)[gates]) {
  std::size_t rows[N], units[N];
  Many<N> c;
  FL_REPEAT (n, N) {
    rows[n] = block.row + (first + n) % ROWS;
    units[n] = (block.panel + (first + n) / ROWS) * lanes;
    c.at[n] = load(a.c + rows[n] * a.c_row + units[n]);
  }
  const Many<N> h = update_cells<N>(z + first, c);
  FL_REPEAT (n, N) {
    store(a.c + rows[n] * a.c_row + units[n], c.at[n]);
    store(a.h_out[step % 2] + rows[n] * a.h_out_row + units[n], h.at[n]);
    if (a.y == nullptr) continue;
    float* y = a.y[rows[n]] + a.y_offset + static_cast<std::ptrdiff_t>(step) * a.y_step + units[n];
    if (a.units - units[n] >= lanes)
      store(y, h.at[n]);
    else
      store_first(y, h.at[n], a.units - units[n]);
  }
}

// All gates of a block are known.
template <int ROWS, int PANELS, class Known>
FL_INLINE void finish_all(const Recurrence& a, std::size_t step, const Block& block, Known& sums) {
  sums.spread();
  const vec(*z)[gates] = &sums.at[0][0];
  constexpr std::size_t vectors = ROWS * PANELS;
  constexpr std::size_t beside = ROWS == 1 ? PANELS : cells_beside, paired = vectors / beside * beside;
  FL_UNROLL for (std::size_t n = 0; n < paired; n += beside) finish<ROWS, beside>(a, step, block, n, z);
  if constexpr (paired < vectors) finish<ROWS, vectors - paired>(a, step, block, paired, z);
}

FL_INLINE const float* x_at(const Recurrence& a, std::size_t step, std::size_t row) {
  return a.x[row] + a.x_offset + static_cast<std::ptrdiff_t>(step) * a.x_step;
}
FL_INLINE const float* h_at(const Recurrence& a, std::size_t step, std::size_t row) {
  return a.h_in[step % 2] + row * a.h_in_row;
}

template <class Kind, int ROWS, int PANELS, int TAIL>
void recur_block(const Recurrence& a, std::size_t step, const Block& block) {
  const std::ptrdiff_t at_step = static_cast<std::ptrdiff_t>(step);
  const float* in[ROWS];
  const float* soon[ROWS];  // where the next group of rows starts
  const std::size_t next_group = block.group + 1 < block.groups ? ROWS : 0;
  Sums<Kind, ROWS, PANELS, TAIL> sums;
  FL_REPEAT (r, ROWS) {
    in[r] = a.start + static_cast<std::ptrdiff_t>(block.row + r) * a.start_row + at_step * a.start_step +
            block.panel * panel_width;
  }
  FL_REPEAT (r, ROWS) soon[r] = in[r] + static_cast<std::ptrdiff_t>(next_group) * a.start_row;
  sums.start(in);
  typename Kind::Row factor[ROWS];
  if (a.input_size > 0) {
    using Of = typename Kind::OfInput;
    FL_REPEAT (r, ROWS) factor[r] = Of::row_of(x_at(a, step, block.row + r), a.rounded_x, block.row + r);
    sums.template add_product<Of>(a.input_weights, factor, a.input_size, block, soon);
  }
  FL_REPEAT (r, ROWS) factor[r] = Kind::row_of(h_at(a, step, block.row + r), a.rounded_h, block.row + r);
  sums.add_product(a.recurrent_weights, factor, a.recurrent_size, block, soon);

  finish_all<ROWS, PANELS>(a, step, block, sums);
}

// blocks[rows - 1][panels - 1], null where the sums would not fit into the registers. TAIL: see Sums; one row takes a tail
// with the panels before it.
using ProjectBlock = void (*)(const Projection&, const Block&);
using RecurBlock = void (*)(const Recurrence&, std::size_t step, const Block&);

template <class Kind, int ROWS, int PANELS, int TAIL>
constexpr bool has_block() {
  if (fusedlstm::tail_vectors(Kind::precision, TAIL) != TAIL || ROWS > Kind::rows) return false;
  if (TAIL == whole_panel) return PANELS <= panels_beside<Kind>(ROWS);
  return PANELS <= (ROWS == 1 ? panels_beside<Kind>(1) + 1 : 1);
}
template <class Kind, int ROWS, int PANELS, int TAIL>
constexpr ProjectBlock project_entry() {
  if constexpr (has_block<Kind, ROWS, PANELS, TAIL>()) return &project_block<Kind, ROWS, PANELS, TAIL>;
  return nullptr;
}
template <class Kind, int ROWS, int PANELS, int TAIL>
constexpr RecurBlock recur_entry() {
  if constexpr (has_block<Kind, ROWS, PANELS, TAIL>()) return &recur_block<Kind, ROWS, PANELS, TAIL>;
  return nullptr;
}
#define FL_ROW(entry, rows)                                                                                                \
  {entry<Kind, rows, 1, TAIL>(), entry<Kind, rows, 2, TAIL>(), entry<Kind, rows, 3, TAIL>(), entry<Kind, rows, 4, TAIL>(), \
   entry<Kind, rows, 5, TAIL>()}
#define FL_BLOCKS(entry) \
  {FL_ROW(entry, 1), FL_ROW(entry, 2), FL_ROW(entry, 3), FL_ROW(entry, 4), FL_ROW(entry, 5), FL_ROW(entry, 6)}
template <class Kind, int TAIL>
constexpr ProjectBlock project_blocks[6][5] = FL_BLOCKS(project_entry);
template <class Kind, int TAIL>
constexpr RecurBlock recur_blocks[6][5] = FL_BLOCKS(recur_entry);
#undef FL_BLOCKS
#undef FL_ROW

// Of so many rows and panels, the last of which has `tail` vectors.
template <class Kind>
FL_INLINE ProjectBlock project_block_of(std::size_t rows, std::size_t panels, std::size_t tail) {
  const auto& blocks = tail == 1   ? project_blocks<Kind, 1>
                       : tail == 2 ? project_blocks<Kind, 2>
                       : tail == 3 ? project_blocks<Kind, 3>
                                   : project_blocks<Kind, whole_panel>;
  return blocks[rows - 1][panels - 1];
}
template <class Kind>
FL_INLINE RecurBlock recur_block_of(std::size_t rows, std::size_t panels, std::size_t tail) {
  const auto& blocks = tail == 1   ? recur_blocks<Kind, 1>
                       : tail == 2 ? recur_blocks<Kind, 2>
                                   : recur_blocks<Kind, whole_panel>;
  return blocks[rows - 1][panels - 1];
}

}  // namespace
