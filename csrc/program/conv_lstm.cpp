// A ConvLSTM inside a program: a pass that keeps its memory from run to run.
#include <utility>

#include "kept_pass.hpp"

namespace fusedlstm {

namespace {

void expect(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(what);
}

bool is_of(const Tensor& tensor, const std::vector<std::ptrdiff_t>& shape) {
  return tensor.element == Element::float32 && tensor.shape == shape;
}

Sequence frames(const Tensor& tensor, const Memory& memory) {
  const std::vector<std::ptrdiff_t>& step = tensor.strides;
  return {tensor.at<float>(memory), step[0], step[1], {step[2], step[3]}, step[4]};
}

class ConvLstmStep : public Step {
 public:
  ConvLstmStep(std::shared_ptr<const ConvLstm> lstm, const FrameArrays& arrays) : lstm_(std::move(lstm)), arrays_(arrays) {
    const Tensor& x = arrays_.x;
    expect(x.rank() == 5 && x.element == Element::float32 && x.shape[4] == static_cast<std::ptrdiff_t>(lstm_->channels()),
           "ConvLSTM: expected x (batch, time, height, width, channels) of floats");
    std::vector<std::ptrdiff_t> state = {x.shape[0]};
    for (std::size_t axis = 0; axis < 2; ++axis)
      state.push_back(
          static_cast<std::ptrdiff_t>(lstm_->input()[axis].outputs(static_cast<std::size_t>(x.shape[2 + axis]))));
    state.push_back(static_cast<std::ptrdiff_t>(lstm_->filters()));
    std::vector<std::ptrdiff_t> sequence = state;
    sequence.insert(sequence.begin() + 1, x.shape[1]);
    expect(is_of(arrays_.y, sequence), "ConvLSTM: expected y (batch, time, height, width, filters) of floats");
    const auto fits = [&](const Tensor& one) { return is_of(one, state) && one.contiguous(); };
    expect(fits(arrays_.h_n) && fits(arrays_.c_n) && (!arrays_.h_0 || fits(*arrays_.h_0)) &&
               (!arrays_.c_0 || fits(*arrays_.c_0)),
           "ConvLSTM: expected contiguous states");
  }

  std::unique_ptr<State> state() const override { return std::make_unique<KeptPass>(*lstm_, sizes()); }

  void run(const Memory& memory, State* state) const override {
    auto* kept = static_cast<KeptPass*>(state);
    Call& call = kept->call;
    call.x = frames(arrays_.x, memory);
    call.y = frames(arrays_.y, memory);
    kept->run(memory, arrays_);
  }

 private:
  Call sizes() const {
    const std::vector<std::ptrdiff_t>& shape = arrays_.x.shape;
    Call call = {};
    call.batch = static_cast<std::size_t>(shape[0]);
    call.time = static_cast<std::size_t>(shape[1]);
    for (std::size_t axis = 0; axis < 2; ++axis) call.size[axis] = static_cast<std::size_t>(shape[2 + axis]);
    return call;
  }

  std::shared_ptr<const ConvLstm> lstm_;
  FrameArrays arrays_;
};

}  // namespace

std::unique_ptr<Step> conv_lstm_step(std::shared_ptr<const ConvLstm> lstm, const FrameArrays& arrays) {
  return std::make_unique<ConvLstmStep>(std::move(lstm), arrays);
}

}  // namespace fusedlstm
