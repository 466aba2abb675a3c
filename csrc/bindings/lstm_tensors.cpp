// _core.Lstm on the tensors of a framework. None where they do not fit as they are: whoever gets it converts or complains.
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "../engine/lstm.hpp"
#include "../engine/stream.hpp"
#include "arrays.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "tensors.hpp"

using namespace fusedlstm;
using tensors::Floats, tensors::Owned, tensors::Type;

namespace {

using Packed = Whole<Lstm>;

std::int64_t count(std::size_t size) { return static_cast<std::int64_t>(size); }

bool equal_layers(const Shape& shape) {
  for (const LayerShape& layer : shape.layers)
    if (layer.hidden_size != shape.layers.front().hidden_size || layer.output_size != shape.layers.front().output_size)
      return false;
  return true;
}

// Nothing that runs Python may come between looking at a tensor and the end of the call, as outputs that become objects do.
py::object sequences(const Packed& lstm, const Type& type, const py::object& given, bool batch_first, const py::object& h,
                     const py::object& c, const std::optional<arrays::Integers>& lengths) {
  const Shape& shape = lstm.shape();
  Floats x, h_0, c_0;
  if (!equal_layers(shape) || !type.literal({given, h, c}) || !type.look(given, x) || x.rank < 2 || !x.whole_rows())
    return py::none();
  const bool batched = x.rank == 3;
  const int time_axis = batched && batch_first ? 1 : 0, batch_axis = batch_first ? 0 : 1;
  const std::int64_t time = x.shape[time_axis], batch = batched ? x.shape[batch_axis] : 1;
  if (time < 1 || batch < 1 || x.shape[x.rank - 1] != count(lstm.input_size())) return py::none();

  const std::int64_t states = count(shape.layers.size() * shape.num_directions);
  const std::int64_t outputs = count(shape.layers.back().output_size), cells = count(shape.layers.back().hidden_size);
  const auto look = [&](const py::object& state, Floats& found, std::int64_t size) {
    return type.look(state, found) && found.contiguous() &&
           (batched ? found.has_shape({states, batch, size}) : found.has_shape({states, size}));
  };
  if (!h.is_none() && !(look(h, h_0, outputs) && look(c, c_0, cells))) return py::none();

  std::vector<std::int64_t> valid;
  if (lengths) valid.assign(lengths->data(), lengths->data() + lengths->size());
  const auto fits = [&](std::int64_t length) { return length >= 0 && length <= time; };
  if (lengths && (count(valid.size()) != batch || !std::all_of(valid.begin(), valid.end(), fits))) return py::none();

  const auto state_shape = [&](std::int64_t size) {
    return batched ? std::vector<std::int64_t>{states, batch, size} : std::vector<std::int64_t>{states, size};
  };
  std::vector<std::int64_t> y_shape(x.shape, x.shape + x.rank);
  y_shape.back() = count(shape.output_size());
  Call call = {};
  float* made = nullptr;
  Owned y = type.make(y_shape, made), h_n = type.make(state_shape(outputs), call.h_n),
        c_n = type.make(state_shape(cells), call.c_n);
  const std::int64_t row = y_shape.back();
  call.batch = static_cast<std::size_t>(batch);
  call.time = static_cast<std::size_t>(time);
  call.x = sequence(x.data, batched ? x.strides[batch_axis] : 0, x.strides[time_axis]);
  call.y = batched && batch_first ? sequence(made, time * row, row) : sequence(made, row, batch * row);
  call.h_0 = h_0.data;
  call.c_0 = c_0.data;
  call.lengths = lengths ? valid.data() : nullptr;
  without_gil([&] { lstm.run(call, lstm.threads); });
  return py::make_tuple(type.wrap(std::move(y)), type.wrap(std::move(h_n)), type.wrap(std::move(c_n)));
}

// Steps of one LSTM, whose caller has the state: rows that wait for the next call with as many, so that a step lays out
// no memory and plans nothing. The GIL keeps one caller from another.
class Stepper : public Initialised {
 public:
  explicit Stepper(std::shared_ptr<Packed> lstm) : lstm_(std::move(lstm)) {
    const Shape& shape = lstm_->shape();
    if (shape.layers.size() != 1 || shape.num_directions != 1 || shape.reverse || shape.layers[0].projected ||
        shape.layers[0].residual)
      throw std::invalid_argument("lstm: expected one layer, forward, whose output is its state");
  }

  py::object step(const Type& type, const py::object& given, const py::object& h, const py::object& c) {
    Floats x, h_0, c_0;
    if (!type.literal({given, h, c}) || !type.look(given, x) || x.rank > 2 || !x.contiguous()) return py::none();
    const bool batched = x.rank == 2;
    const std::int64_t rows = batched ? x.shape[0] : 1, size = count(lstm_->shape().layers[0].hidden_size);
    if (rows < 1 || x.shape[x.rank - 1] != count(lstm_->input_size())) return py::none();
    const auto look = [&](const py::object& state, Floats& found) {
      return type.look(state, found) && found.contiguous() &&
             (batched ? found.has_shape({rows, size}) : found.has_shape({size}));
    };
    if (!h.is_none() && !(look(h, h_0) && look(c, c_0))) return py::none();
    Call call = {};
    call.batch = static_cast<std::size_t>(rows);
    call.time = 1;
    if (lstm_->load(call).worth_sharing()) return py::none();  // a team does it

    const std::vector<std::int64_t> shape =
        batched ? std::vector<std::int64_t>{rows, size} : std::vector<std::int64_t>{size};
    float *h_1 = nullptr, *c_1 = nullptr;
    Owned h_n = type.make(shape, h_1), c_n = type.make(shape, c_1);
    Rows own = take(call.batch);
    const auto each_row = [&](const auto& move) {
      const std::size_t floats = static_cast<std::size_t>(size);
      for (std::size_t b = 0; b < call.batch; ++b) move(own->states.data() + 2 * b * floats, b * floats, floats);
    };
    if (h_0.data != nullptr) {
      each_row([&](float* state, std::size_t at, std::size_t floats) {
        std::copy_n(h_0.data + at, floats, state);
        std::copy_n(c_0.data + at, floats, state + floats);
      });
      own->stream.set_state(own->states.data());
    } else {
      own->stream.reset(nullptr);
    }
    // Short ones keep the GIL, as those of a Stream do.
    const auto run = [&] { own->stream.step(x.data, h_1, nullptr); };
    lstm_->shape().multiplications() * call.batch < 500000 ? run() : without_gil(run);
    own->stream.get_state(own->states.data());
    each_row([&](const float* state, std::size_t at, std::size_t floats) { std::copy_n(state + floats, floats, c_1 + at); });
    idle_.push_back(std::move(own));
    return py::make_tuple(type.wrap(std::move(h_n)), type.wrap(std::move(c_n)));
  }

 private:
  struct Waiting {
    Waiting(const Lstm& lstm, std::size_t rows) : stream(lstm, rows), states(rows * lstm.shape().state_size()) {}
    Stream stream;
    std::vector<float> states;
  };
  using Rows = std::unique_ptr<Waiting>;
  static constexpr std::size_t most_idle = 8;

  Rows take(std::size_t rows) {
    const auto fits = [&](const Rows& one) { return one->stream.batch() == rows; };
    const auto found = std::find_if(idle_.begin(), idle_.end(), fits);
    if (found != idle_.end()) {
      Rows own = std::move(*found);
      idle_.erase(found);
      return own;
    }
    if (idle_.size() >= most_idle) idle_.erase(idle_.begin());
    return std::make_unique<Waiting>(*lstm_, rows);
  }

  std::shared_ptr<Packed> lstm_;
  std::vector<Rows> idle_;
};

}  // namespace

void bind_lstm_tensors(py::module_& module) {
  auto lstm = py::reinterpret_borrow<py::class_<Packed, std::shared_ptr<Packed>>>(module.attr("Lstm"));
  lstm.def("run_tensors", &sequences, py::arg("type").none(false), py::arg("x"), py::arg("batch_first"), py::arg("h_0"),
           py::arg("c_0"), py::arg("lengths").none(true), "y, h_n, c_n of tensors, or None.");
  py::class_<Stepper>(module, "Stepper", "Single steps of an LSTM on tensors; the caller has the state.")
      .def(py::init([](std::shared_ptr<Packed> of) { return ::new Stepper(std::move(of)); }), py::arg("lstm").none(false))
      .def("step", &Stepper::step, py::arg("type").none(false), py::arg("x"), py::arg("h_0"), py::arg("c_0"),
           "h and c after one step of tensors, or None.");
}
