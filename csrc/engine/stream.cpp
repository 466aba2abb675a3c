#include "stream.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "interrupt.hpp"

namespace fusedlstm {

namespace {

// Steps that the memory of a stream is laid out for; longer chunks are cut by the pass itself.
constexpr std::size_t most_steps = std::size_t{1} << 20;

Call call_for(std::size_t batch) {
  Call call = {};
  call.batch = batch;
  call.time = most_steps;
  return call;
}

std::vector<std::size_t> all_rows(std::size_t batch) {
  std::vector<std::size_t> rows(batch);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  return rows;
}

bool overlap(const float* a, std::size_t a_size, const float* b, std::size_t b_size) {
  const std::less<const float*> before;
  return before(a, b + b_size) && before(b, a + a_size);
}

}  // namespace

Stream::Stream(const Lstm& lstm, std::size_t batch)
    : lstm_(lstm),
      call_(call_for(batch)),
      pass_(lstm.pass(call_, all_rows(batch), 1, true)),
      inputs_(lstm.input_size()),
      outputs_(lstm.shape().output_size()),
      state_size_(lstm.shape().state_size()),
      spare_(batch * (inputs_ + state_size_) * sizeof(float)) {
  call_.time = 0;
  pass_->start();
}

Stream::Stream(const Stream& other) : Stream(other.lstm_, other.batch()) {
  float* state = spare_.floats();
  for (std::size_t b = 0; b < batch(); ++b) {
    other.pass_->store(b, state);
    pass_->load(b, state);
  }
}

void Stream::step(const float* x, float* y, const unsigned char* active) {
  if (overlap(x, batch() * inputs_, y, batch() * outputs_)) {
    std::copy_n(x, batch() * inputs_, spare_.floats());
    x = spare_.floats();
  }
  float* const states = spare_.floats() + batch() * inputs_;
  if (active != nullptr)
    for (std::size_t b = 0; b < batch(); ++b)
      if (active[b] == 0) pass_->store(b, states + b * state_size_);
  const auto apart = [](std::size_t floats) { return static_cast<std::ptrdiff_t>(floats); };
  go_on(1, sequence(x, apart(inputs_), 0), sequence(y, apart(outputs_), 0));
  if (active != nullptr)
    for (std::size_t b = 0; b < batch(); ++b)
      if (active[b] == 0) {
        pass_->load(b, states + b * state_size_);
        std::fill_n(y + b * outputs_, outputs_, 0.0f);
      }
}

void Stream::process(std::size_t time, const Sequence& x, const Sequence& y) {
  float* const before = spare_.floats() + batch() * inputs_;
  if (Interrupt::watched()) get_state(before);
  if (!go_on(time, x, y)) set_state(before);
}

bool Stream::go_on(std::size_t time, const Sequence& x, const Sequence& y) {
  call_.time = time;
  call_.x = x;
  call_.y = y;
  return pass_->go_on();
}

void Stream::get_state(float* states) const {
  for (std::size_t b = 0; b < batch(); ++b) pass_->store(b, states + b * state_size_);
}

void Stream::set_state(const float* states) {
  for (std::size_t b = 0; b < batch(); ++b) pass_->load(b, states + b * state_size_);
}

void Stream::reset(const unsigned char* rows) {
  for (std::size_t b = 0; b < batch(); ++b)
    if (rows == nullptr || rows[b] != 0) pass_->load(b, nullptr);
}

}  // namespace fusedlstm
