// class _core.Lstm: arrays in, arrays out; the shapes are checked here, once.
#include "../engine/lstm.hpp"
#include "../engine/capi.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "bindings.hpp"

using namespace fusedlstm;

namespace {

using Array = py::array_t<float, 0>;  // float32, any strides; nothing is converted here
using Contiguous = py::array_t<float, py::array::c_style>;
using Lengths = py::array_t<std::int64_t, py::array::c_style>;
using Direction = std::tuple<Contiguous, Contiguous, std::optional<Contiguous>, std::optional<Contiguous>>;

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

Lstm make(const std::vector<std::vector<Direction>>& layers) {
  Shape shape = {};
  std::vector<DirectionArrays> arrays;
  for (const std::vector<Direction>& layer : layers)
    for (const auto& [weight_ih, weight_hh, bias, weight_hr] : layer) {
      shape.hidden_size = static_cast<std::size_t>(weight_hh.shape(0)) / 4;
      shape.output_size = static_cast<std::size_t>(weight_hh.shape(1));
      shape.projected = weight_hr.has_value();
      arrays.push_back({weight_ih.data(), weight_hh.data(), bias ? bias->data() : nullptr,
                        weight_hr ? weight_hr->data() : nullptr, static_cast<std::size_t>(weight_ih.shape(1))});
    }
  shape.num_layers = layers.size();
  shape.num_directions = layers.empty() ? 0 : layers.front().size();
  return Lstm(shape, arrays);
}

py::tuple run(const Lstm& lstm, const Array& x, bool batch_first, const std::optional<Contiguous>& h_0,
              const std::optional<Contiguous>& c_0, const std::optional<Lengths>& lengths, const std::optional<Array>& out) {
  const Shape& shape = lstm.shape();
  const py::ssize_t hidden = static_cast<py::ssize_t>(shape.hidden_size),
                    output = static_cast<py::ssize_t>(shape.output_size);
  const py::ssize_t states = static_cast<py::ssize_t>(shape.num_layers * shape.num_directions);
  const py::ssize_t width = output * static_cast<py::ssize_t>(shape.num_directions);
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

  const auto state_shape = [&](py::ssize_t size) {
    return batched ? std::vector<py::ssize_t>{states, batch, size} : std::vector<py::ssize_t>{states, size};
  };
  const char* state_axes = batched ? "(layers * directions, batch, size)" : "(layers * directions, size)";
  if (h_0) expect_shape("state h", *h_0, state_shape(output), state_axes);
  if (c_0) expect_shape("state c", *c_0, state_shape(hidden), state_axes);
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
  Contiguous h_n(state_shape(output)), c_n(state_shape(hidden));
  Call call = {};
  call.batch = static_cast<std::size_t>(batch);
  call.time = static_cast<std::size_t>(time);
  call.x = x.data();
  call.x_batch = batched ? stride(x, batch_axis) : 0;
  call.x_time = stride(x, time_axis);
  call.y = y.mutable_data();
  call.y_batch = batched ? stride(y, batch_axis) : 0;
  call.y_time = stride(y, time_axis);
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

void bind_lstm(py::module_& module) {
  module.attr("c_api") = py::capsule(&c_api, "fusedlstm.c_api");
  module.def("c_api_address", [] { return reinterpret_cast<std::uintptr_t>(&c_api); }, "The same as a number, for ctypes.");
  py::class_<Lstm>(module, "Lstm", "Packed weights, ready to run.")
      .def(py::init(&make), py::arg("layers"))
      .def_property_readonly(
          "handle", [](const Lstm& lstm) { return reinterpret_cast<std::uintptr_t>(handle(lstm)); },
          "The address that capi.h takes; valid while this object lives.")
      .def("run", &run, py::arg("x").noconvert(), py::arg("batch_first"), py::arg("h_0").none(true),
           py::arg("c_0").none(true), py::arg("lengths").none(true), py::arg("out").none(true),
           "y, h_n, c_n for x (rows contiguous along the last axis); shapes as documented at fusedlstm.LSTM.");
}
