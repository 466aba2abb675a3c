// class _core.Gru: the weights of GRUs and RNNs, and their step as a method of _core.Program.
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "cell.hpp"
#include "program.hpp"

using namespace fusedlstm;

namespace {

struct Weights {
  Floats weight_ih, weight_hh;
  std::optional<Floats> bias_ih, bias_hh;
};

// Of one direction: weight_ih, weight_hh, bias_ih and bias_hh or None; gate, candidate.
Gru direction_from(const py::tuple& said, const std::string& kind, float clip, Precision precision) {
  if (said.size() != 6) throw std::invalid_argument("GRU: expected 4 arrays and 2 activations of each direction");
  const Weights w = {said[0].cast<Floats>(), said[1].cast<Floats>(), said[2].cast<std::optional<Floats>>(),
                     said[3].cast<std::optional<Floats>>()};
  GruShape shape = {};
  shape.kind = kind == "rnn" ? GruKind::rnn : kind == "gru" ? GruKind::gru : GruKind::gru_linear;
  shape.gate = activation_from(said[4]);
  shape.candidate = activation_from(said[5]);
  shape.clip = clip;
  shape.precision = precision;
  const py::ssize_t gates = static_cast<py::ssize_t>(shape.gates());
  const bool matrices = w.weight_ih.ndim() == 2 && w.weight_hh.ndim() == 2 && w.weight_ih.shape(1) > 0;
  const py::ssize_t hidden = matrices ? w.weight_hh.shape(1) : 0;
  const auto fits = [&](const std::optional<Floats>& bias) {
    return !bias || (bias->ndim() == 1 && bias->shape(0) == gates * hidden);
  };
  if (hidden < 1 || w.weight_ih.shape(0) != gates * hidden || w.weight_hh.shape(0) != gates * hidden || !fits(w.bias_ih) ||
      !fits(w.bias_hh))
    throw std::invalid_argument("GRU: expected weights (gates * units, input) and (gates * units, units), and biases");
  shape.input_size = static_cast<std::size_t>(w.weight_ih.shape(1));
  shape.hidden_size = static_cast<std::size_t>(hidden);
  return Gru(shape, {w.weight_ih.data(), w.weight_hh.data(), w.bias_ih ? w.bias_ih->data() : nullptr,
                     w.bias_hh ? w.bias_hh->data() : nullptr});
}

std::shared_ptr<GruLayer> layer_from(const std::string& kind, const std::vector<py::tuple>& directions, bool reverse,
                                     float clip, const std::string& dtype, const std::string& products) {
  if (kind != "rnn" && kind != "gru" && kind != "gru_linear") throw std::invalid_argument("GRU: found '" + kind + "'");
  if (directions.empty() || directions.size() > 2) throw std::invalid_argument("GRU: expected 1 or 2 directions");
  auto layer = std::make_shared<GruLayer>();
  layer->reverse = reverse;
  for (const py::tuple& one : directions)
    layer->directions.push_back(direction_from(one, kind, clip, precision_of(dtype, products)));
  const GruShape &first = layer->directions.front().shape(), &last = layer->directions.back().shape();
  if (first.input_size != last.input_size || first.hidden_size != last.hidden_size)
    throw std::invalid_argument("GRU: expected directions of one size");
  return layer;
}

// given: x, h_0 and lengths or None; made: y or None, and h_n
void gru(Model& model, std::shared_ptr<GruLayer> layer, const py::tuple& given, const py::tuple& made) {
  if (given.size() != 3 || made.size() != 2) throw std::invalid_argument("gru: expected 3 inputs and 2 outputs");
  model.add(gru_step(std::move(layer), {model.tensor(given[0], false), model.maybe(made[0], true), model.maybe(given[1]),
                                        model.maybe(given[2]), model.tensor(made[1], true)}));
}

}  // namespace

void bind_gru(py::module_& module, ModelClass& model) {
  py::class_<GruLayer, std::shared_ptr<GruLayer>>(module, "Gru", "Directions of a GRU or an RNN, packed once.")
      .def(py::init(&layer_from), py::arg("kind"), py::arg("directions"), py::arg("reverse"), py::arg("clip"),
           py::arg("dtype"), py::arg("products"));
  model.def("gru", &gru, py::arg("gru").none(false), py::arg("given"), py::arg("made"));
}
