// A trained LSTM, packed and ready to run. Immutable: any number of threads may call run at once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "packing.hpp"

namespace fusedlstm {

// One call. Strides are in floats. Rows of x and y are contiguous.
struct Call {
  std::size_t batch, time;
  const float* x;
  std::ptrdiff_t x_batch, x_time;
  float* y;  // may not overlap x
  std::ptrdiff_t y_batch, y_time;
  // For each layer (directions, batch, output) and (directions, batch, hidden), one layer after the other; null for the
  // LSTM's own, or zeros.
  const float* h_0;
  const float* c_0;
  float* h_n;
  float* c_n;
  const std::int64_t* lengths;  // (batch), each from 0 to time, or null: all rows are `time` long
  // In place of h_0 to c_n, forward only: row b goes on from the state at states + slots[b] * state_size, layer by layer h
  // then c, and leaves it there. No slot twice.
  float* states;
  const std::int64_t* slots;
  // Beside lengths, in place of x_batch and y_batch: row b begins at step starts[b] of x and y, and y ends with the row.
  const std::int64_t* starts;
};

class Lstm {
 public:
  // arrays: layer by layer, the forward direction before the backward one.
  Lstm(const Shape& shape, const std::vector<DirectionArrays>& arrays);

  void run(const Call& call) const;

  const Shape& shape() const { return shape_; }
  const KernelTable& table() const { return table_; }
  std::size_t input_size() const { return shape_.layers.front().input_size; }
  std::size_t most_inputs() const;  // of any matrix
  const PackedDirection& direction(std::size_t layer, std::size_t direction) const {
    return directions_[layer * shape_.num_directions + direction];
  }

 private:
  const KernelTable& table_;
  Shape shape_;
  std::vector<PackedDirection> directions_;
};

}  // namespace fusedlstm
