// Weights in the layout of kernels/table.hpp, packed once when an LSTM is made.
#pragma once
#include <cstddef>
#include <vector>

#include "../kernels/table.hpp"
#include "buffer.hpp"

namespace fusedlstm {

// One direction of one layer as it comes in: row-major float32, gates i, f, g, o (see weights.py).
struct DirectionArrays {
  const float* weight_ih;  // (4 * hidden, input)
  const float* weight_hh;  // (4 * hidden, output)
  const float* bias;       // (4 * hidden), or null
  const float* weight_hr;  // (output, hidden), or null: then output = hidden
  std::size_t input_size;
};

struct Shape {
  std::size_t hidden_size, output_size;  // output_size: the projection's, or hidden_size
  std::size_t num_layers, num_directions;
  bool projected;
};

// A matrix in panels of 4 * lanes outputs, with a bias.
struct PackedMatrix {
  Buffer weights, bias;
  std::size_t inputs = 0, panels = 0;
};

struct PackedDirection {
  PackedMatrix input;       // W and the bias
  PackedMatrix recurrent;   // R; its bias is unused
  PackedMatrix projection;  // W_hr, when projected
};

PackedDirection pack(const KernelTable& table, const Shape& shape, const DirectionArrays& arrays);

}  // namespace fusedlstm
