// A trained ConvLSTM, packed and ready to run: an LSTM at each position of a grid, whose inputs are the windows of x and of
// h around it. Immutable: any number of threads may call run at once.
#pragma once
#include <cstddef>
#include <optional>

#include "packing.hpp"

namespace fusedlstm {

// How a window slides along one axis. An axis that is not there has length 1 and a kernel of 1.
struct Window {
  std::size_t kernel, stride, dilation;
  bool same;  // zeros around, so that there is an output for each stride begun; else whole windows only

  std::size_t reach() const { return (kernel - 1) * dilation + 1; }
  std::size_t outputs(std::size_t length) const {
    if (same) return (length + stride - 1) / stride;
    return length < reach() ? 0 : (length - reach()) / stride + 1;
  }
  // Where the first window starts: 0, or before the first element. An odd number of zeros has one more at the end.
  std::ptrdiff_t start(std::size_t length) const {
    const std::size_t outputs_here = outputs(length), needed = outputs_here == 0 ? 0 : (outputs_here - 1) * stride + reach();
    return same && needed > length ? -static_cast<std::ptrdiff_t>((needed - length) / 2) : 0;
  }
};

struct ConvArrays {
  const float* weight_ih;  // (4 * filters, kernel height, kernel width, channels), gates i, f, g, o
  const float* weight_hh;  // (4 * filters, kernel height, kernel width, filters)
  const float* bias;       // (4 * filters), or null
  std::size_t channels, filters;
  Window input[2];                     // height, width
  Window recurrent[2];                 // of stride 1 and "same": h keeps its size
  std::optional<CellOptions> options;  // activations other than sigmoid and tanh
};

// Frames anywhere in memory: strides in floats, any sign.
struct Frames {
  float* data;  // null: zeros
  std::ptrdiff_t batch, time, axis[2], channel;
};

struct ConvCall {
  std::size_t batch, time, size[2];  // of x; the size of y, h and c follows
  Frames x, y;                       // y may not overlap x
  Frames h_0, c_0, h_n, c_n;         // of one time
};

class ConvLstm {
 public:
  explicit ConvLstm(const ConvArrays& arrays);

  void run(const ConvCall& call) const;

  std::size_t channels() const { return channels_; }
  std::size_t filters() const { return filters_; }
  const Window& input(std::size_t axis) const { return input_[axis]; }
  const Window& recurrent(std::size_t axis) const { return recurrent_[axis]; }
  const PackedDirection& packed() const { return packed_; }

 private:
  const KernelTable& table_;
  std::size_t channels_, filters_;
  Window input_[2], recurrent_[2];
  PackedDirection packed_;
};

}  // namespace fusedlstm
