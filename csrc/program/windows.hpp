// What windows see of one axis.
#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

#include "steps.hpp"

namespace fusedlstm {

// A place on an axis of `length`, or one outside of it, by how it goes on there; -1: nothing.
inline std::ptrdiff_t place_by_edge(std::ptrdiff_t at, std::ptrdiff_t length, Edge edge) {
  if (at >= 0 && at < length) return at;
  if (edge == Edge::zeros || length == 0) return -1;
  if (edge == Edge::nearest) return std::clamp<std::ptrdiff_t>(at, 0, length - 1);
  if (edge == Edge::wrap) return (at % length + length) % length;
  if (length == 1) return 0;
  const std::ptrdiff_t period = 2 * (length - 1);
  at = (at % period + period) % period;
  return at < length ? at : period - at;
}

// What tap `tap` of output `o` sees, or -1.
inline std::ptrdiff_t seen(const Sliding& s, std::ptrdiff_t o, std::ptrdiff_t tap, std::ptrdiff_t length, Edge edge) {
  std::ptrdiff_t at = o * s.stride + tap * s.dilation - s.before;
  if (s.spread > 1) {
    if (at < 0 || at % s.spread != 0) return -1;
    at /= s.spread;
  }
  return place_by_edge(at, length, edge);
}

// Every index below `sizes`, the last fastest: run(index), whose elements may be read.
template <class Run>
void each_index(const std::ptrdiff_t* sizes, std::size_t rank, Run run) {
  std::array<std::ptrdiff_t, most_axes> index{};
  for (std::size_t axis = 0; axis < rank; ++axis)
    if (sizes[axis] == 0) return;
  for (;;) {
    run(index);
    std::size_t axis = rank;
    for (;;) {
      if (axis == 0) return;
      --axis;
      if (++index[axis] < sizes[axis]) break;
      index[axis] = 0;
    }
  }
}

}  // namespace fusedlstm
