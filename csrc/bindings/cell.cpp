#include "cell.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <stdexcept>
#include <string>

namespace py = pybind11;
using namespace fusedlstm;

namespace {

// The place of object.name among names, in the order of an enumeration.
template <class Enumeration, std::size_t N>
Enumeration among(const char* const (&names)[N], const py::handle& object, const char* name) {
  const std::string wanted = py::cast<std::string>(object.attr(name));
  const auto found = std::find(std::begin(names), std::end(names), wanted);
  if (found == std::end(names)) throw std::invalid_argument(std::string(name) + ": found '" + wanted + "'");
  return static_cast<Enumeration>(found - std::begin(names));
}

}  // namespace

Activation activation_from(const py::handle& activation) {
  static const char* const names[] = {"affine",       "elu",        "exponential", "gelu",        "gelu_tanh",
                                      "hard_sigmoid", "leaky_relu", "relu",        "scaled_tanh", "sigmoid",
                                      "silu",         "softplus",   "softsign",    "tanh",        "thresholded_relu"};
  return {among<Function>(names, activation, "name"), activation.attr("alpha").cast<float>(),
          activation.attr("beta").cast<float>()};
}

CellOptions options_from(const py::handle& cell) {
  static const char* const coupled[] = {"", "forget", "input"};
  static const char* const gate_norms[] = {"", "gates", "sides"};
  static const char* const cell_norms[] = {"", "carried", "output"};
  const auto number = [&](const char* name) { return cell.attr(name).cast<float>(); };
  CellOptions options = {};
  options.gate = activation_from(cell.attr("gate"));
  options.candidate = activation_from(cell.attr("candidate"));
  options.output = activation_from(cell.attr("output"));
  options.coupled = among<Coupled>(coupled, cell, "coupled");
  options.gate_clip = number("gate_clip");
  options.cell_clip = number("cell_clip");
  options.projection_clip = number("projection_clip");
  options.gate_norm = among<GateNorm>(gate_norms, cell, "gate_norm");
  options.cell_norm = among<CellNorm>(cell_norms, cell, "cell_norm");
  options.norm_epsilon = number("norm_epsilon");
  options.cell_zoneout = number("cell_zoneout");
  options.hidden_zoneout = number("hidden_zoneout");
  return options;
}
