// A view as rows: along its last axes, for every index of the others. Kernels take rows whose elements lie beside each
// other; others are gathered first, some rows at a time, so that rows that lie side by side are read as they lie.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "steps.hpp"

namespace fusedlstm {

constexpr std::size_t rows_beside = 16;                      // that are gathered together
constexpr std::size_t gathered_most = std::size_t{1} << 16;  // elements of several rows

// The axes of one row in their order, those that lie behind each other joined. Steps are in elements.
class RowAxes {
 public:
  RowAxes() = default;
  RowAxes(const View& view, std::size_t along) {
    for (std::size_t axis = view.rank() - along; axis < view.rank(); ++axis) {
      const std::ptrdiff_t size = view.shape[axis], step = view.strides[axis];
      count_ *= static_cast<std::size_t>(size);
      if (size == 1) continue;
      if (rank_ > 0 && steps_[rank_ - 1] == step * size) {
        sizes_[rank_ - 1] *= size;
        steps_[rank_ - 1] = step;
        continue;
      }
      if (rank_ == most_axes) throw std::invalid_argument("a tensor has too many axes");
      sizes_[rank_] = size;
      steps_[rank_++] = step;
    }
  }

  std::size_t count() const { return count_; }
  bool beside() const { return rank_ == 0 || (rank_ == 1 && steps_[0] == 1); }
  bool evenly() const { return rank_ <= 1; }
  std::ptrdiff_t step() const { return rank_ == 0 ? 0 : steps_[rank_ - 1]; }

  // run(offset in the view, place in the row, count, step) along the innermost axis.
  template <class Run>
  void each(Run run) const {
    if (count_ == 0) return;
    if (rank_ == 0) return run(std::ptrdiff_t{0}, std::size_t{0}, std::ptrdiff_t{1}, std::ptrdiff_t{1});
    const std::ptrdiff_t inner = sizes_[rank_ - 1];
    std::array<std::ptrdiff_t, most_axes> index{};
    std::ptrdiff_t offset = 0;
    for (std::size_t place = 0; place < count_; place += static_cast<std::size_t>(inner)) {
      run(offset, place, inner, steps_[rank_ - 1]);
      for (std::size_t axis = rank_ - 1; axis-- > 0;) {
        offset += steps_[axis];
        if (++index[axis] < sizes_[axis]) break;
        offset -= steps_[axis] * sizes_[axis];
        index[axis] = 0;
      }
    }
  }

  // Elements of `rows` rows, `step` apart in the view and `pitch` apart in memory: copy(in the view, in memory).
  template <class Copy>
  void each_of(std::size_t rows, std::ptrdiff_t step, std::size_t pitch, Copy copy) const {
    each([&](std::ptrdiff_t offset, std::size_t place, std::ptrdiff_t count, std::ptrdiff_t inner) {
      const auto one = [&](std::size_t r, std::ptrdiff_t k) {
        copy(offset + static_cast<std::ptrdiff_t>(r) * step + k * inner, r * pitch + place + static_cast<std::size_t>(k));
      };
      if (inner == 1 || rows == 1) {
        for (std::size_t r = 0; r < rows; ++r)
          for (std::ptrdiff_t k = 0; k < count; ++k) one(r, k);
      } else {
        for (std::ptrdiff_t k = 0; k < count; ++k)
          for (std::size_t r = 0; r < rows; ++r) one(r, k);
      }
    });
  }

 private:
  std::size_t count_ = 1, rank_ = 0;
  std::array<std::ptrdiff_t, most_axes> sizes_{}, steps_{};
};

// The axes of a view that its rows do not run along.
inline View kept_of(const View& view, std::size_t along) {
  View kept = view;
  if (along > view.rank()) throw std::invalid_argument("rows: expected fewer axes");
  kept.shape.resize(view.rank() - along);
  kept.strides.resize(view.rank() - along);
  return kept;
}

// How many rows are gathered together, and how far apart they are then.
struct RowBlock {
  std::size_t rows = rows_beside, pitch = 0;

  RowBlock() = default;
  explicit RowBlock(std::size_t count) : pitch(round_up(count, 16)) {
    rows = std::clamp<std::size_t>(gathered_most / std::max<std::size_t>(1, pitch), 1, rows_beside);
  }
  std::size_t size() const { return rows * pitch; }
};

}  // namespace fusedlstm
