// One step of any cell that cell.py describes, from the pre-activations on; the plain cell has its own in cell.inl.hpp.
//
// A row's sums for a normalisation go into sixteen partial sums (sums.inl.hpp).
#pragma once
#include "cell.inl.hpp"
#include "functions.inl.hpp"
#include "sums.inl.hpp"

namespace {

using fusedlstm::CellNorm;
using fusedlstm::CellUpdate;
using fusedlstm::Coupled;
using fusedlstm::GateNorm;
using fusedlstm::HiddenUpdate;
using fusedlstm::PackedCell;

constexpr std::size_t input_gate = 0, forget_gate = 1, candidate_gate = 2, output_gate = 3;

// (value - mean) * scale has mean 0 and variance 1. The mean comes in two parts, the second what rounding took from the
// first: where values are nearly equal, the scale makes much of that.
struct Normalisation {
  vec mean, rest, scale;
  FL_INLINE vec centred(vec a) const { return sub(sub(a, mean), rest); }
  FL_INLINE vec operator()(vec a) const { return mul(centred(a), scale); }
};

// Of `groups` values a unit: at(panel, group) is a vector of them.
template <class At>
FL_INLINE Normalisation normalisation(std::size_t units, std::size_t groups, float epsilon, At at) {
  const float count = static_cast<float>(units * groups);
  const auto sum = [&](auto term) {
    float total = 0.0f;
    for (std::size_t group = 0; group < groups; ++group)
      total += sum_over_units(units, [&](std::size_t panel) { return term(at(panel, group)); });
    return total;
  };
  Normalisation norm = {};
  norm.mean = broadcast(sum([](vec a) { return a; }) / count);
  norm.rest = broadcast(sum([&](vec a) { return sub(a, norm.mean); }) / count);
  const float variance = sum([&](vec a) { return mul(norm.centred(a), norm.centred(a)); }) / count;
  norm.scale = broadcast(1.0f / first_lane(square_root(broadcast(variance + epsilon))));
  return norm;
}

// A row in the making. z starts as R h, and ends with the new c in the place of the input gate.
struct CellRow {
  const CellUpdate& a;
  const PackedCell& o;
  const float* from_x;
  float* z;
  float* c;
  float* m;

  template <class Run>
  FL_INLINE void each_panel(Run run) const {
    for (std::size_t panel = a.first_panel; panel < a.last_panel; ++panel) run(panel);
  }
  FL_INLINE static std::size_t place(std::size_t panel, std::size_t gate) { return panel * panel_width + gate * lanes; }
  FL_INLINE vec clipped(vec v, float limit) const { return clip({{v}}, -limit, limit).at[0]; }

  // z = W x + R h + b, or the two sides normalised
  void add_sides() const {
    if (o.gate_norm != GateNorm::sides) {
      each_panel([&](std::size_t panel) {
        FL_REPEAT (g, gates) store(z + place(panel, g), add(load(from_x + place(panel, g)), load(z + place(panel, g))));
      });
      return;
    }
    const auto of = [&](const float* side) {
      return normalisation(a.units, gates, o.norm_epsilon,
                           [&](std::size_t p, std::size_t g) { return load(side + place(p, g)); });
    };
    const Normalisation x = of(from_x), h = of(z);
    each_panel([&](std::size_t panel) {
      for (std::size_t g = 0; g < gates; ++g) {
        const std::size_t at = place(panel, g);
        const vec side = fma(x(load(from_x + at)), load(o.norm_ih + at), load(o.bias + at));
        store(z + at, fma(h(load(z + at)), load(o.norm_hh + at), side));
      }
    });
  }

  void add_peephole(std::size_t gate, const float* weights, std::size_t stride, const float* cells) const {
    if (weights == nullptr) return;
    each_panel([&](std::size_t panel) {
      float* at = z + place(panel, gate);
      store(at, fma(load(weights + panel * lanes), load(cells + panel * stride), load(at)));
    });
  }

  void normalise_gate(std::size_t gate) const {
    if (o.gate_norm != GateNorm::gates) return;
    const auto at = [&](std::size_t panel, std::size_t) { return load(z + place(panel, gate)); };
    const Normalisation norm = normalisation(a.units, 1, o.norm_epsilon, at);
    each_panel([&](std::size_t panel) {
      const std::size_t here = place(panel, gate);
      store(z + here, fma(norm(load(z + here)), load(o.norm_ih + here), load(o.bias + here)));
    });
  }

  FL_INLINE vec gate(std::size_t panel, std::size_t which) const {
    return activate(o.gate, clipped(load(z + place(panel, which)), o.gate_clip));
  }

  // The new c, before a normalisation, in the place of the input gate.
  void update_c() const {
    const vec one = broadcast(1.0f);
    each_panel([&](std::size_t panel) {
      vec input = o.coupled == Coupled::input ? one : gate(panel, input_gate);
      vec forget = o.coupled == Coupled::forget ? sub(one, input) : gate(panel, forget_gate);
      if (o.coupled == Coupled::input) input = sub(one, forget);
      const vec candidate = activate(o.candidate, clipped(load(z + place(panel, candidate_gate)), o.gate_clip));
      const vec updated = fma(forget, load(c + panel * lanes), mul(input, candidate));
      store(z + place(panel, input_gate), clipped(updated, o.cell_clip));
    });
  }

  FL_INLINE vec normalised_c(const Normalisation& norm, std::size_t panel) const {
    const vec offset = o.norm_c_bias == nullptr ? broadcast(0.0f) : load(o.norm_c_bias + panel * lanes);
    return fma(norm(load(z + place(panel, input_gate))), load(o.norm_c + panel * lanes), offset);
  }

  // c in its place and o output(c), once c and the output gate are known.
  void finish(const Normalisation& norm) const {
    const vec stays = broadcast(o.cell_zoneout), goes = broadcast(1.0f - o.cell_zoneout);
    each_panel([&](std::size_t panel) {
      vec updated = load(z + place(panel, input_gate));
      const vec seen = o.cell_norm == CellNorm::output ? normalised_c(norm, panel) : updated;
      store(m + panel * lanes, mul(gate(panel, output_gate), activate(o.output, seen)));
      if (o.cell_zoneout > 0.0f) updated = fma(stays, load(c + panel * lanes), mul(goes, updated));
      store(c + panel * lanes, updated);
    });
  }

  void run() const {
    add_sides();
    add_peephole(input_gate, o.peephole_i, lanes, c);
    add_peephole(forget_gate, o.peephole_f, lanes, c);
    for (std::size_t g = input_gate; g <= candidate_gate; ++g) normalise_gate(g);
    update_c();
    Normalisation norm = {};
    if (o.cell_norm != CellNorm::none)
      norm = normalisation(a.units, 1, o.norm_epsilon,
                           [&](std::size_t panel, std::size_t) { return load(z + place(panel, input_gate)); });
    if (o.cell_norm == CellNorm::carried)
      each_panel([&](std::size_t panel) { store(z + place(panel, input_gate), normalised_c(norm, panel)); });
    add_peephole(output_gate, o.peephole_o, panel_width, z + place(0, input_gate));
    normalise_gate(output_gate);
    finish(norm);
  }
};

void update_cell(const CellUpdate& a) noexcept {
  for (std::size_t row = a.first_row; row < a.last_row; ++row)
    CellRow{
        a, *a.cell, a.from_x + row * a.from_x_row, a.from_h + row * a.from_h_row, a.c + row * a.c_row, a.m + row * a.m_row}
        .run();
}

void update_hidden(const HiddenUpdate& a) noexcept {
  const float limit = a.cell->projection_clip, zoneout = a.cell->hidden_zoneout;
  for (std::size_t row = a.first_row; row < a.last_row; ++row) {
    float* h = a.h + row * a.h_row;
    float* y = a.y == nullptr ? nullptr : a.y[row] + a.y_offset;
    for (std::size_t unit = a.first; unit < a.last; unit += lanes) {
      vec v = clip({{load(h + unit)}}, -limit, limit).at[0];
      if (zoneout > 0.0f)
        v = fma(broadcast(zoneout), load(a.h_before + row * a.h_row + unit), mul(broadcast(1.0f - zoneout), v));
      store(h + unit, v);
      if (y == nullptr) continue;
      if (a.last - unit >= lanes)
        store(y + unit, v);
      else
        store_first(y + unit, v, a.last - unit);
    }
  }
}

}  // namespace
