// class _core.Program, and its steps that came first; graph/plan.py says what they are and where everything lies.
#include "program.hpp"

#include <pybind11/stl.h>

#include <stdexcept>
#include <utility>

#include "bindings.hpp"
#include "cell.hpp"

using namespace fusedlstm;

namespace {

constexpr std::size_t most_rank = 64;  // NumPy's

Element element_from(const std::string& code) {
  if (code == "f") return Element::float32;
  if (code == "i") return Element::int64;
  if (code == "b") return Element::boolean;
  throw std::invalid_argument("expected an element of f, i or b, found '" + code + "'");
}

}  // namespace

std::vector<std::ptrdiff_t> numbers(const py::handle& tuple) {
  std::vector<std::ptrdiff_t> found;
  for (const py::handle& one : tuple) found.push_back(one.cast<std::ptrdiff_t>());
  return found;
}

py::dtype Model::dtype_of(Element element) {
  if (element == Element::float32) return py::dtype::of<float>();
  return element == Element::int64 ? py::dtype::of<std::int64_t>() : py::dtype::of<bool>();
}

bool Model::is_of(const py::array& array, Element element) {
  // Of this machine's byte order as well, unlike `num` of a dtype.
  if (element == Element::float32) return py::isinstance<py::array_t<float, 0>>(array);
  return element == Element::int64 ? py::isinstance<py::array_t<std::int64_t, 0>>(array)
                                   : py::isinstance<py::array_t<bool, 0>>(array);
}

const Model::Slot& Model::slot(std::size_t array) const {
  if (array >= arrays()) throw std::invalid_argument("expected an input or output");
  return array < inputs() ? inputs_[array] : outputs_[array - inputs()];
}

Model::Slot Model::slot_from(const py::tuple& said) {
  Slot slot;
  slot.element = element_from(said[0].cast<std::string>());
  slot.dtype = dtype_of(slot.element);
  slot.bytes = size_of(slot.element);
  for (const std::ptrdiff_t size : numbers(said[1])) {
    if (size < 0 || (size > 0 && slot.bytes > (std::size_t{1} << 40) / static_cast<std::size_t>(size)))
      throw std::invalid_argument("expected sizes of 0 or more that fit into memory");
    slot.shape.push_back(size);
    slot.bytes *= static_cast<std::size_t>(size);
  }
  return slot;
}

Model::Model(std::size_t arena, const std::vector<py::tuple>& inputs, const std::vector<py::tuple>& outputs,
             std::vector<py::array> constants, std::size_t threads)
    : constants_(std::move(constants)) {
  if (arena > (std::size_t{1} << 40)) throw std::invalid_argument("arena: expected less");
  bytes_.push_back(arena);
  for (const py::tuple& one : inputs) inputs_.push_back(slot_from(one));
  for (const py::tuple& one : outputs) outputs_.push_back(slot_from(one));
  for (const Slot& one : inputs_) bytes_.push_back(one.bytes);
  for (const Slot& one : outputs_) bytes_.push_back(one.bytes);
  std::vector<const void*> places;
  for (const py::array& one : constants_) {
    if ((one.flags() & whole) != whole) throw std::invalid_argument("constants: expected contiguous, aligned arrays");
    places.push_back(one.data());
    bytes_.push_back(static_cast<std::size_t>(one.nbytes()));
  }
  program_ = std::make_shared<Program>(arena, inputs_.size(), outputs_.size(), std::move(places), threads);
}

Tensor Model::tensor(const py::handle& said, bool written) const {
  const auto parts = py::reinterpret_borrow<py::tuple>(said);
  Tensor found;
  found.base = parts[0].cast<std::size_t>();
  found.offset = parts[1].cast<std::size_t>();
  found.element = element_from(parts[2].cast<std::string>());
  found.shape = numbers(parts[3]);
  found.strides = numbers(parts[4]);
  const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(size_of(found.element));
  const bool within = found.base < bytes_.size() && found.shape.size() == found.strides.size() &&
                      found.shape.size() <= most_rank && found.offset % static_cast<std::size_t>(size) == 0 &&
                      (!written || found.base < 1 + inputs_.size() + outputs_.size());
  std::ptrdiff_t low = static_cast<std::ptrdiff_t>(found.offset), high = low + size;
  bool empty = false;
  constexpr std::ptrdiff_t large = std::ptrdiff_t{1} << 40;
  for (std::size_t axis = 0; within && axis < found.shape.size(); ++axis) {
    const std::ptrdiff_t count = found.shape[axis], stride = found.strides[axis];
    if (count < 0 || count > large || stride > large || stride < -large ||
        (count > 1 && (stride > large / count || stride < -large / count)))
      throw std::invalid_argument("tensor: expected sizes that fit into memory");
    empty = empty || count == 0;
    if (count > 1) (stride < 0 ? low : high) += (count - 1) * stride * size;
  }
  if (!within || (!empty && (low < 0 || high > static_cast<std::ptrdiff_t>(bytes_[found.base]))))
    throw std::invalid_argument("tensor: expected it to lie within its memory");
  if (written && found.base > 0 && found.base < 1 + inputs_.size())
    throw std::invalid_argument("tensor: inputs are only read");
  return found;
}

void Model::fail(const Program::Fault& fault) const {
  std::string where;
  if (!nodes_.is_none()) where = nodes_[py::int_(fault.step)].attr("title").cast<std::string>() + ": ";
  throw std::invalid_argument(where + fault.what);
}

namespace {

void copy(Model& model, const py::tuple& x, const py::tuple& y) {
  model.add(copy_step(model.tensor(x, false), model.tensor(y, true)));
}

void map(Model& model, const std::string& operation, const std::vector<py::tuple>& inputs, const py::tuple& y,
         const std::vector<double>& more) {
  std::vector<Tensor> found;
  for (const py::tuple& one : inputs) found.push_back(model.tensor(one, false));
  model.add(map_step(operation, found, model.tensor(y, true), more));
}

void activate(Model& model, const py::object& activation, const py::tuple& x, const py::tuple& y) {
  model.add(activation_step(activation_from(activation), model.tensor(x, false), model.tensor(y, true)));
}

void product(Model& model, std::shared_ptr<PackedWeights> weights, const py::tuple& x, const py::tuple& y,
             const py::object& windows, const py::object& activation) {
  std::optional<Windowing> sliding;
  if (!windows.is_none()) sliding = windowing(windows);
  model.add(product_step(std::move(weights), model.tensor(x, false), model.tensor(y, true), sliding,
                         maybe_activation(activation)));
}

void lstm(Model& model, std::shared_ptr<Whole<Lstm>> lstm, const py::tuple& given, const py::tuple& made) {
  if (given.size() != 4 || made.size() != 3) throw std::invalid_argument("lstm: expected 4 inputs and 3 outputs");
  model.add(lstm_step(std::move(lstm), {model.tensor(given[0], false), model.maybe(made[0], true), model.maybe(given[1]),
                                        model.maybe(given[2]), model.maybe(given[3]), model.tensor(made[1], true),
                                        model.tensor(made[2], true)}));
}

// given: x, h_0 and c_0 or None; made: y, h_n, c_n
void conv_lstm(Model& model, std::shared_ptr<Whole<ConvLstm>> lstm, const py::tuple& given, const py::tuple& made) {
  if (given.size() != 3 || made.size() != 3) throw std::invalid_argument("ConvLSTM: expected 3 inputs and 3 outputs");
  model.add(conv_lstm_step(std::move(lstm),
                           {model.tensor(given[0], false), model.maybe(given[1]), model.maybe(given[2]),
                            model.tensor(made[0], true), model.tensor(made[1], true), model.tensor(made[2], true)}));
}

std::shared_ptr<PackedWeights> weights_from(const Floats& matrix, const std::optional<Floats>& bias,
                                            const std::string& dtype, const std::string& products) {
  if (matrix.ndim() != 2 || matrix.shape(0) < 1 || matrix.shape(1) < 1 ||
      (bias && (bias->ndim() != 1 || bias->shape(0) != matrix.shape(0))))
    throw std::invalid_argument("weights: expected (outputs, inputs) and a bias (outputs,)");
  return std::const_pointer_cast<PackedWeights>(
      pack_weights(matrix.data(), bias ? bias->data() : nullptr, static_cast<std::size_t>(matrix.shape(0)),
                   static_cast<std::size_t>(matrix.shape(1)), precision_of(dtype, products)));
}

}  // namespace

void bind_program(py::module_& module) {
  py::class_<PackedWeights, std::shared_ptr<PackedWeights>>(module, "PackedWeights",
                                                            "A matrix (outputs, inputs) and a bias, packed once.")
      .def(py::init(&weights_from), py::arg("matrix"), py::arg("bias").none(true), py::arg("dtype"), py::arg("products"));
  ModelClass model(module, "Program", "A flat list of steps for one set of shapes; see graph/plan.py.");
  model
      .def(py::init([](std::size_t arena, const std::vector<py::tuple>& inputs, const std::vector<py::tuple>& outputs,
                       std::vector<py::array> constants, std::size_t threads) {
             return std::make_shared<Model>(arena, inputs, outputs, std::move(constants), threads);
           }),
           py::arg("arena"), py::arg("inputs"), py::arg("outputs"), py::arg("constants"), py::arg("threads") = 0)
      .def("copy", &copy)
      .def("map", &map)
      .def("activate", &activate)
      .def("product", &product, py::arg("weights").none(false), py::arg("x"), py::arg("y"), py::arg("windows").none(true),
           py::arg("activation").none(true))
      .def("lstm", &lstm, py::arg("lstm").none(false), py::arg("given"), py::arg("made"))
      .def("conv_lstm", &conv_lstm, py::arg("lstm").none(false), py::arg("given"), py::arg("made"))
      .def(
          "shape", [](const Model& self, std::size_t array) { return py::tuple(py::cast(self.slot(array).shape)); },
          py::arg("array"), "Of an input or, counted on, an output.")
      .def("set_nodes", &Model::set_nodes, py::arg("nodes").none(false), "The node of each step, which messages name.")
      .def(
          "forget", [](const Model& self) { self.program()->forget(); }, "Give large memory of runs back.")
      .def("run", &Model::run, "The outputs for contiguous arrays of the planned types and shapes.")
      .def("profile", &Model::profile, "The outputs, and the nanoseconds that each step took.");
  bind_gru(module, model);
  bind_call(module);
  bind_live(module);
  bind_stepping(module);
  bind_batch(module);
  bind_data_steps(module, model);
  bind_row_steps(model);
  bind_window_steps(module, model);
}
