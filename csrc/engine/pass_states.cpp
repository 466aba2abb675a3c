// The states of a pass: where they come from, and where they go.
#include <algorithm>
#include <cstring>

#include "pass.hpp"

namespace fusedlstm {

void Pass::prepare() {
  bind();
  const std::size_t width = shape_.output_size();
  for (std::size_t b = 0; b < rows_.size() && call_.starts == nullptr; ++b)
    for (std::size_t t = length(b); t < call_.time; ++t)
      std::memset(y_rows_[b] + static_cast<std::ptrdiff_t>(t) * call_.y_time, 0, width * sizeof(float));
  call_.slots == nullptr ? reset(call_.h_0, call_.c_0) : gather();
  for (std::atomic<std::size_t>& one : claimed_) one.store(0, std::memory_order_relaxed);
}

void Pass::reset(const float* h_0, const float* c_0) {
  for (std::size_t s = 0; s < states_.size(); ++s) {
    const State& state = states_[s];
    const std::size_t layer = s / shape_.num_directions;
    const Rows& row = row_of_[layer];
    const std::size_t outputs = shape_.layers[layer].output_size, hidden = shape_.layers[layer].hidden_size;
    const PackedDirection& own = lstm_.direction(layer, s % shape_.num_directions);
    // Padding included: a unit past the last is multiplied by nothing, but must not be a signalling pattern.
    for (float* h : state.h) std::memset(h, 0, rows_.size() * row.h * sizeof(float));
    std::memset(state.c, 0, rows_.size() * row.c * sizeof(float));
    for (std::size_t b = 0; b < rows_.size(); ++b) {
      const float* from_h = h_0 == nullptr ? own.h_0.floats() : h_0 + rows_[b] * outputs;
      const float* from_c = c_0 == nullptr ? own.c_0.floats() : c_0 + rows_[b] * hidden;
      // Both buffers: a backward row joins at its own end, whichever buffer is then read.
      if (from_h != nullptr)
        for (float* h : state.h) std::memcpy(h + b * row.h, from_h, outputs * sizeof(float));
      if (from_c != nullptr) std::memcpy(state.c + b * row.c, from_c, hidden * sizeof(float));
    }
    if (h_0 != nullptr) h_0 += call_.batch * outputs;
    if (c_0 != nullptr) c_0 += call_.batch * hidden;
  }
}

void Pass::gather() {
  for (std::size_t k = 0; k < states_.size(); ++k) {  // padding as in reset
    const std::size_t outputs = shape_.layers[k].output_size, hidden = shape_.layers[k].hidden_size;
    for (std::size_t b = 0; b < rows_.size(); ++b) {
      for (float* h : states_[k].h) std::fill(h + b * row_of_[k].h + outputs, h + (b + 1) * row_of_[k].h, 0.0f);
      std::fill(states_[k].c + b * row_of_[k].c + hidden, states_[k].c + (b + 1) * row_of_[k].c, 0.0f);
    }
  }
  for (std::size_t b = 0; b < rows_.size(); ++b)
    load_row(b, call_.states + static_cast<std::size_t>(call_.slots[rows_[b]]) * shape_.state_size());
}

void Pass::scatter() {
  for (std::size_t b = 0; b < rows_.size(); ++b)
    store_row(b, call_.states + static_cast<std::size_t>(call_.slots[rows_[b]]) * shape_.state_size(), origin_ + length(b));
}

void Pass::finish() {
  if (call_.slots != nullptr) return scatter();
  float *h_n = call_.h_n, *c_n = call_.c_n;
  for (std::size_t s = 0; s < states_.size(); ++s) {
    const std::size_t layer = s / shape_.num_directions;
    const std::size_t outputs = shape_.layers[layer].output_size, hidden = shape_.layers[layer].hidden_size;
    for (std::size_t b = 0; b < rows_.size(); ++b) {
      // Buffers swap at every step: forward a row stops at its length, backward all rows stop together.
      const std::size_t steps = origin_ + (backward(s % shape_.num_directions) ? longest_ : length(b));
      std::memcpy(h_n + rows_[b] * outputs, states_[s].h[steps % 2] + b * row_of_[layer].h, outputs * sizeof(float));
      std::memcpy(c_n + rows_[b] * hidden, states_[s].c + b * row_of_[layer].c, hidden * sizeof(float));
    }
    h_n += call_.batch * outputs;
    c_n += call_.batch * hidden;
  }
}

void Pass::store_row(std::size_t b, float* state) const { store_row(b, state, origin_); }

void Pass::store_row(std::size_t b, float* state, std::size_t steps) const {
  for (std::size_t k = 0; k < states_.size(); ++k) {  // forward only: one for each layer
    state = std::copy_n(states_[k].h[steps % 2] + b * row_of_[k].h, shape_.layers[k].output_size, state);
    state = std::copy_n(states_[k].c + b * row_of_[k].c, shape_.layers[k].hidden_size, state);
  }
}

void Pass::load_row(std::size_t b, const float* state) {
  const auto load = [&](float* to, std::size_t count, const Buffer& initial) {
    const float* from = state == nullptr ? initial.floats() : std::exchange(state, state + count);
    if (from == nullptr)
      std::fill_n(to, count, 0.0f);
    else
      std::copy_n(from, count, to);
  };
  for (std::size_t k = 0; k < states_.size(); ++k) {
    load(states_[k].h[origin_ % 2] + b * row_of_[k].h, shape_.layers[k].output_size, lstm_.direction(k, 0).h_0);
    load(states_[k].c + b * row_of_[k].c, shape_.layers[k].hidden_size, lstm_.direction(k, 0).c_0);
  }
}

}  // namespace fusedlstm
