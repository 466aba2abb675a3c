#include "windows.hpp"

#include <algorithm>
#include <cstring>

namespace fusedlstm {

namespace {

// `count` positions of one line, a stride apart.
void copy_line(const Frames& s, const float* from, std::ptrdiff_t step, std::size_t count, float* to) {
  if (s.channel == 1 && (step == static_cast<std::ptrdiff_t>(s.channels) || count == 1)) {
    std::memcpy(to, from, count * s.channels * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i, from += step, to += s.channels) {
    if (s.channel == 1)
      std::memcpy(to, from, s.channels * sizeof(float));
    else
      for (std::size_t k = 0; k < s.channels; ++k) to[k] = from[static_cast<std::ptrdiff_t>(k) * s.channel];
  }
}

// The taps [first, last) of a window that starts at `start` lie on an axis of `length`.
struct Inside {
  std::size_t first, last;
  Inside(const Window& window, std::ptrdiff_t start, std::size_t length) {
    first = 0;
    last = window.kernel;
    const std::ptrdiff_t end = static_cast<std::ptrdiff_t>(length) - start;  // taps at or past it are beyond the axis
    if (start >= 0 && end >= static_cast<std::ptrdiff_t>(window.reach())) return;
    const std::ptrdiff_t dilation = static_cast<std::ptrdiff_t>(window.dilation),
                         kernel = static_cast<std::ptrdiff_t>(window.kernel);
    const std::ptrdiff_t before = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const std::ptrdiff_t until = end > 0 ? (end + dilation - 1) / dilation : 0;
    first = static_cast<std::size_t>(std::min(before, kernel));
    last = std::max(first, static_cast<std::size_t>(std::min(until, kernel)));
  }
};

}  // namespace

Windows::Windows(const Frames& all, const Window (&sliding)[2])
    : frames(all), window{sliding[0], sliding[1]}, start{window[0].start(all.size[0]), window[1].start(all.size[1])} {}

void Windows::gather(std::size_t b, const std::size_t (&at)[2], float* to) const {
  const Window &tall = window[0], &wide = window[1];
  const Frames& s = frames;
  const auto begin = [&](std::size_t axis) {
    return start[axis] + static_cast<std::ptrdiff_t>(at[axis] * window[axis].stride);
  };
  const Inside rows(tall, begin(0), s.size[0]), columns(wide, begin(1), s.size[1]);
  const float* frame = s.data + static_cast<std::ptrdiff_t>(b) * s.batch;
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(wide.dilation) * s.axis[1];
  const std::size_t line = wide.kernel * s.channels;
  for (std::size_t tap = 0; tap < tall.kernel; ++tap, to += line) {
    if (tap < rows.first || tap >= rows.last || columns.first == columns.last) {
      std::fill(to, to + line, 0.0f);
      continue;
    }
    const std::ptrdiff_t y = begin(0) + static_cast<std::ptrdiff_t>(tap * tall.dilation),
                         x = begin(1) + static_cast<std::ptrdiff_t>(columns.first * wide.dilation);
    std::fill(to, to + columns.first * s.channels, 0.0f);
    copy_line(s, frame + y * s.axis[0] + x * s.axis[1], step, columns.last - columns.first, to + columns.first * s.channels);
    std::fill(to + columns.last * s.channels, to + line, 0.0f);
  }
}

}  // namespace fusedlstm
