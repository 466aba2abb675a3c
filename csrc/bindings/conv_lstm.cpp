// class _core.ConvLstm: arrays of five axes, (batch, time, height, width, channels) with any strides, and states without
// time. fusedlstm/conv_lstm.py gives them that form and tells a user what does not fit; here only memory is kept safe.
#include "../engine/conv_lstm.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <stdexcept>

#include "bindings.hpp"
#include "cell.hpp"

using namespace fusedlstm;

namespace {

using Array = py::array_t<float, 0>;
using Contiguous = py::array_t<float, py::array::c_style>;
using Pair = std::array<std::size_t, 2>;

void expect(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(std::string("ConvLstm: unexpected ") + what);
}

std::size_t extent(const py::array& array, py::ssize_t axis) { return static_cast<std::size_t>(array.shape(axis)); }

ConvLstm make(const Contiguous& weight_ih, const Contiguous& weight_hh, const std::optional<Contiguous>& bias,
              const Pair& strides, const Pair& dilation, bool same, const py::object& cell) {
  expect(weight_ih.ndim() == 4 && weight_hh.ndim() == 4, "rank");
  ConvArrays arrays = {};
  arrays.weight_ih = weight_ih.data();
  arrays.weight_hh = weight_hh.data();
  arrays.bias = bias ? bias->data() : nullptr;
  arrays.channels = extent(weight_ih, 3);
  arrays.filters = extent(weight_hh, 3);
  const std::size_t gates = 4 * arrays.filters;
  expect(gates > 0 && extent(weight_ih, 0) == gates && extent(weight_hh, 0) == gates, "number of filters");
  expect(!bias || (bias->ndim() == 1 && extent(*bias, 0) == gates), "bias");
  expect(weight_ih.size() > 0 && weight_hh.size() > 0, "empty kernel");
  for (std::size_t axis = 0; axis < 2; ++axis) {
    expect(strides[axis] > 0 && dilation[axis] > 0 && (strides[axis] | dilation[axis]) >> 31 == 0, "stride or dilation");
    const py::ssize_t at = static_cast<py::ssize_t>(axis) + 1;
    arrays.input[axis] = {extent(weight_ih, at), strides[axis], dilation[axis], same};
    arrays.recurrent[axis] = {extent(weight_hh, at), 1, 1, true};
  }
  if (!cell.is_none()) arrays.options = options_from(cell);
  return ConvLstm(arrays);
}

// Strides of (batch, [time,] height, width, channels), in floats.
Frames frames(const Array& array, const float* data) {
  const py::ssize_t timed = array.ndim() == 5 ? 1 : 0;
  const auto stride = [&](py::ssize_t axis) {
    return static_cast<std::ptrdiff_t>(array.strides(axis)) / static_cast<std::ptrdiff_t>(sizeof(float));
  };
  // The states and x are only read.
  return {const_cast<float*>(data),
          stride(0),
          timed == 1 ? stride(1) : 0,
          {stride(timed + 1), stride(timed + 2)},
          stride(timed + 3)};
}

void run(const ConvLstm& lstm, const Array& x, Array y, const std::optional<Array>& h_0, const std::optional<Array>& c_0,
         Array h_n, Array c_n) {
  expect(x.ndim() == 5 && extent(x, 4) == lstm.channels(), "shape of x");
  ConvCall call = {};
  call.batch = extent(x, 0);
  call.time = extent(x, 1);
  for (std::size_t axis = 0; axis < 2; ++axis) call.size[axis] = extent(x, static_cast<py::ssize_t>(axis) + 2);
  const auto check = [&](const Array& array, const char* name) {
    const py::ssize_t rank = array.ndim();
    bool fits = rank >= 4 && extent(array, 0) == call.batch && extent(array, rank - 1) == lstm.filters();
    for (std::size_t axis = 0; fits && axis < 2; ++axis)
      fits = extent(array, rank - 3 + static_cast<py::ssize_t>(axis)) == lstm.input(axis).outputs(call.size[axis]);
    expect(fits && rank == (name[0] == 'y' ? 5 : 4), name);
  };
  check(y, "y");
  expect(extent(y, 1) == call.time, "y");
  for (const std::optional<Array>& state : {h_0, c_0})
    if (state) check(*state, "initial state");
  check(h_n, "final state");
  check(c_n, "final state");
  call.x = frames(x, x.data());
  call.y = frames(y, y.mutable_data());
  if (h_0) call.h_0 = frames(*h_0, h_0->data());
  if (c_0) call.c_0 = frames(*c_0, c_0->data());
  call.h_n = frames(h_n, h_n.mutable_data());
  call.c_n = frames(c_n, c_n.mutable_data());
  py::gil_scoped_release release;
  lstm.run(call);
}

}  // namespace

void bind_conv_lstm(py::module_& module) {
  py::class_<ConvLstm>(module, "ConvLstm", "Packed weights of a ConvLSTM, ready to run.")
      .def(py::init(&make), py::arg("weight_ih"), py::arg("weight_hh"), py::arg("bias").none(true), py::arg("strides"),
           py::arg("dilation"), py::arg("same"), py::arg("cell").none(true))
      .def("run", &run, py::arg("x").noconvert(), py::arg("y").noconvert(), py::arg("h_0").noconvert().none(true),
           py::arg("c_0").noconvert().none(true), py::arg("h_n").noconvert(), py::arg("c_n").noconvert(),
           "Fill y, h_n and c_n.");
}
