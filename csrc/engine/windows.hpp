// Windows that slide over frames, as a convolution sees them: gathered into rows, so that a matrix product does the rest.
#pragma once
#include <cstddef>

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

// Frames (height, width, channels) of one time, anywhere in memory: strides in floats, any sign.
struct Frames {
  const float* data;
  std::ptrdiff_t batch, axis[2], channel;
  std::size_t size[2], channels;
};

// What slides over them, from `start` on.
struct Windows {
  Frames frames;
  Window window[2];
  std::ptrdiff_t start[2];

  Windows(const Frames& frames, const Window (&window)[2]);
  std::size_t row() const { return window[0].kernel * window[1].kernel * frames.channels; }
  // The window of one position into `to`, (kernel height, kernel width, channels), zeros where it reaches over the edge.
  void gather(std::size_t b, const std::size_t (&at)[2], float* to) const;
};

}  // namespace fusedlstm
