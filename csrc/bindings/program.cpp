// class _core.Program: graph/plan.py says what the steps are and where everything lies; here only memory is kept safe.
#include "../program/live.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../program/steps.hpp"
#include "bindings.hpp"
#include "cell.hpp"

using namespace fusedlstm;

namespace {

using Floats = py::array_t<float, py::array::c_style>;

Element element_from(const std::string& code) {
  if (code == "f") return Element::float32;
  if (code == "i") return Element::int64;
  if (code == "b") return Element::boolean;
  throw std::invalid_argument("expected an element of f, i or b, found '" + code + "'");
}

py::dtype dtype_of(Element element) {
  if (element == Element::float32) return py::dtype::of<float>();
  return element == Element::int64 ? py::dtype::of<std::int64_t>() : py::dtype::of<bool>();
}

std::vector<std::ptrdiff_t> numbers(const py::handle& tuple) {
  std::vector<std::ptrdiff_t> found;
  for (const py::handle& one : tuple) found.push_back(one.cast<std::ptrdiff_t>());
  return found;
}

// An array that comes in or goes out, or is a constant.
struct Slot {
  Element element;
  std::vector<py::ssize_t> shape;
  std::size_t bytes;
};

Slot slot_from(const py::tuple& said) {
  Slot slot = {element_from(said[0].cast<std::string>()), {}, 0};
  slot.bytes = size_of(slot.element);
  for (const std::ptrdiff_t size : numbers(said[1])) {
    if (size < 0 || (size > 0 && slot.bytes > (std::size_t{1} << 40) / static_cast<std::size_t>(size)))
      throw std::invalid_argument("expected sizes of 0 or more that fit into memory");
    slot.shape.push_back(size);
    slot.bytes *= static_cast<std::size_t>(size);
  }
  return slot;
}

// A program, what comes in and goes out, and what it must keep alive.
class Model {
 public:
  Model(std::size_t arena, const std::vector<py::tuple>& inputs, const std::vector<py::tuple>& outputs,
        std::vector<py::array> constants)
      : constants_(std::move(constants)) {
    if (arena > (std::size_t{1} << 40)) throw std::invalid_argument("arena: expected less");
    bytes_.push_back(arena);
    for (const py::tuple& one : inputs) inputs_.push_back(slot_from(one));
    for (const py::tuple& one : outputs) outputs_.push_back(slot_from(one));
    for (const Slot& one : inputs_) bytes_.push_back(one.bytes);
    for (const Slot& one : outputs_) bytes_.push_back(one.bytes);
    std::vector<const void*> places;
    for (const py::array& one : constants_) {
      if ((one.flags() & py::array::c_style) == 0) throw std::invalid_argument("constants: expected contiguous arrays");
      places.push_back(one.data());
      bytes_.push_back(static_cast<std::size_t>(one.nbytes()));
    }
    program_ = std::make_shared<Program>(arena, inputs_.size(), outputs_.size(), std::move(places));
  }

  // (base, offset, element, shape, strides): every element must lie within its base.
  Tensor tensor(const py::handle& said, bool written) const {
    const auto parts = py::reinterpret_borrow<py::tuple>(said);
    Tensor found;
    found.base = parts[0].cast<std::size_t>();
    found.offset = parts[1].cast<std::size_t>();
    found.element = element_from(parts[2].cast<std::string>());
    found.shape = numbers(parts[3]);
    found.strides = numbers(parts[4]);
    const std::ptrdiff_t size = static_cast<std::ptrdiff_t>(size_of(found.element));
    const bool within = found.base < bytes_.size() && found.shape.size() == found.strides.size() &&
                        found.offset % static_cast<std::size_t>(size) == 0 &&
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
  std::optional<Tensor> maybe(const py::handle& said) const {
    return said.is_none() ? std::optional<Tensor>() : tensor(said, false);
  }

  void copy(const py::tuple& x, const py::tuple& y) { program_->add(copy_step(tensor(x, false), tensor(y, true))); }

  void map(const std::string& operation, const std::vector<py::tuple>& inputs, const py::tuple& y,
           const std::vector<double>& more) {
    std::vector<Tensor> found;
    for (const py::tuple& one : inputs) found.push_back(tensor(one, false));
    program_->add(map_step(operation, found, tensor(y, true), more));
  }

  void activate(const py::object& activation, const py::tuple& x, const py::tuple& y) {
    program_->add(activation_step(activation_from(activation), tensor(x, false), tensor(y, true)));
  }

  // windows: ((kernel, stride, dilation, before, spread) for each axis, "zeros", "reflect" or "nearest")
  void product(std::shared_ptr<PackedWeights> weights, const py::tuple& x, const py::tuple& y, const py::object& windows,
               const py::object& activation) {
    std::optional<Windowing> sliding;
    if (!windows.is_none()) {
      const auto said = windows.cast<py::tuple>();
      const std::string edge = said[1].cast<std::string>();
      sliding.emplace();
      sliding->edge = edge == "reflect" ? Edge::reflect : edge == "nearest" ? Edge::nearest : Edge::zeros;
      for (const py::handle& one : said[0]) {
        const std::vector<std::ptrdiff_t> n = numbers(one);
        constexpr std::ptrdiff_t most = std::ptrdiff_t{1} << 31;
        if (n.size() != 5 || n[0] < 1 || n[0] > most || n[1] < 1 || n[1] > most || n[2] < 1 || n[2] > most || n[3] < -most ||
            n[3] > most || n[4] < 1 || n[4] > most)
          throw std::invalid_argument("windows: expected kernel, stride, dilation, padding and spread");
        sliding->axes.push_back({n[0], n[1], n[2], n[3], n[4]});
      }
    }
    std::optional<Activation> function;
    if (!activation.is_none()) function = activation_from(activation);
    program_->add(product_step(std::move(weights), tensor(x, false), tensor(y, true), sliding, function));
  }

  void lstm(std::shared_ptr<Whole<Lstm>> lstm, const py::tuple& given, const py::tuple& made) {
    if (given.size() != 4 || made.size() != 3) throw std::invalid_argument("lstm: expected 4 inputs and 3 outputs");
    program_->add(
        lstm_step(std::move(lstm), {tensor(given[0], false), tensor(made[0], true), maybe(given[1]), maybe(given[2]),
                                    maybe(given[3]), tensor(made[1], true), tensor(made[2], true)}));
  }

  py::tuple run(const py::args& arrays) const { return run_with(arrays, nullptr); }
  py::tuple profile(const py::args& arrays) const {
    std::vector<double> spent(program_->steps());
    const py::tuple outputs = run_with(arrays, &spent);
    return py::make_tuple(outputs, spent);
  }

  const std::shared_ptr<Program>& program() const { return program_; }
  // Inputs, then outputs.
  const Slot& slot(std::size_t array) const {
    if (array >= inputs_.size() + outputs_.size()) throw std::invalid_argument("expected an input or output");
    return array < inputs_.size() ? inputs_[array] : outputs_[array - inputs_.size()];
  }
  std::size_t inputs() const { return inputs_.size(); }
  std::size_t arrays() const { return inputs_.size() + outputs_.size(); }

 private:
  py::tuple run_with(const py::args& arrays, std::vector<double>* spent) const {
    if (arrays.size() != inputs_.size()) throw std::invalid_argument("run: expected another number of inputs");
    std::vector<void*> memory;
    memory.reserve(inputs_.size() + outputs_.size());
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const py::handle given = arrays[i];
      if (!py::isinstance<py::array>(given)) throw std::invalid_argument("run: expected arrays");
      const auto array = py::reinterpret_borrow<py::array>(given);
      constexpr int wanted = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
      bool fits = (array.flags() & wanted) == wanted && array.dtype().num() == dtype_of(inputs_[i].element).num() &&
                  static_cast<std::size_t>(array.ndim()) == inputs_[i].shape.size();
      for (py::ssize_t axis = 0; fits && axis < array.ndim(); ++axis)
        fits = array.shape(axis) == inputs_[i].shape[static_cast<std::size_t>(axis)];
      if (!fits) throw std::invalid_argument("run: expected a contiguous array of the planned type and shape");
      memory.push_back(const_cast<void*>(array.data()));
    }
    py::tuple outputs(outputs_.size());
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      py::array made(dtype_of(outputs_[i].element), outputs_[i].shape);
      memory.push_back(made.mutable_data());
      outputs[i] = std::move(made);
    }
    const Runs runs(*program_);
    {
      py::gil_scoped_release release;
      if (spent != nullptr)
        program_->profile(*runs.run, memory, *spent);
      else
        program_->run(*runs.run, memory);
    }
    return outputs;
  }

  // A run that is given back, whatever happens.
  struct Runs {
    explicit Runs(const Program& of) : program(of), run(of.take()) {}
    ~Runs() { program.give_back(std::move(run)); }
    Runs(const Runs&) = delete;
    Runs& operator=(const Runs&) = delete;
    const Program& program;
    mutable std::unique_ptr<Program::Run> run;
  };

  std::vector<py::array> constants_;
  std::vector<Slot> inputs_, outputs_;
  std::vector<std::size_t> bytes_;  // of each base
  std::shared_ptr<Program> program_;
};

// A model that is stepped on memory of its own. pairs: (input, output) of each state; overlaps: (input, count), elements at
// the end of its last axis that come again at the start.
class LiveModel {
 public:
  LiveModel(std::shared_ptr<Model> model, const std::vector<std::pair<std::size_t, std::size_t>>& pairs,
            const std::vector<std::pair<std::size_t, std::size_t>>& overlaps)
      : model_(std::move(model)) {
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < model_->arrays(); ++i) sizes.push_back(model_->slot(i).bytes);
    std::vector<Live::Pair> states;
    for (const auto& [input, output] : pairs) {
      const std::size_t out = model_->inputs() + output;
      if (input >= model_->inputs() || model_->slot(input).element != model_->slot(out).element ||
          model_->slot(input).shape != model_->slot(out).shape)
        throw std::invalid_argument("state: expected an input and an output of one type and shape");
      states.push_back({input, out});
    }
    std::vector<Live::Overlap> again;
    for (const auto& [input, count] : overlaps) {
      const Slot& slot = model_->slot(input);
      if (input >= model_->inputs() || slot.shape.empty() || count > static_cast<std::size_t>(slot.shape.back()))
        throw std::invalid_argument("context: expected less than the input's last axis");
      const std::size_t row = static_cast<std::size_t>(slot.shape.back()) * size_of(slot.element);
      again.push_back({input, row == 0 ? 0 : slot.bytes / row, row, count * size_of(slot.element)});
    }
    live_ = std::make_unique<Live>(model_->program(), sizes, std::move(states), std::move(again));
  }

  void step(bool release) {
    bool done = false;
    if (release) {
      py::gil_scoped_release without;
      done = live_->step();
    } else {
      done = live_->step();
    }
    if (!done) throw std::runtime_error("stream: another thread is using it, and nothing was done");
  }

  // An array that looks at the memory, which lives as long as it does. Not for states: they move.
  static py::array array(const py::object& self, std::size_t index) {
    auto& live = self.cast<LiveModel&>();
    const Slot& slot = live.model_->slot(index);
    return py::array(dtype_of(slot.element), slot.shape, live.live_->at(index), self);
  }
  py::array state(std::size_t index) const {
    const Slot& slot = model_->slot(index);
    return py::array(dtype_of(slot.element), slot.shape, live_->at(index));
  }
  void set_state(std::size_t index, const py::array& value) {
    const Slot& slot = model_->slot(index);
    if ((value.flags() & py::array::c_style) == 0 || value.dtype().num() != dtype_of(slot.element).num() ||
        static_cast<std::size_t>(value.nbytes()) != slot.bytes)
      throw std::invalid_argument("state: expected a contiguous array of its type and size");
    std::memcpy(live_->at(index), value.data(), slot.bytes);
  }

 private:
  std::shared_ptr<Model> model_;
  std::unique_ptr<Live> live_;
};

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
  py::class_<LiveModel>(module, "Live", "A program that is stepped on memory of its own.")
      .def(py::init<std::shared_ptr<Model>, const std::vector<std::pair<std::size_t, std::size_t>>&,
                    const std::vector<std::pair<std::size_t, std::size_t>>&>(),
           py::arg("program"), py::arg("pairs"), py::arg("overlaps"))
      .def("step", &LiveModel::step, py::arg("release"))
      .def("array", &LiveModel::array, "What an input or output holds, shared.")
      .def("state", &LiveModel::state, "A copy of a state.")
      .def("set_state", &LiveModel::set_state);
  py::class_<Model, std::shared_ptr<Model>>(module, "Program",
                                            "A flat list of steps for one set of shapes; see graph/plan.py.")
      .def(py::init<std::size_t, const std::vector<py::tuple>&, const std::vector<py::tuple>&, std::vector<py::array>>(),
           py::arg("arena"), py::arg("inputs"), py::arg("outputs"), py::arg("constants"))
      .def("copy", &Model::copy)
      .def("map", &Model::map)
      .def("activate", &Model::activate)
      .def("product", &Model::product)
      .def("lstm", &Model::lstm)
      .def("run", &Model::run, "The outputs for contiguous arrays of the planned types and shapes.")
      .def("profile", &Model::profile, "The outputs, and the nanoseconds that each step took.");
}
