// Weights in the layout of kernels/table.hpp, packed once when an LSTM is made.
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "../kernels/table.hpp"
#include "buffer.hpp"

namespace fusedlstm {

// One direction of one layer as it comes in: row-major float32, gates i, f, g, o (see cell.py). With H the hidden and P
// the output size (the projection's, or H); null where there is none.
struct DirectionArrays {
  const float* weight_ih = nullptr;                    // (4H, input)
  const float* weight_hh = nullptr;                    // (4H, P)
  const float* bias = nullptr;                         // (4H)
  const float* weight_hr = nullptr;                    // (P, H); without it P = H
  const float* bias_hr = nullptr;                      // (P)
  const float* h_0 = nullptr;                          // (P), the initial state of a call that gives none
  const float* c_0 = nullptr;                          // (H)
  std::optional<Cell> cell;                            // where it is not the plain one, with what belongs to it:
  const float *norm_ih = nullptr, *norm_hh = nullptr;  // (4H)
  const float *peephole_i = nullptr, *peephole_f = nullptr, *peephole_o = nullptr;  // (H)
  const float *norm_c = nullptr, *norm_c_bias = nullptr;                            // (H)
};

struct LayerShape {
  std::size_t input_size, hidden_size, output_size;  // output_size: the projection's, or hidden_size
  bool projected;
  bool residual;  // the layer's input is added to its output
};

// How the outputs of two directions become one.
enum class Merge { concat, sum, mul, ave };

struct Shape {
  std::vector<LayerShape> layers;
  std::size_t num_directions = 1;
  Merge merge = Merge::concat;
  Precision precision = Precision::float32;
  bool reverse = false;  // the one direction runs from the last step to the first

  std::size_t output_size() const { return width(layers.size() - 1); }
  // Of a row in a step of one direction, in the gates of all layers.
  std::size_t multiplications() const {
    std::size_t count = 0;
    for (const LayerShape& layer : layers) count += 4 * layer.hidden_size * (layer.input_size + layer.output_size);
    return count;
  }
  // Floats of one row's state.
  std::size_t state_size() const {
    std::size_t size = 0;
    for (const LayerShape& layer : layers) size += (layer.output_size + layer.hidden_size) * num_directions;
    return size;
  }
  // Features that a layer passes on.
  std::size_t width(std::size_t layer) const {
    return layers[layer].output_size * (merge == Merge::concat ? num_directions : 1);
  }
};

// A matrix in panels of 4 * lanes outputs, with a bias.
struct PackedMatrix {
  Buffer weights, bias;
  std::size_t inputs = 0, panels = 0;
  std::size_t last_outputs = 0;  // that the last panel has; 0: all

  // The same of the panels before `last`.
  std::size_t outputs_before(std::size_t last) const { return last == panels ? last_outputs : 0; }
};

// A cell that is not the plain one, and the arrays that it points to.
struct OwnedCell : PackedCell {
  Buffer arrays;
};

struct PackedDirection {
  PackedMatrix input;               // W and the bias, unless a normalisation comes before it
  PackedMatrix recurrent;           // R; its bias is unused
  PackedMatrix projection;          // W_hr and its bias, when projected
  std::unique_ptr<OwnedCell> cell;  // null: the plain cell
  Buffer h_0, c_0;                  // the initial state; empty: zeros
};

// For which kernels.
struct Target {
  const KernelTable& table;
  Precision precision;
};

// A matrix as it comes in, row-major, with its bias or null.
struct Matrix {
  const float* weights;
  const float* bias;
  std::size_t rows, inputs;
};

// Panels of 4 * lanes rows that follow each other.
PackedMatrix pack_rows(const Target& target, const Matrix& matrix);

PackedDirection pack(const Target& target, const LayerShape& shape, const DirectionArrays& arrays);

}  // namespace fusedlstm
