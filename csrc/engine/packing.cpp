#include "packing.hpp"

#include <algorithm>
#include <cstring>

namespace fusedlstm {

namespace {

Buffer zeros(std::size_t floats) {
  Buffer buffer(std::max<std::size_t>(1, floats) * sizeof(float));
  std::memset(buffer.floats(), 0, buffer.bytes());
  return buffer;
}

// row_of(panel, slot, lane) names the matrix row behind a place in a panel (slots are the gates, or for a plain matrix
// four vectors that follow each other); a value of `rows` or more means padding.
template <class RowOf>
PackedMatrix pack_matrix(std::size_t lanes, const float* matrix, const float* bias, std::size_t rows, std::size_t inputs,
                         std::size_t panels, RowOf row_of) {
  const std::size_t width = 4 * lanes;
  PackedMatrix packed;
  packed.inputs = inputs;
  packed.panels = panels;
  packed.weights = zeros(panels * inputs * width);
  packed.bias = zeros(panels * width);
  for (std::size_t panel = 0; panel < panels; ++panel)
    for (std::size_t slot = 0; slot < 4; ++slot)
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const std::size_t row = row_of(panel, slot, lane);
        if (row >= rows) continue;
        float* out = packed.weights.floats() + panel * inputs * width + slot * lanes + lane;
        for (std::size_t k = 0; k < inputs; ++k) out[k * width] = matrix[row * inputs + k];
        if (bias != nullptr) packed.bias.floats()[panel * width + slot * lanes + lane] = bias[row];
      }
  return packed;
}

}  // namespace

PackedDirection pack(const KernelTable& table, const Shape& shape, const DirectionArrays& arrays) {
  const std::size_t lanes = table.lanes, hidden = shape.hidden_size, rows = 4 * hidden;
  const std::size_t panels = round_up(hidden, lanes) / lanes;
  const auto gate_row = [&](std::size_t panel, std::size_t gate, std::size_t lane) {
    const std::size_t unit = panel * lanes + lane;
    return unit < hidden ? gate * hidden + unit : rows;
  };
  PackedDirection packed;
  packed.input = pack_matrix(lanes, arrays.weight_ih, arrays.bias, rows, arrays.input_size, panels, gate_row);
  packed.recurrent = pack_matrix(lanes, arrays.weight_hh, nullptr, rows, shape.output_size, panels, gate_row);
  if (shape.projected) {
    const auto plain_row = [&](std::size_t panel, std::size_t slot, std::size_t lane) {
      return (panel * 4 + slot) * lanes + lane;
    };
    packed.projection = pack_matrix(lanes, arrays.weight_hr, nullptr, shape.output_size, hidden,
                                    round_up(shape.output_size, 4 * lanes) / (4 * lanes), plain_row);
  }
  return packed;
}

}  // namespace fusedlstm
