// One row that projects later steps while it reads its recurrent weights. Those come from L2 or beyond, and arithmetic waits
// for them; W, read once for some steps, keeps it busy meanwhile. Each sum has the order that it has alone.
#pragma once
#include <cstddef>

#include "cell.inl.hpp"
#include "plan.inl.hpp"

namespace {

using fusedlstm::Ahead;

// A group of steps is projected during the one before it. A block does some of them and one panel, beside some panels of its
// own: what fills the registers. The rest of the group meets the panel of W in the next blocks, while that is near.
constexpr std::size_t steps_beside = 4;
constexpr int panels_reading = 2;

FL_INLINE std::size_t less(std::size_t a, std::size_t b) { return a < b ? a : b; }

// The terms [first, last) of both products, or of one of them.
template <class Kind, int PANELS, bool OWN, bool LATER>
FL_INLINE void add_terms(vec (&own)[PANELS][gates], vec (&later)[steps_beside][gates], const typename Kind::Weight* r,
                         std::size_t r_panel, const typename Kind::Weight* w, const float* h,
                         const float* const (&x)[steps_beside], std::size_t first, std::size_t last) {
  for (std::size_t k = first; k < last; ++k) {
    if constexpr (OWN) {
      const vec term = Kind::term(h, k);
      FL_REPEAT (p, PANELS) {
        vec factor[gates];
        Kind::load_gates(r + p * r_panel + k * panel_width, factor);
        FL_REPEAT (g, gates) own[p][g] = Kind::add_product(own[p][g], term, factor[g]);
      }
    }
    if constexpr (LATER) {
      vec factor[gates], term[steps_beside];
      Kind::load_gates(w + k * panel_width, factor);
      FL_REPEAT (i, steps_beside) term[i] = Kind::term(x[i], k);
      FL_REPEAT (g, gates) {
        const vec weight = Kind::held(factor[g]);
        FL_REPEAT (i, steps_beside) later[i][g] = Kind::add_product(later[i][g], term[i], weight);
      }
    }
  }
}

// The recurrent product of a block, and beside it panel `panel` of the steps from `first` on, counted from this call's.
template <class Kind, int PANELS>
void recur_and_project(const Recurrence& a, std::size_t step, const Block& block, std::size_t panel, std::size_t first) {
  using Weight = typename Kind::Weight;
  const std::ptrdiff_t at_step = static_cast<std::ptrdiff_t>(step);
  const float* in[1] = {a.start + at_step * a.start_step + block.panel * panel_width};
  const float *x[steps_beside], *bias[steps_beside];
  float* z[steps_beside];
  FL_REPEAT (i, steps_beside) {
    x[i] = x_at(a, first + i, 0);
    bias[i] = a.ahead.bias + panel * panel_width;
    z[i] = a.ahead.z + static_cast<std::ptrdiff_t>(first + i) * a.start_step + panel * panel_width;
  }
  Sums<Kind, 1, PANELS> own;
  Sums<Kind, steps_beside, 1> later;
  own.start(in);
  later.start(bias);
  const std::size_t size = a.recurrent_size, inputs = a.ahead.inputs;
  const std::size_t r_panel = own.panel_size(size);
  const Weight* r = static_cast<const Weight*>(a.recurrent_weights) + block.panel * r_panel;
  const Weight* w = static_cast<const Weight*>(a.ahead.weights) + panel * own.panel_size(inputs);
  const float* const h = h_at(a, step, 0);
  for (std::size_t start = 0; start < size || start < inputs; start += Kind::sum_block) {
    const std::size_t end = start + Kind::sum_block, own_end = less(size, end), later_end = less(inputs, end);
    vec own_sum[PANELS][gates], later_sum[steps_beside][gates];
    FL_REPEAT (g, gates) {
      FL_REPEAT (p, PANELS) own_sum[p][g] = broadcast(0.0f);
      FL_REPEAT (i, steps_beside) later_sum[i][g] = broadcast(0.0f);
    }
    const std::size_t both = less(own_end, later_end);
    add_terms<Kind, PANELS, true, true>(own_sum, later_sum, r, r_panel, w, h, x, start, both);
    add_terms<Kind, PANELS, true, false>(own_sum, later_sum, r, r_panel, w, h, x, both < start ? start : both, own_end);
    add_terms<Kind, PANELS, false, true>(own_sum, later_sum, r, r_panel, w, h, x, both < start ? start : both, later_end);
    FL_REPEAT (g, gates) {
      if (start < size)
        FL_REPEAT (p, PANELS) own.at[p][0][g] = add(own.at[p][0][g], own_sum[p][g]);
      if (start < inputs)
        FL_REPEAT (i, steps_beside) later.at[0][i][g] = add(later.at[0][i][g], later_sum[i][g]);
    }
  }
  later.store_all(z, panel_width);
  finish_all<1, PANELS>(a, step, block, own);
}

template <class Kind>
void project(const Projection& a) noexcept {
  if (a.rows == 0 || a.first_panel == a.last_panel) return;
  if constexpr (Kind::rounds)
    for (std::size_t row = 0; row < a.rows; ++row) Kind::round_row(a.x[row], a.input_size, rounded_row(a.rounded_x, row));
  const Plan<Kind> plan(a.rows, a.input_size, {a.first_panel, a.last_panel, tail_of<Kind>(a.last_outputs)},
                        a.turn > 0 ? 3 : 1);
  plan.each(a.turn % 2 == 1, [&](std::size_t rows, std::size_t panels, std::size_t tail, const Block& block) {
    project_block_of<Kind>(rows, panels, tail)(a, block);
  });
}

// A panel of `steps_beside` steps from `first` on, counted from this call's.
template <class Kind>
void project_panel(const Recurrence& a, std::size_t panel, std::size_t first) {
  const bool backward = a.start_step < 0;  // rows of z go upwards
  const float* x[steps_beside];
  for (std::size_t i = 0; i < steps_beside; ++i) x[i] = x_at(a, first + (backward ? steps_beside - 1 - i : i), 0);
  Projection p = {};
  p.weights = a.ahead.weights;
  p.bias = a.ahead.bias;
  p.input_size = a.ahead.inputs;
  p.first_panel = panel;
  p.last_panel = panel + 1;
  p.last_outputs = p.last_panel == a.last_panel ? a.last_outputs : 0;
  p.x = x;
  p.rows = steps_beside;
  p.z = a.ahead.z + static_cast<std::ptrdiff_t>(backward ? first + steps_beside - 1 : first) * a.start_step;
  p.z_row = static_cast<std::size_t>(backward ? -a.start_step : a.start_step);
  project<Kind>(p);
}

// recur for one row with `ahead`: each step does a share of what the next group needs, so that it is there in time.
template <class Kind>
void recur_reading(const Recurrence& a) noexcept {
  const typename Plan<Kind>::Panels panels = {a.first_panel, a.last_panel, tail_of<Kind>(a.last_outputs)};
  const Plan<Kind> plan(1, a.recurrent_size, panels, 1, panels_reading);
  const std::size_t ahead = a.ahead.group, parts = ahead / steps_beside;  // of a panel
  const std::size_t count = (a.last_panel - a.first_panel) * parts, whole = panels.whole() * parts;
  for (std::size_t step = 0; step < a.steps; ++step) {
    const std::size_t at = a.ahead.done + step, group = (at / ahead + 1) * ahead, turn = at % ahead;
    std::size_t next = cut(count, ahead, turn), end = cut(count, ahead, turn + 1);
    if (group + ahead > a.ahead.last) end = next;
    // What was read last is near, and read first: arithmetic is better beside the rest.
    const std::size_t able = plan.bands.count - (panels.tail < gates ? 1 : 0);
    std::size_t alone = able - less(able, end - next);
    const auto panel = [&] { return a.first_panel + next / parts; };
    const auto first = [&] { return group - a.ahead.done + next % parts * steps_beside; };  // counted from this call's
    plan.each(a.last_panel_first != (step % 2 == 1),
              [&](std::size_t, std::size_t beside, std::size_t tail, const Block& block) {
                if (tail < gates || next >= less(end, whole) || alone > 0) {
                  if (tail == gates && alone > 0) --alone;
                  return recur_block_of<Kind>(1, beside, tail)(a, step, block);
                }
                (beside == 1 ? recur_and_project<Kind, 1> : recur_and_project<Kind, 2>)(a, step, block, panel(), first());
                ++next;
              });
    for (; next < end; ++next) project_panel<Kind>(a, panel(), first());
  }
}

}  // namespace
