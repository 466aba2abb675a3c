// An LSTM inside a program: a pass that keeps its memory from run to run.
#include <numeric>
#include <utility>

#include "steps.hpp"

namespace fusedlstm {

namespace {

class LstmStep : public Step {
 public:
  LstmStep(std::shared_ptr<const Lstm> lstm, const LstmArrays& arrays) : lstm_(std::move(lstm)), arrays_(arrays) {
    const Tensor &x = arrays_.x, &y = arrays_.y;
    const auto size = [](std::size_t count) { return static_cast<std::ptrdiff_t>(count); };
    const bool fits = x.rank() == 3 && y.rank() == 3 && x.shape[2] == size(lstm_->input_size()) &&
                      y.shape[2] == size(lstm_->shape().output_size()) && x.shape[0] == y.shape[0] &&
                      x.shape[1] == y.shape[1];
    if (!fits || (x.strides[2] != 1 && x.shape[2] > 1) || (y.strides[2] != 1 && y.shape[2] > 1))
      throw std::invalid_argument("LSTM: expected x and y (batch, time, features), features beside each other");
    batch_ = static_cast<std::size_t>(x.shape[0]);
    time_ = static_cast<std::size_t>(x.shape[1]);
    std::size_t h = 0, c = 0;
    for (const LayerShape& layer : lstm_->shape().layers) {
      h += layer.output_size * lstm_->shape().num_directions * batch_;
      c += layer.hidden_size * lstm_->shape().num_directions * batch_;
    }
    const auto expect = [](const Tensor& state, std::size_t count) {
      if (!state.contiguous() || state.size() != count) throw std::invalid_argument("LSTM: expected contiguous states");
    };
    expect(arrays_.h_n, h);
    expect(arrays_.c_n, c);
    if (arrays_.h_0) expect(*arrays_.h_0, h);
    if (arrays_.c_0) expect(*arrays_.c_0, c);
    if (arrays_.lengths &&
        (arrays_.lengths->element != Element::int64 || !arrays_.lengths->contiguous() || arrays_.lengths->size() != batch_))
      throw std::invalid_argument("LSTM: expected a length for each row");
  }

  std::unique_ptr<State> state() const override { return std::make_unique<Kept>(*lstm_, batch_, time_); }

  void run(const Memory& memory, State* state) const override {
    auto* kept = static_cast<Kept*>(state);
    Call& call = kept->call;
    call.x = sequence(arrays_.x.at<float>(memory), arrays_.x.strides[0], arrays_.x.strides[1]);
    call.y = sequence(arrays_.y.at<float>(memory), arrays_.y.strides[0], arrays_.y.strides[1]);
    call.h_0 = arrays_.h_0 ? arrays_.h_0->at<float>(memory) : nullptr;
    call.c_0 = arrays_.c_0 ? arrays_.c_0->at<float>(memory) : nullptr;
    call.h_n = arrays_.h_n.at<float>(memory);
    call.c_n = arrays_.c_n.at<float>(memory);
    kept->pass->start();
    kept->pass->run(0);
    kept->pass->finish();
  }

 private:
  struct Kept : State {
    Kept(const Lstm& lstm, std::size_t batch, std::size_t time) : call() {
      call.batch = batch;
      call.time = time;
      std::vector<std::size_t> rows(batch);
      std::iota(rows.begin(), rows.end(), std::size_t{0});
      pass = lstm.pass(call, std::move(rows), 1, true);
    }
    Call call;
    std::unique_ptr<Pass> pass;
  };

  std::shared_ptr<const Lstm> lstm_;
  LstmArrays arrays_;
  std::size_t batch_ = 0, time_ = 0;
};

}  // namespace

std::unique_ptr<Step> lstm_step(std::shared_ptr<const Lstm> lstm, const LstmArrays& arrays) {
  return std::make_unique<LstmStep>(std::move(lstm), arrays);
}

}  // namespace fusedlstm
