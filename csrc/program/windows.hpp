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

// Where the taps of windows over x (batch, spatial..., rest...) lie. Between the edges they lie alike, so that they are
// found once for many outputs.
class WindowPlaces {
 public:
  static constexpr std::ptrdiff_t most = std::ptrdiff_t{1} << 27;

  WindowPlaces() = default;
  // Whether there are no more than `limit` taps, and as many places of them along each axis.
  static bool within(std::ptrdiff_t limit, const std::vector<std::ptrdiff_t>& outputs, const std::vector<Sliding>& axes) {
    std::ptrdiff_t taps = 1;
    for (std::size_t axis = 0; axis < axes.size(); ++axis) {
      if (axes[axis].kernel > limit / taps || outputs[axis] > limit / axes[axis].kernel) return false;
      taps *= axes[axis].kernel;
    }
    return true;
  }
  WindowPlaces(const View& x, const std::vector<std::ptrdiff_t>& outputs, const Windowing& windows)
      : axes_(windows.axes.size()), batch_step_(x.strides[0]) {
    if (!within(most, outputs, windows.axes)) throw std::invalid_argument("windows: expected fewer elements in them");
    for (std::size_t axis = 0; axis < axes_; ++axis) {
      const Sliding& slide = windows.axes[axis];
      count_ *= static_cast<std::size_t>(slide.kernel);
      kernel_[axis] = slide.kernel;
      std::vector<std::ptrdiff_t> offsets;
      for (std::ptrdiff_t o = 0; o < outputs[axis]; ++o)
        for (std::ptrdiff_t tap = 0; tap < slide.kernel; ++tap) {
          const std::ptrdiff_t place = seen(slide, o, tap, x.shape[axis + 1], windows.edge);
          offsets.push_back(place < 0 ? nothing : place * x.strides[axis + 1]);
        }
      inner_[axis] = whole_windows(slide.kernel, offsets);
      offsets_.push_back(std::move(offsets));
    }
  }

  std::size_t count() const { return count_; }

  // What a run keeps from one output to the next: offsets of `count` taps from `from` on, or `nothing`.
  struct Found {
    std::ptrdiff_t* offsets;
    std::ptrdiff_t from = 0;
    bool inner = false;  // no tap is outside
  };
  // index: (batch, spatial...); whether the offsets have changed.
  template <class Index>
  bool find(const Index& index, Found& found) const {
    const bool before = found.inner;
    found.inner = inside(index);
    found.from = index[0] * batch_step_;
    if (found.inner)
      for (std::size_t axis = 0; axis < axes_; ++axis) found.from += of_tap(axis, index[axis + 1], 0);
    if (before && found.inner) return false;
    const std::ptrdiff_t first = found.inner ? found.from - index[0] * batch_step_ : 0;
    std::ptrdiff_t* to = found.offsets;
    each_index(kernel_.data(), axes_, [&](const auto& tap) {
      std::ptrdiff_t at = -first;
      bool there = true;
      for (std::size_t axis = 0; axis < axes_; ++axis) {
        const std::ptrdiff_t one = of_tap(axis, index[axis + 1], tap[axis]);
        there = there && one != nothing;
        at += there ? one : 0;
      }
      *to++ = there ? at : nothing;
    });
    return true;
  }

 private:
  std::ptrdiff_t of_tap(std::size_t axis, std::ptrdiff_t output, std::ptrdiff_t tap) const {
    return offsets_[axis][static_cast<std::size_t>(output * kernel_[axis] + tap)];
  }

  struct Range {
    std::ptrdiff_t first = 0, last = 0;
  };
  // The outputs around the middle one whose taps all lie as its do.
  static Range whole_windows(std::ptrdiff_t kernel, const std::vector<std::ptrdiff_t>& offsets) {
    const std::ptrdiff_t outputs = static_cast<std::ptrdiff_t>(offsets.size()) / kernel, middle = outputs / 2;
    const auto alike = [&](std::ptrdiff_t one) {
      const std::ptrdiff_t* const a = offsets.data() + middle * kernel;
      const std::ptrdiff_t* const b = offsets.data() + one * kernel;
      for (std::ptrdiff_t tap = 0; tap < kernel; ++tap)
        if (a[tap] == nothing || b[tap] == nothing || a[tap] - a[0] != b[tap] - b[0]) return false;
      return true;
    };
    if (outputs == 0 || !alike(middle)) return {};
    Range found = {middle, middle + 1};
    while (found.first > 0 && alike(found.first - 1)) --found.first;
    while (found.last < outputs && alike(found.last)) ++found.last;
    return found;
  }
  template <class Index>
  bool inside(const Index& index) const {
    bool found = true;
    for (std::size_t axis = 0; axis < axes_; ++axis)
      found = found && index[axis + 1] >= inner_[axis].first && index[axis + 1] < inner_[axis].last;
    return found;
  }

  std::size_t axes_ = 0, count_ = 1;
  std::ptrdiff_t batch_step_ = 0;
  std::array<std::ptrdiff_t, most_axes> kernel_{};
  std::array<Range, most_axes> inner_{};
  std::vector<std::vector<std::ptrdiff_t>> offsets_;  // of each axis: by output and tap
};

}  // namespace fusedlstm
