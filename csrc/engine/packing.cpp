#include "packing.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "precision.hpp"

namespace fusedlstm {

namespace {

Buffer zeros(std::size_t floats) {
  Buffer buffer(std::max<std::size_t>(1, floats) * sizeof(float));
  std::memset(buffer.floats(), 0, buffer.bytes());
  return buffer;
}

// How many panels, and what the last one has.
struct Panels {
  std::size_t count, last_outputs;
};

// row_of(panel, slot, lane) names the matrix row behind a place in a panel (slots are the gates, or for a plain matrix
// four vectors that follow each other); a value of `rows` or more means padding.
template <class RowOf>
PackedMatrix pack_matrix(const Target& target, const Matrix& matrix, const Panels& panels, RowOf row_of) {
  const std::size_t lanes = target.table.lanes, width = 4 * lanes;
  PackedMatrix packed;
  packed.inputs = matrix.inputs;
  packed.panels = panels.count;
  packed.last_outputs = panels.last_outputs % width;
  const std::size_t bytes = panel_bytes(target.precision, matrix.inputs, width);
  packed.weights = Buffer(std::max<std::size_t>(1, panels.count * bytes));
  std::memset(packed.weights.chars(), 0, packed.weights.bytes());
  packed.bias = zeros(panels.count * width);
  for (std::size_t panel = 0; panel < panels.count; ++panel) {
    const std::size_t outputs = packed.outputs_before(panel + 1);
    const std::size_t slots = outputs == 0 ? 4 : tail_vectors(target.precision, round_up(outputs, lanes) / lanes);
    for (std::size_t slot = 0; slot < slots; ++slot)
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const std::size_t row = row_of(panel, slot, lane);
        if (row >= matrix.rows) continue;
        pack_row(target.precision, {packed.weights.chars() + panel * bytes, slot, slots, lane, lanes},
                 matrix.weights + row * matrix.inputs, matrix.inputs);
        if (matrix.bias != nullptr) packed.bias.floats()[panel * width + slot * lanes + lane] = matrix.bias[row];
      }
  }
  return packed;
}

Buffer copied(const float* values, std::size_t count) {
  if (values == nullptr) return Buffer();
  Buffer buffer = zeros(count);
  std::memcpy(buffer.floats(), values, count * sizeof(float));
  return buffer;
}

// Moves the arrays of a cell into the kernels' layout; gate_row as for matrices.
template <class RowOf>
std::unique_ptr<OwnedCell> pack_cell(const DirectionArrays& in, std::size_t lanes, std::size_t hidden, RowOf gate_row) {
  auto packed = std::make_unique<OwnedCell>();
  static_cast<Cell&>(*packed) = *in.cell;
  // A normalisation's offset is always there, so that the kernels need not ask.
  const std::vector<float> no_bias(4 * hidden);
  const bool bias_later = in.cell->gate_norm != GateNorm::none;
  struct Array {
    const float* from;
    const float** to;
  };
  const Array by_gate[] = {{!bias_later          ? nullptr
                            : in.bias == nullptr ? no_bias.data()
                                                 : in.bias,
                            &packed->bias},
                           {in.norm_ih, &packed->norm_ih},
                           {in.norm_hh, &packed->norm_hh}};
  const Array by_unit[] = {{in.peephole_i, &packed->peephole_i},
                           {in.peephole_f, &packed->peephole_f},
                           {in.peephole_o, &packed->peephole_o},
                           {in.norm_c, &packed->norm_c},
                           {in.norm_c_bias, &packed->norm_c_bias}};
  const std::size_t units = round_up(hidden, lanes);
  packed->arrays = zeros(units * (4 * std::size(by_gate) + std::size(by_unit)));
  float* place = packed->arrays.floats();
  for (const Array& array : by_gate) {
    if (array.from == nullptr) continue;
    for (std::size_t i = 0; i < 4 * units; ++i) {
      const std::size_t row = gate_row(i / (4 * lanes), i / lanes % 4, i % lanes);
      if (row < 4 * hidden) place[i] = array.from[row];
    }
    *array.to = std::exchange(place, place + 4 * units);
  }
  for (const Array& array : by_unit) {
    if (array.from == nullptr) continue;
    std::memcpy(place, array.from, hidden * sizeof(float));
    *array.to = std::exchange(place, place + units);
  }
  return packed;
}

}  // namespace

PackedMatrix pack_rows(const Target& target, const Matrix& matrix) {
  const std::size_t lanes = target.table.lanes, width = 4 * lanes;
  return pack_matrix(
      target, matrix, {round_up(matrix.rows, width) / width, matrix.rows % width},
      [&](std::size_t panel, std::size_t slot, std::size_t lane) { return (panel * 4 + slot) * lanes + lane; });
}

PackedDirection pack(const Target& target, const LayerShape& shape, const DirectionArrays& arrays) {
  const std::size_t lanes = target.table.lanes, hidden = shape.hidden_size, rows = 4 * hidden;
  const std::size_t panels = round_up(hidden, lanes) / lanes;
  // The few units of a last panel lie closer, gate beside gate; kernels of cells that are not plain know whole ones only.
  const std::size_t rest = hidden % lanes, quarter = lanes / 4;
  const std::size_t few = arrays.cell || rest == 0 || rest > 2 * quarter ? lanes : rest <= quarter ? quarter : 2 * quarter;
  const std::size_t slots = tail_vectors(target.precision, 4 * few / lanes), last_units = lanes * slots / 4;
  const auto gate_row = [&](std::size_t panel, std::size_t slot, std::size_t lane) {
    const std::size_t units = panel + 1 == panels ? last_units : lanes, place = slot * lanes + lane;
    const std::size_t unit = panel * lanes + place % units;
    return unit < hidden ? place / units * hidden + unit : rows;
  };
  const Panels by_gate = {panels, slots * lanes};
  PackedDirection packed;
  const bool bias_later = arrays.cell && arrays.cell->gate_norm != GateNorm::none;
  packed.input =
      pack_matrix(target, {arrays.weight_ih, bias_later ? nullptr : arrays.bias, rows, shape.input_size}, by_gate, gate_row);
  packed.recurrent = pack_matrix(target, {arrays.weight_hh, nullptr, rows, shape.output_size}, by_gate, gate_row);
  if (shape.projected) packed.projection = pack_rows(target, {arrays.weight_hr, arrays.bias_hr, shape.output_size, hidden});
  if (arrays.cell) packed.cell = pack_cell(arrays, lanes, hidden, gate_row);
  packed.h_0 = copied(arrays.h_0, shape.output_size);
  packed.c_0 = copied(arrays.c_0, shape.hidden_size);
  return packed;
}

}  // namespace fusedlstm
