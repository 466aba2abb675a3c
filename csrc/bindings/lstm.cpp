// class _core.Lstm: arrays in, arrays out; the shapes are checked here, once.
#include "../engine/lstm.hpp"
#include "../capi/capi.hpp"

#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "bindings.hpp"
#include "cell.hpp"
#include "gil.hpp"

using namespace fusedlstm;
using arrays::Contiguous, arrays::Strided, arrays::Integers, arrays::apart, arrays::expect_shape, arrays::extent,
    arrays::shape_of, arrays::stride, arrays::text;

namespace {

// The arrays of cell.py's DirectionWeights by name, with h_0 and c_0 for an initial state; the Cell, or None if it is plain.
using Direction = std::pair<std::map<std::string, Contiguous>, py::object>;
using Layers = std::vector<std::vector<Direction>>;

void expect(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument(message);
}

Merge merge_named(const std::string& name) {
  if (name == "sum") return Merge::sum;
  if (name == "mul") return Merge::mul;
  if (name == "ave") return Merge::ave;
  expect(name == "concat" || name == "none", "merge: found '" + name + "'");
  return Merge::concat;  // "none" as well: the directions stay apart
}

// Sizes by the arrays that every direction has.
LayerShape sizes_of(const Direction& direction) {
  const auto matrix = [&](const char* name) -> const Contiguous& {
    const auto found = direction.first.find(name);
    expect(found != direction.first.end() && found->second.ndim() == 2 && found->second.size() > 0,
           std::string(name) + ": expected a matrix");
    return found->second;
  };
  const Contiguous &input = matrix("weight_ih"), &recurrent = matrix("weight_hh");
  expect(extent(recurrent, 0) % 4 == 0, "weight_hh: expected 4 * hidden_size rows");
  LayerShape sizes = {};
  sizes.input_size = extent(input, 1);
  sizes.hidden_size = extent(recurrent, 0) / 4;
  sizes.output_size = extent(recurrent, 1);
  sizes.projected = direction.first.count("weight_hr") > 0;
  expect(sizes.projected || sizes.output_size == sizes.hidden_size, "weight_hh: expected a projection, or a square");
  return sizes;
}

// Every array checked against the sizes of its layer; what the cell does not use is refused, and what it needs is there.
DirectionArrays arrays_of(const Direction& direction, const LayerShape& sizes) {
  const auto hidden = static_cast<py::ssize_t>(sizes.hidden_size), outputs = static_cast<py::ssize_t>(sizes.output_size);
  std::size_t used = 0;
  const auto data = [&](const char* name, const arrays::Shape& shape) -> const float* {
    const auto found = direction.first.find(name);
    if (found == direction.first.end()) return nullptr;
    ++used;
    expect_shape(name, found->second, shape, "in this layer");
    return found->second.data();
  };
  DirectionArrays arrays;
  arrays.weight_ih = data("weight_ih", {4 * hidden, static_cast<py::ssize_t>(sizes.input_size)});
  arrays.weight_hh = data("weight_hh", {4 * hidden, outputs});
  arrays.bias = data("bias", {4 * hidden});
  arrays.h_0 = data("h_0", {outputs});
  arrays.c_0 = data("c_0", {hidden});
  if (sizes.projected) {
    arrays.weight_hr = data("weight_hr", {outputs, hidden});
    arrays.bias_hr = data("bias_hr", {outputs});
  }
  if (!direction.second.is_none()) {
    const Cell& cell = arrays.cell.emplace(cell_from(direction.second));
    const bool gate_norm = cell.gate_norm != GateNorm::none, cell_norm = cell.cell_norm != CellNorm::none;
    const bool sides = cell.gate_norm == GateNorm::sides;
    arrays.peephole_i = data("peephole_i", {hidden});
    arrays.peephole_f = data("peephole_f", {hidden});
    arrays.peephole_o = data("peephole_o", {hidden});
    if (gate_norm) arrays.norm_ih = data("norm_ih", {4 * hidden});
    if (sides) arrays.norm_hh = data("norm_hh", {4 * hidden});
    if (cell_norm) arrays.norm_c = data("norm_c", {hidden});
    if (cell_norm) arrays.norm_c_bias = data("norm_c_bias", {hidden});
    expect(!gate_norm || arrays.norm_ih != nullptr, "norm_ih: expected beside gate_norm");
    expect(!sides || arrays.norm_hh != nullptr, "norm_hh: expected beside gate_norm");
    expect(!cell_norm || arrays.norm_c != nullptr, "norm_c: expected beside cell_norm");
  }
  expect(used == direction.first.size(), "layers: expected only arrays that the cell uses");
  return arrays;
}

// Layers that fit one after the other, so that the engine need not ask.
Shape shape_of_layers(const Layers& layers, const std::string& merge, bool reverse, const std::vector<bool>& residual) {
  expect(!layers.empty() && residual.size() == layers.size(), "layers: expected one or more, with a residual for each");
  Shape shape;
  shape.num_directions = layers.front().size();
  expect(shape.num_directions == 1 || shape.num_directions == 2, "layers: expected one direction or two");
  expect(shape.num_directions == 1 || !reverse, "reverse: expected one direction");
  const Merge merged = merge_named(merge);
  shape.merge = shape.num_directions == 2 ? merged : Merge::concat;
  shape.reverse = reverse;
  for (std::size_t k = 0; k < layers.size(); ++k) {
    expect(layers[k].size() == shape.num_directions, "layers: expected as many directions in each");
    LayerShape sizes = sizes_of(layers[k].front());
    sizes.residual = residual[k];
    expect(k == 0 || sizes.input_size == shape.width(k - 1), "layers: expected inputs as wide as the outputs before");
    shape.layers.push_back(sizes);
    expect(!sizes.residual || sizes.input_size == shape.width(k), "residual: expected a layer as wide as its input");
    const LayerShape other = sizes_of(layers[k].back());
    expect(other.projected == sizes.projected, "layers: expected directions of one size");
  }
  return shape;
}

using Packed = Whole<Lstm>;

Packed* make(const Layers& layers, const std::string& merge, bool reverse, const std::vector<bool>& residual,
             const std::string& dtype, const std::string& products) {
  Shape shape = shape_of_layers(layers, merge, reverse, residual);
  shape.precision = precision_of(dtype, products);
  std::vector<DirectionArrays> arrays;
  for (std::size_t k = 0; k < layers.size(); ++k)
    for (const Direction& direction : layers[k]) arrays.push_back(arrays_of(direction, shape.layers[k]));
  return ::new Packed(shape, arrays);
}

// The shape of h or c, where `size` is a member of LayerShape: one array of all layers, or the numbers of one layer after
// the other where they differ in size. Which, _states.py says.
arrays::Shape state_shape(const Shape& shape, std::size_t LayerShape::* size, bool stacked, bool batched,
                          py::ssize_t batch) {
  std::size_t total = 0;
  for (const LayerShape& layer : shape.layers) total += layer.*size * shape.num_directions;
  const std::size_t states = shape.layers.size() * shape.num_directions;
  const auto count = [](std::size_t number) { return static_cast<py::ssize_t>(number); };
  if (!stacked) return {count(total) * batch};
  expect(total % states == 0, "stacked: expected layers of one size");
  if (batched) return {count(states), batch, count(total / states)};
  return {count(states), count(total / states)};
}

// The caller's own numbers, copied before they are checked: he may change them at any time.
std::vector<std::int64_t> checked_lengths(const Integers& given, py::ssize_t batch, py::ssize_t time) {
  expect_shape("lengths", given, {batch}, "(batch,)");
  std::vector<std::int64_t> lengths(given.data(), given.data() + batch);
  for (std::size_t b = 0; b < lengths.size(); ++b)
    expect(lengths[b] >= 0 && lengths[b] <= time, "lengths[" + std::to_string(b) + "]: expected 0 to " +
                                                      std::to_string(time) + ", the time steps of x, found " +
                                                      std::to_string(lengths[b]));
  return lengths;
}

py::tuple run(const Packed& lstm, Strided x, bool batch_first, std::optional<Contiguous> h_0, std::optional<Contiguous> c_0,
              const std::optional<Integers>& lengths, const std::optional<py::array_t<float, 0>>& out, bool stacked) {
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

  const arrays::Shape h_shape = state_shape(shape, &LayerShape::output_size, stacked, batched, batch);
  const arrays::Shape c_shape = state_shape(shape, &LayerShape::hidden_size, stacked, batched, batch);
  const char* state_axes = batched ? "(layers * directions, batch, size)" : "(layers * directions, size)";
  if (h_0) expect_shape("state h", *h_0, h_shape, state_axes);
  if (c_0) expect_shape("state c", *c_0, c_shape, state_axes);
  std::vector<std::int64_t> valid;
  if (lengths) valid = checked_lengths(*lengths, batch, time);
  arrays::Shape y_shape = shape_of(x);
  y_shape.back() = width;
  if (!arrays::whole_rows(x)) x = arrays::copied(x);
  if (out) {
    expect_shape("out", *out, y_shape, "like y");
    arrays::expect_output("out", *out);
    if (!arrays::whole_rows(*out))
      throw std::invalid_argument("out: expected the last axis to be contiguous, found strides " +
                                  text({out->strides(), out->strides() + rank}));
    x = apart(x, {&*out});
    if (h_0) h_0 = apart(*h_0, {&*out});
    if (c_0) c_0 = apart(*c_0, {&*out});
  }

  py::array_t<float, 0> y = out ? *out : py::array_t<float, 0>(y_shape);
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
  call.lengths = lengths ? valid.data() : nullptr;
  without_gil([&] { lstm.run(call, lstm.threads); });
  return py::make_tuple(std::move(y), std::move(h_n), std::move(c_n));
}

}  // namespace

Precision precision_of(const std::string& dtype, const std::string& products) {
  const std::string wanted = dtype + " by " + products;
  if (wanted == "float32 by float32") return Precision::float32;
  if (wanted == "float16 by float32") return Precision::float16;
  if (wanted == "bfloat16 by float32") return Precision::bfloat16;
  if (wanted == "bfloat16 by bfloat16") return Precision::bfloat16_by_bfloat16;
  if (wanted == "int8 by int16") return Precision::int8_by_16;
  if (wanted == "int8 by int16/int8") return Precision::int8_by_16_and_8;
  if (wanted == "int8 by int8") return Precision::int8_by_8;
  throw std::invalid_argument("dtype: expected a precision, found '" + wanted + "'");
}

void bind_lstm(py::module_& module) {
  module.attr("c_api") = py::capsule(&c_api(), "fusedlstm.c_api");
  module.def(
      "c_api_address", [] { return reinterpret_cast<std::uintptr_t>(&c_api()); }, "The same as a number, for ctypes.");
  module.attr("without_gil") = py::capsule(reinterpret_cast<void*>(&c_without_gil), "fusedlstm.without_gil");
  py::class_<Packed, std::shared_ptr<Packed>>(module, "Lstm", "Packed weights, ready to run.")
      .def(py::init(&make), py::arg("layers"), py::arg("merge"), py::arg("reverse"), py::arg("residual"), py::arg("dtype"),
           py::arg("products"))
      .def_readwrite("threads", &Packed::threads, "That a call may use; 0: as many as get_num_threads() says.")
      .def_property_readonly(
          "handle", [](const Packed& lstm) { return reinterpret_cast<std::uintptr_t>(handle(lstm)); },
          "The address that capi.h takes; valid while this object lives.")
      .def("run", &run, py::arg("x").noconvert(), py::arg("batch_first"), py::arg("h_0").none(true),
           py::arg("c_0").none(true), py::arg("lengths").none(true), py::arg("out").noconvert().none(true),
           py::arg("stacked"), "y, h_n, c_n for x; shapes as documented at fusedlstm.LSTM.");
}
