#include "cell.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <stdexcept>
#include <string>

namespace py = pybind11;
using namespace fusedlstm;

namespace {

// object.name, or py::type_error.
template <class T>
T value(const py::handle& object, const char* name) {
  const py::object found = object.attr(name);
  try {
    return found.cast<T>();
  } catch (const py::cast_error&) {
    throw py::type_error(std::string(name) + ": found " + std::string(py::repr(found)));
  }
}

template <class Value>
struct Named {
  const char* name;
  Value value;
};

// The value that object.name names.
template <class Value, std::size_t N>
Value among(const Named<Value> (&choices)[N], const py::handle& object, const char* name) {
  const std::string wanted = value<std::string>(object, name);
  const auto found = std::find_if(std::begin(choices), std::end(choices),
                                  [&](const Named<Value>& choice) { return choice.name == wanted; });
  if (found == std::end(choices)) throw std::invalid_argument(std::string(name) + ": found '" + wanted + "'");
  return found->value;
}

constexpr Named<Function> functions[] = {
    {"affine", Function::affine},
    {"clipped_relu", Function::clipped_relu},
    {"elu", Function::elu},
    {"exponential", Function::exponential},
    {"gelu", Function::gelu},
    {"gelu_tanh", Function::gelu_tanh},
    {"hard_sigmoid", Function::hard_sigmoid},
    {"leaky_relu", Function::leaky_relu},
    {"mish", Function::mish},
    {"relu", Function::relu},
    {"scaled_tanh", Function::scaled_tanh},
    {"selu", Function::selu},
    {"sigmoid", Function::sigmoid},
    {"silu", Function::silu},
    {"softplus", Function::softplus},
    {"softsign", Function::softsign},
    {"tanh", Function::tanh},
    {"thresholded_relu", Function::thresholded_relu},
};
constexpr Named<Coupled> coupled[] = {{"", Coupled::none}, {"forget", Coupled::forget}, {"input", Coupled::input}};
constexpr Named<GateNorm> gate_norms[] = {{"", GateNorm::none}, {"gates", GateNorm::gates}, {"sides", GateNorm::sides}};
constexpr Named<CellNorm> cell_norms[] = {
    {"", CellNorm::none}, {"carried", CellNorm::carried}, {"output", CellNorm::output}};

}  // namespace

Activation activation_from(const py::handle& activation) {
  return {among(functions, activation, "name"), value<float>(activation, "alpha"), value<float>(activation, "beta")};
}

Cell cell_from(const py::handle& cell) {
  const auto number = [&](const char* name) { return value<float>(cell, name); };
  Cell choices = {};
  choices.gate = activation_from(cell.attr("gate"));
  choices.candidate = activation_from(cell.attr("candidate"));
  choices.output = activation_from(cell.attr("output"));
  choices.coupled = among(coupled, cell, "coupled");
  choices.gate_clip = number("gate_clip");
  choices.cell_clip = number("cell_clip");
  choices.projection_clip = number("projection_clip");
  choices.gate_norm = among(gate_norms, cell, "gate_norm");
  choices.cell_norm = among(cell_norms, cell, "cell_norm");
  choices.norm_epsilon = number("norm_epsilon");
  choices.cell_zoneout = number("cell_zoneout");
  choices.hidden_zoneout = number("hidden_zoneout");
  return choices;
}
