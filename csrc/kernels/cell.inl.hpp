// The hot kernels: matrix products by panels with every sum in registers, and the fused recurrent step.
#pragma once
#include <cstddef>

#include "activations.inl.hpp"
#include "table.hpp"

namespace {

using fusedlstm::Projection;
using fusedlstm::Recurrence;

constexpr std::size_t gates = 4;  // i, f, g, o
constexpr std::size_t panel_width = gates * lanes;
// Terms that one chain of multiply-adds takes before it is added to the total. Rounding errors grow with the length of a
// chain: in blocks, sums are as accurate as PyTorch's at any size, and it costs no measurable time.
constexpr std::size_t sum_block = 32;

// The pre-activations of PANELS panels for ROWS rows, all in registers.
template <int ROWS, int PANELS>
struct Sums {
  vec at[PANELS][ROWS][gates];

  FL_INLINE void start(const float* const (&rows)[ROWS]) {
    FL_UNROLL for (int p = 0; p < PANELS; ++p) FL_UNROLL for (int r = 0; r < ROWS; ++r)
        FL_UNROLL for (std::size_t g = 0; g < gates; ++g) at[p][r][g] =
            load(rows[r] + static_cast<std::size_t>(p) * panel_width + g * lanes);
  }

  // at += W in. weights is the first panel's [k][gate][lane].
  FL_INLINE void add_product(const float* weights, const float* const (&in)[ROWS], std::size_t size) {
    const std::size_t panel = size * panel_width;
    for (std::size_t first = 0; first < size; first += sum_block) {
      const std::size_t last = size - first < sum_block ? size : first + sum_block;
      vec sum[PANELS][ROWS][gates];
      FL_UNROLL for (int p = 0; p < PANELS; ++p) FL_UNROLL for (int r = 0; r < ROWS; ++r)
          FL_UNROLL for (std::size_t g = 0; g < gates; ++g) sum[p][r][g] = broadcast(0.0f);
      for (std::size_t k = first; k < last; ++k) {
        FL_UNROLL for (int p = 0; p < PANELS; ++p) {
          const float* w = weights + static_cast<std::size_t>(p) * panel + k * panel_width;
          FL_UNROLL for (int r = 0; r < ROWS; ++r) {
            const vec a = broadcast(in[r][k]);
            FL_UNROLL for (std::size_t g = 0; g < gates; ++g) sum[p][r][g] = fma(a, load(w + g * lanes), sum[p][r][g]);
          }
        }
      }
      FL_UNROLL for (int p = 0; p < PANELS; ++p) FL_UNROLL for (int r = 0; r < ROWS; ++r)
          FL_UNROLL for (std::size_t g = 0; g < gates; ++g) at[p][r][g] = add(at[p][r][g], sum[p][r][g]);
    }
  }

  FL_INLINE void store_all(float* const (&rows)[ROWS]) const {
    FL_UNROLL for (int p = 0; p < PANELS; ++p) FL_UNROLL for (int r = 0; r < ROWS; ++r)
        FL_UNROLL for (std::size_t g = 0; g < gates; ++g)
            store(rows[r] + static_cast<std::size_t>(p) * panel_width + g * lanes, at[p][r][g]);
  }
};

// c = f c + i g, h = o tanh(c), for N vectors of units; z[n] holds the four gates of vector n.
template <int N>
FL_INLINE Many<N> update_cells(const vec (*z)[gates], Many<N>& c) {
  Many<N> gate[gates];
  FL_UNROLL for (std::size_t g = 0; g < gates; ++g) FL_UNROLL for (int n = 0; n < N; ++n) gate[g].at[n] = z[n][g];
  const Quotient<N> input = sigmoid(gate[0]), forget = sigmoid(gate[1]), candidate = tanh(gate[2]);
  c = fma(value(forget), c, product(input, candidate));
  return product(sigmoid(gate[3]), tanh(c));
}

template <int ROWS, int PANELS>
void project_block(const Projection& a, std::size_t row, std::size_t panel) {
  const float* bias[ROWS];
  const float* x[ROWS];
  float* z[ROWS];
  FL_UNROLL for (int r = 0; r < ROWS; ++r) {
    bias[r] = a.bias + panel * panel_width;
    x[r] = a.x[row + static_cast<std::size_t>(r)];
    z[r] = a.z + (row + static_cast<std::size_t>(r)) * a.z_row + panel * panel_width;
  }
  Sums<ROWS, PANELS> sums;
  sums.start(bias);
  sums.add_product(a.weights + panel * a.input_size * panel_width, x, a.input_size);
  sums.store_all(z);
}

// The gates of vectors [first, first + N) of a block are known: update c, write h and y. Vector n is that of row n % ROWS
// and panel n / ROWS of the block.
template <int ROWS, int N>
FL_INLINE void finish(const Recurrence& a, std::size_t step, std::size_t row, std::size_t panel, int first,
                      const vec (*z)[gates]) {
  std::size_t rows[N], units[N];
  Many<N> c;
  FL_UNROLL for (int n = 0; n < N; ++n) {
    rows[n] = row + static_cast<std::size_t>((first + n) % ROWS);
    units[n] = (panel + static_cast<std::size_t>((first + n) / ROWS)) * lanes;
    c.at[n] = load(a.c + rows[n] * a.c_row + units[n]);
  }
  const Many<N> h = update_cells<N>(z + first, c);
  FL_UNROLL for (int n = 0; n < N; ++n) {
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

template <int ROWS, int PANELS>
void recur_block(const Recurrence& a, std::size_t step, std::size_t row, std::size_t panel) {
  const std::ptrdiff_t at_step = static_cast<std::ptrdiff_t>(step);
  Sums<ROWS, PANELS> sums;
  {
    const float* start[ROWS];
    FL_UNROLL for (int r = 0; r < ROWS; ++r) start[r] =
        a.start + static_cast<std::ptrdiff_t>(row + static_cast<std::size_t>(r)) * a.start_row + at_step * a.start_step +
        panel * panel_width;
    sums.start(start);
  }
  if (a.input_size > 0) {
    const float* x[ROWS];
    FL_UNROLL for (int r = 0; r < ROWS; ++r) x[r] = a.x[row + static_cast<std::size_t>(r)] + a.x_offset + at_step * a.x_step;
    sums.add_product(a.input_weights + panel * a.input_size * panel_width, x, a.input_size);
  }
  {
    const float* h[ROWS];
    FL_UNROLL for (int r = 0; r < ROWS; ++r) h[r] = a.h_in[step % 2] + (row + static_cast<std::size_t>(r)) * a.h_in_row;
    sums.add_product(a.recurrent_weights + panel * a.recurrent_size * panel_width, h, a.recurrent_size);
  }
  const vec(*z)[gates] = &sums.at[0][0];
  constexpr int vectors = ROWS * PANELS, paired = vectors / cells_beside * cells_beside;
  FL_UNROLL for (int n = 0; n < paired; n += cells_beside) finish<ROWS, cells_beside>(a, step, row, panel, n, z);
  if constexpr (paired < vectors) finish<ROWS, vectors - paired>(a, step, row, panel, paired, z);
}

// How many panels a group of rows takes at a time, so that the sums fill the registers.
constexpr int panels_beside(int rows) {
  return row_block / rows < 1 ? 1 : row_block / rows > panel_block ? panel_block : row_block / rows;
}

// blocks[rows - 1][panels - 1], null where the sums would not fit into the registers.
using ProjectBlock = void (*)(const Projection&, std::size_t row, std::size_t panel);
using RecurBlock = void (*)(const Recurrence&, std::size_t step, std::size_t row, std::size_t panel);

template <int ROWS, int PANELS>
constexpr ProjectBlock project_entry() {
  if constexpr (ROWS <= row_block && PANELS <= panels_beside(ROWS)) return &project_block<ROWS, PANELS>;
  return nullptr;
}
template <int ROWS, int PANELS>
constexpr RecurBlock recur_entry() {
  if constexpr (ROWS <= row_block && PANELS <= panels_beside(ROWS)) return &recur_block<ROWS, PANELS>;
  return nullptr;
}
#define FL_ROW(entry, rows) {entry<rows, 1>(), entry<rows, 2>(), entry<rows, 3>(), entry<rows, 4>()}
#define FL_BLOCKS(entry) \
  {FL_ROW(entry, 1), FL_ROW(entry, 2), FL_ROW(entry, 3), FL_ROW(entry, 4), FL_ROW(entry, 5), FL_ROW(entry, 6)}
constexpr ProjectBlock project_blocks[6][4] = FL_BLOCKS(project_entry);
constexpr RecurBlock recur_blocks[6][4] = FL_BLOCKS(recur_entry);
#undef FL_BLOCKS
#undef FL_ROW

// The start of part i when count things are cut into parts of nearly equal size.
FL_INLINE std::size_t cut(std::size_t count, std::size_t parts, std::size_t i) { return count * i / parts; }
FL_INLINE std::size_t parts_of(std::size_t count, int most) {
  const std::size_t limit = static_cast<std::size_t>(most);
  return (count + limit - 1) / limit;
}

// Call run(rows, panels, row, panel) for blocks that cover all rows and the panels [first, last).
template <class Run>
FL_INLINE void over_blocks(std::size_t rows, std::size_t first, std::size_t last, bool last_panel_first, Run run) {
  const std::size_t groups = parts_of(rows, row_block);
  const int group_rows = static_cast<int>((rows + groups - 1) / groups);
  const std::size_t bands = parts_of(last - first, panels_beside(group_rows));
  for (std::size_t i = 0; i < bands; ++i) {
    const std::size_t band = last_panel_first ? bands - 1 - i : i;
    const std::size_t panel = first + cut(last - first, bands, band);
    const std::size_t panels = first + cut(last - first, bands, band + 1) - panel;
    for (std::size_t group = 0; group < groups; ++group) {
      const std::size_t row = cut(rows, groups, group);
      run(cut(rows, groups, group + 1) - row, panels, row, panel);
    }
  }
}

void project(const Projection& a) noexcept {
  if (a.rows == 0) return;
  over_blocks(a.rows, a.first_panel, a.last_panel, false,
              [&](std::size_t rows, std::size_t panels, std::size_t row, std::size_t panel) {
                project_blocks[rows - 1][panels - 1](a, row, panel);
              });
}

void recur(const Recurrence& a) noexcept {
  if (a.rows == 0) return;
  for (std::size_t step = 0; step < a.steps; ++step)
    over_blocks(a.rows, a.first_panel, a.last_panel, a.last_panel_first != (step % 2 == 1),
                [&](std::size_t rows, std::size_t panels, std::size_t row, std::size_t panel) {
                  recur_blocks[rows - 1][panels - 1](a, step, row, panel);
                });
}

}  // namespace
