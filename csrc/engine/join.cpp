#include "join.hpp"

#include <algorithm>

namespace fusedlstm {

namespace {

void merge(Merge how, float* y, const float* other, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (how == Merge::mul)
      y[i] *= other[i];
    else
      y[i] += other[i];
    if (how == Merge::ave) y[i] *= 0.5f;
  }
}

}  // namespace

void join(const Join& join, const Rows& rows) {
  for (std::size_t b = join.member; b < rows.count(); b += join.members)
    for (std::size_t t = join.first; t < std::min(join.last, rows.lengths[b]); ++t) {
      float* y = join.out.at(b, t);
      if (join.merge != Merge::concat) merge(join.merge, y, join.second.at(b, t), join.width);
      if (join.residual) merge(Merge::sum, y, join.in.at(b, t), join.width);
    }
}

}  // namespace fusedlstm
