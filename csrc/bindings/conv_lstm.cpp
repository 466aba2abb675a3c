// class _core.ConvLstm: arrays of five axes, (batch, time, height, width, channels) with any strides, and states without
// time. fusedlstm/conv_lstm.py gives them that form and tells a user what does not fit; here only memory is kept safe.
#include "../engine/conv_lstm.hpp"

#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "cell.hpp"
#include "gil.hpp"

using namespace fusedlstm;
using arrays::apart, arrays::Contiguous, arrays::extent, arrays::shape_of, arrays::Strided, arrays::stride;

namespace {

using Packed = Whole<ConvLstm>;
using Pair = std::array<std::size_t, 2>;

void expect(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument(std::string("ConvLstm: unexpected ") + what);
}

Packed* make(const Contiguous& weight_ih, const Contiguous& weight_hh, const std::optional<Contiguous>& bias,
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
  if (!cell.is_none()) {
    arrays.cell = cell_from(cell);
    expect(!arrays.cell->needs_whole_rows(), "normalisation");
  }
  return ::new Packed(arrays);
}

// (batch, time, height, width, channels), any strides. x is only read.
Sequence frames(const Strided& array, const float* data) {
  const auto step = [&](py::ssize_t axis) { return stride(array, axis); };
  return {const_cast<float*>(data), step(0), step(1), {step(2), step(3)}, step(4)};
}

// h and c after the last step, (batch, height, width, filters), as h_0 and c_0 are.
py::tuple run(const Packed& lstm, Strided x, Strided y, std::optional<Contiguous> h_0, std::optional<Contiguous> c_0) {
  expect(x.ndim() == 5 && extent(x, 4) == lstm.channels(), "shape of x");
  Call call = {};
  call.batch = extent(x, 0);
  call.time = extent(x, 1);
  arrays::Shape state = {x.shape(0)};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    call.size[axis] = extent(x, static_cast<py::ssize_t>(axis) + 2);
    state.push_back(static_cast<py::ssize_t>(lstm.input()[axis].outputs(call.size[axis])));
  }
  state.push_back(static_cast<py::ssize_t>(lstm.filters()));
  arrays::Shape outputs = state;
  outputs.insert(outputs.begin() + 1, x.shape(1));
  expect(shape_of(y) == outputs, "shape of y");
  expect(!h_0 || shape_of(*h_0) == state, "shape of h");
  expect(!c_0 || shape_of(*c_0) == state, "shape of c");
  arrays::expect_output("y", y);
  x = apart(x, {&y});
  if (h_0) h_0 = apart(*h_0, {&y});
  if (c_0) c_0 = apart(*c_0, {&y});
  Contiguous h_n(state), c_n(state);
  call.x = frames(x, x.data());
  call.y = frames(y, y.mutable_data());
  call.h_0 = h_0 ? h_0->data() : nullptr;
  call.c_0 = c_0 ? c_0->data() : nullptr;
  call.h_n = h_n.mutable_data();
  call.c_n = c_n.mutable_data();
  without_gil([&] { lstm.run(call, lstm.threads); });
  return py::make_tuple(std::move(h_n), std::move(c_n));
}

}  // namespace

void bind_conv_lstm(py::module_& module) {
  py::class_<Packed, std::shared_ptr<Packed>>(module, "ConvLstm", "Packed weights of a ConvLSTM, ready to run.")
      .def(py::init(&make), py::arg("weight_ih"), py::arg("weight_hh"), py::arg("bias").none(true), py::arg("strides"),
           py::arg("dilation"), py::arg("same"), py::arg("cell").none(true))
      .def_readwrite("threads", &Packed::threads, "That a call may use; 0: as many as get_num_threads() says.")
      .def("run", &run, py::arg("x").noconvert(), py::arg("y").noconvert(), py::arg("h_0").none(true),
           py::arg("c_0").none(true), "Fill y; h and c after the last step.");
}
