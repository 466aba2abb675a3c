// Recurrent layers inside a program. An LSTM is a pass that keeps its memory from run to run.
#include <algorithm>
#include <utility>

#include "kept_pass.hpp"

namespace fusedlstm {

namespace {

std::ptrdiff_t signed_size(std::size_t count) { return static_cast<std::ptrdiff_t>(count); }

bool features_beside(const Tensor& tensor) {
  return tensor.element == Element::float32 && (tensor.strides.back() == 1 || tensor.shape.back() <= 1);
}

void expect(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(what);
}

// A length for each row, checked when it is known.
class Lengths {
 public:
  Lengths(const std::optional<Tensor>& lengths, std::size_t batch, std::size_t time) : lengths_(lengths), time_(time) {
    expect(!lengths || (lengths->element == Element::int64 && lengths->contiguous() && lengths->size() == batch),
           "recurrent: expected a length for each row");
  }

  // Into `copy`, which has room: they may be the caller's, who can change them at any time. Null where there are none. False
  // if one of them is not from 0 to time, which is a fault.
  bool read(const Memory& memory, std::vector<std::int64_t>& copy, const std::int64_t*& lengths) const {
    lengths = lengths_ ? copy.data() : nullptr;
    if (lengths_) std::copy_n(lengths_->at<std::int64_t>(memory), copy.size(), copy.data());
    const bool fine = std::all_of(copy.begin(), copy.end(), [&](std::int64_t length) {
      return length >= 0 && length <= static_cast<std::int64_t>(time_);
    });
    if (!fine) *memory.fault = "expected lengths from 0 to the number of time steps, found others";
    return fine;
  }
  std::vector<std::int64_t> room() const { return std::vector<std::int64_t>(lengths_ ? lengths_->size() : 0); }

 private:
  std::optional<Tensor> lengths_;
  std::size_t time_;
};

class LstmStep : public Step {
 public:
  LstmStep(std::shared_ptr<const Lstm> lstm, const LstmArrays& arrays)
      : lstm_(std::move(lstm)),
        arrays_(arrays),
        batch_(arrays.x.rank() == 3 ? static_cast<std::size_t>(arrays.x.shape[0]) : 0),
        time_(arrays.x.rank() == 3 ? static_cast<std::size_t>(arrays.x.shape[1]) : 0),
        lengths_(arrays.lengths, batch_, time_) {
    const Tensor& x = arrays_.x;
    expect(x.rank() == 3 && x.shape[2] == signed_size(lstm_->input_size()) && features_beside(x),
           "LSTM: expected x (batch, time, features) of floats, features beside each other");
    if (arrays_.y) {
      const Tensor& y = *arrays_.y;
      expect(y.rank() == 3 && y.shape[2] == signed_size(lstm_->shape().output_size()) && features_beside(y) &&
                 x.shape[0] == y.shape[0] && x.shape[1] == y.shape[1],
             "LSTM: expected y (batch, time, features) of floats, features beside each other");
    }
    std::size_t h = 0, c = 0;
    for (const LayerShape& layer : lstm_->shape().layers) {
      h += layer.output_size * lstm_->shape().num_directions * batch_;
      c += layer.hidden_size * lstm_->shape().num_directions * batch_;
    }
    const auto expect_state = [](const Tensor& state, std::size_t count) {
      expect(state.element == Element::float32 && state.contiguous() && state.size() == count,
             "LSTM: expected contiguous states");
    };
    expect_state(arrays_.h_n, h);
    expect_state(arrays_.c_n, c);
    if (arrays_.h_0) expect_state(*arrays_.h_0, h);
    if (arrays_.c_0) expect_state(*arrays_.c_0, c);
  }

  std::unique_ptr<State> state() const override { return std::make_unique<Kept>(*this); }

  void run(const Memory& memory, State* state) const override {
    auto* kept = static_cast<Kept*>(state);
    Call& call = kept->call;
    if (!lengths_.read(memory, kept->lengths, call.lengths)) return;
    call.x = sequence(arrays_.x.at<float>(memory), arrays_.x.strides[0], arrays_.x.strides[1]);
    if (arrays_.y) call.y = sequence(arrays_.y->at<float>(memory), arrays_.y->strides[0], arrays_.y->strides[1]);
    kept->run(memory, arrays_);
  }

 private:
  struct Kept : KeptPass {
    explicit Kept(const LstmStep& step) : KeptPass(*step.lstm_, step.sizes()), lengths(step.lengths_.room()) {}
    std::vector<std::int64_t> lengths;
  };
  Call sizes() const {
    Call call = {};
    call.batch = batch_;
    call.time = time_;
    return call;
  }

  std::shared_ptr<const Lstm> lstm_;
  LstmArrays arrays_;
  std::size_t batch_, time_;
  Lengths lengths_;
};

class GruStep : public Step {
 public:
  GruStep(std::shared_ptr<const GruLayer> layer, const GruStates& arrays)
      : layer_(std::move(layer)),
        arrays_(arrays),
        batch_(arrays.x.rank() == 3 ? static_cast<std::size_t>(arrays.x.shape[1]) : 0),
        time_(arrays.x.rank() == 3 ? static_cast<std::size_t>(arrays.x.shape[0]) : 0),
        lengths_(arrays.lengths, batch_, time_) {
    const GruShape& shape = layer_->directions.front().shape();
    const std::ptrdiff_t directions = signed_size(layer_->directions.size()), hidden = signed_size(shape.hidden_size);
    const auto expect_floats = [](const Tensor& tensor, const std::vector<std::ptrdiff_t>& wanted) {
      expect(tensor.shape == wanted && features_beside(tensor),
             "GRU: expected floats of the shapes that the weights have, features beside each other");
    };
    expect_floats(arrays.x, {signed_size(time_), signed_size(batch_), signed_size(shape.input_size)});
    if (arrays.y) expect_floats(*arrays.y, {signed_size(time_), directions, signed_size(batch_), hidden});
    expect_floats(arrays.h_n, {directions, signed_size(batch_), hidden});
    if (arrays.h_0) expect_floats(*arrays.h_0, arrays.h_n.shape);
  }

  std::size_t scratch() const override { return layer_->directions.front().scratch(batch_, time_); }

  std::unique_ptr<State> state() const override { return std::make_unique<Kept>(lengths_.room()); }

  void run(const Memory& memory, State* state) const override {
    GruCall call = {};
    if (!lengths_.read(memory, static_cast<Kept*>(state)->lengths, call.lengths)) return;
    call.batch = batch_;
    call.time = time_;
    call.x = sequence(arrays_.x.at<float>(memory), arrays_.x.strides[1], arrays_.x.strides[0]);
    call.h_n_row = arrays_.h_n.strides[1];
    for (std::size_t d = 0; d < layer_->directions.size(); ++d) {
      const std::ptrdiff_t direction = signed_size(d);
      if (arrays_.y)
        call.y = sequence(arrays_.y->at<float>(memory) + direction * arrays_.y->strides[1], arrays_.y->strides[2],
                          arrays_.y->strides[0]);
      if (arrays_.h_0) {
        call.h_0 = arrays_.h_0->at<float>(memory) + direction * arrays_.h_0->strides[0];
        call.h_0_row = arrays_.h_0->strides[1];
      }
      call.h_n = arrays_.h_n.at<float>(memory) + direction * arrays_.h_n.strides[0];
      call.backward = d == 1 || layer_->reverse;
      layer_->directions[d].run(call, memory.scratch);
    }
  }

 private:
  struct Kept : State {
    explicit Kept(std::vector<std::int64_t> room) : lengths(std::move(room)) {}
    std::vector<std::int64_t> lengths;
  };

  std::shared_ptr<const GruLayer> layer_;
  GruStates arrays_;
  std::size_t batch_, time_;
  Lengths lengths_;
};

}  // namespace

std::unique_ptr<Step> lstm_step(std::shared_ptr<const Lstm> lstm, const LstmArrays& arrays) {
  return std::make_unique<LstmStep>(std::move(lstm), arrays);
}

std::unique_ptr<Step> gru_step(std::shared_ptr<const GruLayer> layer, const GruStates& arrays) {
  return std::make_unique<GruStep>(std::move(layer), arrays);
}

}  // namespace fusedlstm
