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

constexpr std::size_t tile_rows = 16;                    // that are gathered together, side by side
constexpr std::size_t tile_most = std::size_t{1} << 12;  // elements of such a row
constexpr std::size_t few_rows = 4, short_row = 32;      // where a vector across rows is better than one along a row
constexpr std::size_t columns_most = 256;                // rows side by side whose sums are held at once

// How kernels meet the rows of one line of a walk.
enum class Way { rows, columns, tiles, gathered };

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

  // Elements of `rows` rows, `step` apart in the view: copy(in the view, in memory), where element k of row r lies at
  // k * pitch + r.
  template <class Copy>
  void each_of(std::size_t rows, std::ptrdiff_t step, std::size_t pitch, Copy copy) const {
    each([&](std::ptrdiff_t offset, std::size_t place, std::ptrdiff_t count, std::ptrdiff_t inner) {
      const auto one = [&](std::size_t r, std::ptrdiff_t k) {
        copy(offset + static_cast<std::ptrdiff_t>(r) * step + k * inner, (place + static_cast<std::size_t>(k)) * pitch + r);
      };
      if (inner == 1) {
        for (std::size_t r = 0; r < rows; ++r)
          for (std::ptrdiff_t k = 0; k < count; ++k) one(r, k);
      } else {
        for (std::ptrdiff_t k = 0; k < count; ++k)
          for (std::size_t r = 0; r < rows; ++r) one(r, k);
      }
    });
  }

  // rows: how many there are, `step` apart.
  Way way(std::size_t rows, std::ptrdiff_t step) const {
    const bool across = rows >= few_rows;
    if (beside() && (!across || count_ >= short_row)) return Way::rows;
    return across && step == 1 && rank_ <= 1 ? Way::columns : gathered_way(rows);
  }
  Way gathered_way(std::size_t rows) const { return rows >= few_rows && count_ <= tile_most ? Way::tiles : Way::gathered; }
  // Scratch that any way needs, in floats.
  std::size_t gathered_floats() const { return count_ <= tile_most ? count_ * tile_rows : count_; }

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

}  // namespace fusedlstm
