// _core.Lstm on the tensors of a framework. None where they do not fit as they are: whoever gets it converts or complains.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "../engine/lstm.hpp"
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
  if (!equal_layers(shape) || !type.look(given, x) || x.rank < 2 || !x.whole_rows()) return py::none();
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
  without_gil([&] { lstm.run(call); });
  return py::make_tuple(type.wrap(std::move(y)), type.wrap(std::move(h_n)), type.wrap(std::move(c_n)));
}

py::object step(const Packed& lstm, const Type& type, const py::object& given, const py::object& h, const py::object& c) {
  const Shape& shape = lstm.shape();
  Floats x, h_0, c_0;
  if (shape.layers.size() != 1 || shape.num_directions != 1 || !type.look(given, x) || x.rank > 2 || !x.whole_rows())
    return py::none();
  const bool batched = x.rank == 2;
  const std::int64_t batch = batched ? x.shape[0] : 1;
  if (batch < 1 || x.shape[x.rank - 1] != count(lstm.input_size())) return py::none();
  const std::int64_t outputs = count(shape.layers[0].output_size), cells = count(shape.layers[0].hidden_size);
  const auto look = [&](const py::object& state, Floats& found, std::int64_t size) {
    return type.look(state, found) && found.contiguous() &&
           (batched ? found.has_shape({batch, size}) : found.has_shape({size}));
  };
  if (!h.is_none() && !(look(h, h_0, outputs) && look(c, c_0, cells))) return py::none();

  const auto state_shape = [&](std::int64_t size) {
    return batched ? std::vector<std::int64_t>{batch, size} : std::vector<std::int64_t>{size};
  };
  Call call = {};
  Owned h_n = type.make(state_shape(outputs), call.h_n), c_n = type.make(state_shape(cells), call.c_n);
  call.batch = static_cast<std::size_t>(batch);
  call.time = 1;
  call.x = sequence(x.data, batched ? x.strides[0] : 0, 0);
  call.h_0 = h_0.data;
  call.c_0 = c_0.data;
  without_gil([&] { lstm.run(call); });
  return py::make_tuple(type.wrap(std::move(h_n)), type.wrap(std::move(c_n)));
}

}  // namespace

void bind_lstm_tensors(py::module_& module) {
  auto lstm = py::reinterpret_borrow<py::class_<Packed, std::shared_ptr<Packed>>>(module.attr("Lstm"));
  lstm.def("run_tensors", &sequences, py::arg("type").none(false), py::arg("x"), py::arg("batch_first"), py::arg("h_0"),
           py::arg("c_0"), py::arg("lengths").none(true), "y, h_n, c_n of tensors, or None.");
  lstm.def("step_tensors", &step, py::arg("type").none(false), py::arg("x"), py::arg("h_0"), py::arg("c_0"),
           "h and c after one step of tensors, or None.");
}
