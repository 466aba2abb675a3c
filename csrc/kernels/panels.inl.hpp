// Products by panels with every sum in registers.
#pragma once
#include <cstddef>

#include "integer.inl.hpp"
#include "parts.inl.hpp"
#include "table.hpp"
#include "weights.inl.hpp"

namespace {

// Sums that are too few to hide the latency of a multiply-add.
constexpr int few_sums = 3;

// What one block computes and what it fetches meanwhile. Where the weights are larger than L2, those of the next set of
// panels are brought in while this one is multiplied, dealt out among the groups of rows: one line for each k, since a burst
// would take the buffers that the loads from L2 need as well. It made batches at H = 1024 15 % faster, and costs 2 % where
// the weights are in L2 already.
struct Block {
  std::size_t row, panel;  // the first ones
  std::size_t group, groups;
  bool fetch;
  std::size_t next_panel;
};

constexpr int whole_panel = static_cast<int>(gates);

// The pre-activations of PANELS panels for ROWS rows, all in registers; Kind is what the weights are held in. TAIL: the
// vectors that the last of these panels has.
template <class Kind, int ROWS, int PANELS, int TAIL = whole_panel>
struct Sums {
  vec at[PANELS][ROWS][gates];

  static constexpr int vectors = (PANELS - 1) * whole_panel + TAIL;
  static constexpr bool has(std::size_t panel, std::size_t vector) { return panel + 1 < PANELS || vector < TAIL; }
  static constexpr std::size_t width(std::size_t panel) { return panel + 1 < PANELS ? panel_width : TAIL * lanes; }
  // Call run(panel, row, vector) for every sum.
  template <class Run>
  static FL_INLINE void each(Run run) {
    FL_REPEAT (p, PANELS) {
      FL_REPEAT (r, ROWS) {
        FL_REPEAT (g, gates) {
          if (has(p, g)) run(p, r, g);
        }
      }
    }
  }

  FL_INLINE void start(const float* const (&rows)[ROWS]) {
    each([&](auto p, auto r, auto g) { at[p][r][g] = load(rows[r] + p * panel_width + g * lanes); });
  }

  // Weights in a panel.
  static FL_INLINE std::size_t panel_size(std::size_t inputs) {
    return fusedlstm::panel_bytes(Kind::precision, inputs, panel_width) / sizeof(typename Kind::Weight);
  }

  // at += W in. weights is the whole matrix, panel by panel; Of: what `in` is rounded to; soon: rows of pre-activations that
  // are needed next.
  template <class Of = Kind>
  FL_INLINE void add_product(const void* weights, const typename Kind::Row (&in)[ROWS], std::size_t size, const Block& block,
                             const float* const (&soon)[ROWS]) {
    if constexpr (Kind::integer) {
      add_integer_product<Of>(at, weights, in, size, block.panel);
    } else {
      const auto* first = static_cast<const typename Kind::Weight*>(weights);
      const std::size_t whole = panel_size(size);
      const auto* here = first + block.panel * whole;
      if constexpr (ROWS > 1) {
        if (block.fetch) {
          const auto* next = first + block.next_panel * whole + cut(whole, block.groups, block.group);
          accumulate<true>(here, in, size, soon, next, panel_width / block.groups);
          return;
        }
      }
      accumulate<false>(here, in, size, soon, here, 0);
    }
  }

  template <bool FETCH, class Weight>
  FL_INLINE void accumulate(const Weight* here, const typename Kind::Row (&in)[ROWS], std::size_t size,
                            const float* const (&soon)[ROWS], const Weight* next, std::size_t next_step) {
    const std::size_t whole = panel_size(size);
    std::size_t first = 0;
    if constexpr (!FETCH && ROWS * vectors <= few_sums) {
      for (; size - first >= 3 * Kind::sum_block; first += 3 * Kind::sum_block) add_blocks<3>(here, in, first);
      for (; size - first >= 2 * Kind::sum_block; first += 2 * Kind::sum_block) add_blocks<2>(here, in, first);
    }
    for (; first < size; first += Kind::sum_block) {
      const std::size_t last = size - first < Kind::sum_block ? size : first + Kind::sum_block;
      if constexpr (FETCH) {
        for (std::size_t r = ROWS * first / size; r < ROWS * last / size; ++r) {
          FL_REPEAT (line, PANELS * panel_width / 16) prefetch_near(soon[r] + line * 16);
        }
      }
      vec sum[PANELS][ROWS][gates];
      each([&](auto p, auto r, auto g) { sum[p][r][g] = broadcast(0.0f); });
      for (std::size_t k = first; k < last; k += Kind::step) {
        if constexpr (FETCH) {
          FL_REPEAT (s, Kind::step) prefetch(next + (k + s) * next_step);
        }
        FL_REPEAT (p, PANELS) {
          const Weight* now = here + p * whole + k * width(p);
          if constexpr (ROWS > 1 && Kind::soon_enough > 0) {
            FL_REPEAT (line, Kind::step * panel_width * sizeof(Weight) / 64) {
              if (line * 64 < Kind::step * width(p) * sizeof(Weight))
                prefetch_near(reinterpret_cast<const float*>(now + Kind::soon_enough * width(p)) + line * 16);
            }
          }
          typename Kind::Factor w[gates];
          Kind::load_gates(now, w);
          if constexpr (ROWS > 1 && ROWS <= rows_beside_weights) {
            typename Kind::Term a[ROWS];
            FL_REPEAT (r, ROWS) a[r] = Kind::term(in[r], k);
            FL_REPEAT (g, gates) {
              if (!has(p, g)) continue;
              const typename Kind::Factor weight = Kind::held(w[g]);
              FL_REPEAT (r, ROWS) sum[p][r][g] = Kind::add_product(sum[p][r][g], a[r], weight);
            }
          } else {
            FL_REPEAT (r, ROWS) {
              const typename Kind::Term a = Kind::term(in[r], k);
              FL_REPEAT (g, gates) {
                if (has(p, g)) sum[p][r][g] = Kind::add_product(sum[p][r][g], a, w[g]);
              }
            }
          }
        }
      }
      each([&](auto p, auto r, auto g) { at[p][r][g] = add(at[p][r][g], sum[p][r][g]); });
    }
  }

  // Some blocks of terms side by side, one panel: a few sums alone would wait for each multiply-add before.
  template <int BLOCKS, class Weight>
  FL_INLINE void add_blocks(const Weight* here, const typename Kind::Row (&in)[ROWS], std::size_t first) {
    vec sum[BLOCKS][ROWS][TAIL];
    FL_REPEAT (b, BLOCKS) {
      FL_REPEAT (r, ROWS) {
        FL_REPEAT (g, TAIL) sum[b][r][g] = broadcast(0.0f);
      }
    }
    for (std::size_t k = first; k < first + Kind::sum_block; k += Kind::step) {
      FL_REPEAT (b, BLOCKS) {
        const std::size_t at_term = k + b * Kind::sum_block;
        typename Kind::Factor w[gates];
        Kind::load_gates(here + at_term * width(0), w);
        FL_REPEAT (r, ROWS) {
          const typename Kind::Term a = Kind::term(in[r], at_term);
          FL_REPEAT (g, TAIL) sum[b][r][g] = Kind::add_product(sum[b][r][g], a, w[g]);
        }
      }
    }
    FL_REPEAT (b, BLOCKS) {
      FL_REPEAT (r, ROWS) {
        FL_REPEAT (g, TAIL) at[0][r][g] = add(at[0][r][g], sum[b][r][g]);
      }
    }
  }

  // Of the last panel the first `count`.
  FL_INLINE void store_all(float* const (&rows)[ROWS], std::size_t count) const {
    each([&](auto p, auto r, auto g) {
      float* const to = rows[r] + p * panel_width + g * lanes;
      if (p + 1 < PANELS || count >= (g + 1) * lanes)
        store(to, at[p][r][g]);
      else if (count > g * lanes)
        store_first(to, at[p][r][g], count - g * lanes);
    });
  }

  // A vector for each gate, zeros behind the few units of the last panel, whose gates lie side by side until now.
  FL_INLINE void spread() {
    FL_REPEAT (r, ROWS) {
      vec(&z)[gates] = at[PANELS - 1][r];
      if constexpr (TAIL == 1) {
        const vec all = z[0];
        z[0] = part<4, 0>(all);
        z[1] = part<4, 1>(all);
        z[2] = part<4, 2>(all);
        z[3] = part<4, 3>(all);
      } else if constexpr (TAIL == 2) {
        const vec first = z[0], second = z[1];
        z[0] = part<2, 0>(first);
        z[1] = part<2, 1>(first);
        z[2] = part<2, 0>(second);
        z[3] = part<2, 1>(second);
      }
    }
  }
};

}  // namespace
