// Tensors of a program: where they lie, and walks over them.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace fusedlstm {

// What a program works on while it runs: base 0 is the arena, then come its inputs, outputs and constants.
struct Memory {
  char* const* bases;
  char* scratch;        // for one step after the other
  const char** fault;   // where a step says that what it was given makes no sense; it stays within its memory whatever it is
  std::size_t threads;  // that steps may use; 0: as many as num_threads() says
};

// A tensor or a part of one. Strides are in elements, any sign, 0 where it is broadcast.
struct View {
  std::size_t base = 0, offset = 0;  // in bytes
  std::vector<std::ptrdiff_t> shape, strides;

  template <class T>
  T* at(const Memory& memory) const {
    return reinterpret_cast<T*>(memory.bases[base] + offset);
  }
  std::size_t rank() const { return shape.size(); }
  std::size_t size() const {
    std::size_t count = 1;
    for (const std::ptrdiff_t one : shape) count *= static_cast<std::size_t>(one);
    return count;
  }
  bool contiguous() const {
    std::ptrdiff_t expected = 1;
    for (std::size_t axis = rank(); axis-- > 0; expected *= shape[axis])
      if (shape[axis] != 1 && strides[axis] != expected) return false;
    return true;
  }
};

constexpr std::size_t most_axes = 12;

// N views of one shape, walked together: axes that lie behind each other in all of them are one, and the innermost is that
// of the first view's smallest stride.
template <std::size_t N>
class Walk {
 public:
  using Pointers = std::array<char*, N>;
  using Strides = std::array<std::ptrdiff_t, N>;  // in bytes

  Walk() = default;
  Walk(const std::vector<std::ptrdiff_t>& shape, const std::array<const View*, N>& views,
       const std::array<std::size_t, N>& sizes) {
    struct Axis {
      std::ptrdiff_t size;
      Strides strides;
    };
    std::vector<Axis> axes;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      empty_ = empty_ || shape[axis] == 0;
      if (shape[axis] == 1) continue;
      Axis one = {shape[axis], {}};
      for (std::size_t n = 0; n < N; ++n) one.strides[n] = views[n]->strides[axis] * static_cast<std::ptrdiff_t>(sizes[n]);
      axes.push_back(one);
    }
    const auto magnitude = [](std::ptrdiff_t a) { return a < 0 ? -a : a; };
    std::stable_sort(axes.begin(), axes.end(),
                     [&](const Axis& a, const Axis& b) { return magnitude(a.strides[0]) > magnitude(b.strides[0]); });
    for (const Axis& one : axes) {
      bool joins = rank_ > 0;
      for (std::size_t n = 0; joins && n < N; ++n) joins = strides_[rank_ - 1][n] == one.strides[n] * one.size;
      if (joins) {
        size_[rank_ - 1] *= one.size;
      } else {
        if (rank_ == most_axes) throw std::invalid_argument("a tensor has too many axes");
        size_[rank_++] = one.size;
      }
      strides_[rank_ - 1] = one.strides;
    }
  }

  // Call run(pointers, count, strides) along the innermost axis.
  template <class Run>
  void each(Pointers at, Run run) const {
    if (rank_ == 0) return over(0, at, [&](const Pointers& here) { run(here, std::ptrdiff_t{1}, Strides{}); });
    over(rank_ - 1, at, [&](const Pointers& here) { run(here, size_[rank_ - 1], strides_[rank_ - 1]); });
  }

  // Moves the axis of view n's smallest stride, if it is not the innermost, next to it.
  void pair_with_smallest(std::size_t n) {
    if (rank_ < 2) return;
    const auto magnitude = [&](std::size_t axis) { return strides_[axis][n] < 0 ? -strides_[axis][n] : strides_[axis][n]; };
    std::size_t best = rank_ - 2;
    for (std::size_t axis = 0; axis + 2 < rank_; ++axis)
      if (magnitude(axis) < magnitude(best)) best = axis;
    for (std::size_t axis = best; axis + 2 < rank_; ++axis) {
      std::swap(size_[axis], size_[axis + 1]);
      std::swap(strides_[axis], strides_[axis + 1]);
    }
  }
  // Call run(pointers, {outer count, count}, outer strides, strides) over the two innermost axes.
  template <class Run>
  void each_pair(Pointers at, Run run) const {
    if (rank_ < 2)
      return each(at, [&](const Pointers& here, std::ptrdiff_t count, const Strides& strides) {
        run(here, std::array<std::ptrdiff_t, 2>{1, count}, Strides{}, strides);
      });
    over(rank_ - 2, at, [&](const Pointers& here) {
      run(here, std::array<std::ptrdiff_t, 2>{size_[rank_ - 2], size_[rank_ - 1]}, strides_[rank_ - 2], strides_[rank_ - 1]);
    });
  }

 private:
  // Every index of the outermost `axes` axes.
  template <class Run>
  void over(std::size_t axes, Pointers at, Run run) const {
    if (empty_) return;
    std::array<std::ptrdiff_t, most_axes> index{};
    for (;;) {
      run(at);
      std::size_t axis = axes;
      for (;;) {
        if (axis == 0) return;
        --axis;
        for (std::size_t n = 0; n < N; ++n) at[n] += strides_[axis][n];
        if (++index[axis] < size_[axis]) break;
        index[axis] = 0;
        for (std::size_t n = 0; n < N; ++n) at[n] -= strides_[axis][n] * size_[axis];
      }
    }
  }

  std::size_t rank_ = 0;
  bool empty_ = false;
  std::array<std::ptrdiff_t, most_axes> size_{};
  std::array<Strides, most_axes> strides_{};
};

}  // namespace fusedlstm
