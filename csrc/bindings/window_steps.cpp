// Steps of windows and of moved elements, as methods of _core.Program.
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "cell.hpp"
#include "program.hpp"

using namespace fusedlstm;

Edge edge_named(const std::string& name) {
  if (name == "zeros") return Edge::zeros;
  if (name == "reflect") return Edge::reflect;
  if (name == "nearest") return Edge::nearest;
  if (name == "wrap") return Edge::wrap;
  throw std::invalid_argument("expected an edge of zeros, reflect, nearest or wrap, found '" + name + "'");
}

std::vector<Sliding> slidings(const py::handle& said) {
  std::vector<Sliding> found;
  for (const py::handle& one : said) {
    const std::vector<std::ptrdiff_t> n = numbers(one);
    constexpr std::ptrdiff_t most = std::ptrdiff_t{1} << 31;
    if (n.size() != 5 || n[0] < 1 || n[0] > most || n[1] < 1 || n[1] > most || n[2] < 1 || n[2] > most || n[3] < -most ||
        n[3] > most || n[4] < 1 || n[4] > most)
      throw std::invalid_argument("windows: expected kernel, stride, dilation, padding and spread");
    found.push_back({n[0], n[1], n[2], n[3], n[4]});
  }
  return found;
}

Windowing windowing(const py::handle& said) {
  const auto parts = said.cast<py::tuple>();
  return {slidings(parts[0]), edge_named(parts[1].cast<std::string>())};
}

std::optional<Activation> maybe_activation(const py::handle& said) {
  return said.is_none() ? std::optional<Activation>() : activation_from(said);
}

namespace {

using Wholes = py::array_t<std::int64_t, py::array::c_style>;

// how: (slidings, (counted before, counted after) for each axis, p of a norm, least whole number)
Pooling pooling(Pooled kind, const py::tuple& how) {
  if (how.size() != 4) throw std::invalid_argument("pool: expected four options");
  Pooling found = {kind, slidings(how[0]), {}, how[2].cast<double>(), how[3].cast<double>()};
  for (const py::handle& one : how[1]) {
    const std::vector<std::ptrdiff_t> pair = numbers(one);
    if (pair.size() != 2) throw std::invalid_argument("pool: expected what is counted before and after");
    found.counted.emplace_back(pair[0], pair[1]);
  }
  return found;
}
void pool(Model& model, const std::string& kind, const py::tuple& x, const py::tuple& y, const py::tuple& how) {
  const Pooled found = kind == "largest" ? Pooled::largest : kind == "average" ? Pooled::average : Pooled::norm;
  model.add(pool_step(pooling(found, how), model.tensor(x, false), model.tensor(y, true)));
}
void largest(Model& model, const py::tuple& x, const py::tuple& made, const py::tuple& how, bool column_major) {
  if (made.size() != 2) throw std::invalid_argument("pool: expected values and places");
  model.add(largest_step(pooling(Pooled::largest, how), model.tensor(x, false), model.tensor(made[0], true),
                         model.maybe(made[1], true), column_major));
}
void channels(Model& model, std::shared_ptr<ChannelWeights> weights, const py::tuple& tensors, const py::tuple& windows,
              const py::object& activation) {
  model.add(channels_step(std::move(weights), model.tensor(tensors[0], false), model.tensor(tensors[1], true),
                          windowing(windows), maybe_activation(activation)));
}
void overlap(Model& model, const py::tuple& x, const py::tuple& y, const py::object& bias, const py::tuple& axes) {
  model.add(overlap_step(model.tensor(x, false), model.tensor(y, true), model.maybe(bias), slidings(axes)));
}
void pad(Model& model, const py::tuple& tensors, const py::tuple& before, const std::string& edge, const py::object& fill) {
  model.add(pad_step(model.tensor(tensors[0], false), model.tensor(tensors[1], true), numbers(before), edge_named(edge),
                     model.maybe(fill)));
}
std::vector<std::ptrdiff_t> places_in(const Wholes& array) { return {array.data(), array.data() + array.size()}; }
void pick(Model& model, const py::tuple& x, const py::tuple& y, const std::vector<Wholes>& places) {
  std::vector<std::vector<std::ptrdiff_t>> found;
  for (const Wholes& one : places) found.push_back(places_in(one));
  model.add(pick_step(model.tensor(x, false), model.tensor(y, true), found));
}
// taps: places and weights (outputs, taps)
void resample(Model& model, const py::tuple& x, const py::tuple& y, std::size_t axis,
              const std::pair<Wholes, Floats>& taps) {
  if (taps.first.ndim() != 2 || taps.second.ndim() != 2 || taps.first.size() != taps.second.size())
    throw std::invalid_argument("resample: expected places and weights (outputs, taps)");
  Taps found = {static_cast<std::size_t>(taps.first.shape(1)),
                places_in(taps.first),
                {taps.second.data(), taps.second.data() + taps.second.size()}};
  model.add(resample_step(model.tensor(x, false), model.tensor(y, true), axis, std::move(found)));
}
void turn(Model& model, const py::tuple& x, const py::tuple& y, const py::tuple& lengths) {
  model.add(turn_step(model.tensor(x, false), model.tensor(y, true), model.tensor(lengths, false)));
}
void triangle(Model& model, const py::tuple& x, const py::tuple& y, const py::object& diagonal, bool upper) {
  model.add(triangle_step(model.tensor(x, false), model.tensor(y, true), model.maybe(diagonal), upper));
}
std::shared_ptr<ChannelWeights> channel_weights(const Floats& matrix, const std::optional<Floats>& bias) {
  if (matrix.ndim() != 2 || (bias && (bias->ndim() != 1 || bias->shape(0) != matrix.shape(1))))
    throw std::invalid_argument("weights: expected (count, outputs) and a bias (outputs,)");
  const std::size_t outputs = static_cast<std::size_t>(matrix.shape(1)), size = static_cast<std::size_t>(matrix.size());
  auto made = std::make_shared<ChannelWeights>(ChannelWeights{Buffer((size + 1) * sizeof(float)),
                                                              Buffer((outputs + 1) * sizeof(float)),
                                                              static_cast<std::size_t>(matrix.shape(0)), outputs});
  std::copy_n(matrix.data(), size, made->matrix.floats());
  std::fill_n(made->bias.floats(), outputs, 0.0f);
  if (bias) std::copy_n(bias->data(), outputs, made->bias.floats());
  return made;
}

}  // namespace

void bind_window_steps(py::module_& module, ModelClass& model) {
  py::class_<ChannelWeights, std::shared_ptr<ChannelWeights>>(module, "ChannelWeights",
                                                              "Weights (count, outputs) and a bias, by output.")
      .def(py::init(&channel_weights), py::arg("matrix"), py::arg("bias").none(true));
  model.def("pool", &pool)
      .def("largest", &largest)
      .def("channels", &channels, py::arg("weights").none(false), py::arg("tensors"), py::arg("windows"),
           py::arg("activation").none(true))
      .def("overlap", &overlap)
      .def("pad", &pad)
      .def("pick", &pick)
      .def("resample", &resample)
      .def("turn", &turn)
      .def("triangle", &triangle);
}
