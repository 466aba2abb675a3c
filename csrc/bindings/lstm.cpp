// class _core.Lstm: arrays in, arrays out; the shapes are checked here, once.
#include "../engine/lstm.hpp"
#include "../engine/capi.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "cell.hpp"

using namespace fusedlstm;

namespace {

using Array = py::array_t<float, 0>;  // float32, any strides; nothing is converted here
using Contiguous = py::array_t<float, py::array::c_style>;
using Lengths = py::array_t<std::int64_t, py::array::c_style>;
// The arrays of cell.py's DirectionWeights by name, with h_0 and c_0 for an initial state; the Cell, or None if it is plain.
using Direction = std::pair<std::map<std::string, Contiguous>, py::object>;

std::string text(const std::vector<py::ssize_t>& shape) {
  std::string inside;
  for (std::size_t i = 0; i < shape.size(); ++i) inside += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return "(" + inside + (shape.size() == 1 ? ",)" : ")");
}
std::vector<py::ssize_t> shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

void expect_shape(const char* name, const py::array& array, const std::vector<py::ssize_t>& shape, const char* meaning) {
  if (shape_of(array) != shape)
    throw std::invalid_argument(std::string(name) + ": expected shape " + text(shape) + " " + meaning + ", found " +
                                text(shape_of(array)));
}

std::ptrdiff_t stride(const py::array& array, py::ssize_t axis) {
  return static_cast<std::ptrdiff_t>(array.strides(axis)) / static_cast<std::ptrdiff_t>(sizeof(float));
}

DirectionArrays arrays_of(const Direction& direction) {
  const auto data = [&](const char* name) {
    const auto found = direction.first.find(name);
    return found == direction.first.end() ? nullptr : found->second.data();
  };
  DirectionArrays arrays;
  arrays.weight_ih = data("weight_ih");
  arrays.weight_hh = data("weight_hh");
  arrays.bias = data("bias");
  arrays.weight_hr = data("weight_hr");
  arrays.bias_hr = data("bias_hr");
  arrays.h_0 = data("h_0");
  arrays.c_0 = data("c_0");
  if (direction.second.is_none()) return arrays;
  arrays.cell = cell_from(direction.second);
  arrays.norm_ih = data("norm_ih");
  arrays.norm_hh = data("norm_hh");
  arrays.peephole_i = data("peephole_i");
  arrays.peephole_f = data("peephole_f");
  arrays.peephole_o = data("peephole_o");
  arrays.norm_c = data("norm_c");
  arrays.norm_c_bias = data("norm_c_bias");
  return arrays;
}

Merge merge_named(const std::string& name) {
  if (name == "sum") return Merge::sum;
  if (name == "mul") return Merge::mul;
  if (name == "ave") return Merge::ave;
  return Merge::concat;  // "none" as well: the directions stay apart
}

Lstm make(const std::vector<std::vector<Direction>>& layers, const std::string& merge, bool reverse,
          const std::vector<bool>& residual, const std::string& dtype, const std::string& activations) {
  Shape shape;
  shape.precision = precision_of(dtype, activations);
  std::vector<DirectionArrays> arrays;
  for (const std::vector<Direction>& layer : layers) {
    for (const Direction& direction : layer) arrays.push_back(arrays_of(direction));
    const auto size = [&](const char* name, py::ssize_t axis) {
      return static_cast<std::size_t>(layer.front().first.at(name).shape(axis));
    };
    shape.layers.push_back({size("weight_ih", 1), size("weight_hh", 0) / 4, size("weight_hh", 1),
                            arrays.back().weight_hr != nullptr, residual[shape.layers.size()]});
  }
  shape.num_directions = layers.front().size();
  shape.merge = shape.num_directions == 2 ? merge_named(merge) : Merge::concat;
  shape.reverse = reverse;
  return Lstm(shape, arrays);
}

// The shape of h or c, where `size` is a member of LayerShape: flat, if layers differ in size.
std::vector<py::ssize_t> state_shape(const Shape& shape, std::size_t LayerShape::* size, bool batched, py::ssize_t batch) {
  std::size_t total = 0;
  bool equal = true;
  for (const LayerShape& layer : shape.layers) {
    total += layer.*size * shape.num_directions;
    equal = equal && layer.hidden_size == shape.layers[0].hidden_size && layer.output_size == shape.layers[0].output_size;
  }
  if (!equal) return {static_cast<py::ssize_t>(total) * batch};
  const py::ssize_t states = static_cast<py::ssize_t>(shape.layers.size() * shape.num_directions);
  const py::ssize_t features = static_cast<py::ssize_t>(shape.layers[0].*size);
  return batched ? std::vector<py::ssize_t>{states, batch, features} : std::vector<py::ssize_t>{states, features};
}

py::tuple run(const Lstm& lstm, const Array& x, bool batch_first, const std::optional<Contiguous>& h_0,
              const std::optional<Contiguous>& c_0, const std::optional<Lengths>& lengths, const std::optional<Array>& out) {
  const Shape& shape = lstm.shape();
  const py::ssize_t width = static_cast<py::ssize_t>(shape.output_size());
  const py::ssize_t rank = x.ndim();
  const char* axes = rank == 2 ? "(time, input)" : batch_first ? "(batch, time, input)" : "(time, batch, input)";
  if (rank != 2 && rank != 3)
    throw std::invalid_argument(std::string("x: expected (time, input) or ") +
                                (batch_first ? "(batch, time, input)" : "(time, batch, input)") + ", found shape " +
                                text(shape_of(x)));
  if (x.shape(rank - 1) != static_cast<py::ssize_t>(lstm.input_size()))
    throw std::invalid_argument(std::string("x: expected ") + axes + " with an input size of " +
                                std::to_string(lstm.input_size()) + ", found shape " + text(shape_of(x)));

  const bool batched = rank == 3;
  const py::ssize_t time_axis = batched && batch_first ? 1 : 0, batch_axis = batch_first ? 0 : 1;
  const py::ssize_t time = x.shape(time_axis), batch = batched ? x.shape(batch_axis) : 1;
  if (time == 0)
    throw std::invalid_argument(std::string("x: expected ") + axes + " with at least one time step, found shape " +
                                text(shape_of(x)));

  const std::vector<py::ssize_t> h_shape = state_shape(shape, &LayerShape::output_size, batched, batch);
  const std::vector<py::ssize_t> c_shape = state_shape(shape, &LayerShape::hidden_size, batched, batch);
  const char* state_axes = batched ? "(layers * directions, batch, size)" : "(layers * directions, size)";
  if (h_0) expect_shape("state h", *h_0, h_shape, state_axes);
  if (c_0) expect_shape("state c", *c_0, c_shape, state_axes);
  if (lengths) {
    expect_shape("lengths", *lengths, {batch}, "(batch,)");
    for (py::ssize_t b = 0; b < batch; ++b)
      if (lengths->at(b) < 0 || lengths->at(b) > time)
        throw std::invalid_argument("lengths[" + std::to_string(b) + "]: expected 0 to " + std::to_string(time) +
                                    ", the time steps of x, found " + std::to_string(lengths->at(b)));
  }
  std::vector<py::ssize_t> y_shape = shape_of(x);
  y_shape.back() = width;
  if (out) expect_shape("out", *out, y_shape, "like y");

  Array y = out ? *out : Array(y_shape);
  Contiguous h_n(h_shape), c_n(c_shape);
  Call call = {};
  call.batch = static_cast<std::size_t>(batch);
  call.time = static_cast<std::size_t>(time);
  call.x = sequence(x.data(), batched ? stride(x, batch_axis) : 0, stride(x, time_axis));
  call.y = sequence(y.mutable_data(), batched ? stride(y, batch_axis) : 0, stride(y, time_axis));
  call.h_0 = h_0 ? h_0->data() : nullptr;
  call.c_0 = c_0 ? c_0->data() : nullptr;
  call.h_n = h_n.mutable_data();
  call.c_n = c_n.mutable_data();
  call.lengths = lengths ? lengths->data() : nullptr;
  {
    py::gil_scoped_release release;
    lstm.run(call);
  }
  return py::make_tuple(std::move(y), std::move(h_n), std::move(c_n));
}

}  // namespace

Precision precision_of(const std::string& dtype, const std::string& activations) {
  if (dtype == "float32") return Precision::float32;
  if (dtype == "float16") return Precision::float16;
  if (dtype == "bfloat16" && activations == "bfloat16") return Precision::bfloat16_by_bfloat16;
  if (dtype == "bfloat16") return Precision::bfloat16;
  if (dtype == "int8" && activations == "int16") return Precision::int8_by_16;
  if (dtype == "int8" && activations == "int8") return Precision::int8_by_8;
  throw std::invalid_argument("dtype: expected a precision, found '" + dtype + "' with activations '" + activations + "'");
}

void bind_lstm(py::module_& module) {
  module.attr("c_api") = py::capsule(&c_api, "fusedlstm.c_api");
  module.def("c_api_address", [] { return reinterpret_cast<std::uintptr_t>(&c_api); }, "The same as a number, for ctypes.");
  py::class_<Lstm, std::shared_ptr<Lstm>>(module, "Lstm", "Packed weights, ready to run.")
      .def(py::init(&make), py::arg("layers"), py::arg("merge"), py::arg("reverse"), py::arg("residual"), py::arg("dtype"),
           py::arg("activations"))
      .def_property_readonly(
          "handle", [](const Lstm& lstm) { return reinterpret_cast<std::uintptr_t>(handle(lstm)); },
          "The address that capi.h takes; valid while this object lives.")
      .def("run", &run, py::arg("x").noconvert(), py::arg("batch_first"), py::arg("h_0").none(true),
           py::arg("c_0").none(true), py::arg("lengths").none(true), py::arg("out").none(true),
           "y, h_n, c_n for x (rows contiguous along the last axis); shapes as documented at fusedlstm.LSTM.");
}
