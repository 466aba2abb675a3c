// The matrix products of a pass that stand apart from the recurrent kernel.
#include <algorithm>
#include <cstring>

#include "pass.hpp"

namespace fusedlstm {

// The panels [first, last) of matrix times `rows` rows that group.x_rows points to.
void Pass::project(const PackedMatrix& matrix, std::size_t first, std::size_t last, std::size_t rows, float* z,
                   std::size_t z_row, const Group& group) const {
  kernels_.project({matrix.weights.chars(),
                    matrix.bias.floats(),
                    matrix.inputs,
                    first,
                    last,
                    group.x_rows,
                    rows,
                    z,
                    z_row,
                    {group.rounded, rounded_row_}});
}

// W x + b for the times [first, last), this member's panels.
void Pass::project_ahead(const PackedMatrix& input, std::size_t z_row, std::size_t first, std::size_t last,
                         std::size_t active, const View& in, const Group& group) {
  for (std::size_t t = first; t < last; ++t)
    for (std::size_t b = 0; b < active; ++b) group.x_rows[(t - first) * active + b] = in.rows[b] + in.at(t);
  project(input, group.share_of(input.panels, group.id), group.share_of(input.panels, group.id + 1), (last - first) * active,
          group.z, z_row, group);
}

// h = W_hr (o tanh(c)) for this member's panels.
void Pass::project_hidden(std::size_t layer, std::size_t direction, float* h, std::size_t active, const Group& group) {
  const PackedMatrix& matrix = lstm_.direction(layer, direction).projection;
  const Rows& row = row_of_[layer];
  const std::size_t first = group.share_of(matrix.panels, group.id), last = group.share_of(matrix.panels, group.id + 1);
  for (std::size_t from = 0; from < active; from += z_rows_) {
    const std::size_t count = std::min(z_rows_, active - from);
    for (std::size_t b = 0; b < count; ++b) group.x_rows[b] = state(layer, direction).unprojected + (from + b) * row.c;
    project(matrix, first, last, count, h + from * row.h, row.h, group);
  }
}

// The part of h that this member projected, into the output.
void Pass::copy_projected(std::size_t layer, const float* h, std::size_t active, const View& out, std::size_t t,
                          const Group& group) {
  const std::size_t panel = 4 * table_.lanes, panels = row_of_[layer].h / panel;
  const std::size_t begin = group.share_of(panels, group.id) * panel;
  const std::size_t end = std::min(group.share_of(panels, group.id + 1) * panel, shape_.layers[layer].output_size);
  if (begin >= end) return;
  for (std::size_t b = 0; b < active; ++b)
    std::memcpy(out.rows[b] + out.at(t) + begin, h + b * row_of_[layer].h + begin, (end - begin) * sizeof(float));
}

}  // namespace fusedlstm
