// Where the state of a direction comes from, and where it goes.
#include <algorithm>

#include "direction.hpp"

namespace fusedlstm {

void DirectionPass::start() {
  // A unit past the last is multiplied by nothing, but must not be a signalling pattern.
  for (std::size_t b = 0; b < rows_.count(); ++b) {
    for (float* h : h_) std::fill(h + b * h_row_ + shape_.output_size, h + (b + 1) * h_row_, 0.0f);
    std::fill(c_ + b * c_row_ + shape_.hidden_size, c_ + (b + 1) * c_row_, 0.0f);
  }
}

void DirectionPass::load(std::size_t b, const float* h, const float* c) {
  const auto fill = [](float* to, const float* from, const Buffer& own, std::size_t count) {
    if (from == nullptr) from = own.floats();
    if (from == nullptr)
      std::fill_n(to, count, 0.0f);
    else
      std::copy_n(from, count, to);
  };
  for (std::size_t i = 0; i < 2; ++i)  // a backward row joins at its own end, whichever buffer is then read
    if (backward_ || i == rows_.origin % 2) fill(h_[i] + b * h_row_, h, packed_.h_0, shape_.output_size);
  fill(c_ + b * c_row_, c, packed_.c_0, shape_.hidden_size);
}

void DirectionPass::store(std::size_t b, float* h, float* c) const {
  // Buffers swap at every step: forward a row stops at its length, backward all rows stop together.
  const std::size_t steps = rows_.origin + (backward_ ? rows_.longest : length(b));
  std::copy_n(h_[steps % 2] + b * h_row_, shape_.output_size, h);
  std::copy_n(c_ + b * c_row_, shape_.hidden_size, c);
}

}  // namespace fusedlstm
