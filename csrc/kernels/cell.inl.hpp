// The hot kernels: matrix products by panels with every sum in registers, and the fused recurrent step.
#pragma once
#include <cstddef>

#include "activations.inl.hpp"
#include "panels.inl.hpp"
#include "parts.inl.hpp"
#include "table.hpp"

namespace {

using fusedlstm::Projection;
using fusedlstm::Recurrence;

// Half of a small L2.
constexpr std::size_t set_bytes = 512 * 1024;
// More than an L1 of 32 KB holds beside all else. One row that goes through so much in each step, from either end in turn,
// does it in three parts or more, of which the last one then is in L1: sequences at H = 64 became 1 to 4 % faster, a
// stream's step of 40 units 13 %.
constexpr std::size_t near_bytes = 28 * 1024;

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
    FL_REPEAT (r, ROWS) factor[r] = Kind::row_of(x_at(a, step, block.row + r), a.rounded_x, block.row + r);
    sums.add_product(a.input_weights, factor, a.input_size, block, soon);
  }
  FL_REPEAT (r, ROWS) factor[r] = Kind::row_of(h_at(a, step, block.row + r), a.rounded_h, block.row + r);
  sums.add_product(a.recurrent_weights, factor, a.recurrent_size, block, soon);

  sums.spread();
  const vec(*z)[gates] = &sums.at[0][0];
  constexpr std::size_t vectors = ROWS * PANELS;
  constexpr std::size_t beside = ROWS == 1 ? PANELS : cells_beside, paired = vectors / beside * beside;
  FL_UNROLL for (std::size_t n = 0; n < paired; n += beside) finish<ROWS, beside>(a, step, block, n, z);
  if constexpr (paired < vectors) finish<ROWS, vectors - paired>(a, step, block, paired, z);
}

// How many panels a group of rows takes at a time, so that the sums fill the registers.
template <class Kind>
constexpr int panels_beside(int rows) {
  for (int panels = Kind::panels; panels > 1; --panels)
    if (panels * rows <= Kind::rows) return panels;
  return 1;
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

// Vectors of a last panel with so many outputs; 0: all.
template <class Kind>
FL_INLINE std::size_t tail_of(std::size_t last_outputs) {
  return last_outputs == 0 ? gates : fusedlstm::tail_vectors(Kind::precision, (last_outputs + lanes - 1) / lanes);
}

// Blocks that cover all rows and the panels [first, last). Panels go in sets whose weights fit into half of a small L2: a
// group of rows meets all of a set while its inputs are in L1, and the set stays in L2 for the next group.
template <class Kind>
struct Plan {
  std::size_t first, tail;
  Parts groups, bands;  // bands: of whole panels
  std::size_t set;      // bands
  bool beyond_cache;    // all panels together do not fit into L2

  struct Panels {
    std::size_t first, last;
    std::size_t tail;  // vectors of the last one
    FL_INLINE std::size_t whole() const { return last - first - (tail < gates ? 1 : 0); }
  };

  // inputs: how many k each panel has; fewest: bands, if there are panels enough
  FL_INLINE Plan(std::size_t rows, std::size_t inputs, const Panels& panels, std::size_t fewest = 1)
      : first(panels.first),
        tail(panels.tail),
        groups(rows, parts_of(rows, Kind::rows)),
        bands(panels.whole(), at_least(panels.whole() < fewest ? panels.whole() : fewest,
                                       parts_of(panels.whole(), panels_beside<Kind>(static_cast<int>(groups.largest()))))),
        set(1),
        beyond_cache(false) {
    if (groups.count == 1) return;
    const std::size_t panel_bytes = fusedlstm::panel_bytes(Kind::precision, inputs, panel_width);
    const std::size_t fitting = set_bytes / (panel_bytes * at_least(1, bands.largest()));
    set = fitting == 0 ? 1 : fitting;
    beyond_cache = panel_bytes * panels.whole() > 2 * set_bytes;
  }

  // Call run(rows, panels, tail, block) for each block.
  template <class Run>
  FL_INLINE void each(bool last_panel_first, Run run) const {
    const bool none = bands.small + bands.larger == 0, joins = tail < gates && groups.largest() == 1 && !none;
    const std::size_t count = none ? 0 : bands.count;
    const auto band_at = [&](std::size_t i) { return last_panel_first ? count - 1 - i : i; };
    const auto block_of = [&](std::size_t group, std::size_t panel) {
      return Block{groups.start(group), panel, group, groups.count, false, panel};
    };
    for (std::size_t set_start = 0; set_start < count; set_start += set) {
      for (std::size_t group = 0; group < groups.count; ++group) {
        for (std::size_t i = set_start; i < set_start + set && i < count; ++i) {
          const std::size_t band = band_at(i);
          const bool joined = joins && band + 1 == count;
          Block block = block_of(group, first + bands.start(band));
          block.fetch = beyond_cache && i + set < count;
          if (block.fetch) block.next_panel = first + bands.start(band_at(i + set));
          run(groups.size(group), bands.size(band) + (joined ? 1 : 0), joined ? tail : gates, block);
        }
      }
    }
    if (tail == gates || joins) return;
    const std::size_t last = first + (none ? 0 : bands.start(count - 1) + bands.size(count - 1));
    for (std::size_t group = 0; group < groups.count; ++group) run(groups.size(group), 1, tail, block_of(group, last));
  }
};

template <class Kind>
void project(const Projection& a) noexcept {
  if (a.rows == 0 || a.first_panel == a.last_panel) return;
  if constexpr (Kind::rounds)
    for (std::size_t row = 0; row < a.rows; ++row) Kind::round_row(a.x[row], a.input_size, rounded_row(a.rounded_x, row));
  const Plan<Kind> plan(a.rows, a.input_size, {a.first_panel, a.last_panel, tail_of<Kind>(a.last_outputs)},
                        a.turn > 0 ? 3 : 1);
  plan.each(a.turn % 2 == 1, [&](std::size_t rows, std::size_t panels, std::size_t tail, const Block& block) {
    const auto& blocks = tail == 1   ? project_blocks<Kind, 1>
                         : tail == 2 ? project_blocks<Kind, 2>
                         : tail == 3 ? project_blocks<Kind, 3>
                                     : project_blocks<Kind, whole_panel>;
    blocks[rows - 1][panels - 1](a, block);
  });
}

template <class Kind>
void recur(const Recurrence& a) noexcept {
  if (a.rows == 0 || a.first_panel == a.last_panel) return;
  const std::size_t inputs = a.input_size + a.recurrent_size;
  const typename Plan<Kind>::Panels panels = {a.first_panel, a.last_panel, tail_of<Kind>(a.last_outputs)};
  const std::size_t outputs = panels.whole() * panel_width + (panels.tail < gates ? panels.tail * lanes : 0);
  const std::size_t bytes = fusedlstm::panel_bytes(Kind::precision, inputs, outputs);
  const std::size_t fewest = a.rows == 1 && bytes > near_bytes ? 3 : 1;
  const Plan<Kind> plan(a.rows, inputs, panels, fewest);
  const auto& tail_blocks = panels.tail == 1   ? recur_blocks<Kind, 1>
                            : panels.tail == 2 ? recur_blocks<Kind, 2>
                                               : recur_blocks<Kind, whole_panel>;
  for (std::size_t step = 0; step < a.steps; ++step) {
    if constexpr (Kind::rounds)
      for (std::size_t row = 0; row < a.rows; ++row) {
        if (a.input_size > 0) Kind::round_row(x_at(a, step, row), a.input_size, rounded_row(a.rounded_x, row));
        Kind::round_row(h_at(a, step, row), a.recurrent_size, rounded_row(a.rounded_h, row));
      }
    plan.each(a.last_panel_first != (step % 2 == 1),
              [&](std::size_t rows, std::size_t count, std::size_t tail, const Block& block) {
                const auto& blocks = tail == gates ? recur_blocks<Kind, whole_panel> : tail_blocks;
                blocks[rows - 1][count - 1](a, step, block);
              });
  }
}

}  // namespace
