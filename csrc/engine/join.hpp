// What becomes of a layer's outputs before the next one sees them: directions merged, the layer's input added.
#pragma once
#include <cstddef>

#include "direction.hpp"

namespace fusedlstm {

struct Join {
  Merge merge;
  bool residual;
  std::size_t width;        // features of the layer's output
  RowView in, out, second;  // the layer's input, its (first direction's) output, and the second direction's
  std::size_t first, last;  // times
  std::size_t member, members;
};

void join(const Join& join, const Rows& rows);

}  // namespace fusedlstm
